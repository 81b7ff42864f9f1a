# SPDX-License-Identifier: Apache-2.0
"""A controller that starts anew with everything as it left it: how soon it is ready, and what it writes."""

from __future__ import annotations

import signal
import time
from collections import Counter
from collections.abc import Callable

import msgspec

from kuryr.cloud import identity
from kuryr.k8s.client import Client
from kuryr.objects.resources import KURYRPORTS
from tests.bench import metrics
from tests.bench.ports import PlainNeutron
from tests.bench.testbed import Controller

TIMEOUT = 300.0

_QUESTION = "create selfsubjectaccessreviews"
"""A POST that changes nothing."""


class State(msgspec.Struct, frozen=True):
    """What a controller could have written: versions of KuryrPorts and revisions of ports, by their UIDs and ids."""

    kuryrports: dict[str, str]
    ports: dict[str, int]

    @classmethod
    def read(cls, client: Client, neutron: PlainNeutron) -> State:
        """As both APIs have it."""
        return cls(
            {port.metadata.uid: port.metadata.resource_version for port in client.list(KURYRPORTS).items},
            {port["id"]: port["revision_number"] for port in neutron.list(identity.POD)},
        )

    def changed(self, now: State) -> int:
        """How much of it is gone or changed."""
        return sum(now.kuryrports.get(uid) != version for uid, version in self.kuryrports.items()) + sum(
            now.ports.get(port) != revision for port, revision in self.ports.items()
        )


class Restart(msgspec.Struct, frozen=True):
    """``ready``: seconds from the start to /readyz. Writes: calls that succeeded, those on the Lease aside.

    ``memory``: MB of PSS when it had settled.
    """

    ready: float
    memory: float
    kubernetes_writes: Counter[str]
    cloud_writes: Counter[str]
    changed: int


def restart(
    controller: Controller, client: Client, neutron: PlainNeutron, settled: Callable[[], None]
) -> Restart:
    """End the controller gracefully and start it again.

    :param settled: called when it is ready; returns when it has had time for what it may want to write.
    :raises MeasurementError: where it does not become ready.
    """
    controller.signal(signal.SIGTERM)
    controller.wait()
    before = State.read(client, neutron)
    began = time.monotonic()
    controller.start()
    controller.wait_ready(TIMEOUT)
    ready = time.monotonic() - began
    settled()
    calls = controller.calls(done=True)
    return Restart(
        ready=ready,
        memory=controller.memory,
        kubernetes_writes=metrics.written(calls.kubernetes, without=("leases", _QUESTION)),
        cloud_writes=metrics.written(calls.cloud),
        changed=before.changed(State.read(client, neutron)),
    )
