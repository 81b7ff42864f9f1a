# SPDX-License-Identifier: Apache-2.0
"""Calls as the controller and the daemons count them, from their /metrics."""

from __future__ import annotations

import urllib.request
from collections import Counter
from collections.abc import Iterator, Sequence

import msgspec
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from devcloud.kubernetes import cluster

CONTROLLER = "http://127.0.0.1:9654/metrics"
DAEMONS = tuple(f"http://{node.addresses[0]}:9655/metrics" for node in cluster.NODES)

_CLOUD = "kuryr_cloud_call_seconds_count"
_KUBERNETES = ("kuryr_kubernetes_call_seconds_count", "kuryr_kubernetes_request_duration_seconds_count")
_POOL_EVENTS = "kuryr_pool_events_total"
_READS = ("get", "list", "watch", "find")
_KEYSTONE = ("authenticate", "find Neutron")


class Calls(msgspec.Struct, frozen=True):
    """Calls by operation (``create port``), since the programs started or between two readings."""

    cloud: Counter[str]
    kubernetes: Counter[str]

    def since(self, before: Calls) -> Calls:
        """What came since ``before``."""
        return Calls(self.cloud - before.cloud, self.kubernetes - before.kubernetes)


def writes(calls: Counter[str], *, without: str = "") -> int:
    """How many of the calls write; those to Keystone, and those whose object is ``without``, aside."""
    return written(calls, without=(without,) if without else ()).total()


def written(calls: Counter[str], *, without: tuple[str, ...] = ()) -> Counter[str]:
    """Those of the calls that write; those to Keystone, and those that end in one of ``without``, aside."""
    return Counter(
        {
            operation: number
            for operation, number in calls.items()
            if not _is_read(operation) and operation not in _KEYSTONE and not operation.endswith(without)
        }
    )


def reads(calls: Counter[str]) -> int:
    """How many of the calls read."""
    return sum(
        number for operation, number in calls.items() if _is_read(operation) and operation not in _KEYSTONE
    )


def _is_read(operation: str) -> bool:
    return operation.split()[0] in _READS


def told(calls: Counter[str]) -> str:
    """The calls for people."""
    return ", ".join(f"{number} {operation}" for operation, number in sorted(calls.items())) or "none"


def read(urls: Sequence[str] = (CONTROLLER, *DAEMONS), *, done: bool = False) -> Calls:
    """The counters of the controller and all daemons, or of what serves metrics at ``urls``, added up.

    :param done: leave out the calls that were refused or failed.
    """
    cloud: Counter[str] = Counter()
    kubernetes: Counter[str] = Counter()
    for url in urls:
        for sample in _samples(url):
            if done and not sample.labels.get("result", "").startswith("2"):
                continue
            if sample.name == _CLOUD:
                cloud[sample.labels["operation"]] += int(sample.value)
            elif sample.name in _KUBERNETES:
                kubernetes[sample.labels["operation"]] += int(sample.value)
    return Calls(cloud, kubernetes)


def pool_events() -> Counter[str]:
    """What happened at the controller's pools since it started: hits, misses, …"""
    found = (sample for sample in _samples(CONTROLLER) if sample.name == _POOL_EVENTS)
    return Counter({sample.labels["event"]: int(sample.value) for sample in found})


def _samples(url: str) -> Iterator[Sample]:
    with urllib.request.urlopen(url, timeout=10) as answer:
        text = answer.read().decode()
    for family in text_string_to_metric_families(text):
        yield from family.samples
