# SPDX-License-Identifier: Apache-2.0
"""Projects, users, roles and the service catalogue."""

from devcloud.openstack.facts import AUTH_URL, LOAD_BALANCER_URL, NETWORK_URL, PASSWORD, REGION, USERS
from devcloud.openstack.rest import Session

ROLES = {
    ("neutron", "service"): ("admin", "service"),
    ("octavia", "service"): ("admin", "service"),
    ("k8s", "k8s"): ("member", "load-balancer_member"),
    # `service` lets it set and read a port's binding, in this project alone.
    ("kuryr", "k8s"): ("member", "service"),
}
"""The roles of each user in a project; `admin` comes with Keystone's bootstrap."""

SERVICES = (
    ("neutron", "network", NETWORK_URL),
    ("octavia", "load-balancer", LOAD_BALANCER_URL),
    ("kuryr-kubernetes", "kuryr-kubernetes", None),
)


def make() -> None:
    """Make what is not there yet."""
    admin = Session("admin", USERS["admin"])
    projects, users = {}, {}
    for (user, project), roles in ROLES.items():
        if project not in projects:
            projects[project] = _ensure(admin, "project", {"name": project, "domain_id": "default"})
        users[user] = _ensure(
            admin,
            "user",
            {
                "name": user,
                "password": PASSWORD,
                "domain_id": "default",
                "default_project_id": projects[project],
            },
        )
        for role in roles:
            role_id = _ensure(admin, "role", {"name": role})
            path = f"projects/{projects[project]}/users/{users[user]}/roles/{role_id}"
            admin.call("PUT", f"{AUTH_URL}/{path}")
    for name, kind, url in SERVICES:
        service = admin.ensure(f"{AUTH_URL}/services", "service", {"name": name, "type": kind}, type=kind)
        if url is not None:
            endpoint = {
                "service_id": service["id"],
                "interface": "public",
                "url": url,
                "region_id": REGION,
            }
            admin.ensure(f"{AUTH_URL}/endpoints", "endpoint", endpoint, service_id=service["id"])


def _ensure(admin: Session, kind: str, wanted: dict[str, str]) -> str:
    found: str = admin.ensure(f"{AUTH_URL}/{kind}s", kind, wanted)["id"]
    return found
