# SPDX-License-Identifier: Apache-2.0
"""What the cloud has run out of, and what is down: the pod says so, and comes up by itself when the cause is gone."""

from collections.abc import Iterator

import pytest

from devcloud import processes
from devcloud.demo.workloads import SUBNETS_LABEL
from devcloud.neutron import Neutron
from devcloud.openstack import facts, services
from tests.e2e.namespace import Namespace, eventually, pod

# The cloud's processes outlive the test that started them, and Python warns of that.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")

PATIENCE = 240
"""Seconds: the kubelet tries again ever more rarely."""
LAST_ADDRESS = "10.11.200.1"


class Quota:
    """Of ports, of the project k8s."""

    def __init__(self, neutron: Neutron) -> None:
        self._neutron = neutron
        self._project = facts.read()["projects"]["k8s"]
        self._before = neutron.get("quota", self._project)["port"]

    def use_up(self) -> None:
        """Allow no further port: Neutron takes no limit below what there is."""
        used = self._neutron.get("quota", f"{self._project}/details")["port"]["used"]
        self._neutron.update("quota", self._project, port=used)

    def restore(self) -> None:
        """Allow as many as before."""
        self._neutron.update("quota", self._project, port=self._before)


@pytest.fixture
def quota(neutron: Neutron) -> Iterator[Quota]:
    """The project's quota of ports, which is as before after the test."""
    found = Quota(neutron)
    yield found
    found.restore()


def test_quota_used_up(namespace: Namespace, quota: Quota) -> None:
    quota.use_up()
    namespace.create(pod("beyond"))
    eventually(lambda: "QuotaExceeded" in namespace.events("beyond"), "an Event names the quota")
    assert namespace.ports(namespace.uid("beyond")) == []
    quota.restore()
    namespace.wait_ready("beyond", seconds=PATIENCE)


@pytest.fixture
def one_address(neutron: Neutron) -> Iterator[None]:
    """The IPv4 subnet of pods2 has one address to give out."""
    subnet = facts.read()["subnets"]["pods2"]["4"]
    before = neutron.get("subnet", subnet)["allocation_pools"]
    neutron.update("subnet", subnet, allocation_pools=[{"start": LAST_ADDRESS, "end": LAST_ADDRESS}])
    yield
    neutron.update("subnet", subnet, allocation_pools=before)


@pytest.mark.usefixtures("one_address")
def test_subnet_full(namespace: Namespace) -> None:
    first, second = pod("lucky"), pod("late")
    for manifest in (first, second):
        manifest["metadata"]["labels"][SUBNETS_LABEL] = "second"
    namespace.create(first)
    namespace.wait_ready("lucky")
    assert namespace.address("lucky") == LAST_ADDRESS
    namespace.create(second)
    eventually(lambda: "SubnetFull" in namespace.events("late"), "an Event says that the subnet is full")
    namespace.delete("pod", "lucky")
    namespace.wait_ready("late", seconds=PATIENCE)
    assert namespace.address("late") == LAST_ADDRESS


@pytest.fixture
def neutron_down() -> Iterator[None]:
    """Neutron's API is down at first; the test may start it."""
    processes.stop("neutron", timeout=3)
    yield
    services.start_neutron()


def test_neutron_down(namespace: Namespace, request: pytest.FixtureRequest) -> None:
    namespace.create(pod("leaving"))
    namespace.wait_ready("leaving")
    leaving = namespace.uid("leaving")
    request.getfixturevalue("neutron_down")
    namespace.create(pod("patient"))
    eventually(lambda: "CloudUnavailable" in namespace.events("patient"), "an Event names Neutron")
    # A pod's deletion waits for nobody.
    namespace.delete("pod", "leaving", seconds=60)
    services.start_neutron()
    namespace.wait_ready("patient", seconds=PATIENCE)
    namespace.wait_no_ports(leaving)
