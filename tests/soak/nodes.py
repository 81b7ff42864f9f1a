# SPDX-License-Identifier: Apache-2.0
"""Simulated nodes: kwok says that their pods run, and ends those that are deleted."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from devcloud import packages
from kuryr.k8s.client import Client
from kuryr.objects.resources import NODES
from tests.bench.figures import MeasurementError
from tests.bench.testbed import Testbed, background
from tests.functional.kubernetes import wait_until

READY_TIMEOUT = 120.0

_STAGES = Path(__file__).with_name("stages.yaml")


def create(client: Client, number: int) -> list[str]:
    """Node objects; their names."""
    names = [f"node-{index:04d}" for index in range(number)]
    for name in names:
        client.create(NODES, "", {"metadata": {"name": name, "labels": {"kubernetes.io/hostname": name}}})
    return names


@contextmanager
def simulated(bed: Testbed, client: Client, names: Sequence[str]) -> Iterator[None]:
    """Let kwok keep the nodes; it is built where it is not in the cache.

    :raises MeasurementError: where it does not say of every node that it is there.
    """
    log = bed.directory / "kwok.log"
    argv = [str(packages.on_demand(packages.KWOK)), f"--kubeconfig={bed.api.kubeconfig()}"]
    argv += [f"--config={_STAGES}", "--manage-all-nodes=true"]
    with background(argv, log) as process:

        def all_there() -> bool:
            if process.poll() is not None:
                raise MeasurementError(f"kwok ended: {log.read_text(errors='replace')[-1000:]}")
            found = client.list(NODES).items
            return sum(bool(node.status.addresses) for node in found) >= len(names)

        wait_until(all_there, f"kwok keeps {len(names)} nodes", READY_TIMEOUT)
        yield
