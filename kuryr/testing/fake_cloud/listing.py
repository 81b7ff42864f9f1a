# SPDX-License-Identifier: Apache-2.0
"""Listings: filters, order, pages and fields, as Neutron has them. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any
from urllib.parse import urlencode

from kuryr.testing.fake_cloud.errors import ApiError, bad_request

Query = Mapping[str, list[str]]

CONTROL = frozenset({"fields", "limit", "marker", "page_reverse", "sort_key", "sort_dir"})


def matches(item: Mapping[str, Any], filters: Query) -> bool:
    """Whether an item passes all filters; one filter's values are alternatives."""
    return all(_match(item, name, values) for name, values in filters.items())


def _match(item: Mapping[str, Any], name: str, values: list[str]) -> bool:
    tags = set(item.get("tags", ()))
    wanted = {tag for value in values for tag in value.split(",")}
    match name:
        case "tags":
            return wanted <= tags
        case "tags-any":
            return bool(wanted & tags)
        case "not-tags":
            return not wanted <= tags
        case "not-tags-any":
            return not wanted & tags
        case "fixed_ips":
            return any(_fixed_ip(item, value) for value in values)
        case "security_groups":
            return bool(set(values) & set(item.get("security_groups", ())))
    actual = item.get(name)
    if isinstance(actual, bool):
        return any((value.lower() in ("true", "1")) == actual for value in values)
    return ("" if actual is None else str(actual)) in values


def _fixed_ip(item: Mapping[str, Any], condition: str) -> bool:
    name, _, value = condition.partition("=")
    return any(ip.get(name) == value for ip in item.get("fixed_ips", ()))


def page(
    plural: str,
    items: Iterable[dict[str, Any]],
    query: Query,
    url: str,
    *,
    known: frozenset[str],
    missing: Callable[[str], ApiError],
) -> dict[str, Any]:
    """The answer to a listing.

    :param url: of the collection, for links to the next and previous page.
    :param known: attributes that may be filtered by.
    :param missing: makes the error for a marker that is not there.
    """
    filters = {name: values for name, values in query.items() if name not in CONTROL}
    unknown = sorted(filters.keys() - known)
    if unknown:
        raise bad_request(f"{unknown} is invalid attribute for filtering")
    if "tenant_id" in filters:
        filters["project_id"] = filters.pop("tenant_id")
    found = [item for item in items if matches(item, filters)]
    limit = int(query.get("limit", ["0"])[0])
    if "sort_key" in query or limit:
        _sort(found, query)
    answer: dict[str, Any] = {}
    if limit:
        marker = query.get("marker", [""])[0]
        if marker and all(item["id"] != marker for item in found):
            raise missing(marker)
        found, links = _cut(found, query, limit, url)
        if links:
            answer[f"{plural}_links"] = links
    if "fields" in query:
        names = set(query["fields"])
        found = [{name: value for name, value in item.items() if name in names} for item in found]
    return {plural: found, **answer}


def _sort(items: list[dict[str, Any]], query: Query) -> None:
    keys = query.get("sort_key", [])
    directions = query.get("sort_dir", [])
    if len(directions) != len(keys):
        raise bad_request("The number of sort_keys and sort_dirs must be same")
    # The id decides between equals, so that a marker always has one place.
    for key, direction in reversed([*zip(keys, directions, strict=True), ("id", "asc")]):
        items.sort(key=lambda item: str(item.get(key, "")), reverse=direction == "desc")


def _cut(
    items: list[dict[str, Any]], query: Query, limit: int, url: str
) -> tuple[list[dict[str, Any]], list[dict[str, str]]]:
    marker = query.get("marker", [""])[0]
    start = 0
    if marker:
        start = next(place for place, item in enumerate(items) if item["id"] == marker) + 1
    chosen = items[start : start + limit]
    links = []
    rest = [(name, value) for name, values in query.items() if name != "marker" for value in values]
    if start + limit < len(items):
        links.append({"rel": "next", "href": f"{url}?{urlencode([*rest, ('marker', chosen[-1]['id'])])}"})
    if start and chosen:
        previous = [*rest, ("marker", chosen[0]["id"]), ("page_reverse", "True")]
        links.append({"rel": "previous", "href": f"{url}?{urlencode(previous)}"})
    return chosen, links
