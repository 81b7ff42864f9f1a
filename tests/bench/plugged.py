# SPDX-License-Identifier: Apache-2.0
"""Ports that are made by hand and plugged by hand: what Neutron and OVN take for as many ports that carry traffic."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import msgspec

from devcloud import paths
from kuryr.net.switch import NewPort, Switch
from tests.bench import cpu
from tests.bench.figures import MeasurementError
from tests.bench.pods import NODES
from tests.bench.ports import DEVICE_OWNER, PlainNeutron

_BRIDGE = "br-int"
_PREFIX = "bench"
_TIMEOUT = 300.0
_LOOK_EVERY = 1.0
"""Seconds: each look costs Neutron a tenth."""


class Plugged(msgspec.Struct, frozen=True):
    """Seconds until Neutron said of the last that it is ACTIVE, and CPU seconds of the whole machine."""

    last: float
    cpu: float


def plug(neutron: PlainNeutron, number: int, in_flight: int) -> Plugged:
    """So many ports by single calls, each plugged into its node's switch as soon as it is made; deleted afterwards.

    :raises MeasurementError: where they do not become ACTIVE.
    """
    with ExitStack() as stack:
        switches = {node: stack.enter_context(_switch(node)) for node in NODES}
        lock, names = threading.Lock(), dict.fromkeys(NODES, 0)

        def made(port: dict[str, Any]) -> None:
            node = port["binding:host_id"]
            with lock:
                names[node] += 1
                name = f"{_PREFIX}{names[node]}"
            switches[node].add_port(
                NewPort(name, _BRIDGE, {"iface-id": port["id"]}, type="internal", mac=port["mac_address"])
            )

        used, began = cpu.busy(), time.monotonic()
        neutron.make(number, in_flight, keep=True, made=made)
        while not all(port["status"] == "ACTIVE" for port in neutron.list(DEVICE_OWNER)):
            if time.monotonic() > began + _TIMEOUT:
                raise MeasurementError(f"{number} ports plugged by hand did not become ACTIVE")
            time.sleep(_LOOK_EVERY)
        found = Plugged(time.monotonic() - began, cpu.busy() - used)
    neutron.sweep()
    return found


@contextmanager
def _switch(node: str) -> Iterator[Switch]:
    """The node's switch; what the bench plugged is taken away at the end."""
    switch = Switch(f"unix:{paths.ovsdb_socket(node)}")
    switch.start()
    try:
        switch.require()
        yield switch
    finally:
        for name in switch.state.ports:
            if name.startswith(_PREFIX):
                switch.delete_port(name)
        switch.stop()
