# SPDX-License-Identifier: Apache-2.0
"""The objects in Neutron: networks, subnets, subnet pools, the router and security groups."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from devcloud.network import EXTERNAL_CIDR, EXTERNAL_GATEWAY
from devcloud.openstack.facts import NETWORK_URL, USERS, Facts
from devcloud.openstack.ovn import PHYSICAL_NETWORK
from devcloud.openstack.rest import Session

_API = f"{NETWORK_URL}/v2.0"


@dataclass(frozen=True)
class Subnet:
    """A subnet; gateway and allocation pool are Neutron's own choice unless given."""

    network: str
    version: int
    cidr: str
    gateway: str = ""
    pool: tuple[str, str] | None = None

    @property
    def name(self) -> str:
        """The subnet's name in Neutron."""
        return f"{self.network}-v{self.version}"

    def body(self, network_id: str) -> dict[str, Any]:
        """What Neutron is asked to create."""
        body: dict[str, Any] = {
            "name": self.name,
            "network_id": network_id,
            "ip_version": self.version,
            "cidr": self.cidr,
            "enable_dhcp": False,
        }
        if self.gateway:
            body["gateway_ip"] = self.gateway
        if self.pool:
            body["allocation_pools"] = [{"start": self.pool[0], "end": self.pool[1]}]
        return body


EXTERNAL = Subnet("ext", 4, EXTERNAL_CIDR, EXTERNAL_GATEWAY, ("172.24.4.10", "172.24.4.250"))

SUBNETS = (
    Subnet("pods", 4, "10.10.0.0/16"),
    # Neutron's own choice of an IPv6 gateway is the subnet-router anycast address.
    Subnet("pods", 6, "fd00:10:10::/64", "fd00:10:10::1"),
    Subnet("pods2", 4, "10.11.0.0/16"),
    Subnet("pods2", 6, "fd00:10:11::/64", "fd00:10:11::1"),
    # Kubernetes gives out the lower half (its service CIDRs); what Neutron gives out is in the upper half.
    Subnet("services", 4, "10.96.0.0/15", "10.97.255.254", ("10.97.0.1", "10.97.255.253")),
    Subnet(
        "services", 6, "fd00:10:96::/111", "fd00:10:96::1:ffff", ("fd00:10:96::1:1", "fd00:10:96::1:fffe")
    ),
)

SUBNET_POOLS = (
    {"name": "pods-pool", "prefixes": ["10.128.0.0/12"], "default_prefixlen": 24},
    {"name": "pods-pool-v6", "prefixes": ["fd00:10:128::/48"], "default_prefixlen": 64},
)

_ANY = ({"ethertype": "IPv4"}, {"ethertype": "IPv6"})
_PING_AND_8080 = (
    {"ethertype": "IPv4", "protocol": "icmp"},
    {"ethertype": "IPv6", "protocol": "ipv6-icmp"},
    {"ethertype": "IPv4", "protocol": "tcp", "port_range_min": 8080, "port_range_max": 8080},
    {"ethertype": "IPv6", "protocol": "tcp", "port_range_min": 8080, "port_range_max": 8080},
)
SECURITY_GROUPS = {"k8s-pods": _ANY, "demo-restricted": _PING_AND_8080}
"""What each security group lets in; everything is let out."""


def make() -> Facts:
    """Make what is not there yet; the result is the part of openstack.json that holds ids."""
    admin = Session("admin", USERS["admin"])
    member = Session("k8s", USERS["k8s"])
    with ThreadPoolExecutor() as pool:
        groups = {
            name: pool.submit(_security_group, member, name, rules) for name, rules in SECURITY_GROUPS.items()
        }
        pools = [pool.submit(_subnet_pool, member, wanted) for wanted in SUBNET_POOLS]
        external = pool.submit(_external, admin)
        names = dict.fromkeys(subnet.network for subnet in SUBNETS)
        networks = {name: pool.submit(_network, member, name) for name in names}
        ext_network, ext_subnet = external.result()
        router = pool.submit(_router, member, ext_network["id"])
        made = {name: each.result() for name, each in networks.items()}
        router_id = router.result()
        for subnets in (subnets for _, subnets in made.values()):
            _attach(member, router_id, list(subnets.values()))
        return {
            "projects": {"k8s": member.project_id, "admin": admin.project_id},
            "networks": {
                "ext": ext_network["id"],
                **{name: network["id"] for name, (network, _) in made.items()},
            },
            "subnets": {
                "ext": {"4": ext_subnet["id"]},
                **{name: subnets for name, (_, subnets) in made.items()},
            },
            "subnet_pools": {"pods-pool": dict(zip("46", (each.result() for each in pools), strict=True))},
            "router": router_id,
            "security_groups": {name: each.result() for name, each in groups.items()},
            "mtu": made["pods"][0]["mtu"],
        }


def _external(admin: Session) -> tuple[Facts, Facts]:
    wanted = {
        "name": EXTERNAL.network,
        "router:external": True,
        "provider:network_type": "flat",
        "provider:physical_network": PHYSICAL_NETWORK,
    }
    network = admin.ensure(f"{_API}/networks", "network", wanted)
    subnet = admin.ensure(f"{_API}/subnets", "subnet", EXTERNAL.body(network["id"]), network_id=network["id"])
    return network, subnet


def _network(member: Session, name: str) -> tuple[Facts, dict[str, str]]:
    network = _ensure(member, "networks", "network", {"name": name})
    subnets = {}
    for subnet in SUBNETS:
        if subnet.network == name:
            made = _ensure(member, "subnets", "subnet", subnet.body(network["id"]))
            subnets[str(subnet.version)] = made["id"]
    return network, subnets


def _subnet_pool(member: Session, wanted: dict[str, Any]) -> str:
    made: str = _ensure(member, "subnetpools", "subnetpool", wanted)["id"]
    return made


def _router(member: Session, external_id: str) -> str:
    wanted = {"name": "k8s-router", "external_gateway_info": {"network_id": external_id}}
    made: str = _ensure(member, "routers", "router", wanted)["id"]
    return made


def _attach(member: Session, router_id: str, subnet_ids: list[str]) -> None:
    ports = member.call("GET", f"{_API}/ports", device_id=router_id)["ports"]
    attached = {fixed["subnet_id"] for port in ports for fixed in port["fixed_ips"]}
    for subnet_id in subnet_ids:
        if subnet_id not in attached:
            url = f"{_API}/routers/{router_id}/add_router_interface"
            member.call("PUT", url, {"subnet_id": subnet_id})


def _security_group(member: Session, name: str, rules: tuple[dict[str, Any], ...]) -> str:
    group = _ensure(member, "security-groups", "security_group", {"name": name})
    ingress = sum(1 for rule in group["security_group_rules"] if rule["direction"] == "ingress")
    if ingress < len(rules):
        # In bulk a request is all or nothing, so there are none yet.
        bodies = [{"security_group_id": group["id"], "direction": "ingress", **rule} for rule in rules]
        member.call("POST", f"{_API}/security-group-rules", {"security_group_rules": bodies})
    made: str = group["id"]
    return made


def _ensure(member: Session, collection: str, kind: str, wanted: dict[str, Any]) -> Facts:
    url = f"{_API}/{collection}"
    return member.ensure(url, kind, wanted, name=wanted["name"], project_id=member.project_id)
