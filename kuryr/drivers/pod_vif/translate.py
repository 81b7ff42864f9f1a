# SPDX-License-Identifier: Apache-2.0
"""From a bound Neutron port to a VIF. What is not understood is refused: a pod is never plugged unfiltered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from kuryr.cloud.networks import SubnetInfo
from kuryr.cloud.ports import Port
from kuryr.errors import Retry
from kuryr.objects.vif import (
    VIF,
    Network,
    Route,
    Subnet,
    VIFBridge,
    VIFOpenVSwitch,
    VIFVHostUser,
    vif_name,
)


class UnusablePort(Retry):
    """Neutron made the port but did not bind it, or bound it in a way that is not known here."""

    reason = "PortNotBound"


def network_of(port: Port, subnets: Sequence[SubnetInfo], *, bridge: str, mtu: int) -> Network:
    """The VIF's network, with the port's own addresses in each subnet. ``mtu`` bounds the network's, 0: not."""
    info = subnets[0].network
    sizes = [size for size in (info.mtu, mtu) if size]
    return Network(
        id=info.id,
        label=info.name,
        bridge=bridge,
        mtu=min(sizes, default=0),
        subnets=tuple(
            Subnet(
                cidr=subnet.cidr,
                gateway=subnet.gateway_ip,
                dns=tuple(subnet.dns_nameservers),
                ips=tuple(
                    ip.ip_address for ip in port.fixed_ips if ip.subnet_id == subnet.id and ip.ip_address
                ),
                routes=tuple(Route(cidr=r.destination, gateway=r.nexthop) for r in subnet.host_routes),
            )
            for subnet in subnets
        ),
    )


def vif_of(port: Port, subnets: Sequence[SubnetInfo], *, default_bridge: str, mtu: int = 0) -> VIF:
    """The VIF of a bound port.

    :raises UnusablePort: where the port is not bound, or in a way that is not known.
    """
    details: Mapping[str, object] = port.vif_details or {}
    bridge = str(details.get("bridge_name") or default_bridge)
    if port.vif_type == "ovs":
        if details.get("ovs_hybrid_plug"):
            hybrid = vif_name("qbr", port.id)
            return VIFBridge(
                id=port.id,
                address=port.mac_address,
                network=network_of(port, subnets, bridge=bridge, mtu=mtu),
                vif_name=vif_name("tap", port.id),
                bridge_name=hybrid,
                ovs_bridge=bridge,
            )
        return VIFOpenVSwitch(
            id=port.id,
            address=port.mac_address,
            network=network_of(port, subnets, bridge=bridge, mtu=mtu),
            vif_name=vif_name("tap", port.id),
            bridge_name=bridge,
        )
    if port.vif_type == "vhostuser":
        return VIFVHostUser(
            id=port.id,
            address=port.mac_address,
            network=network_of(port, subnets, bridge=bridge, mtu=mtu),
            vif_name=vif_name("vhu", port.id),
            path=str(details.get("vhostuser_socket") or ""),
            mode=str(details.get("vhostuser_mode") or "client"),
            bridge_name=bridge,
        )
    if port.vif_type is None:
        raise UnusablePort(
            "Neutron does not show the binding of ports to the user of [neutron]: give it the role 'service' "
            "(or admin) in the project.",
            reason="CloudForbidden",
        )
    if port.vif_type in ("binding_failed", "unbound"):
        raise UnusablePort(
            f"Neutron could not bind port {port.id} to host {port.host_id!r}: no live OVN chassis or "
            f"Open vSwitch agent of that name (it must be the Kubernetes node's name)."
        )
    raise UnusablePort(
        f"Neutron bound port {port.id} with vif_type {port.vif_type!r}; known are ovs and vhostuser."
    )
