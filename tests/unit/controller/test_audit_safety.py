# SPDX-License-Identifier: Apache-2.0
"""Whatever is listed and whatever there is: a port that any KuryrPort names is never called an orphan."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from kuryr.cloud.identity import Identity
from kuryr.cloud.ports import Port
from kuryr.controller.findings import orphans
from kuryr.drivers.inventory import Snapshot
from kuryr.objects.kuryrport import KuryrPort, KuryrPortSpec, KuryrPortStatus, VIFStatus
from kuryr.objects.meta import ObjectMeta
from kuryr.objects.vif import Network, VIFOpenVSwitch, encode

IDS = st.sampled_from([f"port-{number}" for number in range(5)])
UIDS = st.sampled_from([f"uid-{number}" for number in range(3)])
INTERFACES = st.sampled_from(["eth0", "eth1", ""])
KINDS = st.sampled_from(["pod", "node", "pool", "loadbalancer"])

identities = st.builds(Identity, cluster=st.just("c"), kind=KINDS, uid=UIDS, detail=INTERFACES)
snapshots = st.dictionaries(IDS, identities).map(
    lambda found: Snapshot(0.0, {i: (Port(id=i, network_id="n"), who) for i, who in found.items()})
)


def stored(port_id: str) -> Any:
    return encode(VIFOpenVSwitch(id=port_id, address="a", network=Network(id="n"), vif_name="tap"))


vifs = st.one_of(IDS.map(stored), st.none(), st.just({"versioned_object.name": "VIFOfTomorrow"}))
kuryrports = st.builds(
    lambda uid, kind, entries, deleting: KuryrPort(
        metadata=ObjectMeta(name=uid, namespace="ns", deletion_timestamp="now" if deleting else None),
        spec=KuryrPortSpec(pod_uid=uid, owner_kind=kind),
        status=KuryrPortStatus(vifs={name: VIFStatus(vif=vif) for name, vif in entries.items()}),
    ),
    UIDS,
    st.sampled_from(["Pod", "Node"]),
    st.dictionaries(INTERFACES, vifs),
    st.booleans(),
)


@given(snapshots, st.lists(kuryrports, max_size=4), st.none() | st.sets(IDS))
def test_a_port_in_use_is_no_orphan(
    snapshot: Snapshot, kuryrports: list[KuryrPort], pooled: set[str] | None
) -> None:
    found = orphans(snapshot, kuryrports, pooled)
    in_use = {
        entry.vif["versioned_object.data"]["id"]
        for port in kuryrports
        for entry in port.status.vifs.values()
        if entry.vif is not None and "versioned_object.data" in entry.vif
    }
    assert not found & in_use
    assert found <= set(snapshot.ports)
    assert not any(snapshot.ports[port_id][1].kind == "loadbalancer" for port_id in found)


@given(snapshots, UIDS)
def test_an_owner_that_is_not_filled_yet_loses_nothing(snapshot: Snapshot, uid: str) -> None:
    waiting = KuryrPort(spec=KuryrPortSpec(pod_uid=uid))
    found = orphans(snapshot, [waiting])
    assert not any(snapshot.ports[port_id][1].uid == uid for port_id in found)


@given(snapshots)
def test_without_owners_all_that_are_marked_as_pods_and_nodes_are_found(snapshot: Snapshot) -> None:
    assert orphans(snapshot, []) == {
        port_id for port_id, (_, who) in snapshot.ports.items() if who.kind in ("pod", "node")
    }
