# SPDX-License-Identifier: Apache-2.0
"""The real Neutron still refuses in the words that the fake one has learnt.

``python -m tests.e2e.test_answers`` writes the recording anew, from the development cloud that is up.
"""

import json
import tempfile
from contextlib import ExitStack
from pathlib import Path

from devcloud.openstack import facts
from kuryr.cloud.session import Cloud
from kuryr.testing.fake_cloud import FakeCloud
from tests.functional.cloud.answers import RECORDED, Answers, record
from tests.functional.cloud.conftest import configure

USERS = ("kuryr", "k8s", "admin")
"""Kuryr's user, an ordinary member of the same project, and an administrator."""


def configuration(user: str) -> str:
    """A kuryr.conf of that user."""
    known = facts.read()
    credentials = known["users"][user]
    return FakeCloud.configuration(
        {
            "neutron": {
                "auth_type": "password",
                "auth_url": known["auth_url"],
                "username": credentials["username"],
                "password": credentials["password"],
                "project_name": credentials["project"],
                "user_domain_name": known["user_domain_name"],
                "project_domain_name": known["project_domain_name"],
            }
        }
    )


def ask(directory: Path) -> Answers:
    """What the development cloud's Neutron answers."""
    with ExitStack() as stack:
        clouds = []
        for user in USERS:
            cloud = Cloud(configure(directory / f"{user}.conf", configuration(user)))
            stack.callback(cloud.close, 1)
            clouds.append(cloud)
        return record(*clouds)


def test_the_development_cloud_answers_as_recorded(tmp_path: Path) -> None:
    assert ask(tmp_path) == json.loads(RECORDED.read_text())


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as scratch:
        RECORDED.write_text(json.dumps(ask(Path(scratch)), indent=1) + "\n")
