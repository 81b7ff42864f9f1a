# SPDX-License-Identifier: Apache-2.0
"""Neutron ports: typed, and each operation one call (or one page a call) within the learnt limits."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from typing import Any

import msgspec

from kuryr.cloud.session import Cloud


class FixedIP(msgspec.Struct, frozen=True):
    """An address of a port. In a request ``ip_address`` None lets Neutron choose one in the subnet."""

    subnet_id: str
    ip_address: str | None = None


class AddressPair(msgspec.Struct, frozen=True, omit_defaults=True):
    """An address (or prefix) that a port may use beside its own; ``mac_address`` None means the port's own."""

    ip_address: str
    mac_address: str | None = None


class Port(msgspec.Struct, frozen=True, kw_only=True):
    """A Neutron port as an answer showed it. The binding is None where the user lacks the right to see it."""

    id: str
    network_id: str
    project_id: str = ""
    mac_address: str = ""
    fixed_ips: tuple[FixedIP, ...] = ()
    device_id: str = ""
    device_owner: str = ""
    description: str | None = ""
    name: str = ""
    status: str = ""
    host_id: str | None = msgspec.field(default=None, name="binding:host_id")
    vif_type: str | None = msgspec.field(default=None, name="binding:vif_type")
    vif_details: dict[str, Any] | None = msgspec.field(default=None, name="binding:vif_details")
    security_groups: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    revision_number: int = 0
    created_at: str = ""
    allowed_address_pairs: tuple[AddressPair, ...] = ()


class PortRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A port to be created.

    :ivar project_id: the owner; None for the configured project.
    :ivar fixed_ips: in order; empty lets Neutron choose the subnets.
    :ivar security_groups: ids; None leaves Neutron's default group, empty means none.
    :ivar mac_address: None lets Neutron choose.
    :ivar tags: sent only where the cloud keeps the tags of a creating call.
    :ivar share: whose turn this call takes in the queue, usually the namespace.
    """

    network_id: str
    project_id: str | None = None
    fixed_ips: tuple[FixedIP, ...] = ()
    security_groups: tuple[str, ...] | None = None
    device_id: str = ""
    device_owner: str = ""
    description: str = ""
    name: str = ""
    host_id: str = ""
    mac_address: str | None = None
    tags: tuple[str, ...] = ()
    share: str = ""


class Ports:
    """Operations on ports. None blocks but :meth:`list_pages`; errors are those of :mod:`kuryr.errors`.

    ``share`` names whose turn a call takes in the queue. ``project_id`` chooses the session (None: the configured one).
    """

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud

    def create(self, request: PortRequest) -> Future[Port]:
        """Create a port in one call.

        :raises SubnetFull, AddressInUse, QuotaExceeded, CloudNotFound: through the future, as all errors.
        """
        raise NotImplementedError

    def create_bulk(self, requests: Sequence[PortRequest]) -> Future[list[Port]]:
        """Create ports of one project in one call, all or none; answers in the order of the requests."""
        raise NotImplementedError

    def update(
        self,
        port_id: str,
        revision: int | None = None,
        *,
        project_id: str | None = None,
        share: str = "",
        **fields: Any,
    ) -> Future[Port]:
        """Set ``fields``, named as in :class:`Port`.

        :param revision: refuse (CloudConflict, reason ``RevisionConflict``) where the port is at another revision.
        """
        raise NotImplementedError

    def delete(self, port_id: str, share: str = "", *, project_id: str | None = None) -> Future[None]:
        """Delete a port; one that is already gone is a success."""
        raise NotImplementedError

    def get(self, port_id: str, *, project_id: str | None = None, share: str = "") -> Future[Port]:
        """Read one port."""
        raise NotImplementedError

    def find(
        self,
        project_id: str | None = None,
        *,
        device_id: str | Sequence[str] | None = None,
        description: str | None = None,
        ids: Sequence[str] | None = None,
        share: str = "",
    ) -> Future[list[Port]]:
        """The ports of a project that match all that is given; at least one filter is."""
        raise NotImplementedError

    def list_pages(
        self,
        project_id: str | None = None,
        *,
        device_owner: str | Sequence[str] | None = None,
        page_size: int = 500,
        **filters: str | Sequence[str],
    ) -> Iterator[list[Port]]:
        """The ports of a project page by page, ordered by id. Blocks for each page: not for a reconcile."""
        raise NotImplementedError
