# SPDX-License-Identifier: Apache-2.0
"""The package that docs/drivers.md writes, installed as it says there, with pods."""

import configparser
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from kuryr.k8s.client import Client
from kuryr.objects.resources import PODS
from kuryr.testing.fake_cloud import FakeCloud
from tests.functional.controller.harness import World, clean
from tests.functional.controller.process import Process
from tests.functional.kubernetes import KubernetesApi, wait_until

PAGE = (Path(__file__).resolve().parents[3] / "docs" / "drivers.md").read_text()


def block(file: str) -> str:
    """The first block of code after the file's name."""
    found = re.search(r"```\w+\n(.*?)```", PAGE.partition(f"`{file}`")[2], re.DOTALL)
    assert found is not None, file
    return found.group(1)


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory that has the package as pip leaves it: its modules, and its entry points."""
    directory = tmp_path_factory.mktemp("site")
    package = directory / "my_kuryr"
    package.mkdir()
    (package / "__init__.py").touch()
    for name in ("groups", "ports"):
        # The name stands in the tree and in setup.cfg too: what counts is where its code follows.
        code = PAGE.partition(f"`my_kuryr/{name}.py`")[2]
        found = re.search(r"```python\n(.*?)```", code, re.DOTALL)
        assert found is not None
        (package / f"{name}.py").write_text(found.group(1))
    setup = configparser.ConfigParser()
    setup.read_string(block("setup.cfg"))
    points = setup["options.entry_points"]
    info = directory / "my_kuryr-1.0.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: my-kuryr\nVersion: 1.0.0\n")
    (info / "entry_points.txt").write_text("\n".join(f"[{group}]{points[group]}" for group in points))
    return directory


@pytest.fixture
def cloud() -> Iterator[FakeCloud]:
    with FakeCloud() as cloud:
        yield cloud


@pytest.fixture
def world(
    kubernetes_api: KubernetesApi, api_client: Client, cloud: FakeCloud, namespace: str, tmp_path: Path
) -> Iterator[World]:
    clean(api_client)
    yield World(kubernetes_api, api_client, cloud, namespace, tmp_path)
    clean(api_client)


def test_the_driver_and_the_handler_of_the_page(world: World, installed: Path) -> None:
    other = world.cloud.make("security_groups", name="web")["id"]
    options = {
        "kubernetes": {
            "pod_security_groups_driver": "labelled",
            "enabled_handlers": "vif,kuryrport,port_ids",
        },
        "my_groups": {"groups": f"web:{other}"},
    }
    before = world.create_pod("before")
    with Process(world.configuration(options), site=installed) as controller:
        controller.wait_ready()
        labels = {"labels": {"my.example.org/groups": "web"}}
        pod = world.create_pod("web", metadata=labels)
        world.wait_filled("web")
        world.wait_filled("before")
        (port,) = world.ports(pod.metadata.uid)
        assert port["security_groups"] == [other]
        (port,) = world.ports(before.metadata.uid)
        assert port["security_groups"] == [world.cloud.security_group_id]
        for name, uid in (("web", pod.metadata.uid), ("before", before.metadata.uid)):
            (port,) = world.ports(uid)
            wait_until(
                lambda name=name, port=port: (
                    world.client.get(PODS, world.key(name)).metadata.annotations.get("my.example.org/ports")
                    == port["id"]
                ),
                f"pod {name} is annotated",
            )
        world.client.merge_patch(PODS, world.key("before"), {"metadata": labels})
        wait_until(
            lambda: world.ports(before.metadata.uid)[0]["security_groups"] == [other],
            "a new label changes the port's groups",
        )
        world.create_pod("wrong", metadata={"labels": {"my.example.org/groups": "database"}})
        condition = world.wait_failed("wrong", "Invalid")
        assert condition.message.endswith("'database' is not known. Valid values: web.")
