# SPDX-License-Identifier: Apache-2.0
"""VIFs, and the format in which a KuryrPort stores them.

The stored format is that of oslo.versionedobjects for os-vif's classes, which clusters of the original hold;
reading and writing it needs neither library, so the controller loads neither.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from typing import Any, ClassVar

import msgspec

from kuryr.errors import KuryrError

Primitive = dict[str, Any]


class InvalidVIF(KuryrError):
    """A stored VIF cannot be understood; the message names the field."""

    reason = "InvalidVIF"


class Route(msgspec.Struct, frozen=True, kw_only=True):
    """A host route of a subnet."""

    cidr: str
    gateway: str | None = None


class Subnet(msgspec.Struct, frozen=True, kw_only=True):
    """A subnet as one VIF sees it: ``ips`` are the VIF's own addresses in it, without prefix length."""

    cidr: str
    ips: tuple[str, ...] = ()
    gateway: str | None = None
    dns: tuple[str, ...] = ()
    routes: tuple[Route, ...] = ()

    @property
    def version(self) -> int:
        """4 or 6."""
        return ipaddress.ip_network(self.cidr).version

    @property
    def prefixlen(self) -> int:
        """Prefix length of the subnet, in bits."""
        return ipaddress.ip_network(self.cidr).prefixlen


class Network(msgspec.Struct, frozen=True, kw_only=True):
    """A Neutron network. ``mtu`` in bytes, 0 where unknown; ``bridge`` is empty where nothing was said."""

    id: str
    label: str = ""
    bridge: str = ""
    mtu: int = 0
    subnets: tuple[Subnet, ...] = ()


class VIF(msgspec.Struct, frozen=True, kw_only=True):
    """A virtual interface: a Neutron port, ready to be bound. ``id`` is the port's; ``address`` its MAC."""

    kind: ClassVar[str] = ""
    namespace: ClassVar[str] = "os_vif"
    version: ClassVar[str] = "1.0"
    plugin: ClassVar[str] = "noop"

    id: str
    address: str
    network: Network
    vif_name: str
    active: bool = False

    @property
    def addresses(self) -> tuple[str, ...]:
        """All addresses of all subnets, IPv4 before IPv6 as the subnets stand."""
        return tuple(ip for subnet in self.network.subnets for ip in subnet.ips)


class VIFOpenVSwitch(VIF, frozen=True, kw_only=True):
    """A port of an Open vSwitch bridge."""

    kind: ClassVar[str] = "VIFOpenVSwitch"
    plugin: ClassVar[str] = "ovs"
    bridge_name: str = "br-int"
    datapath_type: str = ""


class VIFBridge(VIF, frozen=True, kw_only=True):
    """Open vSwitch through a Linux bridge on which iptables filter (``ovs_hybrid_plug``)."""

    kind: ClassVar[str] = "VIFBridge"
    plugin: ClassVar[str] = "ovs"
    bridge_name: str = ""
    ovs_bridge: str = "br-int"


class VIFVHostUser(VIF, frozen=True, kw_only=True):
    """A vhost-user socket. ``mode``: client or server, as seen from the pod's side of Neutron's binding."""

    kind: ClassVar[str] = "VIFVHostUser"
    version: ClassVar[str] = "1.1"
    plugin: ClassVar[str] = "vhostuser"
    path: str = ""
    mode: str = "client"
    bridge_name: str = ""


class VIFVlanNested(VIF, frozen=True, kw_only=True):
    """A VLAN sub-interface of a node VM's trunk; ``vlan_id`` 1 to 4094."""

    kind: ClassVar[str] = "VIFVlanNested"
    namespace: ClassVar[str] = "kuryr_kubernetes"
    vlan_id: int


class VIFMacvlanNested(VIF, frozen=True, kw_only=True):
    """A macvlan interface of a node VM's port."""

    kind: ClassVar[str] = "VIFMacvlanNested"
    namespace: ClassVar[str] = "kuryr_kubernetes"


class VIFDPDKNested(VIF, frozen=True, kw_only=True):
    """A PCI device of a node VM, bound to ``dev_driver`` for a DPDK program in the pod."""

    kind: ClassVar[str] = "VIFDPDKNested"
    namespace: ClassVar[str] = "kuryr_kubernetes"
    dev_driver: str = ""


