# SPDX-License-Identifier: Apache-2.0
"""kuryr-daemon's parts without an API server, and requests to them through the executable's code."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kuryr.cni import client
from kuryr.cni.binding import loading
from kuryr.cni.binding.base import Node
from kuryr.cni.dispatch import Dispatcher
from kuryr.cni.health import Failures
from kuryr.cni.kuryrports import KuryrPorts
from kuryr.cni.metrics import Metrics
from kuryr.cni.plugin import Plugin, Settings
from kuryr.cni.protocol import CniError
from kuryr.cni.server import Server
from kuryr.cni.stages import Stages
from kuryr.k8s.informer import Change
from kuryr.k8s.store import Store
from kuryr.net.switch import Switch
from kuryr.objects.kuryrport import KuryrPort, KuryrPortSpec, KuryrPortStatus, VIFStatus
from kuryr.objects.meta import Key, ObjectMeta
from kuryr.objects.vif import VIF, Network, Subnet, VIFOpenVSwitch, encode, vif_name
from tests.functional.node.ovs import OpenVSwitch

PORT = "11111111-2222-3333-4444-555555555555"
MAC = "fa:16:3e:00:00:07"


def network(*, dual: bool = False, mtu: int = 1442) -> Network:
    """The network of the tests' pods."""
    subnets = [Subnet(cidr="10.10.0.0/16", ips=("10.10.1.7",), gateway="10.10.0.1", dns=("10.10.0.2",))]
    if dual:
        subnets.append(Subnet(cidr="fd00:10:10::/64", ips=("fd00:10:10::7",), gateway="fd00:10:10::1"))
    return Network(id="99999999-0000-0000-0000-000000000000", mtu=mtu, subnets=tuple(subnets))


def ovs_vif(port: str = PORT, *, dual: bool = False, mac: str = MAC, **more: Any) -> VIFOpenVSwitch:
    """A VIF of the Open vSwitch class."""
    return VIFOpenVSwitch(
        id=port, address=mac, network=network(dual=dual), vif_name=vif_name("tap", port), **more
    )


def kuryrport(uid: str, *vifs: VIF, name: str = "web", reported_by: str = "node") -> KuryrPort:
    """A KuryrPort with the VIFs as eth0, eth1, …"""
    return KuryrPort(
        metadata=ObjectMeta(name=name, namespace="default", uid=f"kp-{uid}"),
        spec=KuryrPortSpec(pod_uid=uid, pod_node_name="node1"),
        status=KuryrPortStatus(
            vifs={
                f"eth{i}": VIFStatus(vif=encode(vif), default=i == 0, reported_by=reported_by)
                for i, vif in enumerate(vifs)
            }
        ),
    )


@dataclass
class Answer:
    """What the executable would end with."""

    code: int
    document: dict[str, Any]
    stderr: str


@dataclass
class Heard:
    """What the daemon would tell the API."""

    up: list[tuple[str, list[str]]] = field(default_factory=list)
    failures: list[tuple[str, str]] = field(default_factory=list)
    on_failure: Callable[[], None] = lambda: None

    def attached(self, kuryrport: KuryrPort, interfaces: list[str], stages: Stages) -> None:
        self.up.append((str(kuryrport.key), interfaces))

    def failed(self, pod: Key, pod_uid: str, error: CniError) -> None:
        self.failures.append((str(pod), error.message))
        self.on_failure()


class TestNode:
    """A node that tests drive: KuryrPorts are put in by hand, requests are made as the executable makes them."""

    __test__ = False

    def __init__(self, ovs: OpenVSwitch, directory: Path) -> None:
        self.ovs = ovs
        self.path = str(directory / "daemon.sock")
        self.timeout = 10.0
        self.uid_by_api = "asked"
        self.heard = Heard()
        self.store: Store[KuryrPort] = Store()
        self.kuryrports = KuryrPorts(self.store)
        self._pool = ThreadPoolExecutor(8)

    def start(self) -> None:
        self.switch = Switch(self.ovs.remote)
        self.switch.start()
        self.node = Node(switch=self.switch)
        self.plugin = Plugin(
            self.node,
            loading.load(self.node),
            self.kuryrports,
            self.heard,
            Settings(timeout=lambda: self.timeout),
            pod_uid=lambda key: self.uid_by_api,
            serving=lambda: None,
        )
        self.metrics = Metrics()
        self.server = Server(self.path, Dispatcher(self.plugin, self.metrics, Failures(3)))
        self.server.start()

    def stop(self) -> None:
        self.server.close()
        self.plugin.give_up_waiting()
        self.server.drain(15)
        self.switch.stop()
        self._pool.shutdown()

    def restart(self) -> None:
        """As if the daemon had been killed and started again."""
        self.server.close()
        self.plugin.give_up_waiting()
        self.server.drain(15)
        self.switch.stop()
        self.start()

    def put(self, kuryrport: KuryrPort) -> None:
        """The API has this KuryrPort now."""
        self.store.upsert(kuryrport)
        self.kuryrports.changed(Change(None, kuryrport))

    def call(
        self, command: str, container: str, netns: str, uid: str = "uid-1", *, pod: str = "web", **config: Any
    ) -> Answer:
        """Make a request and wait for its answer."""
        environment = {
            "CNI_COMMAND": command,
            "CNI_CONTAINERID": container,
            "CNI_NETNS": netns,
            "CNI_IFNAME": "eth0",
            "CNI_PATH": "/opt/cni/bin",
            "CNI_ARGS": f"IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME={pod};K8S_POD_UID={uid}",
        }
        netconf = {"cniVersion": "1.1.0", "name": "kuryr", "type": "kuryr-cni", **config}
        variables = "\0".join(f"{name}={value}" for name, value in environment.items()).encode()
        code, out, err = client.ask(self.path, variables, json.dumps(netconf).encode())
        return Answer(code, json.loads(out) if out else {}, err.decode())

    def begin(self, *arguments: Any, **more: Any) -> Future[Answer]:
        """Make a request, and go on."""
        return self._pool.submit(self.call, *arguments, **more)

    def wait_for_port(self, name: str, container: str) -> None:
        """Until the daemon has plugged the port for the container."""
        done = self.switch.wait_for(
            lambda state: (
                True
                if name in state.ports and state.ports[name].external_ids.get("kuryr-container") == container
                else None
            ),
            deadline(),
            threading.Event().is_set,
        )
        assert done, f"{name} was not plugged for {container}"

    def wait_for_tap(self) -> None:
        """Until the daemon has plugged the port for some container."""
        tap = vif_name("tap", PORT)
        found = self.switch.wait_for(
            lambda state: True if tap in state.ports else None, deadline(), lambda: False
        )
        assert found, f"{tap} was not plugged"

    def attach(self, container: str, netns: str, uid: str = "uid-1", **config: Any) -> Answer:
        """ADD, with an ovn-controller that wires the port."""
        pending = self.begin("ADD", container, netns, uid, **config)
        self.wait_for_port(vif_name("tap", PORT), container)
        self.ovs.install(vif_name("tap", PORT))
        return pending.result()


def deadline(seconds: float = 10.0) -> float:
    """So far in the future."""
    import time

    return time.monotonic() + seconds
