# SPDX-License-Identifier: Apache-2.0
"""[neutron_defaults] resource_tags: in a port's creating call where Neutron keeps them, else by a call of their own."""

import urllib.request
from collections.abc import Iterator

import pytest
from prometheus_client.parser import text_string_to_metric_families

from devcloud import kuryr, processes
from devcloud.openstack import configuration, services
from tests.e2e.namespace import Namespace, eventually, pod

# The cloud's processes outlive the test that started them, and Python warns of that.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")

TAGS = ["e2e", "tagged"]
METRICS = "http://127.0.0.1:9654/metrics"


def restart(neutron: str, controller: str) -> None:
    """Start Neutron's API and the controller anew, with these configuration files."""
    configuration.ML2_CONF.write_text(neutron)
    kuryr.controller_configuration_file().write_text(controller)
    processes.stop("neutron", timeout=3)
    services.start_neutron()
    kuryr.start_controller()


@pytest.fixture(params=[True, False], ids=["kept", "dropped"])
def kept(request: pytest.FixtureRequest) -> Iterator[bool]:
    """Whether Neutron keeps the tags of a creating call; the controller is to set some."""
    found: bool = request.param
    files = configuration.ML2_CONF, kuryr.controller_configuration_file()
    neutron, controller = (file.read_text() for file in files)
    drivers = [*configuration.EXTENSION_DRIVERS, *([configuration.TAGS_DRIVER] if found else [])]
    lines = [
        f"extension_drivers = {','.join(drivers)}" if line.startswith("extension_drivers") else line
        for line in neutron.splitlines(keepends=False)
    ]
    tags = f"[neutron_defaults]\nresource_tags = {','.join(TAGS)}\n"
    restart("\n".join(lines) + "\n", controller.replace("[neutron_defaults]\n", tags))
    yield found
    restart(neutron, controller)


def calls() -> set[str]:
    """Operations of OpenStack that the controller has asked for since it was started."""
    with urllib.request.urlopen(METRICS, timeout=10) as answer:
        families = text_string_to_metric_families(answer.read().decode())
        return {
            sample.labels["operation"]
            for family in families
            if family.name == "kuryr_cloud_call_seconds"
            for sample in family.samples
        }


def test_ports_have_the_tags(namespace: Namespace, kept: bool) -> None:
    name = "kept" if kept else "dropped"
    namespace.create(pod(name))
    namespace.wait_ready(name)
    uid = namespace.uid(name)
    eventually(
        lambda: [sorted(port["tags"]) for port in namespace.ports(uid)] == [TAGS], "the port has its tags"
    )
    assert "create port" in calls()
    assert ("update port tags" in calls()) == (not kept)
    namespace.delete("pod", name)
    namespace.wait_no_ports(uid)
