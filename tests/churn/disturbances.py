# SPDX-License-Identifier: Apache-2.0
"""Processes of the development cloud that are killed and started again, and what is left over on its nodes."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Collection, Sequence
from functools import partial
from typing import Any

from devcloud import kuryr, network, openstack, processes
from devcloud.kubernetes import nodes
from devcloud.kubernetes import status as kubernetes_status
from devcloud.kubernetes.cluster import NODES, Node
from devcloud.openstack import ovn, services
from devcloud.shell import run, wait_until
from tests.churn.run import Life

AWAY = (0.0, 15.0)
"""Seconds until what was killed is started again."""

PREFIXES = ("tap", "prk")
"""Of the names of the interfaces that kuryr-daemon makes; the first letters of their ports' ids follow."""


class Disturbances:
    """Steps that kill; what they killed is started again by the development cloud's own means."""

    def __init__(self, life: Life) -> None:
        self._life = life
        self._random = life.random
        victims: list[tuple[str, float, str, Callable[[], None]]] = [
            ("controller", 0.7, kuryr.CONTROLLER, kuryr.start_controller),
            ("Neutron", 0.4, "neutron", services.start_neutron),
        ]
        for number, node in enumerate(NODES):
            known = network.NODES[number]
            victims += [
                ("daemon", 1.5, kuryr.daemon_name(node), partial(kuryr.start_daemon, node)),
                ("ovn-controller", 0.5, f"{node.name}-ovn-controller", partial(ovn.start_node, known)),
                ("kubelet", 0.3, f"{node.name}-kubelet", partial(nodes.start_kubelet, node)),
            ]
        self._starts = {process: start for _, _, process, start in victims}
        for kind, weight, process, _ in victims:
            life.add(f"{kind} killed ({process})", weight, partial(self._kill, process))
        life.add("controller stopped", 0.5, self._stop_controller)

    def _kill(self, name: str) -> None:
        pid = processes.pid(name)
        if pid is None:
            return
        self._life.log(f"{name}: SIGKILL")
        os.killpg(pid, signal.SIGKILL)
        self._later(name)

    def _stop_controller(self) -> None:
        if processes.running(kuryr.CONTROLLER):
            self._life.log("the controller is stopped")
            kuryr.stop_controller()
            self._later(kuryr.CONTROLLER)

    def _later(self, name: str) -> None:
        self._life.later(self._random.uniform(*AWAY), f"started again: {name}", partial(self._start, name))

    def _start(self, name: str) -> None:
        # Without Neutron the controller says that it is not ready, and its start waits for that.
        if name == kuryr.CONTROLLER:
            self._starts["neutron"]()
        self._starts[name]()

    def end(self) -> None:
        """Everything runs, and is well.

        :raises TimeoutError: naming what is not.
        """
        for name in ("neutron", *self._starts):
            self._starts[name]()
        down: list[str] = []

        def well() -> bool:
            rows = [*openstack.status(), *kubernetes_status(), *kuryr.status()]
            down[:] = [name for name, well, _ in rows if not well]
            return not down

        try:
            wait_until(well, "all parts of the development cloud are well", timeout=120, interval=1)
        except TimeoutError as error:
            raise TimeoutError(f"{error}: {', '.join(down)}") from error


def leftovers(node: Node, existing: Collection[str], ours: Sequence[dict[str, Any]]) -> list[str]:
    """Interfaces of a node, and records of its switch, that belong to no port, a sentence each.

    :param existing: ids of all ports; ``ours`` are those of pods and nodes.
    """
    here = {port["id"] for port in ours if port["binding:host_id"] == node.name}
    shown = ovn.vsctl(node.name, "--format=json", "--columns=name,external_ids", "list", "Interface")
    found = []
    for name, (_, pairs) in json.loads(shown)["data"]:
        ids = dict(pairs)
        if any(key.startswith("kuryr-") for key in ids) and ids.get("iface-id") not in here:
            found.append(
                f"{node.name}: interface {name} of the switch is of port {ids.get('iface-id')}, which is not there"
            )
    beginnings = {port_id[:11] for port_id in existing}
    links = json.loads(run(["ip", "-json", "-n", node.netns, "link", "show"]))
    for name in (link["ifname"] for link in links):
        if name.startswith(PREFIXES) and name[3:] not in beginnings:
            found.append(f"{node.name}: interface {name} is of no port")
    return found
