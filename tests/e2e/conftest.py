# SPDX-License-Identifier: Apache-2.0
import secrets
from collections.abc import Iterator

import pytest

from devcloud import kuryr, paths
from devcloud.kubernetes import control_plane, kubectl
from devcloud.kubernetes.cluster import NODES, Node
from devcloud.neutron import Neutron
from tests.e2e.namespace import Namespace, eventually, orphans


@pytest.fixture(scope="session", autouse=True)
def _cloud() -> None:
    if not (paths.FACTS.exists() and control_plane.api_server_ready()):
        pytest.exit("the development cloud is not up: run `make up` first", returncode=2)
    if down := [name for name, well, _ in kuryr.status() if not well]:
        pytest.exit(f"not up: {', '.join(down)}; run `make up` first", returncode=2)


@pytest.fixture(scope="session", autouse=True)
def _prompt_audit(_cloud: None) -> Iterator[None]:
    """The controller looks for ports without owner every few seconds, so that tests need not wait for minutes.

    It reads the options again at SIGHUP.
    """
    configuration = kuryr.controller_configuration_file()
    before = configuration.read_text()
    prompt = "audit_period = 5\naudit_grace = 10\n"
    configuration.write_text(before.replace("[kubernetes]\n", "[kubernetes]\n" + prompt))
    kuryr.reload_controller()
    yield
    configuration.write_text(before)
    kuryr.reload_controller()


@pytest.fixture(scope="session")
def neutron() -> Neutron:
    return Neutron()


@pytest.fixture(scope="module")
def namespace(neutron: Neutron) -> Iterator[Namespace]:
    """A namespace for the tests of a module; at its end no pod's port may be left without its pod."""
    name = f"e2e-{secrets.token_hex(3)}"
    kubectl("create", "namespace", name)
    kubectl("wait", "--for=create", "--timeout=60s", "--namespace", name, "serviceaccount/default")
    yield Namespace(name, neutron)
    kubectl("delete", "namespace", name, "--wait=true", "--timeout=180s")
    eventually(lambda: not orphans(neutron), "no port is left without its pod")


@pytest.fixture(params=NODES, ids=[node.name for node in NODES])
def node(request: pytest.FixtureRequest) -> Node:
    found: Node = request.param
    return found
