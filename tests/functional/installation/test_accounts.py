# SPDX-License-Identifier: Apache-2.0
"""The accounts of etc/kubernetes: enough for the two programs, and no more."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from kuryr.conf import controller as configuration
from kuryr.controller import startup
from kuryr.k8s.client import Client
from kuryr.k8s.events import EVENTS
from kuryr.k8s.lease import LEASES
from kuryr.objects.core import Pod
from kuryr.objects.resources import KURYRPORTS, NAMESPACES, NODES, PODS, Resource
from tests.functional.crds.kubectl import Kubectl
from tests.functional.kubernetes import KubernetesApi

ACCOUNTS = Path(__file__).resolve().parents[3] / "etc" / "kubernetes"
SECRETS = Resource("", "v1", "secrets", "Secret", Pod)
CONFIGMAPS = Resource("", "v1", "configmaps", "ConfigMap", Pod)


@pytest.fixture(scope="module")
def applied(kubernetes_api: KubernetesApi) -> KubernetesApi:
    Kubectl(kubernetes_api)("apply", "--filename", str(ACCOUNTS))
    return kubernetes_api


@pytest.fixture
def controller(applied: KubernetesApi) -> Iterator[Client]:
    client = applied.service_account_client("kube-system", "kuryr-controller")
    yield client
    client.close()


@pytest.fixture
def daemon(applied: KubernetesApi) -> Iterator[Client]:
    client = applied.service_account_client("kube-system", "kuryr-daemon")
    yield client
    client.close()


def test_the_controller_misses_no_right(controller: Client) -> None:
    assert startup.check_kubernetes(controller, configuration.load([])) == []
    # Taking the original's finalizer off.
    assert controller.access_review("patch", PODS)


def test_the_daemon_misses_no_right(daemon: Client) -> None:
    assert daemon.access_review("get", PODS)
    assert daemon.access_review("list", KURYRPORTS)
    assert daemon.access_review("watch", KURYRPORTS)
    assert daemon.access_review("patch", KURYRPORTS, subresource="status")
    assert daemon.access_review("create", EVENTS)
    assert daemon.access_review("patch", EVENTS)


@pytest.mark.parametrize("account", ["controller", "daemon"])
@pytest.mark.parametrize(
    ("verb", "resource"),
    [
        ("get", SECRETS),
        ("list", SECRETS),
        ("list", CONFIGMAPS),
        ("create", PODS),
        ("delete", PODS),
        ("patch", NODES),
        ("patch", NAMESPACES),
        ("create", LEASES),
        ("*", KURYRPORTS),
    ],
    ids=lambda value: value if isinstance(value, str) else value.plural,
)
def test_neither_may_do_what_it_does_not(
    request: pytest.FixtureRequest, account: str, verb: str, resource: Resource[Pod]
) -> None:
    client: Client = request.getfixturevalue(account)
    assert not client.access_review(verb, resource)


def test_the_daemon_changes_nothing_but_status(daemon: Client) -> None:
    for verb in ("create", "patch", "update", "delete"):
        assert not daemon.access_review(verb, KURYRPORTS)
    assert not daemon.access_review("get", LEASES, "kube-system")
