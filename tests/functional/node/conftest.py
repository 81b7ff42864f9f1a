# SPDX-License-Identifier: Apache-2.0
"""A node: a namespace of its own with Open vSwitch, and the plugin of kuryr-daemon in this process."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from kuryr.net import netns
from tests.functional.node import namespaces
from tests.functional.node.node import TestNode
from tests.functional.node.ovs import OpenVSwitch, open_vswitch


@pytest.fixture(scope="module")
def node_namespace() -> Iterator[str]:
    """The namespace that the tests of a module run in, as a daemon does in its node's."""
    with namespaces.namespace("node") as path, netns.entered(path):
        subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
        yield path


@pytest.fixture(scope="module")
def ovs(node_namespace: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenVSwitch]:
    """Open vSwitch of the node."""
    with open_vswitch(tmp_path_factory.mktemp("ovs")) as switch:
        yield switch


@pytest.fixture
def node(ovs: OpenVSwitch, tmp_path: Path) -> Iterator[TestNode]:
    """A node without pods, whose backend is OVN."""
    ovs.be_ovn()
    made = TestNode(ovs, tmp_path)
    made.start()
    yield made
    made.stop()
    for port in ovs.ports():
        ovs.vsctl("--if-exists", "del-port", "br-int", port)


@pytest.fixture
def sandbox(node_namespace: str) -> Iterator[str]:
    """The network namespace of a pod's sandbox."""
    with namespaces.namespace("pod") as path:
        yield path