KINDS: Mapping[str, type[VIF]] = {
    cls.kind: cls
    for cls in (VIFOpenVSwitch, VIFBridge, VIFVHostUser, VIFVlanNested, VIFMacvlanNested, VIFDPDKNested)
}


def vif_name(prefix: str, port_id: str) -> str:
    """Name of a port's host interface, as Neutron, os-vif and the original have it: at most 14 characters."""
    return (prefix + port_id)[:14]


def _wrap(name: str, data: Primitive, version: str, namespace: str = "os_vif") -> Primitive:
    return {
        "versioned_object.data": data,
        "versioned_object.name": name,
        "versioned_object.namespace": namespace,
        "versioned_object.version": version,
    }


def _objects(name: str, items: list[Primitive]) -> Primitive:
    return _wrap(name, {"objects": items}, "1.0")


def _encode_subnet(subnet: Subnet) -> Primitive:
    data: Primitive = {
        "cidr": subnet.cidr,
        "dns": list(subnet.dns),
        "ips": _objects("FixedIPList", [_wrap("FixedIP", {"address": ip}, "1.0") for ip in subnet.ips]),
        "routes": _objects(
            "RouteList",
            [_wrap("Route", {"cidr": r.cidr, "gateway": r.gateway}, "1.0") for r in subnet.routes],
        ),
    }
    if subnet.gateway is not None:
        data["gateway"] = subnet.gateway
    return _wrap("Subnet", data, "1.0")


def _encode_network(network: Network) -> Primitive:
    data: Primitive = {
        "id": network.id,
        "label": network.label,
        "mtu": network.mtu or None,
        "multi_host": False,
        "should_provide_bridge": False,
        "should_provide_vlan": False,
        "subnets": _objects("SubnetList", [_encode_subnet(subnet) for subnet in network.subnets]),
    }
    if network.bridge:
        data["bridge"] = network.bridge
    return _wrap("Network", data, "1.1")


def _profile(vif: VIF) -> Primitive | None:
    match vif:
        case VIFOpenVSwitch(datapath_type=datapath_type):
            data = {"interface_id": vif.id}
            if datapath_type:
                data["datapath_type"] = datapath_type
            return _wrap("VIFPortProfileOpenVSwitch", data, "1.4")
        case VIFBridge() | VIFVHostUser():
            return _wrap("VIFPortProfileOpenVSwitch", {"interface_id": vif.id}, "1.4")
        case _:
            return None


def encode(vif: VIF) -> Primitive:
    """The stored format of ``vif``, ready for JSON."""
    data: Primitive = {
        "id": vif.id,
        "address": vif.address,
        "network": _encode_network(vif.network),
        "vif_name": vif.vif_name,
        "active": vif.active,
        "plugin": vif.plugin,
        "has_traffic_filtering": True,
        "preserve_on_delete": False,
    }
    match vif:
        case VIFOpenVSwitch():
            data["bridge_name"] = vif.bridge_name
        case VIFBridge():
            data["bridge_name"] = vif.bridge_name
            data["network"]["versioned_object.data"]["bridge"] = vif.ovs_bridge
        case VIFVHostUser():
            data.update(path=vif.path, mode=vif.mode, bridge_name=vif.bridge_name)
        case VIFVlanNested():
            data["vlan_id"] = vif.vlan_id
        case VIFDPDKNested():
            data["dev_driver"] = vif.dev_driver
    if (profile := _profile(vif)) is not None:
        data["port_profile"] = profile
    return _wrap(vif.kind, data, vif.version, vif.namespace)


def _data(primitive: Any, where: str) -> Primitive:
    data = primitive.get("versioned_object.data") if isinstance(primitive, dict) else None
    if not isinstance(data, dict):
        raise InvalidVIF(f"{where}: expected an object with 'versioned_object.data'")
    return data


def _list(parent: Primitive, field: str, where: str) -> list[Primitive]:
    if parent.get(field) is None:
        return []
    place = f"{where}.{field}"
    items = _data(parent[field], place).get("objects") or []
    if not isinstance(items, list):
        raise InvalidVIF(f"{place}: expected a list of objects, not {items!r}")
    return [_data(item, place) for item in items]


def _text(data: Primitive, field: str, where: str) -> str:
    """The string of an optional field, empty where it is missing."""
    value = data.get(field)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise InvalidVIF(f"{where}.{field}: expected a string, not {value!r}")
    return value


