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
    items = _data(parent[field], f"{where}.{field}").get("objects", [])
    return [_data(item, f"{where}.{field}") for item in items]


def _need(data: Primitive, field: str, where: str) -> Any:
    if data.get(field) in (None, ""):
        raise InvalidVIF(f"{where}.{field}: missing")
    return data[field]


def _decode_subnet(data: Primitive) -> Subnet:
    return Subnet(
        cidr=str(_need(data, "cidr", "subnet")),
        gateway=data.get("gateway"),
        dns=tuple(data.get("dns") or ()),
        ips=tuple(str(_need(ip, "address", "subnet.ips")) for ip in _list(data, "ips", "subnet")),
        routes=tuple(
            Route(cidr=str(_need(route, "cidr", "subnet.routes")), gateway=route.get("gateway"))
            for route in _list(data, "routes", "subnet")
        ),
    )


def decode(primitive: Any) -> VIF:
    """The VIF of a stored one.

    :raises InvalidVIF: for an unknown class or a missing field.
    """
    data = _data(primitive, "vif")
    name = primitive.get("versioned_object.name", "")
    if name not in KINDS:
        raise InvalidVIF(f"vif: unknown class {name!r}, expected one of {', '.join(sorted(KINDS))}")
    net = _data(data.get("network"), "vif.network")
    bridge = str(net.get("bridge") or "")
    network = Network(
        id=str(_need(net, "id", "vif.network")),
        label=str(net.get("label") or ""),
        bridge=bridge,
        mtu=int(net.get("mtu") or 0),
        subnets=tuple(_decode_subnet(item) for item in _list(net, "subnets", "vif.network")),
    )
    common: dict[str, Any] = {
        "id": str(_need(data, "id", "vif")),
        "address": str(_need(data, "address", "vif")),
        "network": network,
        "vif_name": str(data.get("vif_name") or ""),
        "active": bool(data.get("active")),
    }
    profile = data.get("port_profile")
    profile_data = _data(profile, "vif.port_profile") if profile is not None else {}
    match name:
        case "VIFOpenVSwitch":
            return VIFOpenVSwitch(
                bridge_name=str(data.get("bridge_name") or bridge or "br-int"),
                datapath_type=str(profile_data.get("datapath_type") or ""),
                **common,
            )
        case "VIFBridge":
            return VIFBridge(
                bridge_name=str(_need(data, "bridge_name", "vif")), ovs_bridge=bridge or "br-int", **common
            )
        case "VIFVHostUser":
            return VIFVHostUser(
                path=str(_need(data, "path", "vif")),
                mode=str(data.get("mode") or "client"),
                bridge_name=str(data.get("bridge_name") or bridge),
                **common,
            )
        case "VIFVlanNested":
            return VIFVlanNested(vlan_id=int(_need(data, "vlan_id", "vif")), **common)
        case "VIFDPDKNested":
            return VIFDPDKNested(dev_driver=str(data.get("dev_driver") or ""), **common)
        case _:
            return VIFMacvlanNested(**common)
