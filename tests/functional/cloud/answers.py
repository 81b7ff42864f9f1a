# SPDX-License-Identifier: Apache-2.0
"""Asks a Neutron for what it refuses, and writes down how it words it, with ids replaced by names.

The same is asked of the fake Neutron and of a real one; ``answers.json`` holds what a real one answered.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import requests

from kuryr.cloud.session import Cloud

RECORDED = Path(__file__).with_name("answers.json")
UNKNOWN = "11111111-2222-3333-4444-555555555555"

Answers = dict[str, list[Any]]


class Asker:
    """One user's way to a Neutron."""

    def __init__(self, cloud: Cloud) -> None:
        access = cloud.project().authenticate()
        self.project_id = cloud.project().project_id
        self._url = cloud.endpoint(access) + "/v2.0/"
        self._http = requests.Session()
        self._http.headers["X-Auth-Token"] = access.auth_token

    def ask(self, method: str, path: str, body: Any = None, **keywords: Any) -> tuple[int, Any]:
        answer = self._http.request(method, self._url + path, json=body, timeout=60, **keywords)
        return answer.status_code, answer.json() if answer.content else None

    def close(self) -> None:
        self._http.close()


class Recorder:
    """Makes things, asks, writes down, and takes away what it made."""

    def __init__(self) -> None:
        self.answers: Answers = {}
        self.names: dict[str, str] = {}
        self._made: list[tuple[Asker, str]] = []

    def make(self, asker: Asker, plural: str, singular: str, label: str, /, **attributes: Any) -> Any:
        status, answer = asker.ask("POST", plural, {singular: attributes})
        assert status == 201, answer
        made = answer[singular]
        self.names[made["id"]] = label
        self._made.append((asker, f"{plural}/{made['id']}"))
        return made

    def note(self, case: str, asker: Asker, method: str, path: str, body: Any = None, **keywords: Any) -> Any:
        """Ask, and write down the status and what the error says (nothing of a success)."""
        status, answer = asker.ask(method, path, body, **keywords)
        error = (answer or {}).get("NeutronError")
        self.answers[case] = [status, error["type"], self._named(error["message"])] if error else [status]
        for key in ("port", "network", "security_group"):
            if status == 201 and key in answer:
                self._made.append((asker, f"{key.replace('_', '-')}s/{answer[key]['id']}"))
        return answer

    def clean(self) -> None:
        for _ in range(2):
            self._made = [
                (asker, path)
                for asker, path in reversed(self._made)
                if asker.ask("DELETE", path)[0] not in (204, 404)
            ][::-1]
        assert not self._made, f"left behind: {[path for _, path in self._made]}"

    def _named(self, text: str) -> str:
        for id_, name in self.names.items():
            text = text.replace(id_, f"<{name}>")
        return text


def record(user: Cloud, member: Cloud, admin: Cloud) -> Answers:
    """What a Neutron answers to Kuryr's user, an ordinary member of the same project, and an administrator."""
    recorder = Recorder()
    with contextlib.ExitStack() as stack:
        askers = [Asker(cloud) for cloud in (user, member, admin)]
        for asker in askers:
            stack.callback(asker.close)
        stack.callback(recorder.clean)
        for _ in _cases(recorder, *askers):
            pass
    return recorder.answers


