# SPDX-License-Identifier: Apache-2.0
"""OpenStack's REST APIs as the tests and the demo use them: a token, and JSON there and back."""

import json
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from typing import Any

from devcloud import paths


class RestError(Exception):
    """An API said no; the message holds the request and its answer."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Session:
    """One user's way to Neutron and Octavia. `user` is a key of "users" in openstack.json."""

    def __init__(self, user: str = "admin") -> None:
        self.facts: dict[str, Any] = json.loads(paths.FACTS.read_text())
        self._token, self._catalog = self._authenticate(self.facts["users"][user])

    def neutron(self, method: str, path: str, body: Any = None, **query: Any) -> Any:
        """Call Neutron; PATH is what comes after /v2.0. A list in QUERY is a repeated parameter."""
        url = f"{self._catalog['network'].rstrip('/')}/v2.0{path}"
        return self._call(method, f"{url}?{urllib.parse.urlencode(query, doseq=True)}", body)[1]

    def ports(self, **query: Any) -> list[dict[str, Any]]:
        """The ports that match QUERY, in every project that the user sees."""
        found: list[dict[str, Any]] = self.neutron("GET", "/ports", **query)["ports"]
        return found

    def services(self) -> list[dict[str, Any]]:
        """What `openstack service list` shows."""
        found: list[dict[str, Any]] = self._call("GET", f"{self.facts['auth_url']}/services", None)[1][
            "services"
        ]
        return found

    def _authenticate(self, user: Mapping[str, str]) -> tuple[str, dict[str, str]]:
        body = {
            "auth": {
                "identity": {
                    "methods": ["password"],
                    "password": {
                        "user": {
                            "name": user["username"],
                            "password": user["password"],
                            "domain": {"name": self.facts["user_domain_name"]},
                        }
                    },
                },
                "scope": {
                    "project": {
                        "name": user["project"],
                        "domain": {"name": self.facts["project_domain_name"]},
                    }
                },
            }
        }
        self._token = ""
        headers, answer = self._call("POST", f"{self.facts['auth_url']}/auth/tokens", body)
        catalog = {
            service["type"]: endpoint["url"]
            for service in answer["token"]["catalog"]
            for endpoint in service["endpoints"]
            if endpoint["interface"] == "public"
        }
        return headers["X-Subject-Token"], catalog

    def _call(self, method: str, url: str, body: Any) -> tuple[Mapping[str, str], Any]:
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        if self._token:
            headers["X-Auth-Token"] = self._token
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(url, data=data, method=method, headers=headers)
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                text = answer.read()
                return answer.headers, json.loads(text) if text else None
        except urllib.error.HTTPError as error:
            said = error.read().decode(errors="replace")[:1000]
            raise RestError(error.code, f"{method} {url}: {error.code} {said}") from error
