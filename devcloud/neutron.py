# SPDX-License-Identifier: Apache-2.0
"""Neutron as the VM, the demo and the tests ask it."""

import urllib.parse
from typing import Any

from devcloud.openstack import facts
from devcloud.openstack.rest import Session

Object = dict[str, Any]


class Neutron:
    """One user's view of Neutron; the administrator's shows every project."""

    def __init__(self, user: str = "admin") -> None:
        self._session = Session(user, facts.USERS[user])

    def ports(self, **query: Any) -> list[Object]:
        """The ports that match QUERY; a list in it matches any of its values."""
        return self.list("ports", **query)

    def list(self, plural: str, **query: Any) -> list[Object]:
        """The objects of a collection that match QUERY."""
        question = urllib.parse.urlencode(query, doseq=True)
        found: list[Object] = self._session.call("GET", f"{_url(plural)}?{question}")[plural]
        return found

    def get(self, kind: str, identifier: str) -> Object:
        """The object of KIND ("port", "subnet") with this id."""
        found: Object = self._session.call("GET", f"{_url(kind + 's')}/{identifier}")[kind]
        return found

    def create(self, kind: str, **fields: Any) -> Object:
        """Create an object of KIND."""
        made: Object = self._session.call("POST", _url(kind + "s"), {kind: fields})[kind]
        return made

    def update(self, kind: str, identifier: str, **fields: Any) -> Object:
        """Change an object's fields."""
        made: Object = self._session.call("PUT", f"{_url(kind + 's')}/{identifier}", {kind: fields})[kind]
        return made


def _url(path: str) -> str:
    return f"{facts.NETWORK_URL}/v2.0/{path}"
