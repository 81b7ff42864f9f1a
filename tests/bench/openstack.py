# SPDX-License-Identifier: Apache-2.0
"""The development cloud's Neutron, as the controller uses it."""

from __future__ import annotations

from devcloud.openstack import facts
from tests.bench.pods import NODES
from tests.bench.ports import Account, PlainNeutron


def neutron() -> PlainNeutron:
    """A plain client with Kuryr's own account, that makes ports as those of pods."""
    known = facts.read()
    user = known["users"]["kuryr"]
    client = PlainNeutron(
        Account(
            auth_url=known["auth_url"],
            username=user["username"],
            password=user["password"],
            project=user["project"],
            subnets=tuple(known["subnets"]["pods"].values()),
            security_groups=(known["security_groups"]["k8s-pods"],),
            hosts=NODES,
        )
    )
    client.sweep()
    return client
