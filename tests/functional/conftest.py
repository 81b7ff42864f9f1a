# SPDX-License-Identifier: Apache-2.0
"""Fixtures that all functional tests share."""

import itertools
from collections.abc import Iterator

import pytest

from kuryr.k8s.client import Client
from kuryr.objects.resources import NAMESPACES
from tests.functional.kubernetes import CRDS, KubernetesApi, MissingProgramError

_NUMBERS = itertools.count(1)


@pytest.fixture(scope="session")
def kubernetes_api() -> Iterator[KubernetesApi]:
    """A real API with the project's CRDs, for the whole run. Who restarts it starts it again."""
    try:
        with KubernetesApi() as api:
            if any(CRDS.glob("*.yaml")):
                api.apply_crds()
            yield api
    except MissingProgramError as error:
        pytest.fail(str(error))


@pytest.fixture
def api_client(kubernetes_api: KubernetesApi) -> Iterator[Client]:
    """A client of the administrator."""
    client = kubernetes_api.client()
    yield client
    client.close()


@pytest.fixture
def namespace(api_client: Client) -> str:
    """A namespace of the test's own."""
    name = f"test-{next(_NUMBERS)}"
    api_client.create(NAMESPACES, "", {"metadata": {"name": name}})
    return name
