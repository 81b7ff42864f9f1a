# SPDX-License-Identifier: Apache-2.0
"""What all of Neutron's resources have in common, and the state that they share."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, ClassVar, Final

from kuryr.testing.fake_cloud import errors, policy
from kuryr.testing.fake_cloud.ipam import Addresses
from kuryr.testing.fake_cloud.keystone import Token

Item = dict[str, Any]
"""An object in the form of the API."""

Action = Callable[[Token, Item, dict[str, Any]], Any]

MAX_STRING: Final = 255

COMMON_FILTERS: Final = frozenset(
    {
        "id",
        "name",
        "description",
        "project_id",
        "tenant_id",
        "created_at",
        "updated_at",
        "revision_number",
        "tags",
        "tags-any",
        "not-tags",
        "not-tags-any",
    }
)

DEFAULT_QUOTAS: Mapping[str, int] = {
    "network": -1,
    "subnet": -1,
    "port": -1,
    "router": -1,
    "security_group": -1,
    "security_group_rule": -1,
    "subnetpool": -1,
    "trunk": -1,
    "floatingip": -1,
    "rbac_policy": -1,
}


class State:
    """Everything that there is. Hold ``lock`` to look at it or change it."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.items: dict[str, dict[str, Item]] = {}
        self.addresses: dict[str, Addresses] = {}
        self.quotas: dict[str, dict[str, int]] = {}
        self.tags_on_create = False
        self.hosts: set[str] | None = None

    def of(self, plural: str) -> dict[str, Item]:
        """The objects of one resource by id."""
        return self.items.setdefault(plural, {})

    def used(self, plural: str, project_id: str) -> int:
        """How many a project has."""
        return sum(item["project_id"] == project_id for item in self.of(plural).values())

    def quota(self, project_id: str) -> dict[str, int]:
        """The quotas of a project."""
        return {**DEFAULT_QUOTAS, **self.quotas.get(project_id, {})}


class Resource:
    """One resource of the API. A subclass says what its objects look like and what changes with them."""

    singular: ClassVar[str]
    plural: ClassVar[str]
    not_found_type: ClassVar[str]
    title: ClassVar[str]
    required: ClassVar[frozenset[str]] = frozenset()
    defaults: ClassVar[Mapping[str, Any]] = {}
    fixed: ClassVar[frozenset[str]] = frozenset()
    """Attributes that a creation may set and an update may not."""
    shown: ClassVar[frozenset[str]] = frozenset({"status"})
    """Attributes that only answers have."""
    tags_in_post: ClassVar[bool] = False
    missing_text: ClassVar[str] = "{title} {id} could not be found."

    def __init__(self, state: State) -> None:
        self.state = state
        self.actions: dict[str, Action] = {}

    @property
    def items(self) -> dict[str, Item]:
        """The objects by id."""
        return self.state.of(self.plural)

    def missing(self, item_id: str) -> errors.NeutronError:
        """The error for an id that is not there."""
        return errors.not_found(self.not_found_type, self.missing_text.format(title=self.title, id=item_id))

    def find(self, token: Token, item_id: str) -> Item:
        """The object, where the token may see it."""
        item = self.items.get(item_id)
        if item is None:
            raise self.missing(item_id)
        if not policy.sees(token, self.singular, item):
            if "service" in token.roles:
                # Neutron's database shows a service everything; its policy then hides what is not the service's.
                raise errors.not_found("HTTPNotFound", "The resource could not be found.")
            raise self.missing(item_id)
        return item

    def create(self, token: Token, asked: dict[str, Any]) -> Item:
        """Make an object of a request's attributes."""
        known = {
            *self.defaults,
            *self.required,
            *self.fixed,
            "project_id",
            "tenant_id",
            "name",
            "description",
        }
        if self.tags_in_post:
            known.add("tags")
        elif "tags" in asked:
            raise errors.bad_request("Attribute 'tags' not allowed in POST")
        self._validate(asked, known)
        for name in sorted(self.required):
            if asked.get(name) is None:
                raise errors.bad_request(
                    f"Failed to parse request. Required attribute '{name}' not specified"
                )
        project_id = asked.get("project_id") or asked.get("tenant_id") or token.project_id
        if project_id != token.project_id and not token.roles & {"admin", "service"}:
            raise errors.bad_request(
                "Specifying 'project_id' other than the authenticated project in request is not allowed for the "
                "current user."
            )
        self.check_quota(project_id)
        policy.check(token, "create", self.singular, asked, project_id)
        now = timestamp()
        item: Item = {"id": str(uuid.uuid4()), "name": "", "description": ""}
        item.update({name: value() if callable(value) else value for name, value in self.defaults.items()})
        item.update({name: value for name, value in asked.items() if name not in ("tags", "tenant_id")})
        item.update(
            project_id=project_id,
            tenant_id=project_id,
            tags=list(asked.get("tags", ())) if self.state.tags_on_create else [],
            created_at=now,
            updated_at=now,
            revision_number=1,
        )
        self.complete(token, item, asked)
        self.items[item["id"]] = item
        return item

    def update(self, token: Token, item: Item, asked: dict[str, Any]) -> Item:
        """Change an object."""
        self._validate(asked, {*self.defaults, "name", "description"})
        policy.check(token, "update", self.singular, asked, item["project_id"])
        self.change(token, item, asked)
        touch(item)
        return item

    def delete(self, token: Token, item: Item) -> None:
        """Take an object away."""
        policy.check(token, "delete", self.singular, {}, item["project_id"])
        self.release(item)
        del self.items[item["id"]]

    def check_quota(self, project_id: str) -> None:
        """Refuse where the project's quota is used up."""
        limit = self.state.quota(project_id).get(self.singular, -1)
        if limit >= 0 and self.state.used(self.plural, project_id) >= limit:
            raise errors.conflict("OverQuota", f"Quota exceeded for resources: ['{self.singular}'].")

    def complete(self, token: Token, item: Item, asked: dict[str, Any]) -> None:
        """Check a new object and fill in what follows from it; nothing is kept where this raises."""

    def change(self, token: Token, item: Item, asked: dict[str, Any]) -> None:
        """Apply a checked change."""
        item.update(asked)

    def release(self, item: Item) -> None:
        """Check that an object may go, and give back what it holds."""

    def restore(self, item: Item) -> None:
        """Put an object in as it was recorded of another cloud, with what it holds."""
        self.items[item["id"]] = dict(item)

    @property
    def filters(self) -> frozenset[str]:
        """Attributes that a listing may be filtered by."""
        return self.required | self.fixed | self.shown | self.defaults.keys() | COMMON_FILTERS

    def _validate(self, asked: dict[str, Any], known: set[str]) -> None:
        unknown = sorted(asked.keys() - known)
        if unknown:
            names = ", ".join(f"'{name}'" for name in unknown)
            raise errors.bad_request(f"Unrecognized attribute(s) {names}")
        for name in ("name", "description", "device_id", "device_owner"):
            value = asked.get(name)
            if isinstance(value, str) and len(value) > MAX_STRING:
                raise errors.bad_request(
                    f"Invalid input for {name}. Reason: '{value}' exceeds maximum length of {MAX_STRING}."
                )


def touch(item: Item) -> None:
    """An object was changed."""
    item["revision_number"] += 1
    item["updated_at"] = timestamp()


def timestamp() -> str:
    """Now, as Neutron writes it."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
