# SPDX-License-Identifier: Apache-2.0
"""PortPool has the seams that a pool of subports needs: no host to be bound to, a place in a trunk, a VLAN id."""

import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any, ClassVar

import pytest

from kuryr.cloud import identity
from kuryr.cloud.networks import SubnetInfo, Subnets
from kuryr.cloud.ports import FixedIP, Port, PortRequest, Ports
from kuryr.cloud.security_groups import SecurityGroups
from kuryr.cloud.session import Cloud
from kuryr.conf import controller as configuration
from kuryr.drivers.base import Allocation, Choice, DriverContext, Owner, VIFRequest
from kuryr.drivers.inventory import PortInventory
from kuryr.drivers.pod_vif.translate import UnusablePort, network_of
from kuryr.drivers.types import FixedIP as WantedIP
from kuryr.drivers.vif_pool.base import PortPool
from kuryr.drivers.vif_pool.filling import KIND
from kuryr.drivers.vif_pool.making import SHARE
from kuryr.drivers.vif_pool.pool import PoolKey
from kuryr.errors import WaitFor
from kuryr.k8s.store import Store
from kuryr.objects.core import Node
from kuryr.objects.kuryrport import BY_CONTROLLER, VIF_IDS, used_vif_ids
from kuryr.objects.meta import Key, ObjectMeta
from kuryr.objects.resources import KURYRPORTS, NODES, PODS
from kuryr.objects.vif import VIF, VIFVlanNested, vif_name
from kuryr.testing.drivers import VlanVIF
from kuryr.testing.fake_cloud import FakeCloud
from tests.functional.kubernetes import wait_until

NODE_NAMES = ("vm-1", "vm-2")
HYPERVISOR = "compute-7"


class NestedPool(PortPool):
    """Each node has a trunk of its name; a port of the pool is a subport of it."""

    supported_vif_drivers: ClassVar[frozenset[str] | None] = frozenset({"fake-vlan"})
    reported_by: ClassVar[str] = BY_CONTROLLER

    def __init__(self, context: DriverContext, vif_driver: VlanVIF) -> None:
        super().__init__(context, vif_driver)
        self._joining = threading.Lock()

    def _trunks(self) -> list[dict[str, Any]]:
        answer = self.context.cloud.project().request(
            "GET", "/v2.0/trunks", operation="list trunks", type=dict[str, Any]
        )
        found: list[dict[str, Any]] = answer["trunks"]
        return found

    def _change(self, trunk: dict[str, Any], action: str, subport: dict[str, Any]) -> None:
        self.context.cloud.project().request(
            "PUT",
            f"/v2.0/trunks/{trunk['id']}/{action}",
            operation=action.replace("_", " "),
            type=object,
            body={"sub_ports": [subport]},
        )

    def owns(self, port: Port) -> bool:
        return port.device_owner in (identity.SUBPORT, identity.POD)

    def node_of(self, port: Port, named: str) -> str:
        # The port is bound to the hypervisor, as its trunk's parent is.
        return named

    def make(self, key: PoolKey, subnets: Sequence[SubnetInfo]) -> Future[Port]:
        request = PortRequest(
            network_id=subnets[0].network_id,
            fixed_ips=tuple(FixedIP(subnet.id) for subnet in subnets),
            security_groups=key.shape.security_groups,
            device_owner=identity.POD,
            description=identity.description(self.context.cluster, KIND, key.node),
            share=SHARE,
        )
        made: Future[Port] = Future()

        def join(port: Port) -> None:
            with self._joining:
                trunk = next(trunk for trunk in self._trunks() if trunk["name"] == key.node)
                taken = {subport["segmentation_id"] for subport in trunk["sub_ports"]}
                vlan = next(number for number in range(1, 4095) if number not in taken)
                subport = {"port_id": port.id, "segmentation_type": "vlan", "segmentation_id": vlan}
                self._change(trunk, "add_subports", subport)

        def created(done: Future[Port]) -> None:
            port = done.result()
            joined = self.context.cloud.limiter.submit("add subports", SHARE, lambda: join(port))
            joined.add_done_callback(
                lambda done: (
                    made.set_exception(error) if (error := done.exception()) else made.set_result(port)
                )
            )

        self.context.ports.create(request).add_done_callback(created)
        return made

    def vif_of(self, port: Port, subnets: Sequence[SubnetInfo]) -> VIF:
        vlans = {
            subport["port_id"]: subport["segmentation_id"]
            for trunk in self._trunks()
            for subport in trunk["sub_ports"]
        }
        if port.id not in vlans:
            raise UnusablePort(f"port {port.id} is in no trunk")
        return VIFVlanNested(
            id=port.id,
            address=port.mac_address,
            network=network_of(port, subnets, bridge="", mtu=0),
            vif_name=vif_name("tap", port.id),
            vlan_id=vlans[port.id],
        )

    def remove_port(self, port_id: str, project_id: str) -> Future[None]:
        def leave() -> None:
            for trunk in self._trunks():
                if any(subport["port_id"] == port_id for subport in trunk["sub_ports"]):
                    self._change(trunk, "remove_subports", {"port_id": port_id})
            self.context.cloud.project().request(
                "DELETE", f"/v2.0/ports/{port_id}", operation="delete port", type=type(None)
            )

        return self.context.cloud.limiter.submit("remove subports", SHARE, leave)


