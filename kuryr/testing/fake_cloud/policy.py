# SPDX-License-Identifier: Apache-2.0
"""Who may do what: Neutron's default policy, as far as it concerns what is faked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from kuryr.testing.fake_cloud.errors import forbidden
from kuryr.testing.fake_cloud.keystone import Token

SERVICE_ATTRIBUTES: Final[Mapping[str, frozenset[str]]] = {
    "port": frozenset({"binding:host_id", "binding:profile"}),
}
"""Attributes that only an administrator or a service may set."""

ADMIN_ATTRIBUTES: Final[Mapping[str, frozenset[str]]] = {
    "network": frozenset(
        {
            "router:external",
            "shared",
            "provider:network_type",
            "provider:physical_network",
            "provider:segmentation_id",
        }
    ),
}

HIDDEN_ATTRIBUTES: Final[Mapping[str, frozenset[str]]] = {
    "port": frozenset(
        {"binding:host_id", "binding:profile", "binding:vif_type", "binding:vif_details", "resource_request"}
    ),
    "network": frozenset({"provider:network_type", "provider:physical_network", "provider:segmentation_id"}),
}
"""Attributes that an ordinary member does not see."""

SERVICE_ACTS: Final = frozenset({"port"})
"""Resources of which a service sees all attributes, and creates and changes those of all projects."""

SERVICE_READS: Final = frozenset({"network", "subnet"})
"""Resources that a service may read in all projects."""


def acts_everywhere(token: Token, resource: str) -> bool:
    """Whether the token reaches the resource in every project."""
    return token.admin or ("service" in token.roles and resource in SERVICE_ACTS)


def sees(token: Token, resource: str, item: Mapping[str, Any]) -> bool:
    """Whether the token may read ``item``."""
    return (
        acts_everywhere(token, resource)
        or (resource in SERVICE_READS and "service" in token.roles)
        or item.get("project_id") == token.project_id
        or bool(item.get("shared"))
        or bool(item.get("router:external"))
    )


def shown(token: Token, resource: str, item: Mapping[str, Any]) -> dict[str, Any]:
    """``item`` without what the token may not see."""
    hidden = HIDDEN_ATTRIBUTES.get(resource)
    if not hidden or acts_everywhere(token, resource):
        return dict(item)
    return {name: value for name, value in item.items() if name not in hidden}


def check(token: Token, action: str, resource: str, attributes: Mapping[str, Any], owner: str) -> None:
    """Refuse what the token may not do.

    :param action: ``create``, ``update``, ``delete``, or a member action such as ``add_router_interface``.
    :param attributes: what the request sets.
    :param owner: the project that owns the thing.
    :raises NeutronError: 403.
    """
    rules = [f"rule:{action}_{resource}"]
    allowed = acts_everywhere(token, resource) or (
        owner == token.project_id and bool(token.roles & {"member", "manager"})
    )
    for name in attributes:
        if name in SERVICE_ATTRIBUTES.get(resource, ()):
            rules.append(f"rule:{action}_{resource}:{name}")
            allowed &= token.admin or "service" in token.roles
        elif name in ADMIN_ATTRIBUTES.get(resource, ()) and attributes[name]:
            rules.append(f"rule:{action}_{resource}:{name}")
            allowed &= token.admin
    if not allowed:
        raise forbidden(rules[0] if len(rules) == 1 else f"({' and '.join(rules)})")
