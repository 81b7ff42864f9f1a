# SPDX-License-Identifier: Apache-2.0
"""Pods on two nodes and two subnets and a VM reach each other: the demo's claims, one by one."""

from collections.abc import Iterator

import pytest

from devcloud import vm
from devcloud.demo import probes, scene
from devcloud.demo.probes import Endpoint
from devcloud.demo.workloads import NAMESPACE
from devcloud.kubernetes import kubectl
from devcloud.neutron import Neutron
from devcloud.openstack import facts


@pytest.fixture(scope="module")
def endpoints(neutron: Neutron) -> Iterator[dict[str, Endpoint]]:
    yield scene.bring_up(neutron)
    kubectl("delete", "namespace", NAMESPACE, "--wait=true", "--timeout=120s")


@pytest.mark.parametrize("name", [*scene.PODS, "vm"])
def test_reaches_every_other_by_ping_and_tcp(endpoints: dict[str, Endpoint], name: str) -> None:
    others = [endpoint for other, endpoint in endpoints.items() if other != name]
    reached = probes.reach(endpoints[name], others)
    assert [result for result in reached if not result.passed] == []


@pytest.mark.parametrize("family", probes.FAMILIES)
@pytest.mark.parametrize(
    ("source", "target"),
    [
        ("first-node1", "second-node2"),
        ("second-node2", "first-node1"),
        ("first-node2", "vm"),
        ("vm", "first-node2"),
    ],
)
def test_five_megabytes_arrive_intact(
    endpoints: dict[str, Endpoint], source: str, target: str, family: int
) -> None:
    (check,) = probes.transfer(endpoints[source], endpoints[target], family)
    assert check.passed, check.detail


@pytest.mark.parametrize("name", scene.PODS)
def test_pod_has_the_addresses_of_its_own_port(endpoints: dict[str, Endpoint], name: str) -> None:
    check = scene.placed(endpoints[name])
    assert check.passed, check.detail


def test_security_group_blocks_a_port_of_the_vm(endpoints: dict[str, Endpoint]) -> None:
    checks = probes.blocked([endpoints["first-node1"], endpoints["second-node2"]], endpoints["vm"])
    assert [check for check in checks if not check.passed] == []


def test_security_group_blocks_a_port_of_a_pod(
    endpoints: dict[str, Endpoint], neutron: Neutron, restricted: str
) -> None:
    """The pod's wiring, not the pod, must hold the traffic back: its port is in the restricted group for a while."""
    target = endpoints["second-node2"]
    port = neutron.get("port", target.port_id)
    neutron.update("port", port["id"], security_groups=[restricted])
    try:
        source = endpoints["first-node1"]
        said = {
            number: source.run(
                f"nc -w 3 {target.addresses[0]} {number} < /dev/null > /dev/null 2>&1 && echo in; true"
            )
            for number in (8080, 8082)
        }
    finally:
        neutron.update("port", port["id"], security_groups=port["security_groups"])
    assert "in" in said[8080]
    assert "in" not in said[8082]


@pytest.fixture
def restricted() -> str:
    group: str = facts.read()["security_groups"]["demo-restricted"]
    return group


def test_vm_is_on_the_pods_network(endpoints: dict[str, Endpoint], neutron: Neutron) -> None:
    pod, machine = (
        neutron.get("port", endpoints[name].port_id)["network_id"] for name in ("first-node1", "vm")
    )
    assert pod == machine
    assert vm.current().port == endpoints["vm"].port_id
