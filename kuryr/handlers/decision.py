# SPDX-License-Identifier: Apache-2.0
"""Whether what the original left may be made this project's own: an operator decides, by ``kuryr-k8s-status adopt``.

The decision is an annotation of a Lease in ``[kubernetes] lease_namespace``, where controllers may read and write Leases.
"""

from __future__ import annotations

from datetime import datetime

from kuryr.drivers.types import Stores
from kuryr.k8s.client import Client
from kuryr.k8s.conditions import micro_timestamp
from kuryr.k8s.errors import Conflict, NotFound
from kuryr.k8s.lease import LEASES, Lease
from kuryr.objects.meta import Key
from kuryr.objects.original import unadopted_interfaces
from kuryr.objects.resources import KURYRPORTS

LEASE = "kuryr-adoption"
"""Name of the Lease; nobody holds it."""

DECIDED = "kuryr.openstack.org/adopt"
"""Its annotation: when it was decided."""


def is_decided(lease: Lease | None) -> bool:
    """Whether the Lease says that what the original left is to be adopted."""
    return lease is not None and bool(lease.metadata.annotations.get(DECIDED))


def undecided(stores: Stores, namespace: str) -> bool:
    """Whether there is something of the original's about which nobody has decided yet."""
    leases = stores.get(LEASES)
    if leases is not None and is_decided(leases.get(Key(namespace, LEASE))):
        return False
    return any(unadopted_interfaces(port) for port in stores[KURYRPORTS].values())


def read(client: Client, namespace: str) -> str:
    """When it was decided to adopt; empty where it was not.

    :raises ApiError: where the API does not answer.
    """
    try:
        lease = client.get(LEASES, Key(namespace, LEASE))
    except NotFound:
        return ""
    return lease.metadata.annotations.get(DECIDED, "")


def decide(client: Client, namespace: str, now: datetime) -> None:
    """Write down that what the original left is to be adopted; controllers begin at once.

    :raises ApiError: where the API does not answer or refuses.
    """
    metadata = {"name": LEASE, "annotations": {DECIDED: micro_timestamp(now)}}
    try:
        client.create(LEASES, namespace, {"metadata": metadata, "spec": {}})
    except Conflict as error:
        if error.reason != "AlreadyExists":
            raise
        client.merge_patch(LEASES, Key(namespace, LEASE), {"metadata": metadata})


def revoke(client: Client, namespace: str) -> None:
    """Take the decision back; what was adopted by now stays so.

    :raises ApiError: where the API does not answer or refuses.
    """
    try:
        client.merge_patch(LEASES, Key(namespace, LEASE), {"metadata": {"annotations": {DECIDED: None}}})
    except NotFound:
        return
