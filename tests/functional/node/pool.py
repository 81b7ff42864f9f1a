# SPDX-License-Identifier: Apache-2.0
"""A node with a pool: what is to be parked is put in by hand, what is reported is remembered."""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterable
from pathlib import Path

import msgspec

from kuryr.cni.activity import Activity
from kuryr.cni.binding import loading
from kuryr.cni.binding.base import Node
from kuryr.cni.dispatch import Dispatcher
from kuryr.cni.health import Failures
from kuryr.cni.locks import KeyedLocks
from kuryr.cni.metrics import Metrics
from kuryr.cni.parking import Parking
from kuryr.cni.plugin import Plugin, Settings
from kuryr.cni.server import Server
from kuryr.net.switch import Switch
from kuryr.objects.kuryrport import (
    UP,
    VIF_IDS,
    KuryrPort,
    KuryrPortSpec,
    KuryrPortStatus,
    VIFStatus,
    used_vif_ids,
)
from kuryr.objects.meta import Condition, Key, ObjectMeta
from kuryr.objects.vif import VIF, encode
from tests.functional.node.node import TestNode, deadline, kuryrport
from tests.functional.node.ovs import OpenVSwitch

POOL = "kuryr-pool.node1"
ZONE = 7


class PoolNode(TestNode):
    """A node whose daemon parks ports. ``reports``: the names of each report."""

    __test__ = False

    def __init__(self, ovs: OpenVSwitch, directory: Path) -> None:
        super().__init__(ovs, directory)
        self.grace = 3600.0
        self.reports: list[list[str]] = []
        self.told = threading.Condition()
        self.store.add_index(VIF_IDS, used_vif_ids)
        self._version = 0

    def start(self) -> None:
        self.switch = Switch(self.ovs.remote)
        self.switch.start()
        self.node = Node(switch=self.switch)
        drivers, ports, activity = loading.load(self.node), KeyedLocks(), Activity()
        self.plugin = Plugin(
            self.node,
            drivers,
            self.kuryrports,
            self.heard,
            Settings(timeout=lambda: self.timeout),
            pod_uid=lambda key: "asked",
            serving=lambda: None,
            ports=ports,
            activity=activity,
        )
        self.parking = Parking(
            self.switch,
            drivers,
            ports,
            activity,
            self.store.values,
            lambda port: bool(self.store.by_index(VIF_IDS, port)),
            self._report,
            grace=self.grace,
        )
        self.metrics = Metrics()
        self.server = Server(self.path, Dispatcher(self.plugin, self.metrics, Failures(3)))
        self.server.start()
        self.parking.start()

    def stop(self) -> None:
        self.parking.stop()
        super().stop()

    def restart(self) -> None:
        self.parking.stop()
        super().restart()

    def _report(self, pool: KuryrPort, names: Collection[str]) -> bool:
        up = [Condition(type=UP, status="True", reason="Wired", message="")]
        vifs = {
            name: msgspec.structs.replace(entry, conditions=up) if name in names else entry
            for name, entry in pool.status.vifs.items()
        }
        self.reports.append(sorted(names))
        self._put_pool(vifs)
        with self.told:
            self.told.notify_all()
        return True

    def list(self, vifs: Iterable[VIF]) -> None:
        """The pool has these now."""
        known = self.store.get(Key("kuryr", POOL))
        before = known.status.vifs if known is not None else {}
        names = {vif.vif_name: vif for vif in vifs if vif.vif_name}
        self._put_pool(
            {name: before.get(name) or VIFStatus(vif=encode(vif), pool=POOL) for name, vif in names.items()}
        )

    def _put_pool(self, vifs: dict[str, VIFStatus]) -> None:
        self._version += 1
        self.put(
            KuryrPort(
                metadata=ObjectMeta(
                    name=POOL, namespace="kuryr", uid="pool", resource_version=str(self._version)
                ),
                spec=KuryrPortSpec(pod_uid="node-uid", pod_node_name="node1", owner_kind="Pool"),
                status=KuryrPortStatus(vifs=vifs),
            )
        )
        self.parking.look_again()

    def give(self, uid: str, vif: VIF, *, name: str = "web") -> None:
        """The pool's VIF is the pod's now: first the one object is written, then the other."""
        port = kuryrport(uid, vif, name=name)
        port.status.vifs["eth0"].pool = POOL
        self.put(port)
        self.parking.look_again()

    def take_back(self, name: str = "web") -> None:
        """The pod is gone."""
        self.store.remove(Key("default", name))
        self.parking.look_again()

    def wait_parked(self, *vifs: VIF) -> None:
        """Until exactly these wait, with the interfaces that the switch has open."""
        wanted = {vif.vif_name for vif in vifs}
        found = self.switch.wait_for(
            lambda state: (
                {
                    name
                    for name, port in state.ports.items()
                    if "kuryr-pool" in port.external_ids
                    and "kuryr-container" not in port.external_ids
                    and port.ifindex
                }
                == wanted
                or None
            ),
            deadline(),
            lambda: False,
        )
        assert found, f"{wanted} are not parked: {self.ovs.vsctl('list', 'interface')}"

    def wire(self, *vifs: VIF) -> None:
        """What ovn-controller does: give the ports zones for their connections, and say that they are wired."""
        for vif in vifs:
            assert vif.vif_name
            self.ovs.vsctl("set", "bridge", "br-int", f"external_ids:ct-zone-{vif.id}={ZONE}")
            self.ovs.install(vif.vif_name)

    def wait_reported(self, *names: str) -> None:
        """Until these were reported."""
        with self.told:
            assert self.told.wait_for(
                lambda: set(names) <= {name for report in self.reports for name in report}, 10
            ), self.reports
