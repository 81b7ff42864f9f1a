# SPDX-License-Identifier: Apache-2.0
"""Neutron v2.0: from a request's path to what it does."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from kuryr.testing.fake_cloud import errors, listing, policy
from kuryr.testing.fake_cloud.keystone import Token
from kuryr.testing.fake_cloud.networks import Networks, SubnetPools, Subnets
from kuryr.testing.fake_cloud.ports import Ports
from kuryr.testing.fake_cloud.resource import Item, Resource, State, touch
from kuryr.testing.fake_cloud.routers import Routers
from kuryr.testing.fake_cloud.security import AddressGroups, SecurityGroupRules, SecurityGroups
from kuryr.testing.fake_cloud.trunks import Trunks

EXTENSIONS: Final = (
    "address-group",
    "allowed-address-pairs",
    "binding",
    "external-net",
    "net-mtu",
    "pagination",
    "port-security",
    "project-id",
    "provider",
    "quota_details",
    "quotas",
    "revision-if-match",
    "router",
    "security-group",
    "security-groups-remote-address-group",
    "sorting",
    "standard-attr-description",
    "standard-attr-revisions",
    "standard-attr-tag",
    "standard-attr-timestamp",
    "subnet_allocation",
    "subnetpool-prefix-ops",
    "trunk",
    "trunk-details",
)

TAGS_ON_CREATE: Final = "tag-ports-during-bulk-creation"

VERBS: Final = {"POST": "create", "PUT": "update", "DELETE": "delete", "GET": "get"}

Answer = tuple[int, dict[str, Any] | None]


class Neutron:
    """The API over :class:`~kuryr.testing.fake_cloud.resource.State`."""

    def __init__(self) -> None:
        self.state = State()
        self.extensions = set(EXTENSIONS)
        self.networks = Networks(self.state)
        pools = SubnetPools(self.state)
        self.subnets = Subnets(self.state, self.networks, pools)
        groups = SecurityGroups(self.state)
        self.ports = Ports(self.state, self.networks, groups)
        address_groups = AddressGroups(self.state)
        resources: tuple[Resource, ...] = (
            self.networks,
            pools,
            self.subnets,
            groups,
            address_groups,
            SecurityGroupRules(self.state, groups, address_groups),
            self.ports,
            Routers(self.state, self.ports, self.subnets),
            Trunks(self.state, self.ports),
        )
        self.resources = {resource.plural: resource for resource in resources}

    def operation(self, method: str, path: list[str], body: Any) -> str:
        """What a request does, in words: ``create port``, ``create ports`` (bulk), ``list ports``."""
        resource = self.resources.get(path[0].replace("-", "_")) if path else None
        if resource is None:
            return f"{VERBS.get(method, method)} {path[0] if path else 'versions'}"
        plural, singular = resource.plural.replace("_", " "), resource.singular.replace("_", " ")
        if len(path) == 1:
            if method == "GET":
                return f"list {plural}"
            return f"{VERBS[method]} {plural if isinstance(body, dict) and resource.plural in body else singular}"
        if len(path) > 2 and path[2] == "tags":
            return f"{VERBS[method]} {singular} tags"
        if len(path) > 2:
            return path[2].replace("_", " ")
        return f"{VERBS[method]} {singular}"

    def handle(
        self,
        token: Token,
        method: str,
        path: list[str],
        query: dict[str, list[str]],
        body: Any,
        headers: dict[str, str],
        url: str,
    ) -> tuple[int, bytes]:
        """Do what a request asks.

        :param path: the pieces after ``/v2.0``.
        :param url: of the request, without its query.
        :returns: the status and the body.
        :raises ApiError: where it is refused.
        """
        with self.state.lock:
            status, answer = self._handle(token, method, path, query, body, headers, url)
            return status, b"" if answer is None else msgspec.json.encode(answer)

    def _handle(
        self,
        token: Token,
        method: str,
        path: list[str],
        query: dict[str, list[str]],
        body: Any,
        headers: dict[str, str],
        url: str,
    ) -> Answer:
        match path:
            case ["extensions"]:
                return 200, {"extensions": [_extension(alias) for alias in self._aliases()]}
            case ["extensions", alias] if alias in self._aliases():
                return 200, {"extension": _extension(alias)}
            case ["quotas", project_id, *rest]:
                return self._quotas(token, method, project_id, rest, body)
        resource = self.resources.get(path[0].replace("-", "_")) if path else None
        if resource is None:
            raise errors.not_found("HTTPNotFound", "The resource could not be found.")
        match method, path[1:]:
            case "GET", []:
                return 200, self._list(token, resource, query, url)
            case "POST", []:
                return 201, self._create(token, resource, body)
        item = resource.find(token, path[1])
        _match_revision(item, headers)
        return self._on_item(token, method, resource, item, path[2:], body)

    def _on_item(
        self, token: Token, method: str, resource: Resource, item: Item, rest: list[str], body: Any
    ) -> Answer:
        match method, rest:
            case "GET", []:
                return 200, {resource.singular: policy.shown(token, resource.singular, item)}
            case "PUT", []:
                changed = resource.update(token, item, body[resource.singular])
                return 200, {resource.singular: policy.shown(token, resource.singular, changed)}
            case "DELETE", []:
                resource.delete(token, item)
                return 204, None
            case _, ["tags", *tag]:
                return self._tags(token, method, resource, item, tag, body)
            case _, [action] if action in resource.actions:
                answer: dict[str, Any] = resource.actions[action](token, item, body or {})
                return 200, answer
        raise errors.not_found("HTTPNotFound", "The resource could not be found.")

    def _list(
        self, token: Token, resource: Resource, query: dict[str, list[str]], url: str
    ) -> dict[str, Any]:
        if resource.plural == "security_groups":
            # Neutron makes a project's default group when its groups are first looked at.
            self.resources["security_groups"].default(token.project_id)  # type: ignore[attr-defined]
        visible = (item for item in resource.items.values() if policy.sees(token, resource.singular, item))
        answer = listing.page(
            resource.plural, visible, query, url, known=resource.filters, missing=resource.missing
        )
        answer[resource.plural] = [
            policy.shown(token, resource.singular, item) for item in answer[resource.plural]
        ]
        return answer

    def _create(self, token: Token, resource: Resource, body: Any) -> dict[str, Any]:
        if isinstance(body, dict) and isinstance(body.get(resource.singular), dict):
            made = resource.create(token, body[resource.singular])
            return {resource.singular: policy.shown(token, resource.singular, made)}
        if not isinstance(body, dict):
            raise errors.bad_request("Body contains invalid data")
        if not isinstance(body.get(resource.plural), list):
            raise errors.bad_request(f"Unable to find '{resource.singular}' in request body")
        several: list[Item] = []
        try:
            for asked in body[resource.plural]:
                several.append(resource.create(token, asked))
        except errors.ApiError:
            # All or nothing.
            for item in several:
                resource.release(item)
                del resource.items[item["id"]]
            raise
        return {resource.plural: [policy.shown(token, resource.singular, item) for item in several]}

    def _tags(
        self, token: Token, method: str, resource: Resource, item: Item, tag: list[str], body: Any
    ) -> Answer:
        if method != "GET":
            policy.check(token, "update", resource.singular, {}, item["project_id"])
        tags: list[str] = item["tags"]
        match method, tag:
            case "GET", []:
                return 200, {"tags": tags}
            case "PUT", []:
                item["tags"] = list(dict.fromkeys(body["tags"]))
            case "PUT", [name]:
                item["tags"] = list(dict.fromkeys([*tags, name]))
            case "DELETE", []:
                item["tags"] = []
            case "DELETE", [name]:
                if name not in tags:
                    raise errors.not_found("TagNotFound", f"Tag {name} could not be found.")
                item["tags"] = [other for other in tags if other != name]
            case "GET", [name] if name in tags:
                return 204, None
            case _:
                raise errors.not_found("TagNotFound", f"Tag {''.join(tag)} could not be found.")
        touch(item)
        if method == "DELETE":
            return 204, None
        return (200, {"tags": item["tags"]}) if not tag else (201, None)

    def _quotas(self, token: Token, method: str, project_id: str, rest: list[str], body: Any) -> Answer:
        if project_id != token.project_id and not token.admin:
            raise errors.NeutronError(
                403,
                "AdminRequired",
                "User does not have admin privileges: Only admin is authorized to access quotas for another "
                "project.",
            )
        if method == "PUT":
            if not token.admin:
                raise errors.forbidden("rule:update_quota")
            self.state.quotas.setdefault(project_id, {}).update(body["quota"])
        limits = self.state.quota(project_id)
        if rest != ["details"]:
            return 200, {"quota": limits}
        used = {r.singular: self.state.used(r.plural, project_id) for r in self.resources.values()}
        return 200, {
            "quota": {
                name: {"limit": limit, "used": used.get(name, 0), "reserved": 0}
                for name, limit in limits.items()
            }
        }

    def _aliases(self) -> list[str]:
        tags = {TAGS_ON_CREATE} if self.state.tags_on_create else set()
        return sorted(self.extensions | tags)


def _match_revision(item: Item, headers: dict[str, str]) -> None:
    wanted = headers.get("if-match", "")
    if wanted.startswith("revision_number="):
        number = wanted.partition("=")[2]
        if number != str(item["revision_number"]):
            raise errors.NeutronError(
                412,
                "RevisionNumberConstraintFailed",
                f"Constrained to {number}, but current revision is {item['revision_number']}",
            )


def _extension(alias: str) -> dict[str, Any]:
    return {
        "alias": alias,
        "name": alias,
        "description": "",
        "updated": "2026-01-01T00:00:00-00:00",
        "links": [],
    }
