# SPDX-License-Identifier: Apache-2.0
"""What the rest of the development cloud and the tests need to know of OpenStack: STATE/openstack.json."""

import json
from typing import Any

from devcloud import paths
from devcloud.network import HOST_IPV4, NODES

REGION = "RegionOne"
DOMAIN = "Default"
PASSWORD = "devcloud"
AUTH_URL = f"http://{HOST_IPV4}:5000/v3"
NETWORK_URL = f"http://{HOST_IPV4}:9696"
LOAD_BALANCER_URL = f"http://{HOST_IPV4}:9876"

USERS = {"admin": "admin", "k8s": "k8s", "kuryr": "k8s"}
"""The project of each user that people and Kuryr log in as."""

Facts = dict[str, Any]


def write(objects: Facts) -> None:
    """Write openstack.json and clouds.yaml, readable by root alone; `objects` holds the ids."""
    everything = {
        "auth_url": AUTH_URL,
        "region": REGION,
        "user_domain_name": DOMAIN,
        "project_domain_name": DOMAIN,
        "users": {
            user: {"username": user, "password": PASSWORD, "project": project}
            for user, project in USERS.items()
        },
        "node_ovsdb": {node.name: f"unix:{paths.ovsdb_socket(node.name)}" for node in NODES},
        **objects,
    }
    _write(paths.FACTS, json.dumps(everything, indent=2) + "\n")


def read() -> Facts:
    """The facts of the cloud that is up; FileNotFoundError where none is."""
    facts: Facts = json.loads(paths.FACTS.read_text())
    return facts


def write_clouds() -> None:
    """Write clouds.yaml, readable by root alone."""
    clouds = {
        {"admin": "devcloud-admin"}.get(user, user): {
            "auth": {
                "auth_url": AUTH_URL,
                "username": user,
                "password": PASSWORD,
                "project_name": project,
                "user_domain_name": DOMAIN,
                "project_domain_name": DOMAIN,
            },
            "region_name": REGION,
            "interface": "public",
            "identity_api_version": 3,
        }
        for user, project in USERS.items()
    }
    # JSON is YAML.
    _write(paths.CLOUDS, json.dumps({"clouds": clouds}, indent=2) + "\n")


def _write(file: Any, text: str) -> None:
    file.touch(mode=0o600)
    file.write_text(text)
