# SPDX-License-Identifier: Apache-2.0
"""Each kind of driver with another one than the default, through the whole pipeline."""

from kuryr.objects.meta import Key
from kuryr.objects.resources import NAMESPACES, PODS
from kuryr.objects.vif import VIFOpenVSwitch, VIFVlanNested
from tests.functional.controller.harness import NODE, World
from tests.functional.kubernetes import wait_until


def annotated(**annotations: str) -> dict[str, dict[str, str]]:
    names = {"subnets": "kuryr.testing/subnets", "vifs": "kuryr.testing/vifs"}
    return {"annotations": {names[name]: value for name, value in annotations.items()}}


def test_two_vifs_on_two_networks(world: World) -> None:
    pods2 = world.cloud.subnets["pods2"]
    with world.controller({"kubernetes": {"multi_vif_drivers": "noop,annotated"}}) as running:
        running.wait_holding()
        world.create_pod("a", metadata=annotated(vifs=f"{pods2[4]}+{pods2[6]} {pods2[4]}"))
        port = world.wait_filled("a")
        vifs = port.decoded_vifs()
        assert sorted(vifs) == ["eth0", "eth1", "eth2"]
        assert [name for name, entry in port.status.vifs.items() if entry.default] == ["eth0"]
        assert vifs["eth0"].network.label == "pods"
        assert vifs["eth1"].network.label == vifs["eth2"].network.label == "pods2"
        assert [len(vifs[name].addresses) for name in ("eth0", "eth1", "eth2")] == [2, 2, 1]
        details = {made["description"].rpartition(":")[2]: made["id"] for made in world.ports()}
        assert details == {name: vif.id for name, vif in vifs.items()}
        assert world.count("create port") == 3
        world.delete_pod("a")
        world.wait_gone("a")
        assert world.ports() == []


def test_security_groups_of_two_vifs(world: World) -> None:
    """Each is set once, though one call ends before the other."""
    group = world.cloud.make("security_groups", name="other")["id"]
    options = {"kubernetes": {"multi_vif_drivers": "annotated", "pod_security_groups_driver": "annotated"}}
    with world.controller(options) as running:
        running.wait_holding()
        world.create_pod("a", metadata=annotated(vifs=world.cloud.subnets["pods2"][4]))
        world.wait_filled("a")
        delays = iter([0.0, 0.5])
        world.cloud.knobs.latency("update port", lambda: next(delays, 0.0))
        annotations = {"kuryr.testing/security-groups": group}
        world.client.merge_patch(PODS, world.key("a"), {"metadata": {"annotations": annotations}})
        wait_until(
            lambda: all(
                entry.security_groups == [group] for entry in world.kuryrport("a").status.vifs.values()
            ),
            "both have the other group",
        )
        assert [port["security_groups"] for port in world.ports()] == [[group], [group]]
        assert world.count("update port") == 2


def test_of_two_vifs_one_fails(world: World) -> None:
    """The KuryrPort is filled when both are there, and what was made meanwhile is used, or given back."""
    network = world.cloud.make("networks", name="small")
    small = world.cloud.make("subnets", network_id=network["id"], cidr="10.99.0.0/30", ip_version=4)["id"]
    taken = world.cloud.make("ports", network_id=network["id"], fixed_ips=[{"subnet_id": small}])
    with world.controller({"kubernetes": {"multi_vif_drivers": "annotated"}}) as running:
        running.wait_holding()
        for name in ("a", "b"):
            world.create_pod(name, metadata=annotated(vifs=small))
            world.wait_failed(name, "SubnetFull")
            assert not world.kuryrport(name).status.vifs
        world.delete_pod("b")
        world.wait_gone("b")
        world.wait_ports(1)
        world.cloud.remove("ports", taken["id"])
        vifs = world.wait_filled("a").decoded_vifs()
        assert {made["id"] for made in world.wait_ports(2)} == {vif.id for vif in vifs.values()}


