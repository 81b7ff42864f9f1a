# SPDX-License-Identifier: Apache-2.0
"""OpenStack's APIs by HTTP, without a client library: enough to make the objects."""

import json
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from typing import Any

from devcloud.openstack import facts

Body = dict[str, Any]

_ATTEMPTS = 3


class ApiError(Exception):
    """An API answered with an error; `status` is the HTTP code."""

    def __init__(self, method: str, url: str, status: int, said: str) -> None:
        super().__init__(f"{method} {url} answered {status}: {said[:500]}")
        self.status = status


class Session:
    """A token of one user in one project."""

    def __init__(self, user: str, project: str) -> None:
        domain = {"name": facts.DOMAIN}
        identity = {
            "methods": ["password"],
            "password": {"user": {"name": user, "domain": domain, "password": facts.PASSWORD}},
        }
        scope = {"project": {"name": project, "domain": domain}}
        answer, headers = _call(
            "POST", f"{facts.AUTH_URL}/auth/tokens", {"auth": {"identity": identity, "scope": scope}}, ""
        )
        self._token = headers["X-Subject-Token"]
        self.project_id: str = answer["token"]["project"]["id"]

    def call(self, method: str, url: str, body: Body | None = None, **query: str) -> Body:
        """One request; raises ApiError for an answer of 400 and above."""
        if query:
            url = f"{url}?{urllib.parse.urlencode(query)}"
        return _call(method, url, body, self._token)[0]

    def ensure(self, collection_url: str, kind: str, wanted: Mapping[str, Any], **key: str) -> Body:
        """The object that the key (default: its name) finds; created as `wanted` if there is none.

        An internal error is met by looking again: the services have them while they are young.
        """
        for _ in range(_ATTEMPTS - 1):
            try:
                return self._ensure(collection_url, kind, wanted, key or {"name": wanted["name"]})
            except ApiError as error:
                if error.status < 500:
                    raise
                time.sleep(1)
        return self._ensure(collection_url, kind, wanted, key or {"name": wanted["name"]})

    def _ensure(
        self, collection_url: str, kind: str, wanted: Mapping[str, Any], key: Mapping[str, str]
    ) -> Body:
        plural = collection_url.rsplit("/", 1)[1].replace("-", "_")
        found = self.call("GET", f"{collection_url}?{urllib.parse.urlencode(key)}")[plural]
        if found:
            existing: Body = found[0]
            return existing
        created: Body = self.call("POST", collection_url, {kind: dict(wanted)})[kind]
        return created


def _call(method: str, url: str, body: Body | None, token: str) -> tuple[Body, dict[str, str]]:
    request = urllib.request.Request(url, method=method)
    request.add_header("Accept", "application/json")
    if token:
        request.add_header("X-Auth-Token", token)
    if body is not None:
        request.add_header("Content-Type", "application/json")
        request.data = json.dumps(body).encode()
    try:
        with urllib.request.urlopen(request, timeout=300) as response:
            text = response.read()
            return (json.loads(text) if text else {}), dict(response.headers)
    except urllib.error.HTTPError as error:
        said = error.read().decode(errors="replace")
        raise ApiError(method, url, error.code, said) from error
