# SPDX-License-Identifier: Apache-2.0
"""The controller's metrics, for Prometheus."""

from __future__ import annotations

import threading
from collections import Counter as CallCounts
from collections.abc import Callable, Iterable, Mapping
from functools import partial

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from kuryr.cloud.limits import Limiter
from kuryr.controller.findings import CHANGED, MISSING, ORPHAN
from kuryr.drivers.base import VIFPoolDriver

CALL_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
STAGE_BUCKETS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)
POD_CREATION_BUCKETS = (1, 2.5, 5, 10, 20, 30, 60, 120)
"""The original's."""


class Metrics:
    """Every metric, in ``registry``. The names that the original had keep their meaning."""

    def __init__(self, registry: CollectorRegistry = REGISTRY) -> None:
        self.registry = registry
        self._depths: Mapping[str, Callable[[], int]] = {}
        self._pool: VIFPoolDriver | None = None
        self._limiter: Limiter | None = None
        self._lock = threading.Lock()
        self._successes: CallCounts[str] = CallCounts()
        registry.register(self)
        histogram = partial(Histogram, registry=registry, buckets=CALL_BUCKETS)
        gauge, counter = partial(Gauge, registry=registry), partial(Counter, registry=registry)
        self.queue_latency = histogram(
            "kuryr_queue_latency_seconds",
            "From a key's being queued (or due) to its being worked on.",
            ["handler"],
        )
        self.reconciles = histogram(
            "kuryr_reconcile_seconds",
            "Reconciles: result is ok, waiting, the reason of an error, or bug.",
            ["handler", "result"],
        )
        self.kubernetes_calls = histogram(
            "kuryr_kubernetes_call_seconds",
            "Calls to the Kubernetes API by operation and HTTP status.",
            ["operation", "result"],
        )
        self.cloud_calls = histogram(
            "kuryr_cloud_call_seconds",
            "Calls to OpenStack by operation and HTTP status.",
            ["operation", "result"],
        )
        self.pod_stages = histogram(
            "kuryr_pod_stage_seconds",
            "A pod's stages: kuryrport_allocated is from the KuryrPort being seen to its being filled.",
            ["stage"],
            buckets=STAGE_BUCKETS,
        )
        self.pod_creation = histogram(
            "kuryr_pod_creation_latency",
            "From a KuryrPort being seen to its VIFs being allocated, in seconds.",
            buckets=POD_CREATION_BUCKETS,
        )
        self.port_failures = counter(
            "kuryr_port_readiness", "Times that a KuryrPort could not be filled as asked."
        )
        self.holding = gauge(
            "kuryr_shard_holding", "1 where this process holds the shard's Lease.", ["shard"]
        )
        self.audit_findings = gauge(
            "kuryr_audit_findings",
            "What the last audit found that is not as it should be, sure or not yet: Orphan, Changed, Missing.",
            ["verdict"],
        )
        self.audit_repaired = counter(
            "kuryr_audit_repaired",
            "What audits put right, or told people about, beside deletions: Changed, Missing.",
            ["verdict"],
        )
        self.audit_deleted = counter("kuryr_audit_deleted", "Ports without an owner that audits deleted.")
        self.quota_free = gauge(
            "kuryr_quota_free_count",
            "How many more of a resource (ports, subnets, networks, security_groups, security_group_rules) the "
            "project's quota allows: ports as of the last audit, others as last read; +Inf without a limit.",
            ["resource"],
        )
        self.subnet_free = gauge(
            "kuryr_port_quota_per_subnet",
            "Addresses of a subnet of pods that no port of this cluster has, as of the last audit.",
            ["subnet_id", "subnet_name"],
        )

    def kubernetes_call(self, operation: str, result: str, seconds: float) -> None:
        """A call to the Kubernetes API ended."""
        self.kubernetes_calls.labels(operation, result).observe(seconds)

    def cloud_call(self, operation: str, result: str, seconds: float) -> None:
        """A call to OpenStack ended."""
        self.cloud_calls.labels(operation, result).observe(seconds)
        if result.startswith("2"):
            with self._lock:
                self._successes[operation] += 1

    def successes(self, operation: str) -> int:
        """Calls of an operation to OpenStack that succeeded so far."""
        with self._lock:
            return self._successes[operation]

    def reconciled(self, handler: str, result: str, seconds: float) -> None:
        """A reconcile ended; ``result`` is ``ok``, ``waiting``, the reason of an error, or ``bug``."""
        self.reconciles.labels(handler, result).observe(seconds)
        if handler == "kuryrport" and result not in ("ok", "waiting", "Conflict"):
            self.port_failures.inc()

    def pod_stage(self, stage: str, seconds: float) -> None:
        """A pod's stage ended."""
        self.pod_stages.labels(stage).observe(seconds)
        if stage == "kuryrport_allocated":
            self.pod_creation.observe(seconds)

    def watch_depths(self, depths: Mapping[str, Callable[[], int]]) -> None:
        """Show the depth of each handler's queue from now on."""
        self._depths = depths

    def show_findings(self, found: Mapping[str, int]) -> None:
        """An audit found so many, by verdict."""
        for verdict in (ORPHAN, CHANGED, MISSING):
            self.audit_findings.labels(verdict).set(found.get(verdict, 0))

    def watch_limiter(self, limiter: Limiter) -> None:
        """Show the limits on calls to OpenStack from now on."""
        self._limiter = limiter

    def watch_pool(self, pool: VIFPoolDriver) -> None:
        """Show the sizes of pools from now on."""
        self._pool = pool

    def collect(self) -> list[Metric]:
        """What is read when it is asked for (prometheus_client's protocol of collectors)."""
        family = GaugeMetricFamily("kuryr_queue_depth", "Keys that wait for a worker.", labels=["handler"])
        for handler, depth in self._depths.items():
            family.add_metric([handler], depth())
        return [
            family,
            *(self._pool_families(self._pool) if self._pool is not None else ()),
            *(self._limit_families(self._limiter) if self._limiter is not None else ()),
        ]

    @staticmethod
    def _limit_families(limiter: Limiter) -> Iterable[Metric]:
        names = {
            "limit": "Calls of an operation to OpenStack that may be in flight, as learnt.",
            "in_flight": "Calls of an operation to OpenStack in flight.",
            "queued": "Calls of an operation to OpenStack that wait for their turn.",
        }
        loads = limiter.loads()
        for name, text in names.items():
            family = GaugeMetricFamily(f"kuryr_cloud_calls_{name}", text, labels=["operation"])
            for operation, load in loads.items():
                family.add_metric([operation], getattr(load, name))
            yield family

    @staticmethod
    def _pool_families(pool: VIFPoolDriver) -> Iterable[Metric]:
        ports = GaugeMetricFamily(
            "kuryr_pool_ports",
            "Ports of pools by state: ready, wired (of the ready), resting, in_use, making, target.",
            labels=["node", "project", "subnets", "security_groups", "state"],
        )
        for size in pool.pools():
            shape = size.shape
            where = [size.node, shape.project_id, ",".join(shape.subnet_ids), ",".join(shape.security_groups)]
            for state in ("ready", "wired", "resting", "in_use", "making", "target"):
                ports.add_metric([*where, state], getattr(size, state))
        events = CounterMetricFamily(
            "kuryr_pool_events",
            "What happened at pools: hits, misses, ports made, failed to be made, removed.",
            labels=["event"],
        )
        for event, count in pool.counters().items():
            events.add_metric([event], count)
        return ports, events
