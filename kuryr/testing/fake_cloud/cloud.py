# SPDX-License-Identifier: Apache-2.0
"""The fake cloud: Keystone and Neutron behind one HTTP server, with knobs to make it slow, small and faulty."""

from __future__ import annotations

import logging
import ssl
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import msgspec

from kuryr.testing.fake_cloud.errors import ApiError, bad_request
from kuryr.testing.fake_cloud.faults import Fault, Knobs
from kuryr.testing.fake_cloud.http import Request, Response, Server
from kuryr.testing.fake_cloud.journal import Call, Journal
from kuryr.testing.fake_cloud.keystone import Keystone, Token, versions
from kuryr.testing.fake_cloud.neutron import Neutron
from kuryr.testing.fake_cloud.resource import Item

NAME = "kuryr"
PASSWORD = "secret"  # noqa: S105


LOG = logging.getLogger(__name__)


class FakeCloud:
    """A cloud with a project ``k8s`` and in it a user ``kuryr`` with the roles member and service.

    There are the networks ``pods``, ``pods2`` and ``services``, each with an IPv4 and an IPv6 subnet, a security
    group ``k8s-pods``, subnet pools ``pods-pool`` and a router ``k8s-router``::

        with FakeCloud() as fake:
            fake.knobs.latency("create port", 0.3)
            fake.knobs.fail("create port", kind="drop_after")
            fake.write_configuration(tmp_path / "kuryr.conf")
            ...
            assert fake.journal.counts["create port"] == 1

    :ivar knobs: latency, capacity, faults.
    :ivar journal: what was asked.
    :ivar keystone: users, projects, tokens.
    :ivar neutron: the state behind the API.
    :ivar project_id: id of ``k8s``.
    :ivar subnets: ids of the subnets by name of the network, then IP version.
    """

    def __init__(
        self,
        host: str = "127.0.0.1",
        port: int = 0,
        *,
        token_seconds: float = 3600,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        """Furnish the cloud; it serves from :meth:`start` on.

        :param token_seconds: how long tokens are valid.
        :param tls: serve HTTPS with this.
        """
        self.knobs = Knobs()
        self.journal = Journal()
        self.keystone = Keystone(token_seconds)
        self.neutron = Neutron()
        self._scheme = "https" if tls else "http"
        self._server = Server(self._answer, host, port, tls)
        self._furnish()

    def __enter__(self) -> FakeCloud:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def start(self) -> None:
        """Serve from now on."""
        self._server.start()

    def close(self) -> None:
        """Stop; calls under way are cut."""
        self.knobs.close()
        self._server.close()

    @property
    def url(self) -> str:
        """Where it serves."""
        host, port = self._server.address
        return f"{self._scheme}://{host}:{port}"

    @property
    def auth_url(self) -> str:
        """Keystone's URL."""
        return f"{self.url}/identity/v3"

    @property
    def ports(self) -> list[Item]:
        """All ports, as the API shows them to an administrator."""
        with self.neutron.state.lock:
            return [dict(port) for port in self.neutron.ports.items.values()]

    def items(self, plural: str) -> list[Item]:
        """All objects of a resource (``networks``, ``security_groups``, …)."""
        with self.neutron.state.lock:
            return [dict(item) for item in self.neutron.state.of(plural).values()]

    def set_status(self, port_id: str, status: str) -> None:
        """Say that a port is ``ACTIVE`` or ``DOWN``, as the backend does once it is wired."""
        with self.neutron.state.lock:
            self.neutron.ports.items[port_id]["status"] = status

    def set_quota(self, project_id: str, **limits: int) -> None:
        """Set quotas (-1: none)."""
        with self.neutron.state.lock:
            self.neutron.state.quotas.setdefault(project_id, {}).update(limits)

    def make(self, plural: str, project_id: str | None = None, **attributes: Any) -> Item:
        """Make an object as an administrator does, beside the API and its knobs."""
        token = self._admin(project_id or self.project_id)
        with self.neutron.state.lock:
            return self.neutron.resources[plural].create(token, attributes)

    def restore(self, plural: str, items: Iterable[Item]) -> None:
        """Put objects in as they were recorded of another cloud: networks before their subnets, these before ports."""
        with self.neutron.state.lock:
            for item in items:
                self.neutron.resources[plural].restore(item)

    def remove(self, plural: str, item_id: str) -> None:
        """Take an object away as an administrator does, beside the API and its knobs."""
        with self.neutron.state.lock:
            resource = self.neutron.resources[plural]
            resource.delete(self._admin(self.project_id), resource.items[item_id])

    def options(self, username: str = NAME, project: str = "k8s") -> dict[str, dict[str, str]]:
        """The options of Kuryr that this cloud needs, by group. Users: ``kuryr``, ``member``, ``admin``."""
        pods, services = self.subnets["pods"], self.subnets["services"]
        return {
            "neutron": {
                "auth_type": "password",
                "auth_url": self.auth_url,
                "username": username,
                "password": PASSWORD,
                "user_domain_name": "Default",
                "project_name": project,
                "project_domain_name": "Default",
                "region_name": "RegionOne",
            },
            "neutron_defaults": {
                "project": self.project_id,
                "pod_subnet": f"{pods[4]},{pods[6]}",
                "service_subnet": f"{services[4]},{services[6]}",
                "pod_security_groups": self.security_group_id,
            },
        }

    @staticmethod
    def configuration(options: Mapping[str, Mapping[str, str]]) -> str:
        """Options by group, as a configuration file."""
        lines: list[str] = []
        for group, values in options.items():
            lines += [f"[{group}]", *(f"{name} = {value}" for name, value in values.items()), ""]
        return "\n".join(lines)

    def write_configuration(self, path: Path) -> None:
        """Write the sections [neutron] and [neutron_defaults] to a file."""
        path.write_text(self.configuration(self.options()))

    def _furnish(self) -> None:
        project = self.keystone.add_project("k8s")
        admin = self.keystone.add_project("admin")
        self.project_id, self.admin_project_id = project.id, admin.id
        self.user = self.keystone.add_user(NAME, PASSWORD, {project.id: {"member", "service"}})
        self.member = self.keystone.add_user("member", PASSWORD, {project.id: {"member"}})
        self.admin = self.keystone.add_user(
            "admin", PASSWORD, {admin.id: {"admin", "member"}, project.id: {"admin", "member"}}
        )
        self.subnets: dict[str, dict[int, str]] = {}
        for name, cidr4, cidr6 in (
            ("pods", "10.10.0.0/16", "fd00:10:10::/64"),
            ("pods2", "10.11.0.0/16", "fd00:10:11::/64"),
            ("services", "10.96.0.0/15", "fd00:10:96::/111"),
        ):
            network = self.make("networks", name=name)
            self.subnets[name] = {
                version: self.make(
                    "subnets",
                    name=f"{name}-v{version}",
                    network_id=network["id"],
                    cidr=cidr,
                    ip_version=version,
                    enable_dhcp=False,
                )["id"]
                for version, cidr in ((4, cidr4), (6, cidr6))
            }
        self.security_group_id: str = self.make("security_groups", name="k8s-pods")["id"]
        self.subnet_pools = {
            4: self.make("subnetpools", name="pods-pool", prefixes=["10.128.0.0/12"])["id"],
            6: self.make("subnetpools", name="pods-pool-v6", prefixes=["fd00:10:128::/48"])["id"],
        }
        self.router_id: str = self.make("routers", name="k8s-router")["id"]

    def _admin(self, project_id: str) -> Token:
        return Token("", self.admin.id, "admin", project_id, frozenset({"admin"}), 0)

    def _answer(self, request: Request) -> Response:
        began = time.monotonic()
        head, *path = request.path.strip("/").split("/")
        body: Any = None
        try:
            body = msgspec.json.decode(request.body) if request.body else None
        except msgspec.DecodeError:
            head = "malformed"
        if head == "identity":
            operation = "authenticate" if path == ["v3", "auth", "tokens"] else "get versions"
        elif head == "network" and path[:1] == ["v2.0"]:
            operation = self.neutron.operation(request.method, path[1:], body)
        else:
            operation = "get versions"
        token: Token | None = None
        fault = self.knobs.next_fault(operation)
        if fault is not None and fault.kind == "drop_before":
            response = Response(cut=True)
        elif fault is not None and fault.kind == "timeout":
            self.knobs.hang()
            response = Response(cut=True)
        else:
            self.knobs.work(operation, _objects(body))
            if fault is not None and fault.kind == "status":
                response = _failing(fault)
            else:
                try:
                    if head == "network":
                        token = self.keystone.token(request.headers.get("x-auth-token", ""))
                    response = self._carry_out(request, head, path, body, token)
                except ApiError as error:
                    response = Response(error.status, msgspec.json.encode(error.body))
                except (AttributeError, KeyError, TypeError, ValueError) as error:
                    LOG.exception("%s", operation)
                    refusal = bad_request(f"Malformed request body: {error!r}.")
                    response = Response(refusal.status, msgspec.json.encode(refusal.body))
                response.cut = fault is not None and fault.kind == "drop_after"
        self.journal.add(
            Call(
                operation=operation,
                method=request.method,
                path=request.path,
                query=request.query,
                body=None if operation == "authenticate" else body,
                status=0 if response.cut else response.status,
                user=token.user if token else "",
                project_id=token.project_id if token else "",
                began=began,
                seconds=time.monotonic() - began,
            )
        )
        return response

    def _carry_out(
        self, request: Request, head: str, path: list[str], body: Any, token: Token | None
    ) -> Response:
        if head == "malformed":
            raise bad_request("The server could not comply with the request since it is malformed.")
        if token is not None:
            status, answer = self.neutron.handle(
                token, request.method, path[1:], request.query, body, request.headers, self.url + request.path
            )
            return Response(status, answer)
        if head != "identity":
            return Response(404)
        if path != ["v3", "auth", "tokens"]:
            return Response(200, versions(self.url))
        made = self.keystone.authenticate(body)
        return Response(201, self.keystone.describe(made, self.url), {"X-Subject-Token": made.id})


def _objects(body: Any) -> int:
    """How many objects a request is about."""
    if isinstance(body, dict):
        for value in body.values():
            if isinstance(value, list):
                return max(1, len(value))
    return 1


def _failing(fault: Fault) -> Response:
    if fault.body is None:
        body = b""
    elif isinstance(fault.body, bytes):
        body = fault.body
    else:
        body = msgspec.json.encode(fault.body)
    return Response(fault.status, body, fault.headers)
