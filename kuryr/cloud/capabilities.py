# SPDX-License-Identifier: Apache-2.0
"""What the cloud can do and what we may do there, found out at start."""

from __future__ import annotations

import uuid
from typing import Any, Final

import msgspec

from kuryr.cloud import identity
from kuryr.cloud.session import ProjectCloud
from kuryr.errors import CloudNotFound


class Quota(msgspec.Struct, frozen=True):
    """A project's quota of one resource: ``limit`` -1 is none; ``used`` None where not told."""

    limit: int
    used: int | None = None
    reserved: int = 0

    @property
    def free(self) -> int | None:
        """How many more fit; None where there is no limit or the use is not known."""
        if self.limit < 0 or self.used is None:
            return None
        return max(0, self.limit - self.used - self.reserved)


class Capabilities(msgspec.Struct, frozen=True, kw_only=True):
    """What :func:`probe` found.

    :ivar extensions: aliases of Neutron's extensions.
    :ivar quotas: by resource: port, network, subnet, security_group, …
    :ivar roles: names of the token's roles.
    """

    project_id: str
    user_id: str
    roles: frozenset[str]
    extensions: frozenset[str]
    quotas: dict[str, Quota]


QUOTA_DETAILS: Final = "quota_details"


class _Extension(msgspec.Struct):
    alias: str


class _Extensions(msgspec.Struct):
    extensions: list[_Extension]


class _Id(msgspec.Struct):
    id: str


class _MadePort(msgspec.Struct):
    port: _Id


class _Limits(msgspec.Struct):
    quota: dict[str, Any]


class _Details(msgspec.Struct):
    quota: dict[str, Quota]


def probe(project: ProjectCloud) -> Capabilities:
    """Ask Keystone and Neutron, in at most three reading calls. Blocks: meant for start.

    :raises CloudError: where the cloud does not answer or refuses.
    """
    access = project.authenticate()
    answer = project.request("GET", "/v2.0/extensions", operation="list extensions", type=_Extensions)
    extensions = frozenset(extension.alias for extension in answer.extensions)
    return Capabilities(
        project_id=project.project_id,
        user_id=str(access.user_id),
        roles=frozenset(str(name) for name in access.role_names),
        extensions=extensions,
        quotas=quotas(project, details=QUOTA_DETAILS in extensions),
    )


def check_port_rights(project: ProjectCloud, network_id: str, host: str = "kuryr") -> None:
    """Find out whether the user may create bound ports on a network, without making one. Blocks.

    Neutron looks at rights before it looks for security groups, and this request names one that is not there.
    A process that stands by may ask too: nothing is left of it.

    :raises CloudForbidden: where a right is missing; names the rule of Neutron's policy.
    :raises CloudNotFound: where there is no such network.
    """
    body = {
        "network_id": network_id,
        "fixed_ips": [],
        "device_owner": identity.POD,
        "binding:host_id": host,
        "security_groups": [str(uuid.uuid4())],
    }
    try:
        made = project.request(
            "POST",
            "/v2.0/ports",
            operation="create port",
            type=_MadePort,
            body={"port": body},
            fenced=False,
        ).port
    except CloudNotFound as error:
        if error.reason != "SecurityGroupNotFound":
            raise
        return
    # A cloud that does not know security groups made the port.
    project.request(
        "DELETE", f"/v2.0/ports/{made.id}", operation="delete port", type=type(None), fenced=False
    )


def quotas(project: ProjectCloud, *, details: bool) -> dict[str, Quota]:
    """The quotas of a project. Blocks.

    :param details: whether the cloud tells what is used (extension ``quota_details``).
    """
    path = f"/v2.0/quotas/{project.project_id}"
    if details:
        return project.request("GET", f"{path}/details", operation="get quotas", type=_Details).quota
    limits = project.request("GET", path, operation="get quotas", type=_Limits).quota
    return {name: Quota(limit) for name, limit in limits.items() if isinstance(limit, int)}
