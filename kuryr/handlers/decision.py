# SPDX-License-Identifier: Apache-2.0
"""Whether what the original left may be made this project's own: an operator decides, by ``kuryr-k8s-status adopt``.

The decision is an annotation of a Lease in ``[kubernetes] lease_namespace``, where controllers may read and write Leases.
"""

from __future__ import annotations

from kuryr.drivers.types import Stores
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
