# SPDX-License-Identifier: Apache-2.0
"""What the CNI specification asks of requests, results and errors."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kuryr.cni import protocol
from kuryr.cni.protocol import IP, CniError, Code, Interface, Result, Route

NETCONF = {"cniVersion": "1.1.0", "name": "kuryr", "type": "kuryr-cni"}
ENVIRONMENT = {
    "CNI_COMMAND": "ADD",
    "CNI_CONTAINERID": "c1",
    "CNI_NETNS": "/run/netns/x",
    "CNI_IFNAME": "eth0",
    "CNI_PATH": "/opt/cni/bin",
    "CNI_ARGS": "IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME=web",
}
RESULT = Result(
    interfaces=(Interface("tap0", mtu=1442), Interface("eth0", "fa:16:3e:00:00:01", "/run/netns/x", 1442)),
    ips=(IP("10.0.0.5/24", "10.0.0.1", 1), IP("fd00::5/64", "fd00::1", 1)),
    routes=(Route("0.0.0.0/0", "10.0.0.1"), Route("::/0", "fd00::1"), Route("192.0.2.0/24")),
    nameservers=("10.0.0.2",),
)


def parse(environment: dict[str, str] | None = None, **config: Any) -> protocol.Request:
    return protocol.parse({**ENVIRONMENT, **(environment or {})}, json.dumps({**NETCONF, **config}).encode())


def refusal(environment: dict[str, str] | None = None, **config: Any) -> CniError:
    with pytest.raises(CniError) as caught:
        parse(environment, **config)
    return caught.value


def test_a_request() -> None:
    request = parse(unknown={"deep": [1]})
    assert (request.command, request.container_id, request.netns, request.ifname) == (
        "ADD",
        "c1",
        "/run/netns/x",
        "eth0",
    )
    assert request.network == "kuryr"
    assert request.args["K8S_POD_NAME"] == "web"
    assert request.previous is None


@pytest.mark.parametrize(
    ("command", "needed"),
    [
        ("ADD", ["CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME"]),
        ("CHECK", ["CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME"]),
        ("DEL", ["CNI_CONTAINERID", "CNI_IFNAME"]),
        ("GC", ["CNI_PATH"]),
    ],
)
def test_missing_variables_are_named(command: str, needed: list[str]) -> None:
    empty = dict.fromkeys(ENVIRONMENT, "")
    error = refusal({**empty, "CNI_COMMAND": command})
    assert error.code == 4
    for name in needed:
        assert name in error.message


def test_del_needs_no_namespace() -> None:
    assert parse({"CNI_COMMAND": "DEL", "CNI_NETNS": ""}).netns == ""


@pytest.mark.parametrize("command", ["", "add", "PATCH"])
def test_an_unknown_command(command: str) -> None:
    error = refusal({"CNI_COMMAND": command})
    assert error.code == 4
    assert "expected one of ADD, DEL" in error.message


@pytest.mark.parametrize("container", ["-x", "a/b", "a b", ".."])
def test_a_container_id_that_is_none(container: str) -> None:
    assert refusal({"CNI_CONTAINERID": container}).code == 4


@pytest.mark.parametrize("ifname", [".", "..", "a/b", "a:b", "a b", "sixteen-letters-"])
def test_an_interface_name_that_is_none(ifname: str) -> None:
    assert refusal({"CNI_IFNAME": ifname}).code == 4


@pytest.mark.parametrize("name", ["", "-x", "a/b", 7, None])
def test_a_network_name_that_is_none(name: object) -> None:
    assert refusal(name=name).code == 7


def test_arguments() -> None:
    assert protocol.parse_args("A=1;B=x=y;;C=") == {"A": "1", "B": "x=y", "C": ""}
    assert refusal({"CNI_ARGS": "nonsense"}).code == 4


@pytest.mark.parametrize("netconf", [b"{", b"[]", b"\xff", b'"text"'])
def test_what_is_not_json(netconf: bytes) -> None:
    with pytest.raises(CniError) as caught:
        protocol.parse(ENVIRONMENT, netconf)
    assert caught.value.code == 6


def test_versions() -> None:
    assert refusal(cniVersion="9.9.9").code == 1
    assert refusal({"CNI_COMMAND": "CHECK"}, cniVersion="0.3.1").code == 1
    assert refusal({"CNI_COMMAND": "GC"}, cniVersion="1.0.0").code == 1
    assert refusal({"CNI_COMMAND": "STATUS"}, cniVersion="1.0.0").code == 1
    assert parse({"CNI_COMMAND": "CHECK"}, cniVersion="0.4.0").version == "0.4.0"


def test_the_list_of_gc() -> None:
    assert parse({"CNI_COMMAND": "GC"}).attachments is None
    valid = [{"containerID": "a", "ifname": "eth0", "more": 1}]
    request = parse({"CNI_COMMAND": "GC"}, **{"cni.dev/valid-attachments": valid})
    assert request.attachments == {("a", "eth0")}
    assert parse({"CNI_COMMAND": "GC"}, **{"cni.dev/valid-attachments": None}).attachments == frozenset()
    assert refusal({"CNI_COMMAND": "GC"}, **{"cni.dev/valid-attachments": ["x"]}).code == 7


@pytest.mark.parametrize("version", ["0.1.0", "0.2.0"])
def test_the_result_of_the_first_versions(version: str) -> None:
    shaped = protocol.shape(RESULT, version)
    assert shaped == {
        "cniVersion": version,
        "ip4": {
            "ip": "10.0.0.5/24",
            "gateway": "10.0.0.1",
            "routes": [{"dst": "0.0.0.0/0", "gw": "10.0.0.1"}, {"dst": "192.0.2.0/24"}],
        },
        "ip6": {"ip": "fd00::5/64", "gateway": "fd00::1", "routes": [{"dst": "::/0", "gw": "fd00::1"}]},
        "dns": {"nameservers": ["10.0.0.2"]},
    }


@pytest.mark.parametrize("version", ["0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"])
def test_the_result_of_later_versions(version: str) -> None:
    shaped = protocol.shape(RESULT, version)
    host, inside = shaped["interfaces"]
    assert host["name"] == "tap0"
    assert "sandbox" not in host
    assert (inside["mac"], inside["sandbox"]) == ("fa:16:3e:00:00:01", "/run/netns/x")
    assert ("mtu" in inside) == (version == "1.1.0")
    versions = [ip.get("version") for ip in shaped["ips"]]
    assert versions == (["4", "6"] if version < "1" else [None, None])
    assert [ip["interface"] for ip in shaped["ips"]] == [1, 1]


def test_a_previous_result_is_amended() -> None:
    previous = protocol.parse_result(
        {
            "interfaces": [{"name": "lo"}],
            "ips": [{"address": "127.0.0.1/8", "interface": 0}],
            "dns": {"domain": "example.org", "nameservers": ["10.0.0.2"]},
        }
    )
    shaped = protocol.shape(RESULT.after(previous), "1.0.0")
    assert [entry["name"] for entry in shaped["interfaces"]] == ["lo", "tap0", "eth0"]
    assert [ip["interface"] for ip in shaped["ips"]] == [0, 2, 2]
    assert shaped["dns"] == {"domain": "example.org", "nameservers": ["10.0.0.2"]}


@pytest.mark.parametrize("previous", ["x", {"ips": [{}]}, {"interfaces": "no"}, {"interfaces": [{}]}])
def test_a_previous_result_that_is_none(previous: object) -> None:
    assert refusal(prevResult=previous).code == 7


def test_a_result_survives_being_written_and_read() -> None:
    written = json.loads(protocol.encode(RESULT, "1.1.0"))
    assert protocol.parse_result(written) == RESULT


def test_an_error() -> None:
    document = json.loads(CniError(Code.TRY_AGAIN, "later", "why").document("0.4.0"))
    assert document == {"cniVersion": "0.4.0", "code": 11, "msg": "later", "details": "why"}


@given(st.binary(), st.dictionaries(st.sampled_from(list(ENVIRONMENT)), st.text()))
def test_nothing_but_a_cni_error_comes_of_nonsense(netconf: bytes, changes: dict[str, str]) -> None:
    with pytest.raises(CniError):
        protocol.parse({**ENVIRONMENT, **changes, "CNI_COMMAND": "ADD"}, netconf + b"\x00")


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
        max_leaves=8,
    )
)
def test_any_json_as_previous_result_is_read_or_refused(document: Any) -> None:
    with suppress(CniError):
        parse(prevResult=document)
