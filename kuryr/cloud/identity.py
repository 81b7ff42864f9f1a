# SPDX-License-Identifier: Apache-2.0
"""How things in the cloud say whose they are, in fields that the creating call writes and Neutron filters."""

from __future__ import annotations

from typing import Final

import msgspec

POD: Final = "compute:kuryr"
"""``device_owner`` of the ports of pods (as the original wrote it)."""

NODE: Final = "compute:kuryr-node"
"""``device_owner`` of the ports that nodes themselves use."""

SUBPORT: Final = "trunk:subport"
"""``device_owner`` that Neutron gives a port with its place in a trunk; the ``device_id`` becomes the trunk's."""

PREFIX: Final = "kuryr"
MAX_LENGTH: Final = 255
"""Longest description that Neutron takes, in characters."""


class Identity(msgspec.Struct, frozen=True):
    """Whose a thing in the cloud is.

    :ivar cluster: name of the cluster; two clusters may share a project.
    :ivar kind: what it is for, such as ``pod``, ``pool`` or ``node``.
    :ivar uid: the UID of the Kubernetes object, or what stands for it.
    :ivar detail: tells apart several things of one owner, such as the interface's name.
    """

    cluster: str
    kind: str
    uid: str
    detail: str = ""

    def __str__(self) -> str:
        return description(self.cluster, self.kind, self.uid, self.detail)


def description(cluster: str, kind: str, uid: str, detail: str = "") -> str:
    """``kuryr:<cluster>:<kind>:<uid>[:<detail>]``; only ``detail`` may hold colons.

    :raises ValueError: where a part is empty, holds a colon, or the whole is longer than Neutron takes.
    """
    for name, value in (("cluster", cluster), ("kind", kind), ("uid", uid)):
        if not value or ":" in value:
            raise ValueError(f"{name} of an identity must be non-empty and without colons, not {value!r}")
    text = ":".join((PREFIX, cluster, kind, uid, detail) if detail else (PREFIX, cluster, kind, uid))
    if len(text) > MAX_LENGTH:
        raise ValueError(f"the identity {text!r} is longer than {MAX_LENGTH} characters")
    return text


def parse(text: str) -> Identity | None:
    """The identity that :func:`description` wrote; None for any other text."""
    parts = text.split(":", 4)
    if len(parts) < 4 or parts[0] != PREFIX or not all(parts):
        return None
    return Identity(*parts[1:])
