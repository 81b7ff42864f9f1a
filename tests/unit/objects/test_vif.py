# SPDX-License-Identifier: Apache-2.0
"""The stored format of VIFs: what the original wrote, what we write, and what neither should have written."""

import copy
import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kuryr.objects.kuryrport import KuryrPort, used_vif_ids
from kuryr.objects.vif import (
    KINDS,
    VIF,
    InvalidVIF,
    Network,
    Route,
    Subnet,
    VIFBridge,
    VIFDPDKNested,
    VIFMacvlanNested,
    VIFOpenVSwitch,
    VIFVHostUser,
    VIFVlanNested,
    decode,
    encode,
    stored_id,
    vif_name,
)

RECORDED = sorted((Path(__file__).parent / "data").glob("*.json"))


def recorded(path: Path) -> KuryrPort:
    return msgspec.json.decode(path.read_bytes(), type=KuryrPort)


@pytest.mark.parametrize("path", RECORDED, ids=lambda path: path.stem)
def test_what_the_original_wrote_is_understood_and_written_alike(path: Path) -> None:
    port = recorded(path)
    for name, entry in port.status.vifs.items():
        assert encode(decode(entry.vif)) == entry.vif, name


def test_two_nics() -> None:
    port = recorded(Path(__file__).parent / "data" / "two-nics.json")
    vifs = port.decoded_vifs()
    assert port.default_interface == "eth0"
    assert vifs["eth0"].addresses == ("10.128.0.29",)
    assert vifs["eth0"].network.subnets[0].gateway == "10.128.0.1"
    assert vifs["eth1"].network.label == "pods2"
    assert port.status.vifs["eth0"].security_groups is None, "unknown is not the same as none"


addresses4 = st.ip_addresses(v=4).map(str)
addresses6 = st.ip_addresses(v=6).map(str)
networks4 = st.integers(8, 30).map(lambda n: f"10.0.0.0/{n}")
networks6 = st.integers(16, 120).map(lambda n: f"fd00::/{n}")
names = st.text(min_size=1, max_size=20)
uuids = st.uuids().map(str)


def subnets(cidrs: st.SearchStrategy[str], addresses: st.SearchStrategy[str]) -> st.SearchStrategy[Subnet]:
    return st.builds(
        Subnet,
        cidr=cidrs,
        ips=st.lists(addresses, max_size=3).map(tuple),
        gateway=st.none() | addresses,
        dns=st.lists(addresses, max_size=2).map(tuple),
        routes=st.lists(st.builds(Route, cidr=cidrs, gateway=st.none() | addresses), max_size=2).map(tuple),
    )


def networks(bridge: st.SearchStrategy[str]) -> st.SearchStrategy[Network]:
    return st.builds(
        Network,
        id=uuids,
        label=st.text(max_size=20),
        bridge=bridge,
        mtu=st.integers(0, 9000),
        subnets=st.lists(subnets(networks4, addresses4) | subnets(networks6, addresses6), max_size=3).map(
            tuple
        ),
    )


def built(cls: type[VIF], **fields: Any) -> st.SearchStrategy[VIF]:
    common = {
        "id": uuids,
        "address": st.just("fa:16:3e:00:00:01"),
        "network": networks(st.text(max_size=10)),
        "vif_name": names,
        "active": st.booleans(),
    }
    return st.builds(cls, **{**common, **fields})


vifs = st.one_of(
    built(VIFOpenVSwitch, bridge_name=names, datapath_type=st.sampled_from(["", "netdev", "system"])),
    # The stored format has one place for both: the network's bridge is the integration bridge.
    st.builds(
        lambda vif: msgspec.structs.replace(
            vif, network=msgspec.structs.replace(vif.network, bridge=vif.ovs_bridge)
        ),
        built(VIFBridge, bridge_name=names, ovs_bridge=names),
    ),
    built(VIFVHostUser, path=names, mode=st.sampled_from(["client", "server"]), bridge_name=names),
    built(VIFVlanNested, vlan_id=st.integers(1, 4094)),
    built(VIFMacvlanNested),
    built(VIFDPDKNested, dev_driver=st.text(max_size=10)),
)


@given(vifs)
def test_round_trip(vif: VIF) -> None:
    assert decode(json.loads(json.dumps(encode(vif)))) == vif


def test_every_class_is_tried_above() -> None:
    assert set(KINDS) == {
        "VIFOpenVSwitch",
        "VIFBridge",
        "VIFVHostUser",
        "VIFVlanNested",
        "VIFMacvlanNested",
        "VIFDPDKNested",
    }


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Where something could be changed in a JSON value."""
    found = [path] if path else []
    if isinstance(value, dict):
        found += [place for key, inner in value.items() for place in places(inner, (*path, key))]
    elif isinstance(value, list):
        found += [place for index, inner in enumerate(value) for place in places(inner, (*path, index))]
    return found


@given(st.sampled_from(RECORDED), st.data(), anything)
def test_a_broken_vif_is_refused_or_understood_but_never_a_bug(
    path: Path, data: st.DataObject, value: Any
) -> None:
    entry = copy.deepcopy(next(iter(recorded(path).status.vifs.values())).vif)
    *way, last = data.draw(st.sampled_from(places(entry)))
    target = entry
    for step in way:
        target = target[step]
    target[last] = value
    try:
        vif = decode(entry)
    except InvalidVIF:
        return
    # What was understood can be worked with.
    for subnet in vif.network.subnets:
        assert subnet.version in (4, 6)
        assert subnet.prefixlen >= 0
    assert decode(encode(vif)).id == vif.id


@given(anything)
def test_an_id_is_read_of_anything(value: Any) -> None:
    assert stored_id(value) == ""


def test_a_vif_that_cannot_be_understood_is_in_use_all_the_same() -> None:
    port = recorded(RECORDED[0])
    before = used_vif_ids(port)
    assert before == [vif.id for vif in port.decoded_vifs().values()]
    port.status.vifs["eth0"].vif["versioned_object.name"] = "VIFSriov"
    assert used_vif_ids(port) == before
    port.spec.owner_kind = "Pool"
    assert used_vif_ids(port) == []


@given(anything)
def test_anything_else_is_refused(value: Any) -> None:
    with pytest.raises(InvalidVIF):
        decode(value)


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        (("versioned_object.name",), "VIFSriov", "unknown class 'VIFSriov', expected one of VIFBridge"),
        (("versioned_object.data", "id"), "", "vif.id: missing"),
        (("versioned_object.data", "address"), None, "vif.address: missing"),
        (("versioned_object.data", "network"), None, "vif.network: expected an object"),
        (
            ("versioned_object.data", "network", "versioned_object.data", "mtu"),
            "big",
            "vif.network.mtu: expected a whole number, not 'big'",
        ),
    ],
)
def test_messages_name_the_field(path: tuple[str, ...], value: Any, said: str) -> None:
    entry = copy.deepcopy(recorded(RECORDED[0]).status.vifs["eth0"].vif)
    target = entry
    for step in path[:-1]:
        target = target[step]
    target[path[-1]] = value
    with pytest.raises(InvalidVIF) as raised:
        decode(entry)
    assert said in str(raised.value)


@given(uuids)
def test_interface_names_are_neutron_s(port_id: str) -> None:
    assert vif_name("tap", port_id) == "tap" + port_id[:11]
