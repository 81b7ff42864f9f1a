# SPDX-License-Identifier: Apache-2.0
"""The fake Neutron refuses in the words of the real one.

``answers.json`` was recorded from Neutron 29 with ML2/OVN. Where the development cloud is up, its Neutron is asked
again; ``python -m tests.functional.cloud.test_answers`` writes the file anew.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import pytest

from devcloud import paths
from kuryr.cloud.session import Cloud
from kuryr.testing.fake_cloud import FakeCloud

from .answers import Answers, record
from .conftest import MakeCloud, configure

RECORDED = Path(__file__).with_name("answers.json")


def development_clouds(directory: Path) -> tuple[Cloud, Cloud, Cloud]:
    """The development cloud as seen by Kuryr's user, an ordinary member and an administrator."""
    facts = json.loads(paths.FACTS.read_text())
    return tuple(  # type: ignore[return-value]
        Cloud(
            configure(
                directory / f"{user}.conf",
                FakeCloud.configuration(
                    {
                        "neutron": {
                            "auth_type": "password",
                            "auth_url": facts["auth_url"],
                            "username": facts["users"][user]["username"],
                            "password": facts["users"][user]["password"],
                            "project_name": facts["users"][user]["project"],
                            "user_domain_name": facts["user_domain_name"],
                            "project_domain_name": facts["project_domain_name"],
                        }
                    }
                ),
            )
        )
        for user in ("kuryr", "k8s", "admin")
    )


def test_the_fake_cloud_answers_as_recorded(fake: FakeCloud, make_cloud: MakeCloud) -> None:
    fake.neutron.state.hosts = {"node1"}
    answers = record(
        make_cloud(),
        make_cloud(username="member"),
        make_cloud(username="admin", project_name="admin"),
    )
    assert answers == json.loads(RECORDED.read_text())


@pytest.mark.skipif(not paths.FACTS.exists(), reason="the development cloud is not up")
def test_the_development_cloud_answers_as_recorded(tmp_path: Path) -> None:
    answers = ask_development_cloud(tmp_path)
    assert answers == json.loads(RECORDED.read_text())


def ask_development_cloud(directory: Path) -> Answers:
    clouds = development_clouds(directory)
    try:
        return record(*clouds)
    finally:
        for cloud in clouds:
            cloud.close(1)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as scratch:
        RECORDED.write_text(json.dumps(ask_development_cloud(Path(scratch)), indent=1) + "\n")