def _need(data: Primitive, field: str, where: str) -> str:
    if not (value := _text(data, field, where)):
        raise InvalidVIF(f"{where}.{field}: missing")
    return value


def _number(data: Primitive, field: str, where: str) -> int:
    value = data.get(field)
    if not isinstance(value, int) or isinstance(value, bool):
        raise InvalidVIF(f"{where}.{field}: expected a whole number, not {value!r}")
    return value


def _cidr(data: Primitive, where: str) -> str:
    cidr = _need(data, "cidr", where)
    try:
        ipaddress.ip_network(cidr)
    except ValueError as error:
        raise InvalidVIF(f"{where}.cidr: {error}") from error
    return cidr


def _address(data: Primitive, where: str) -> str:
    address = _need(data, "address", where)
    try:
        ipaddress.ip_address(address)
    except ValueError as error:
        raise InvalidVIF(f"{where}.address: {error}") from error
    return address


def _strings(data: Primitive, field: str, where: str) -> tuple[str, ...]:
    values = data.get(field) or []
    if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
        raise InvalidVIF(f"{where}.{field}: expected a list of strings, not {values!r}")
    return tuple(values)


def _decode_subnet(data: Primitive) -> Subnet:
    return Subnet(
        cidr=_cidr(data, "subnet"),
        gateway=_text(data, "gateway", "subnet") or None,
        dns=_strings(data, "dns", "subnet"),
        ips=tuple(_address(ip, "subnet.ips") for ip in _list(data, "ips", "subnet")),
        routes=tuple(
            Route(
                cidr=_cidr(route, "subnet.routes"), gateway=_text(route, "gateway", "subnet.routes") or None
            )
            for route in _list(data, "routes", "subnet")
        ),
    )


def stored_id(primitive: Any) -> str:
    """Id of the Neutron port of a stored VIF, without a look at the rest; empty where there is none to be read."""
    data = primitive.get("versioned_object.data") if isinstance(primitive, dict) else None
    found = data.get("id") if isinstance(data, dict) else None
    return found if isinstance(found, str) else ""


def decode(primitive: Any) -> VIF:
    """The VIF of a stored one.

    :raises InvalidVIF: for an unknown class or a missing field.
    """
    data = _data(primitive, "vif")
    name = _text(primitive, "versioned_object.name", "vif")
    if name not in KINDS:
        raise InvalidVIF(f"vif: unknown class {name!r}, expected one of {', '.join(sorted(KINDS))}")
    net = _data(data.get("network"), "vif.network")
    bridge = _text(net, "bridge", "vif.network")
    network = Network(
        id=_need(net, "id", "vif.network"),
        label=_text(net, "label", "vif.network"),
        bridge=bridge,
        mtu=_number(net, "mtu", "vif.network") if net.get("mtu") is not None else 0,
        subnets=tuple(_decode_subnet(item) for item in _list(net, "subnets", "vif.network")),
    )
    common: dict[str, Any] = {
        "id": _need(data, "id", "vif"),
        "address": _need(data, "address", "vif"),
        "network": network,
        "vif_name": _text(data, "vif_name", "vif"),
        "active": bool(data.get("active")),
    }
    profile = data.get("port_profile")
    profile_data = _data(profile, "vif.port_profile") if profile is not None else {}
    match name:
        case "VIFOpenVSwitch":
            return VIFOpenVSwitch(
                bridge_name=_text(data, "bridge_name", "vif") or bridge or "br-int",
                datapath_type=_text(profile_data, "datapath_type", "vif.port_profile"),
                **common,
            )
        case "VIFBridge":
            return VIFBridge(
                bridge_name=_need(data, "bridge_name", "vif"), ovs_bridge=bridge or "br-int", **common
            )
        case "VIFVHostUser":
            return VIFVHostUser(
                path=_need(data, "path", "vif"),
                mode=_text(data, "mode", "vif") or "client",
                bridge_name=_text(data, "bridge_name", "vif") or bridge,
                **common,
            )
        case "VIFVlanNested":
            return VIFVlanNested(vlan_id=_number(data, "vlan_id", "vif"), **common)
        case "VIFDPDKNested":
            return VIFDPDKNested(dev_driver=_text(data, "dev_driver", "vif"), **common)
        case _:
            return VIFMacvlanNested(**common)
