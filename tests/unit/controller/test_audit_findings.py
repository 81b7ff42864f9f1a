# SPDX-License-Identifier: Apache-2.0
"""What an audit finds, and when it is sure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from kuryr.cloud.identity import Identity
from kuryr.cloud.ports import Port
from kuryr.controller.findings import CHANGED, MISSING, Suspects, drift, orphan_findings, orphans
from kuryr.drivers.inventory import Snapshot
from kuryr.objects.kuryrport import KuryrPort, KuryrPortSpec, KuryrPortStatus, VIFStatus
from kuryr.objects.meta import ObjectMeta
from kuryr.objects.vif import Network, VIFOpenVSwitch, encode


def vif(port_id: str) -> Any:
    network = Network(id="net", label="pods", bridge="br-int", mtu=1442, subnets=())
    return encode(
        VIFOpenVSwitch(
            id=port_id, address="fa:16:3e:00:00:01", network=network, vif_name="tap1", bridge_name="br-int"
        )
    )


def entry(port_id: str, **fields: Any) -> VIFStatus:
    return VIFStatus(**{"vif": vif(port_id), "project_id": "project", "security_groups": ["group"], **fields})


def kuryrport(
    uid: str, vifs: Mapping[str, VIFStatus], *, kind: str = "Pod", deleting: bool = False
) -> KuryrPort:
    metadata = ObjectMeta(
        name=f"pod-{uid}",
        namespace="default",
        uid=f"kp-{uid}",
        deletion_timestamp="2026-01-01T00:00:00Z" if deleting else None,
    )
    return KuryrPort(
        metadata=metadata,
        spec=KuryrPortSpec(pod_uid=uid, pod_node_name="node-1", owner_kind=kind),
        status=KuryrPortStatus(vifs=dict(vifs)),
    )


def listing(*ports: tuple[str, str, str, str], **fields: Any) -> Snapshot:
    """Ports by id, kind, UID and detail."""
    shown = {"security_groups": ("group",), "host_id": "node-1", "revision_number": 3, **fields}
    return Snapshot(
        1.0,
        {
            port_id: (Port(id=port_id, network_id="net", **shown), Identity("c", kind, uid, detail))
            for port_id, kind, uid, detail in ports
        },
    )


def wanted(port: KuryrPort, name: str, found: VIFStatus) -> dict[str, Any]:
    return {"security_groups": tuple(found.security_groups or ()), "host_id": port.spec.pod_node_name}


def test_a_port_that_nobody_has_is_an_orphan() -> None:
    snapshot = listing(("p1", "pod", "u1", "eth0"), ("p2", "pod", "u2", "eth0"))
    (found,) = orphan_findings(snapshot, [kuryrport("u1", {"eth0": entry("p1")})])
    assert (found.id, found.owner) == ("p2", "pod u2")


def test_a_second_port_of_an_interface_is_an_orphan() -> None:
    snapshot = listing(("p1", "pod", "u1", "eth0"), ("p2", "pod", "u1", "eth0"))
    assert orphans(snapshot, [kuryrport("u1", {"eth0": entry("p1")})]) == {"p2"}


def test_what_is_about_to_be_dealt_with_is_left_alone() -> None:
    snapshot = listing(("p1", "pod", "u1", "eth0"), ("p2", "pod", "u2", "eth0"))
    assert not orphans(snapshot, [kuryrport("u1", {}), kuryrport("u2", {}, deleting=True)])


def test_ports_of_pools_are_orphans_only_where_the_pool_is_known_and_does_not_know_them() -> None:
    snapshot = listing(
        ("p1", "pool", "node-1", ""), ("p2", "pool", "node-1", ""), ("p3", "pool", "node-1", "")
    )
    ports = [kuryrport("u1", {"eth0": entry("p1")})]
    assert orphans(snapshot, ports) == set()
    assert orphans(snapshot, ports, {"p2"}) == {"p3"}


def test_a_port_as_it_should_be_is_no_finding() -> None:
    snapshot = listing(("p1", "pod", "u1", "eth0"))
    assert drift(snapshot, [kuryrport("u1", {"eth0": entry("p1")})], wanted) == []


def test_groups_and_host_that_were_changed_are_named() -> None:
    snapshot = listing(("p1", "pod", "u1", "eth0"), security_groups=(), host_id="elsewhere")
    (found,) = drift(snapshot, [kuryrport("u1", {"eth0": entry("p1")})], wanted)
    assert found.verdict == CHANGED
    assert found.fields == {"security_groups": ("group",), "host_id": "node-1"}
    assert found.revision == 3
    assert "host_id is elsewhere, not node-1" in found.message
    assert "security_groups is empty, not group" in found.message


def test_the_order_of_groups_does_not_matter() -> None:
    snapshot = listing(("p1", "pod", "u1", "eth0"), security_groups=("b", "a"))
    assert drift(snapshot, [kuryrport("u1", {"eth0": entry("p1", security_groups=["a", "b"])})], wanted) == []


def test_a_port_in_a_pod_s_use_from_a_pool_is_looked_at_too() -> None:
    snapshot = listing(("p1", "pool", "node-1", ""), security_groups=())
    (found,) = drift(snapshot, [kuryrport("u1", {"eth0": entry("p1", pool="pool:node-1")})], wanted)
    assert found.fields == {"security_groups": ("group",)}


def test_a_port_that_is_gone_is_missed() -> None:
    (found,) = drift(listing(), [kuryrport("u1", {"eth0": entry("p1")})], wanted)
    assert (found.verdict, found.id, found.kuryrport_uid) == (MISSING, "p1", "kp-u1")


def test_nobody_misses_what_a_driver_does_not_answer_for_or_the_original_made() -> None:
    ports = [
        kuryrport("u1", {"eth0": entry("p1", project_id="", security_groups=None)}),
        kuryrport("u2", {"eth0": entry("p2")}, deleting=True),
        kuryrport("u3", {"tap1": entry("p3")}, kind="Pool"),
    ]
    assert drift(listing(), ports, wanted) == []
    assert drift(listing(), [kuryrport("u4", {"eth0": entry("p4")})], lambda port, name, found: None) == []


def test_unknown_groups_and_a_hidden_binding_are_not_judged() -> None:
    snapshot = listing(("p1", "pod", "u1", "eth0"), security_groups=("other",), host_id=None)
    assert drift(snapshot, [kuryrport("u1", {"eth0": entry("p1", security_groups=None)})], wanted) == []


IDS = st.sampled_from([f"p{n}" for n in range(6)])
UIDS = st.sampled_from([f"u{n}" for n in range(4)])


@given(
    st.dictionaries(IDS, st.tuples(st.sampled_from(["pod", "node", "pool"]), UIDS)),
    st.dictionaries(UIDS, st.tuples(st.sets(IDS, max_size=2), st.booleans())),
    st.none() | st.sets(IDS),
)
def test_a_port_that_a_kuryrport_names_is_never_an_orphan_unless_its_owner_has_another(
    ports: dict[str, tuple[str, str]], owners: dict[str, tuple[set[str], bool]], pooled: set[str] | None
) -> None:
    snapshot = listing(*((port_id, kind, uid, "eth0") for port_id, (kind, uid) in ports.items()))
    kuryrports = [
        kuryrport(uid, {f"eth{n}": entry(vif_id) for n, vif_id in enumerate(sorted(vifs))}, deleting=deleting)
        for uid, (vifs, deleting) in owners.items()
    ]
    for port_id in orphans(snapshot, kuryrports, pooled):
        kind, uid = ports[port_id]
        if kind == "pool":
            assert not any(port_id in vifs for vifs, _ in owners.values())
            assert port_id not in (pooled or ())
        elif uid in owners:
            vifs, deleting = owners[uid]
            assert not deleting
            assert sorted(vifs)[0] != port_id


def test_only_what_is_found_twice_and_long_enough_apart_is_sure() -> None:
    suspects = Suspects[str]()
    assert suspects.judge(["a"], 0, 10) == set()
    assert suspects.judge(["a", "b"], 5, 10) == set()
    assert suspects.judge(["a"], 10, 10) == {"a"}
    assert suspects.judge(["b"], 20, 10) == set(), "it was gone in between"
    assert Suspects[str]().judge(["a"], 0, 0) == set(), "twice, whatever the grace"