def test_a_subport_on_a_node_without_open_vswitch(world: World) -> None:
    """The controller tells that it is up, from one query for all; the VIF goes back to the driver that made it."""
    with world.controller({"kubernetes": {"pod_vif_driver": "fake-vlan"}}) as running:
        running.wait_holding()
        for name in ("a", "b"):
            world.create_pod(name)
        ports = {name: world.wait_filled(name) for name in ("a", "b")}
        vifs = {name: port.decoded_vifs()["eth0"] for name, port in ports.items()}
        assert all(isinstance(vif, VIFVlanNested) for vif in vifs.values())
        assert sorted(vif.vlan_id for vif in vifs.values() if isinstance(vif, VIFVlanNested)) == [1, 2]
        for port in ports.values():
            assert port.status.vifs["eth0"].reported_by == "controller"
            assert not port.status.vifs["eth0"].conditions
        assert [made["binding:host_id"] for made in world.ports()] == ["", ""]
        world.cloud.set_status(vifs["a"].id, "ACTIVE")
        wait_until(lambda: is_up(world, "a"), "a is up")
        assert not is_up(world, "b")
        world.cloud.set_status(vifs["b"].id, "ACTIVE")
        wait_until(lambda: is_up(world, "b"), "b is up")
        assert world.kuryrport("b").decoded_vifs()["eth0"].active
        for name in ("a", "b"):
            world.delete_pod(name)
            world.wait_gone(name)
        assert world.ports() == []


def is_up(world: World, name: str) -> bool:
    conditions = world.kuryrport(name).status.vifs["eth0"].conditions
    return any(condition.type == "Up" and condition.status == "True" for condition in conditions)


def test_two_vif_drivers_in_one_pod(world: World) -> None:
    pods2 = world.cloud.subnets["pods2"][4]
    with world.controller({"kubernetes": {"multi_vif_drivers": "annotated"}}) as running:
        running.wait_holding()
        world.create_pod("a", metadata=annotated(vifs=f"fake-vlan/{pods2}"))
        port = world.wait_filled("a")
        vifs = port.decoded_vifs()
        assert isinstance(vifs["eth0"], VIFOpenVSwitch)
        assert isinstance(vifs["eth1"], VIFVlanNested)
        assert [port.status.vifs[name].driver for name in ("eth0", "eth1")] == ["neutron-vif", "fake-vlan"]
    # Another controller than the one that made them gives them back.
    with world.controller({"kubernetes": {"multi_vif_drivers": "annotated"}}) as running:
        running.wait_holding()
        world.delete_pod("a")
        world.wait_gone("a")
        assert world.ports() == []


def test_a_pool(world: World) -> None:
    options = {"kubernetes": {"vif_pool_driver": "fake-pool"}, "fake_pool": {"nodes": NODE, "size": "2"}}
    with world.controller(options) as running:
        running.wait_ready()
        wait_until(lambda: world.count("create port") == 2, "the pool is full")
        wait_until(lambda: len(world.ports()) == 2, "both are there")
        pooled = {port["id"] for port in world.ports()}
        world.cloud.journal.clear()
        for name in ("a", "b"):
            world.create_pod(name)
        hits = {name: world.wait_filled(name) for name in ("a", "b")}
        assert world.cloud.journal.counts == {}, "a hit costs no call"
        assert {port.decoded_vifs()["eth0"].id for port in hits.values()} == pooled
        assert "from the pool of node-1" in hits["a"].status.vifs["eth0"].choice
        world.create_pod("c")
        world.wait_filled("c")
        assert world.cloud.journal.counts == {"create port": 1}, "a miss costs one"
        world.delete_pod("a")
        world.wait_gone("a")
        assert world.count("delete port") == 0, "it is back in the pool"
        world.create_pod("d")
        assert world.wait_filled("d").decoded_vifs()["eth0"].id == hits["a"].decoded_vifs()["eth0"].id