def _cases(recorder: Recorder, user: Asker, member: Asker, admin: Asker) -> Iterator[None]:
    make, note = recorder.make, recorder.note
    network = make(user, "networks", "network", "net", name="answers-1")["id"]
    subnet = make(user, "subnets", "subnet", "sub", network_id=network, cidr="192.0.2.0/29", ip_version=4)[
        "id"
    ]
    full_network = make(user, "networks", "network", "full-net", name="answers-2")["id"]
    full = make(
        user, "subnets", "subnet", "full", network_id=full_network, cidr="192.0.3.0/30", ip_version=4
    )["id"]
    wide = make(
        user, "subnets", "subnet", "wide", network_id=full_network, cidr="fd00:beef::/64", ip_version=6
    )["id"]
    port = make(user, "ports", "port", "port", network_id=network, fixed_ips=[{"subnet_id": subnet}])
    address = port["fixed_ips"][0]["ip_address"]
    recorder.names.update({port["mac_address"]: "mac", address: "ip"})
    make(user, "ports", "port", "last", network_id=full_network, fixed_ips=[{"subnet_id": full}])

    def create(case: str, asker: Asker = user, **attributes: Any) -> None:
        note(case, asker, "POST", "ports", {"port": {"network_id": network, **attributes}})

    create("subnet full", network_id=full_network, fixed_ips=[{"subnet_id": full}])
    create(
        "one of two subnets full",
        network_id=full_network,
        fixed_ips=[{"subnet_id": full}, {"subnet_id": wide}],
    )
    create("one family of the network full", network_id=full_network)
    create("address in use", fixed_ips=[{"subnet_id": subnet, "ip_address": address}])
    create("address in use, subnet not named", fixed_ips=[{"ip_address": address}])
    create("address outside", fixed_ips=[{"subnet_id": subnet, "ip_address": "198.51.100.7"}])
    create("address outside all", fixed_ips=[{"ip_address": "198.51.100.7"}])
    create("MAC in use", mac_address=port["mac_address"])
    create("security group missing", security_groups=[UNKNOWN])
    create(
        "security group missing and subnet full",
        network_id=full_network,
        fixed_ips=[{"subnet_id": full}],
        security_groups=[UNKNOWN],
    )
    create("security group no UUID", security_groups=["nonsense"])
    create("subnet missing", fixed_ips=[{"subnet_id": UNKNOWN}])
    create("subnet of another network", fixed_ips=[{"subnet_id": full}])
    create("network missing", network_id=UNKNOWN)
    create("attribute unknown", nonsense=1)
    create("description too long", description="x" * 256)
    create("binding without the right", member, **{"binding:host_id": "node1"})
    create("foreign project without the right", member, project_id=admin.project_id)
    create("tags", tags=["a"])
    note("nothing said", user, "POST", "ports", {"port": {}})
    note("another key", user, "POST", "ports", {"nonsense": {}})
    note("a list", user, "POST", "ports", ["nonsense"])
    ports = [{"network_id": network, "fixed_ips": [{"subnet_id": subnet}]}] * 7
    note("bulk too many", user, "POST", "ports", {"ports": ports})
    note("bulk one wrong", user, "POST", "ports", {"ports": [*ports[:1], {"network_id": UNKNOWN}]})
    yield

    for plural in ("ports", "subnets", "networks", "security-groups", "security-group-rules"):
        note(f"get missing {plural}", user, "GET", f"{plural}/{UNKNOWN}")
    for plural in ("address-groups", "trunks", "routers"):
        note(f"get missing {plural}", user, "GET", f"{plural}/{UNKNOWN}")
    note("get no UUID", user, "GET", "ports/nonsense")
    note("update missing", user, "PUT", f"ports/{UNKNOWN}", {"port": {"name": "x"}})
    note("delete missing", user, "DELETE", f"ports/{UNKNOWN}")
    note("no such resource", user, "GET", "nonsense")
    stale = {"If-Match": "revision_number=999"}
    note("update stale", user, "PUT", f"ports/{port['id']}", {"port": {"name": "x"}}, headers=stale)
    note("delete stale", user, "DELETE", f"ports/{port['id']}", headers=stale)
    note("filter unknown", user, "GET", "ports", params={"nonsense": "x"})
    note("marker missing", user, "GET", "ports", params={"limit": 1, "marker": UNKNOWN})
    note("sort without direction", user, "GET", "ports", params={"sort_key": "id"})
    note("tag missing", user, "DELETE", f"ports/{port['id']}/tags/nonsense")
    note("tags of a network", user, "POST", "networks", {"network": {"tags": ["a"]}})
    note("subnet in use", user, "DELETE", f"subnets/{subnet}")
    overlapping = {"network_id": network, "cidr": "192.0.2.0/30", "ip_version": 4}
    note("subnet overlaps", user, "POST", "subnets", {"subnet": overlapping})
    yield

    group = make(user, "security-groups", "security_group", "group", name="answers")["id"]
    asked = {"security_group_id": group, "direction": "ingress", "protocol": "tcp", "port_range_min": 80}
    asked = {**asked, "port_range_max": 80, "ethertype": "IPv4"}
    make(user, "security-group-rules", "security_group_rule", "rule", **asked)
    note("rule twice", user, "POST", "security-group-rules", {"security_group_rule": asked})
    several = [asked, {**asked, "port_range_min": 79}]
    note("rule twice in bulk", user, "POST", "security-group-rules", {"security_group_rules": several})
    user.ask("PUT", f"ports/{port['id']}", {"port": {"security_groups": [group]}})
    note("group in use", user, "DELETE", f"security-groups/{group}")
    user.ask("PUT", f"ports/{port['id']}", {"port": {"security_groups": []}})
    foreign = {"name": "x", "project_id": admin.project_id}
    note("foreign group", user, "POST", "security-groups", {"security_group": foreign})
    addresses = make(user, "address-groups", "address_group", "addresses", addresses=["10.1.0.0/16"])["id"]
    for case, action, wanted in (
        ("address twice", "add_addresses", "10.1.0.0/16"),
        ("address of a group missing", "remove_addresses", "10.9.0.0/16"),
    ):
        note(case, user, "PUT", f"address-groups/{addresses}/{action}", {"addresses": [wanted]})
    yield

    parent = make(user, "ports", "port", "parent", network_id=network)["id"]
    subport = make(user, "ports", "port", "subport", network_id=network)["id"]
    other = make(user, "ports", "port", "other", network_id=network)["id"]
    joined = {"port_id": subport, "segmentation_type": "vlan", "segmentation_id": 100}
    trunk = make(user, "trunks", "trunk", "trunk", port_id=parent, sub_ports=[joined])["id"]
    for case, action, asked_of in (
        ("segmentation twice", "add_subports", {**joined, "port_id": other}),
        ("subport twice", "add_subports", {**joined, "segmentation_id": 101}),
        ("subport missing", "remove_subports", {"port_id": other}),
    ):
        note(case, user, "PUT", f"trunks/{trunk}/{action}", {"sub_ports": [asked_of]})
    note("parent twice", user, "POST", "trunks", {"trunk": {"port_id": parent}})
    note("delete subport", user, "DELETE", f"ports/{subport}")
    note("delete parent", user, "DELETE", f"ports/{parent}")
    yield

    router = make(user, "routers", "router", "router", name="answers")["id"]
    interface = note(
        "add interface", user, "PUT", f"routers/{router}/add_router_interface", {"subnet_id": subnet}
    )["port_id"]
    recorder.names[interface] = "interface"
    try:
        note("interface twice", user, "PUT", f"routers/{router}/add_router_interface", {"subnet_id": subnet})
        note("delete interface", user, "DELETE", f"ports/{interface}")
        note("delete router", user, "DELETE", f"routers/{router}")
        no_interface = {"subnet_id": full}
        note("no interface", user, "PUT", f"routers/{router}/remove_router_interface", no_interface)
    finally:
        note(
            "remove interface",
            user,
            "PUT",
            f"routers/{router}/remove_router_interface",
            {"subnet_id": subnet},
        )
    yield

    theirs = make(admin, "networks", "network", "theirs", name="answers-3")["id"]
    their_subnet = make(
        admin, "subnets", "subnet", "their-sub", network_id=theirs, cidr="192.0.4.0/24", ip_version=4
    )["id"]
    their_group = make(admin, "security-groups", "security_group", "their-group", name="answers")["id"]
    for who, asker in (("user", user), ("member", member)):
        note(f"foreign network seen by {who}", asker, "GET", f"networks/{theirs}")
        note(f"foreign subnet seen by {who}", asker, "GET", f"subnets/{their_subnet}")
        note(f"foreign group seen by {who}", asker, "GET", f"security-groups/{their_group}")
        note(f"foreign network deleted by {who}", asker, "DELETE", f"networks/{theirs}")
        create(f"port with a foreign group by {who}", asker, security_groups=[their_group], fixed_ips=[])
    note("foreign quota", user, "GET", f"quotas/{admin.project_id}/details")
    admin.ask("PUT", f"quotas/{admin.project_id}", {"quota": {"port": 0}})
    try:
        create("quota used up", admin, network_id=theirs)
        note("quota used up in bulk", admin, "POST", "ports", {"ports": [{"network_id": theirs}] * 2})
    finally:
        admin.ask("PUT", f"quotas/{admin.project_id}", {"quota": {"port": -1}})
    yield
