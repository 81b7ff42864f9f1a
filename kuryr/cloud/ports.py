# SPDX-License-Identifier: Apache-2.0
"""Neutron ports: typed, and each operation one call (or one page a call) within the learnt limits."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from typing import Any, TypeVar

import msgspec

from kuryr.cloud.session import Cloud, ProjectCloud
from kuryr.errors import CloudBadRequest, CloudNotFound

LOG = logging.getLogger(__name__)

T = TypeVar("T")


class FixedIP(msgspec.Struct, frozen=True, omit_defaults=True):
    """An address of a port. In a request ``ip_address`` None lets Neutron choose one in the subnet."""

    subnet_id: str
    ip_address: str | None = None


class AddressPair(msgspec.Struct, frozen=True, omit_defaults=True):
    """An address (or prefix) that a port may use beside its own; ``mac_address`` None: with its own MAC."""

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
    :ivar tags: part of the creating call where the cloud keeps them, else set by a call of their own after it.
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


_PORT_FIELDS = tuple(field.encode_name for field in msgspec.structs.fields(Port))
_WIRE_NAMES = {field.name: field.encode_name for field in msgspec.structs.fields(Port)}

IDS_A_CALL = 100
"""Ids in the query of one listing: a URL of 4 KiB passes every proxy."""

Filter = str | Sequence[str]


class _One(msgspec.Struct):
    port: Port


class _Link(msgspec.Struct):
    rel: str = ""


class _Many(msgspec.Struct):
    ports: list[Port]
    ports_links: list[_Link] = []

    @property
    def more(self) -> bool:
        return any(link.rel == "next" for link in self.ports_links)


class Ports:
    """Operations on ports. None blocks but :meth:`list_pages`; errors are those of :mod:`kuryr.errors`.

    ``share`` names whose turn a call takes in the queue; ``project_id`` chooses the session, None for the
    configured one.
    """

    def __init__(self, cloud: Cloud) -> None:
        """Make no call yet."""
        self._cloud = cloud
        self._tags_refused = False

    def create(self, request: PortRequest) -> Future[Port]:
        """Create a port in one call.

        :raises SubnetFull, AddressInUse, QuotaExceeded, CloudNotFound: through the future, as all errors.
        """

        def call() -> Port:
            project = self._cloud.project(request.project_id)

            def post(tags_too: bool) -> Port:
                body = {"port": _body(request, tags_too)}
                return project.request(
                    "POST", "/v2.0/ports", operation="create port", type=_One, body=body
                ).port

            port = self._post([request], post)
            self._tag(project, request, port)
            return port

        return self._cloud.limiter.submit("create port", request.share, call)

    def create_bulk(self, requests: Sequence[PortRequest]) -> Future[list[Port]]:
        """Create ports of one project in one call, all or none; answers in the order of the requests.

        :raises ValueError: where the requests are none, or of several projects or shares.
        """
        owners = {(request.project_id, request.share) for request in requests}
        if len(owners) != 1:
            raise ValueError(f"a bulk call is for one project and share, not {len(owners)}")
        ((project_id, share),) = owners

        def call() -> list[Port]:
            project = self._cloud.project(project_id)

            def post(tags_too: bool) -> list[Port]:
                body = {"ports": [_body(request, tags_too) for request in requests]}
                return project.request(
                    "POST", "/v2.0/ports", operation="create ports", type=_Many, body=body
                ).ports

            ports = self._post(requests, post)
            for request, port in zip(requests, ports, strict=True):
                self._tag(project, request, port)
            return ports

        return self._cloud.limiter.submit("create ports", share, call)

    def _post(self, requests: Sequence[PortRequest], post: Callable[[bool], T]) -> T:
        """Make the creating call: with tags, unless the cloud (an old one) has refused them there."""
        if self._tags_refused or not any(request.tags for request in requests):
            return post(False)
        try:
            return post(True)
        except CloudBadRequest as error:
            if "tags" not in str(error):
                raise
            self._tags_refused = True
            return post(False)

    def _tag(self, project: ProjectCloud, request: PortRequest, port: Port) -> None:
        """Set a new port's tags where the answer does not show them: many a Neutron drops those of a creating call.

        No extension tells which do: with OVN the one that keeps them is not listed. Nobody waits for the call: tags are
        for people, a port is known without them.
        """
        if set(request.tags) <= set(port.tags):
            return

        def call() -> None:
            with contextlib.suppress(CloudNotFound):
                project.request(
                    "PUT",
                    f"/v2.0/ports/{port.id}/tags",
                    operation="update port tags",
                    type=object,
                    body={"tags": request.tags},
                )

        def told(done: Future[None]) -> None:
            if not done.cancelled() and (error := done.exception()) is not None:
                LOG.warning("Port %s stays without its tags: %s", port.id, error)

        self._cloud.limiter.submit("update port tags", request.share, call).add_done_callback(told)

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

        :param revision: refuse (CloudConflict, reason ``RevisionConflict``) a port of another revision.
        :raises ValueError: for a field that :class:`Port` does not have.
        """
        unknown = fields.keys() - _WIRE_NAMES.keys()
        if unknown:
            raise ValueError(f"a port has no field {', '.join(sorted(unknown))}")
        body = {"port": {_WIRE_NAMES[name]: value for name, value in fields.items()}}
        headers = {"If-Match": f"revision_number={revision}"} if revision is not None else None

        def call() -> Port:
            return (
                self._cloud.project(project_id)
                .request(
                    "PUT",
                    f"/v2.0/ports/{port_id}",
                    operation="update port",
                    type=_One,
                    body=body,
                    headers=headers,
                )
                .port
            )

        return self._cloud.limiter.submit("update port", share, call)

    def delete(self, port_id: str, share: str = "", *, project_id: str | None = None) -> Future[None]:
        """Delete a port; one that is already gone is a success."""

        def call() -> None:
            project = self._cloud.project(project_id)
            with contextlib.suppress(CloudNotFound):
                project.request("DELETE", f"/v2.0/ports/{port_id}", operation="delete port", type=type(None))

        return self._cloud.limiter.submit("delete port", share, call)

    def get(self, port_id: str, *, project_id: str | None = None, share: str = "") -> Future[Port]:
        """Read one port."""

        def call() -> Port:
            project = self._cloud.project(project_id)
            return project.request("GET", f"/v2.0/ports/{port_id}", operation="get port", type=_One).port

        return self._cloud.limiter.submit("get port", share, call)

    def find(
        self,
        project_id: str | None = None,
        *,
        device_id: Filter | None = None,
        description: str | None = None,
        ids: Sequence[str] | None = None,
        share: str = "",
    ) -> Future[list[Port]]:
        """The ports of a project that match all that is given.

        Many ids or device ids are asked for in several calls, one after the other.

        :raises ValueError: where no filter is given.
        """
        filters: dict[str, Filter] = {}
        if device_id is not None:
            filters["device_id"] = device_id
        if description is not None:
            filters["description"] = description
        if ids is not None:
            filters["id"] = ids
        if not filters:
            raise ValueError("find: expected device_id, description or ids")

        def call() -> list[Port]:
            return [
                port
                for query in _queries(filters)
                for page in self._pages(project_id, query, 500)
                for port in page
            ]

        return self._cloud.limiter.submit("list ports", share, call)

    def list_pages(
        self,
        project_id: str | None = None,
        *,
        device_owner: Filter | None = None,
        page_size: int = 500,
        **filters: Filter,
    ) -> Iterator[list[Port]]:
        """The ports of a project page by page, ordered by id. Blocks for each page: not for a reconcile."""
        if device_owner is not None:
            filters["device_owner"] = device_owner
        pages = self._pages(project_id, filters, page_size)
        while True:
            page = self._cloud.limiter.submit("list ports", "", lambda: next(pages, None)).result()
            if page is None:
                return
            yield page

    def _pages(
        self, project_id: str | None, filters: Mapping[str, Filter], page_size: int
    ) -> Iterator[list[Port]]:
        project = self._cloud.project(project_id)
        query = {
            **filters,
            "project_id": project.project_id,
            "fields": _PORT_FIELDS,
            "sort_key": "id",
            "sort_dir": "asc",
            "limit": str(page_size),
        }
        while True:
            answer = project.request("GET", "/v2.0/ports", operation="list ports", type=_Many, params=query)
            if answer.ports:
                yield answer.ports
            if not answer.more or not answer.ports:
                return
            query["marker"] = answer.ports[-1].id


def _body(request: PortRequest, tags_too: bool) -> dict[str, Any]:
    """The request as Neutron wants it: what is not asked for is left out."""
    body: dict[str, Any] = {"network_id": request.network_id, "admin_state_up": True}
    if request.fixed_ips:
        body["fixed_ips"] = request.fixed_ips
    if request.security_groups is not None:
        body["security_groups"] = request.security_groups
    if tags_too and request.tags:
        body["tags"] = request.tags
    for name, value in (
        ("project_id", request.project_id),
        ("device_id", request.device_id),
        ("device_owner", request.device_owner),
        ("description", request.description),
        ("name", request.name),
        ("binding:host_id", request.host_id),
        ("mac_address", request.mac_address),
    ):
        if value:
            body[name] = value
    return body


def _queries(filters: Mapping[str, Filter]) -> Iterator[dict[str, Filter]]:
    """``filters`` with the longest list of values cut into pieces that fit a URL."""
    name, values = max(filters.items(), key=lambda item: 1 if isinstance(item[1], str) else len(item[1]))
    if isinstance(values, str):
        yield dict(filters)
        return
    for start in range(0, len(values), IDS_A_CALL):
        yield {**filters, name: values[start : start + IDS_A_CALL]}
