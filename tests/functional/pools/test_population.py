# SPDX-License-Identifier: Apache-2.0
"""The handler kuryrnetwork_population: a namespace's network has its pools before its first pod."""

from collections.abc import Iterator
from typing import Any

import pytest

from kuryr.objects.kuryrnetwork import KuryrNetwork
from kuryr.objects.resources import KURYRNETWORKS
from tests.functional.controller.harness import NODE, Running
from tests.functional.kubernetes import wait_until
from tests.functional.pools.conftest import Pools

OTHER = "node-2"


class Networks:
    """A world whose namespaces have networks; those are written by hand, as a handler of namespaces would."""

    def __init__(self, pools: Pools) -> None:
        self.pools = pools
        self.world = pools.world
        network = self.world.cloud.make("networks", name="namespace")
        self.subnets = [
            self.world.cloud.make("subnets", network_id=network["id"], cidr=cidr, ip_version=version)
            for cidr, version in (("192.0.2.0/25", 4), ("2001:db8::/64", 6))
        ]
        self.ids = {subnet["id"] for subnet in self.subnets}

    def controller(self) -> Running:
        options = self.pools.options(ports_pool_min=2, ports_pool_batch=4)
        options["kubernetes"]["enabled_handlers"] = "vif,kuryrport,kuryrnetwork_population"
        return self.world.controller(options)

    def create(self, name: str = "", **spec: Any) -> None:
        body = {"metadata": {"name": name or self.world.namespace}, "spec": spec}
        self.world.client.create(KURYRNETWORKS, self.world.namespace, body)

    def get(self, name: str = "") -> KuryrNetwork:
        return self.world.client.get(KURYRNETWORKS, self.world.key(name or self.world.namespace))

    def fill(self, status: dict[str, Any], name: str = "") -> None:
        key = self.world.key(name or self.world.namespace)
        self.world.client.merge_patch(KURYRNETWORKS, key, {"status": status}, subresource="status")

    def status(self) -> dict[str, Any]:
        return {
            "subnetId": self.subnets[0]["id"],
            "subnets": [{"id": subnet["id"], "cidr": subnet["cidr"]} for subnet in self.subnets],
        }

    def made(self, node: str) -> list[dict[str, Any]]:
        """The node's ports on the network."""
        return [
            port
            for port in self.pools.ports(node)
            if {ip["subnet_id"] for ip in port["fixed_ips"]} & self.ids
        ]

    def wait_made(self, number: int) -> None:
        for node in (NODE, OTHER):
            wait_until(
                lambda node=node: len(self.made(node)) == number,  # type: ignore[misc]
                f"{number} ports of the network on {node}; there are {len(self.made(node))}",
            )


@pytest.fixture
def networks(pools: Pools) -> Iterator[Networks]:
    pools.world.create_node(OTHER)
    found = Networks(pools)
    yield found
    for network in pools.world.client.list(KURYRNETWORKS).items:
        pools.world.client.delete(KURYRNETWORKS, network.key)


def test_filled_when_it_gets_its_subnet_and_emptied_when_it_goes(networks: Networks) -> None:
    world = networks.world
    networks.create()
    with networks.controller() as running:
        running.wait_holding()
        networks.pools.wait_ready(2)
        assert not networks.get().status.populated
        networks.fill(networks.status())
        networks.wait_made(4)
        wait_until(lambda: networks.get().status.populated, "the network's status says so")
        (port, *_) = networks.made(NODE)
        assert {ip["subnet_id"] for ip in port["fixed_ips"]} == networks.ids
        assert port["security_groups"] == [world.cloud.security_group_id]
        assert port["project_id"] == world.cloud.project_id
        world.client.delete(KURYRNETWORKS, networks.get().key)
        networks.wait_made(0)
        assert len(networks.pools.ready()) >= 2, "the pool of the default network is as it was"


def test_once_and_not_again_by_another_controller(networks: Networks) -> None:
    networks.create()
    networks.fill(networks.status())
    with networks.controller() as running:
        running.wait_holding()
        networks.wait_made(4)
        wait_until(lambda: networks.get().status.populated, "the network's status says so")
    networks.world.cloud.journal.clear()
    networks.create("another", default=True)
    with networks.controller() as running:
        running.wait_holding()
        # Neither was it asked for again, nor is what nobody wants kept.
        networks.wait_made(0)
        assert networks.world.count("create port") == 0


def test_as_the_original_wrote_it(networks: Networks) -> None:
    networks.create(nsName=networks.world.namespace, projectId=networks.world.cloud.project_id, nsLabels={})
    first = networks.subnets[0]
    networks.fill({"subnetId": first["id"], "subnetCIDR": first["cidr"], "populated": False, "nsLabels": {}})
    with networks.controller() as running:
        running.wait_holding()
        networks.wait_made(4)
        assert [ip["subnet_id"] for ip in networks.made(OTHER)[0]["fixed_ips"]] == [first["id"]]


def test_a_network_that_is_to_be_selected_is_left_alone(networks: Networks) -> None:
    networks.create("selected")
    networks.fill(networks.status(), "selected")
    networks.create()
    unready = {"type": "Ready", "status": "False", "lastTransitionTime": "2026-01-01T00:00:00Z"}
    networks.fill({**networks.status(), "conditions": [unready]})
    with networks.controller() as running:
        running.wait_holding()
        networks.pools.wait_ready(2)
        wait_until(lambda: running.reconciles("kuryrnetwork_population") >= 2, "both were looked at")
        assert networks.made(NODE) == networks.made(OTHER) == []
        networks.fill({"conditions": [{**unready, "status": "True"}]})
        networks.wait_made(4)
        assert not networks.get("selected").status.populated