def test_a_project_for_a_namespace(world: World) -> None:
    tenant = world.cloud.keystone.add_project("tenant")
    group = world.cloud.make("security_groups", project_id=tenant.id, name="tenant")["id"]
    annotations = {"kuryr.testing/project": tenant.id}
    world.client.merge_patch(NAMESPACES, Key("", world.namespace), {"metadata": {"annotations": annotations}})
    options = {
        "kubernetes": {
            "pod_project_driver": "annotated",
            "pod_security_groups_driver": "annotated",
            "audit_period": 1,
            "audit_grace": 1,
        },
        "neutron": {"username": "admin"},
    }
    metadata = {"annotations": {"kuryr.testing/security-groups": group}}
    with world.controller(options) as running:
        running.wait_holding()
        world.create_pod("a", metadata=metadata)
        port = world.wait_filled("a")
        (made,) = world.ports()
        assert made["project_id"] == port.status.vifs["eth0"].project_id == tenant.id
    # What a killed controller left in the tenant's project is found there.
    network = made["network_id"]
    for uid in ("00000000-0000-4000-8000-000000000001",):
        world.cloud.make(
            "ports",
            project_id=tenant.id,
            network_id=network,
            device_owner="compute:kuryr",
            device_id=uid,
            description=f"kuryr:{world.cluster}:pod:{uid}:eth0",
        )
    with world.controller(options) as running:
        running.wait_holding()
        world.wait_ports(1)
        world.delete_pod("a")
        world.wait_gone("a")
        assert world.ports() == []


def test_several_candidates_the_first_is_full(world: World) -> None:
    network = world.cloud.make("networks", name="small")
    small = world.cloud.make("subnets", network_id=network["id"], cidr="10.99.0.0/30", ip_version=4)["id"]
    world.cloud.make("ports", network_id=network["id"], fixed_ips=[{"subnet_id": small}])
    pods = world.cloud.subnets["pods"]
    with world.controller({"kubernetes": {"pod_subnets_driver": "annotated"}}) as running:
        running.wait_holding()
        candidates = f"{small};{pods[4]}+{pods[6]}"
        world.create_pod("a", metadata=annotated(subnets=candidates))
        port = world.wait_filled("a")
        entry = port.status.vifs["eth0"]
        assert entry.subnet_ids == [pods[4], pods[6]]
        assert "passed over" in entry.choice
        assert "No more IP addresses" in entry.choice
        assert len(world.ports()) == 1
        assert world.events("a") == [], "it is no failure"


def test_all_candidates_are_full(world: World) -> None:
    full = []
    for number in (1, 2):
        network = world.cloud.make("networks", name=f"small{number}")
        subnet = world.cloud.make(
            "subnets", network_id=network["id"], cidr=f"10.99.{number}.0/30", ip_version=4
        )
        full.append(
            (subnet["id"], world.cloud.make("ports", network_id=network["id"])["id"]),
        )
    with world.controller({"kubernetes": {"pod_subnets_driver": "annotated"}}) as running:
        running.wait_holding()
        world.create_pod("a", metadata=annotated(subnets=";".join(subnet for subnet, _ in full)))
        assert "no candidate worked" in world.wait_failed("a", "SubnetFull").message
        world.cloud.remove("ports", full[1][1])
        assert world.wait_filled("a").status.vifs["eth0"].subnet_ids == [full[1][0]]


def test_a_requested_address(world: World) -> None:
    pods = world.cloud.subnets["pods"]
    with world.controller({"kubernetes": {"pod_subnets_driver": "annotated"}}) as running:
        running.wait_holding()
        wanted = annotated(subnets=f"{pods[4]}=10.10.7.7+{pods[6]}=fd00:10:10::7:7")
        world.create_pod("a", metadata=wanted)
        assert world.wait_filled("a").decoded_vifs()["eth0"].addresses == ("10.10.7.7", "fd00:10:10::7:7")
        world.create_pod("b", metadata=wanted)
        assert "10.10.7.7" in world.wait_failed("b", "AddressInUse").message
        world.delete_pod("a")
        assert world.wait_filled("b").decoded_vifs()["eth0"].addresses[0] == "10.10.7.7"
        # A stateful pod: made anew under its name, with its address, while the old port is on its way out.
        world.delete_pod("b")
        again = world.create_pod("b", metadata=wanted)
        port = world.wait_filled("b", uid=again.metadata.uid)
        assert port.decoded_vifs()["eth0"].addresses[0] == "10.10.7.7"
        world.wait_ports(1)
