# SPDX-License-Identifier: Apache-2.0
"""The fake cloud, and ours against it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
from oslo_config import cfg

from kuryr.cloud.session import Cloud
from kuryr.conf import neutron, neutron_defaults
from kuryr.testing.fake_cloud import FakeCloud

Options = Mapping[str, Mapping[str, str]]
MakeCloud = Callable[..., Cloud]


def configure(path: Path, text: str) -> cfg.ConfigOpts:
    """The options of a file of this text."""
    path.write_text(text)
    conf = cfg.ConfigOpts()
    neutron.register(conf)
    neutron_defaults.register(conf)
    conf(["--config-file", str(path)], project="kuryr")
    return conf


@pytest.fixture
def fake() -> Iterator[FakeCloud]:
    with FakeCloud() as cloud:
        yield cloud


@pytest.fixture
def observed() -> Counter[tuple[str, str]]:
    """Calls that were observed, by operation and result."""
    return Counter()


@pytest.fixture
def make_cloud(tmp_path: Path, fake: FakeCloud, observed: Counter[tuple[str, str]]) -> Iterator[MakeCloud]:
    """Makes a Cloud for the fake one; keywords change options of [neutron]."""
    made: list[Cloud] = []

    def observe(operation: str, result: str, seconds: float) -> None:
        assert seconds >= 0
        observed[operation, result] += 1

    def make(text: str | None = None, **changed: str) -> Cloud:
        options = fake.options()
        options["neutron"].update(changed)
        path = tmp_path / f"kuryr-{len(made)}.conf"
        cloud = Cloud(configure(path, text or fake.configuration(options)), observe=observe)
        made.append(cloud)
        return cloud

    yield make
    for cloud in made:
        cloud.close(1)


@pytest.fixture
def cloud(make_cloud: MakeCloud) -> Cloud:
    return make_cloud()
