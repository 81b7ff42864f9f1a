# SPDX-License-Identifier: Apache-2.0
"""docs/cni.md beside the code that it describes."""

import re
from pathlib import Path

import pytest

from kuryr.cni import client, plugin, protocol
from kuryr.cni.attachments import Attachment
from kuryr.cni.node_port import ROUTE_PROTOCOL
from kuryr.cni.protocol import Code

PAGE = (Path(__file__).resolve().parents[3] / "docs" / "cni.md").read_text()
UNUSED = {Code.UNSUPPORTED_FIELD, Code.UNKNOWN_CONTAINER, Code.IO}


def rows(heading: str) -> dict[str, str]:
    """First column → the rest, of the first table below a heading."""
    section = PAGE.partition(f"{heading}\n")[2]
    table = re.search(r"((?:^\|.*\n)+)", section, re.MULTILINE)
    assert table is not None, heading
    cells = (line.strip("|").partition("|") for line in table.group().splitlines()[2:])
    return {first.strip(" `"): rest.strip() for first, _, rest in cells}


def test_error_codes() -> None:
    told = {int(code): rest.split("`")[1] for code, rest in rows("## Errors").items()}
    assert told == {int(code): code.name for code in Code if code not in UNUSED}
    for code in UNUSED:
        assert f"`{code.name}` ({int(code)})" in PAGE


def test_unused_codes_are_unused() -> None:
    for module in (protocol, plugin):
        source = Path(str(module.__file__)).read_text()
        assert [code.name for code in UNUSED if f"Code.{code.name}" in source] == []


def test_commands() -> None:
    told = rows("## Commands")
    assert set(told) == set(protocol.COMMANDS)
    for command, rest in told.items():
        netconf = f'{{"cniVersion": "{rest.split("|")[0].strip()}", "name": "kuryr"}}'.encode()
        environment = {
            "CNI_COMMAND": command,
            "CNI_CONTAINERID": "c",
            "CNI_NETNS": "/n",
            "CNI_IFNAME": "eth0",
            "CNI_PATH": "/b",
        }
        assert protocol.parse(environment, netconf).command == command


def test_versions() -> None:
    told = re.findall(r"\d+\.\d+\.\d+", rows("## Network configuration")["cniVersion"])
    assert tuple(told) == client.SUPPORTED_VERSIONS


def test_the_switchs_record() -> None:
    attachment = Attachment(
        **dict.fromkeys(
            ("container", "attachment", "ifname", "netns", "network", "port", "pod", "pod_uid", "vif"), "x"
        )
    )
    assert set(rows("## Where state lives")) == set(attachment.external_ids())


@pytest.mark.parametrize(
    "fact",
    [
        client.DEFAULT_SOCKET,
        client.SOCKET_VARIABLE.decode(),
        f"protocol {ROUTE_PROTOCOL}",
        "CNITimeoutKuryrPortRegistry",
        "CNITimedOutWaitingForActiveVIFs",
        "FailedToAttachInterface",
    ],
)
def test_facts(fact: str) -> None:
    assert fact in PAGE
