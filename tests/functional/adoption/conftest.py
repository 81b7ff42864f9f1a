# SPDX-License-Identifier: Apache-2.0
"""Fixtures: the recorded cluster, with the CRDs upgraded as an operator does before the first start."""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from kuryr.handlers.decision import LEASE
from kuryr.k8s.client import Client
from kuryr.k8s.errors import Conflict, NotFound
from kuryr.k8s.lease import LEASES
from kuryr.objects.meta import Key
from kuryr.objects.resources import KURYRPORTS, NAMESPACES
from kuryr.testing.fake_cloud import FakeCloud
from tests.functional.adoption import recording
from tests.functional.adoption.recording import NAMESPACE, Recording
from tests.functional.controller.harness import World, clean
from tests.functional.kubernetes import KubernetesApi, MissingProgramError, wait_until

ORIGINAL_CRDS = Path(recording.__file__).parents[1] / "crds"


@pytest.fixture(scope="module")
def original_api() -> Iterator[KubernetesApi]:
    """An API of its own: its CRDs are taken back to the original's."""
    try:
        with KubernetesApi() as api:
            yield api
    except MissingProgramError as error:
        pytest.fail(str(error))


@pytest.fixture
def client(original_api: KubernetesApi) -> Iterator[Client]:
    client = original_api.client()
    yield client
    client.close()


@pytest.fixture
def cloud() -> Iterator[FakeCloud]:
    with FakeCloud() as cloud:
        yield cloud


@pytest.fixture
def recorded(original_api: KubernetesApi, client: Client, cloud: FakeCloud) -> Iterator[Recording]:
    """Everything is as the original left it, under our CRDs."""
    original_api.apply_crds(ORIGINAL_CRDS)
    with suppress(Conflict):
        client.create(NAMESPACES, "", {"metadata": {"name": NAMESPACE}})
    found = Recording()
    found.restore(client, cloud)
    original_api.apply_crds()
    wait_until(lambda: recording.status_is_served(client), "the status subresource is served")
    wait_until(
        lambda: len(client.list(KURYRPORTS).items) == len(found.of("KuryrPort")), "KuryrPorts are there"
    )
    yield found
    with suppress(NotFound):
        client.delete(LEASES, Key("kube-system", LEASE))
    recording.clear(client)
    clean(client)


@pytest.fixture
def world(
    original_api: KubernetesApi, client: Client, cloud: FakeCloud, recorded: Recording, tmp_path: Path
) -> World:
    """The recorded cluster, for controllers to take over."""
    return World(original_api, client, cloud, NAMESPACE, tmp_path)
