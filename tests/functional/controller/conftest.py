# SPDX-License-Identifier: Apache-2.0
"""Fixtures: a world for each test, and the drivers of kuryr.testing as installed ones."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from stevedore import ExtensionManager

from kuryr.k8s.client import Client
from kuryr.testing.drivers import ENTRY_POINTS
from kuryr.testing.fake_cloud import FakeCloud
from tests.functional.controller.harness import World, clean
from tests.functional.kubernetes import KubernetesApi


@pytest.fixture(scope="session")
def installed_fakes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A directory on the path in which kuryr.testing.drivers look like an installed package's."""
    directory = tmp_path_factory.mktemp("site")
    info = directory / "kuryr_testing-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: kuryr-testing\nVersion: 1\n")
    (info / "entry_points.txt").write_text(ENTRY_POINTS)
    sys.path.insert(0, str(directory))
    # What stevedore found before is of another path.
    ExtensionManager.ENTRY_POINT_CACHE.clear()
    yield directory
    sys.path.remove(str(directory))


@pytest.fixture
def cloud() -> Iterator[FakeCloud]:
    with FakeCloud() as cloud:
        yield cloud


@pytest.fixture
def world(
    kubernetes_api: KubernetesApi,
    api_client: Client,
    cloud: FakeCloud,
    namespace: str,
    tmp_path: Path,
    installed_fakes: Path,
) -> Iterator[World]:
    clean(api_client)
    yield World(kubernetes_api, api_client, cloud, namespace, tmp_path)
    clean(api_client)
