# SPDX-License-Identifier: Apache-2.0
"""What the cloud can do and what we may do there, found out at start."""

from __future__ import annotations

import msgspec

from kuryr.cloud.session import ProjectCloud


class Quota(msgspec.Struct, frozen=True):
    """A project's quota of one resource: ``limit`` -1 is none; ``used`` None where the cloud does not tell."""

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
    :ivar tags_on_create: whether the tags of a port's creating call are kept.
    """

    project_id: str
    user_id: str
    roles: frozenset[str]
    extensions: frozenset[str]
    quotas: dict[str, Quota]
    tags_on_create: bool


def probe(project: ProjectCloud) -> Capabilities:
    """Ask Keystone and Neutron, in four reading calls. Blocks: meant for start.

    :raises CloudError: where the cloud does not answer or refuses.
    """
    raise NotImplementedError
