# SPDX-License-Identifier: Apache-2.0
"""Neutron ports made by hand: what a cloud can do with nothing around it."""

from __future__ import annotations

import http.client
import json
import threading
import time
import uuid
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import urlsplit

import msgspec

from tests.bench import cpu
from tests.bench.figures import MeasurementError

DEVICE_OWNER = "compute:bench"
"""Not Kuryr's: its audit lets these ports alone."""

_DELETERS = 8


class Account(msgspec.Struct, frozen=True, kw_only=True):
    """Who makes the ports, and what every port is made with.

    :ivar subnets: ids, all of one network; a port gets an address of each.
    :ivar hosts: what the ports are bound to, in turn.
    """

    auth_url: str
    username: str
    password: str
    project: str
    subnets: tuple[str, ...]
    security_groups: tuple[str, ...]
    hosts: tuple[str, ...]


class Made(msgspec.Struct, frozen=True):
    """Ports that were made together.

    :ivar in_flight: single calls at a time; 0 for one bulk call.
    :ivar seconds: from the start to each port's answer, in order.
    :ivar cpu: CPU seconds of the whole machine meanwhile.
    """

    in_flight: int
    seconds: list[float]
    cpu: float

    @property
    def way(self) -> str:
        """How, in words."""
        return f"{self.in_flight} calls at a time" if self.in_flight else "one bulk call"

    @property
    def first(self) -> float:
        """Seconds to the first."""
        return self.seconds[0]

    @property
    def mean(self) -> float:
        """Mean of the seconds."""
        return sum(self.seconds) / len(self.seconds)

    @property
    def last(self) -> float:
        """Seconds to the last."""
        return self.seconds[-1]


class PlainNeutron:
    """A client of nothing but sockets and JSON. Each thread keeps a connection where the server lets it."""

    def __init__(self, account: Account) -> None:
        self._account = account
        self._local = threading.local()
        self._token = ""
        self._url, self._token = self._authenticate()
        subnet = self._call("GET", f"/v2.0/subnets/{account.subnets[0]}")["subnet"]
        self._network: str = subnet["network_id"]

    def make(
        self,
        number: int,
        in_flight: int,
        *,
        keep: bool = False,
        made: Callable[[dict[str, Any]], None] = lambda port: None,
    ) -> Made:
        """So many ports by single calls, ``in_flight`` at a time; deleted afterwards, unless ``keep``.

        :param made: called with each port when it is there.
        """
        bodies = [{"port": self._body(index)} for index in range(number)]
        used, began = cpu.busy(), time.monotonic()

        def one(body: Any) -> tuple[str, float]:
            answer = self._call("POST", "/v2.0/ports", body)
            seconds = time.monotonic() - began
            made(answer["port"])
            return answer["port"]["id"], seconds

        with ThreadPoolExecutor(in_flight) as callers:
            found = list(callers.map(one, bodies))
        used = cpu.busy() - used
        if not keep:
            self._delete([port for port, _ in found])
        return Made(in_flight, sorted(seconds for _, seconds in found), used)

    def make_bulk(self, number: int) -> Made:
        """So many ports by one call; they are deleted afterwards."""
        body = {"ports": [self._body(index) for index in range(number)]}
        used, began = cpu.busy(), time.monotonic()
        answer = self._call("POST", "/v2.0/ports", body)
        seconds, used = time.monotonic() - began, cpu.busy() - used
        self._delete([port["id"] for port in answer["ports"]])
        return Made(0, [seconds] * number, used)

    def close(self) -> None:
        """Close the connections of this thread."""
        for connection in self._local.__dict__.pop("open", {}).values():
            connection.close()

    def sweep(self) -> None:
        """Delete what an earlier bench left behind when it was cut off."""
        self._delete([port["id"] for port in self.list(DEVICE_OWNER)])

    def list(self, device_owner: str) -> list[dict[str, Any]]:
        """The ports of an owner, whoever made them."""
        found: list[dict[str, Any]] = self._call("GET", f"/v2.0/ports?device_owner={device_owner}")["ports"]
        return found

    def _body(self, index: int) -> dict[str, Any]:
        account = self._account
        uid = str(uuid.uuid4())
        return {
            "network_id": self._network,
            "fixed_ips": [{"subnet_id": subnet} for subnet in account.subnets],
            "security_groups": list(account.security_groups),
            "device_id": uid,
            "device_owner": DEVICE_OWNER,
            "description": f"kuryr-bench:{uid}",
            "binding:host_id": account.hosts[index % len(account.hosts)],
        }

    def _delete(self, ports: Sequence[str]) -> None:
        with ThreadPoolExecutor(_DELETERS) as callers:
            list(callers.map(lambda port: self._call("DELETE", f"/v2.0/ports/{port}"), ports))

    def _authenticate(self) -> tuple[str, str]:
        account = self._account
        domain = {"name": "Default"}
        user = {"name": account.username, "password": account.password, "domain": domain}
        identity = {"methods": ["password"], "password": {"user": user}}
        scope = {"project": {"name": account.project, "domain": domain}}
        url = f"{account.auth_url}/auth/tokens"
        answer, headers = self._send("POST", url, {"auth": {"identity": identity, "scope": scope}})
        for service in answer["token"]["catalog"]:
            for endpoint in service["endpoints"]:
                if service["type"] == "network" and endpoint["interface"] == "public":
                    return endpoint["url"].rstrip("/"), headers["X-Subject-Token"]
        raise MeasurementError(f"the catalog of {account.auth_url} has no public endpoint of Neutron")

    def _call(self, method: str, path: str, body: Any = None) -> Any:
        return self._send(method, self._url + path, body)[0]

    def _send(self, method: str, url: str, body: Any) -> tuple[Any, http.client.HTTPMessage]:
        parts = urlsplit(url)
        connections: dict[str, http.client.HTTPConnection] = self._local.__dict__.setdefault("open", {})
        connection = connections.get(parts.netloc)
        if connection is None:
            connection = connections[parts.netloc] = http.client.HTTPConnection(parts.netloc, timeout=300)
        target = f"{parts.path}?{parts.query}" if parts.query else parts.path
        headers = {"Content-Type": "application/json", "X-Auth-Token": self._token}
        connection.request(method, target, None if body is None else json.dumps(body).encode(), headers)
        answer = connection.getresponse()
        text = answer.read()
        if answer.status >= 300 and not (method == "DELETE" and answer.status == 404):
            raise MeasurementError(
                f"{method} {url} answered {answer.status}: {text[:300].decode(errors='replace')}"
            )
        return (json.loads(text) if text and answer.status < 300 else None), answer.headers


def compare(
    neutron: PlainNeutron, number: int, ways: Sequence[int], say: Callable[[str], None]
) -> list[Made]:
    """So many ports in each of several ways (single calls at a time; 0 for one bulk call), quickest first."""
    found = []
    for in_flight in ways:
        made = neutron.make(number, in_flight) if in_flight else neutron.make_bulk(number)
        say(f"{number} ports by hand, {made.way}: {made.first:.2f} / {made.mean:.2f} / {made.last:.2f} s")
        found.append(made)
    return sorted(found, key=lambda made: made.last)