@pytest.fixture
def fake() -> Iterator[FakeCloud]:
    with FakeCloud() as cloud:
        network_id = cloud.items("networks")[0]["id"]
        for name in NODE_NAMES:
            parent = cloud.make("ports", network_id=network_id, **{"binding:host_id": HYPERVISOR})
            cloud.make("trunks", port_id=parent["id"], name=name)
        yield cloud


@pytest.fixture
def context(fake: FakeCloud, tmp_path: Path) -> Iterator[DriverContext]:
    path = tmp_path / "kuryr.conf"
    sizes = {"ports_pool_min": "2", "ports_pool_batch": "2", "address_rest": "0"}
    path.write_text(fake.configuration({**fake.options(), "vif_pool": sizes}))
    conf = configuration.load(["--config-file", str(path)])
    cloud = Cloud(conf)
    stores: dict[Any, Store[Any]] = {kind: Store() for kind in (NODES, PODS, KURYRPORTS)}
    stores[KURYRPORTS].add_index(VIF_IDS, used_vif_ids)
    stores[NODES].replace([Node(metadata=ObjectMeta(name=name, uid=name)) for name in NODE_NAMES])
    ports = Ports(cloud)
    yield DriverContext(
        conf=conf,
        cloud=cloud,
        ports=ports,
        subnets=Subnets(cloud),
        security_groups=SecurityGroups(cloud),
        inventory=PortInventory(ports, "c", lambda: [""]),
        stores=stores,
        cluster="c",
    )
    cloud.close(10)


@pytest.fixture
def pool(context: DriverContext) -> Iterator[NestedPool]:
    made = NestedPool(context, VlanVIF(context))
    made.start()
    yield made
    made.stop()


def subports(fake: FakeCloud) -> dict[str, set[str]]:
    """Ids of the ports in each node's trunk."""
    trunks = fake.items("trunks")
    return {trunk["name"]: {subport["port_id"] for subport in trunk["sub_ports"]} for trunk in trunks}


def ready(pool: NestedPool, number: int) -> dict[str, set[str]]:
    """Ids of what is ready on each node, once there are so many of each."""

    def found() -> dict[str, set[str]]:
        try:
            return {node: {entry.vif.id for entry in pool.stock(node).ready} for node in NODE_NAMES}
        except WaitFor:
            return {}

    wait_until(
        lambda: [len(ids) for ids in found().values()] == [number] * len(NODE_NAMES),
        f"{number} on each node; there are {found()}",
    )
    return found()


def take(pool: NestedPool, node: str) -> Allocation:
    conf = pool.context.conf.neutron_defaults
    choice = Choice(fixed_ips=tuple(WantedIP(subnet) for subnet in conf.pod_subnet), reason="configured")
    request = VIFRequest(
        owner=Owner(kind="Pod", key=Key("ns", "a"), uid="a", node=node),
        ifname="eth0",
        project_id=conf.project,
        choices=(choice,),
        security_groups=tuple(conf.pod_security_groups),
    )
    return pool.request_vif(request, choice)


def test_ready_ports_are_in_the_trunks_of_their_nodes(fake: FakeCloud, pool: NestedPool) -> None:
    assert ready(pool, 2) == subports(fake)
    fake.journal.clear()
    got = take(pool, "vm-2")
    assert isinstance(got.vif, VIFVlanNested)
    assert got.reported_by == BY_CONTROLLER
    assert got.vif.id in subports(fake)["vm-2"]
    assert not [call for call in fake.journal.counts if call.startswith(("update", "delete"))]


def test_another_controller_finds_them_by_their_identity(
    fake: FakeCloud, context: DriverContext, pool: NestedPool
) -> None:
    before = ready(pool, 2)
    pool.stop()
    for port in fake.ports:
        if port["id"] in set().union(*before.values()):
            fake.neutron.ports.items[port["id"]]["binding:host_id"] = HYPERVISOR
    # Made, and its maker was killed before it was put into a trunk.
    network_id = fake.items("networks")[0]["id"]
    lost = fake.make(
        "ports",
        network_id=network_id,
        project_id=fake.project_id,
        device_owner=identity.POD,
        description="kuryr:c:pool:vm-1",
    )
    context.inventory.begin()
    other = NestedPool(context, VlanVIF(context))
    other.start()
    try:
        wait_until(lambda: other.known_ports() is not None, "the other has recovered the pools")
        found = other.known_ports()
        assert found is not None
        assert set(found) == set().union(*before.values())
        wait_until(
            lambda: lost["id"] not in {port["id"] for port in fake.ports}, "what is in no trunk is removed"
        )
        other.audit(context.inventory.refresh())
        assert set(other.known_ports() or ()) == set(found), "a binding elsewhere is no change"
    finally:
        other.stop()


def test_removal_begins_with_the_trunk(fake: FakeCloud, pool: NestedPool) -> None:
    there = ready(pool, 2)
    pool.context.stores[NODES].remove(Key("", "vm-2"))
    pool.node_changed("vm-2")
    wait_until(lambda: not subports(fake)["vm-2"], "they have left the trunk")
    wait_until(lambda: not there["vm-2"] & {port["id"] for port in fake.ports}, "and were deleted")
    assert subports(fake)["vm-1"] == there["vm-1"]
