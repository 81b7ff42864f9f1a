# SPDX-License-Identifier: Apache-2.0
"""What churn looks for, it finds."""

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from kuryr.handlers import vif as vif_handler
from kuryr.objects.core import Node, Pod, PodSpec
from kuryr.objects.kuryrport import FINALIZER, KuryrPort, KuryrPortSpec, KuryrPortStatus, VIFStatus
from kuryr.objects.meta import ObjectMeta
from kuryr.objects.vif import Network, Subnet, VIFOpenVSwitch, encode
from tests.churn.checks import State, violations
from tests.churn.fencing import Fencing
from tests.functional.controller.calls_proxy import Call

CLUSTER = "c"


def pod(name: str) -> Pod:
    metadata = ObjectMeta(name=name, namespace="n", uid=f"uid-{name}")
    return Pod(metadata=metadata, spec=PodSpec(node_name="node"))


def kuryrport(name: str, port_id: str, address: str) -> KuryrPort:
    subnets = (Subnet(cidr="10.0.0.0/24", ips=(address,)),)
    vif = VIFOpenVSwitch(
        id=port_id,
        address="fa:16:3e:00:00:01",
        vif_name=f"tap{port_id}",
        network=Network(id="net", subnets=subnets),
    )
    return KuryrPort(
        metadata=ObjectMeta(name=name, namespace="n", uid=f"kuryrport-{name}", finalizers=[FINALIZER]),
        spec=KuryrPortSpec(pod_uid=f"uid-{name}", pod_node_name="node"),
        status=KuryrPortStatus(
            vifs={"eth0": VIFStatus(vif=encode(vif), default=True, security_groups=["g"])}
        ),
    )


def port(name: str, port_id: str, address: str) -> dict[str, Any]:
    return {
        "id": port_id,
        "description": f"kuryr:{CLUSTER}:pod:uid-{name}:eth0",
        "device_id": f"uid-{name}",
        "binding:host_id": "node",
        "security_groups": ["g"],
        "fixed_ips": [{"subnet_id": "s", "ip_address": address}],
    }


def state() -> State:
    """Two pods with all that they need."""
    return State(
        cluster=CLUSTER,
        pods=[pod("a"), pod("b")],
        nodes=[Node(metadata=ObjectMeta(name="node", uid="uid-node"))],
        kuryrports=[kuryrport("a", "1", "10.0.0.1"), kuryrport("b", "2", "10.0.0.2")],
        ports=[port("a", "1", "10.0.0.1"), port("b", "2", "10.0.0.2")],
        node_ports=False,
    )


def test_nothing_is_wrong() -> None:
    assert violations(state()) == []
    assert vif_handler.needs_port(state().pods[0])


def unfilled(port: KuryrPort) -> KuryrPort:
    return msgspec.structs.replace(port, status=KuryrPortStatus())


def deleting(port: KuryrPort) -> KuryrPort:
    metadata = msgspec.structs.replace(port.metadata, deletion_timestamp="2026-01-01T00:00:00Z")
    return msgspec.structs.replace(port, metadata=metadata)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda s: {"kuryrports": s.kuryrports[:1]}, "pod n/b has no KuryrPort"),
        (lambda s: {"kuryrports": [s.kuryrports[0], unfilled(s.kuryrports[1])]}, "is not served"),
        (lambda s: {"kuryrports": [s.kuryrports[0], deleting(s.kuryrports[1])]}, "held by"),
        (lambda s: {"ports": s.ports[:1]}, "Neutron has no port 2"),
        (lambda s: {"pods": s.pods[:1]}, "is of a Pod that is not there"),
        (lambda s: {"ports": [*s.ports, port("c", "3", "10.0.0.3")]}, "nobody uses port 3"),
        (lambda s: {"ports": [s.ports[0], port("b", "2", "10.0.0.9")]}, "has the addresses"),
        (lambda s: {"ports": [s.ports[0], {**s.ports[1], "binding:host_id": "x"}]}, "is bound to x"),
        (lambda s: {"ports": [s.ports[0], {**s.ports[1], "security_groups": []}]}, "has the groups"),
        (lambda s: {"kuryrports": [s.kuryrports[0], kuryrport("b", "1", "10.0.0.1")]}, "in the hands of"),
        (lambda s: {"node_ports": True}, "node node has no KuryrPort"),
        (lambda s: {"pools": []}, "the pools of node have no KuryrPort"),
    ],
)
def test_what_is_wrong_is_told(change: Callable[[State], dict[str, Any]], told: str) -> None:
    found = violations(msgspec.structs.replace(state(), **change(state())))
    assert any(told in each for each in found), found


def test_a_write_while_another_holds_the_lease() -> None:
    fencing = Fencing(lambda text: None)
    taken = Call("PATCH", "/leases/x", b'{"spec": {"holderIdentity": "i"}}')
    fencing.written("one", taken, 200)
    fencing.check("one", "patch kuryrports", float("inf"))
    assert fencing.violations == []
    fencing.written("two", taken, 409)
    fencing.check("one", "patch kuryrports", float("inf"))
    assert fencing.violations == []
    fencing.written("two", taken, 200)
    fencing.check("one", "patch kuryrports", float("inf"))
    assert len(fencing.violations) == 1
