# SPDX-License-Identifier: Apache-2.0
"""The fake Neutron refuses in the words of the real one: of Neutron 29 with ML2/OVN, as tests/e2e/test_answers.py recorded."""

from __future__ import annotations

import json

from kuryr.testing.fake_cloud import FakeCloud

from .answers import RECORDED, record
from .conftest import MakeCloud


def test_the_fake_cloud_answers_as_recorded(fake: FakeCloud, make_cloud: MakeCloud) -> None:
    fake.neutron.state.hosts = {"node1"}
    answers = record(
        make_cloud(),
        make_cloud(username="member"),
        make_cloud(username="admin", project_name="admin"),
    )
    assert answers == json.loads(RECORDED.read_text())
