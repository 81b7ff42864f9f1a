# SPDX-License-Identifier: Apache-2.0
"""Three say what the controller does in Kubernetes: its calls, its checks at start, and its account. They agree."""

import ast
import importlib
from collections.abc import Iterator
from importlib.metadata import entry_points
from itertools import product
from pathlib import Path
from typing import Any

import yaml

from kuryr.controller.startup import EVENT_RIGHTS, LEASE_RIGHTS, RIGHTS
from kuryr.k8s.events import EVENTS
from kuryr.k8s.lease import LEASES
from kuryr.objects.resources import Resource

ROOT = Path(__file__).resolve().parents[3]
ACCOUNT = ROOT / "etc" / "kubernetes" / "kuryr-controller.yaml"
VERBS = {
    "get": "get",
    "list": "list",
    "create": "create",
    "delete": "delete",
    "replace": "update",
    "merge_patch": "patch",
    "apply": "patch",
}
"""What a method of the client needs."""

Right = tuple[str, str, str]
"""Verb, group and plural (with its subresource)."""


def right(verb: str, resource: Resource[Any], subresource: str = "") -> Right:
    plural = resource.plural + (f"/{subresource}" if subresource else "")
    return verb, resource.group, plural


HANDLERS = [
    found.load() for found in entry_points(group="kuryr.handlers") if found.value.startswith("kuryr.")
]
IN_ALL_NAMESPACES = {
    *(right(*wanted) for wanted in RIGHTS),
    *(right(verb, EVENTS) for verb in EVENT_RIGHTS),
    *(right(*wanted) for handler in HANDLERS for wanted in handler.rights),
    *(right(verb, handler.resource) for handler in HANDLERS for verb in ("list", "watch")),
}
IN_ONE = {right(verb, LEASES) for verb in LEASE_RIGHTS}


def given(kind: str) -> set[Right]:
    """What the roles of a kind give the account."""
    documents = [part for part in yaml.safe_load_all(ACCOUNT.read_text()) if part["kind"] == kind]
    return {
        found
        for role in documents
        for rule in role["rules"]
        for found in product(rule["verbs"], rule["apiGroups"], rule["resources"])
    }


def calls_in(path: Path) -> Iterator[tuple[int, Right]]:
    """Calls of a client for a kind that is named, by line."""
    module = importlib.import_module(".".join(path.relative_to(ROOT).with_suffix("").parts))
    for node in ast.walk(ast.parse(path.read_text())):
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute) or not node.args:
            continue
        resource = getattr(module, node.args[0].id, None) if isinstance(node.args[0], ast.Name) else None
        if (
            isinstance(resource, Resource)
            and node.func.attr in VERBS
            and ast.unparse(node.func.value).endswith("client")
        ):
            below = next((keyword.value for keyword in node.keywords if keyword.arg == "subresource"), None)
            subresource = ast.literal_eval(below) if below is not None else ""
            yield node.lineno, right(VERBS[node.func.attr], resource, subresource)


def test_the_account_gives_what_is_checked_at_start() -> None:
    assert given("ClusterRole") == IN_ALL_NAMESPACES
    assert given("Role") == IN_ONE


def test_no_call_needs_more() -> None:
    paths = [
        *(
            path
            for part in ("handlers", "drivers", "controller")
            for path in (ROOT / "kuryr" / part).rglob("*.py")
        ),
        ROOT / "kuryr" / "k8s" / "events.py",
        ROOT / "kuryr" / "k8s" / "lease.py",
    ]
    found = {(path, line, call) for path in paths for line, call in calls_in(path)}
    assert {call for _, _, call in found} >= {right("patch", LEASES), right("create", EVENTS)}
    lacking = [
        f"{path.relative_to(ROOT)}:{line} {call}"
        for path, line, call in sorted(found)
        if call not in IN_ALL_NAMESPACES | IN_ONE
    ]
    assert not lacking
