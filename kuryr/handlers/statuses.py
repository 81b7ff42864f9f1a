# SPDX-License-Identifier: Apache-2.0
"""The status of a KuryrPort as it should be written. Pure."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec

from kuryr.drivers.types import Allocation
from kuryr.k8s.conditions import micro_timestamp, set_condition
from kuryr.objects.kuryrport import ALLOCATED, UP, KuryrPort, RouteStatus, VIFStatus
from kuryr.objects.meta import Condition
from kuryr.objects.vif import decode, encode

LONGEST_CHOICE = 4096
"""Characters of a choice's reason, as the CRD has it."""


def vif_status(
    allocation: Allocation, *, default: bool, driver: str, now: datetime | None = None
) -> VIFStatus:
    """The entry of a new VIF, made by the pod_vif driver of that name. ``now``: since when it is up, where it is."""
    entry = VIFStatus(
        vif=encode(allocation.vif),
        default=default,
        reported_by=allocation.reported_by,
        project_id=allocation.project_id,
        security_groups=list(allocation.security_groups),
        subnet_ids=list(allocation.subnet_ids),
        choice=allocation.reason[:LONGEST_CHOICE],
        driver=driver,
        pool=allocation.pool,
    )
    if not allocation.up:
        return entry
    said = Condition(UP, "True", "WiredAhead", "the port waited on its node, carrying traffic")
    return _up(entry, msgspec.structs.replace(said, last_transition_time=micro_timestamp(now)))


def allocation_of(entry: VIFStatus) -> Allocation:
    """What a driver answered when it made a VIF, as far as it was written down.

    :raises InvalidVIF: where the VIF cannot be understood.
    """
    return Allocation(
        vif=decode(entry.vif),
        project_id=entry.project_id,
        security_groups=tuple(entry.security_groups or ()),
        subnet_ids=tuple(entry.subnet_ids),
        reason=entry.choice,
        reported_by=entry.reported_by,
        pool=entry.pool,
        driver=entry.driver,
    )


def with_up(entry: VIFStatus, *, now: datetime) -> VIFStatus:
    """The entry of a VIF that carries traffic, with the original's ``active`` set too."""
    condition = Condition(
        UP, "True", "Active", "the cloud says that the port is active", micro_timestamp(now)
    )
    return _up(entry, condition)


def _up(entry: VIFStatus, condition: Condition) -> VIFStatus:
    vif = encode(msgspec.structs.replace(decode(entry.vif), active=True))
    return msgspec.structs.replace(entry, vif=vif, conditions=set_condition(entry.conditions, condition))


def filled(
    port: KuryrPort, vifs: dict[str, VIFStatus], routes: list[RouteStatus] | None, *, now: datetime
) -> dict[str, Any] | None:
    """The merge patch of the status that makes it hold ``vifs`` and ``routes``; None where it does already."""
    patch: dict[str, Any] = {}
    changed = {
        name: msgspec.to_builtins(entry)
        for name, entry in vifs.items()
        if port.status.vifs.get(name) != entry
    }
    if changed:
        patch["vifs"] = changed
    if routes is not None and routes != port.status.routes:
        patch["routes"] = msgspec.to_builtins(routes)
    current = next((c for c in port.status.conditions if c.type == ALLOCATED), None)
    # What the original allocated carries no conditions; it is left as it is.
    if not patch and (current is None or current.status == "True"):
        return None
    condition = Condition(ALLOCATED, "True", "Allocated", _summary(vifs), micro_timestamp(now))
    conditions = set_condition(port.status.conditions, condition)
    if conditions != port.status.conditions:
        patch["conditions"] = msgspec.to_builtins(conditions)
    return patch or None


def failed(port: KuryrPort, reason: str, message: str, *, now: datetime) -> list[Any] | None:
    """The conditions of a KuryrPort that could not be filled; None where they say so already."""
    condition = Condition(ALLOCATED, "False", reason, message, micro_timestamp(now))
    current = next((c for c in port.status.conditions if c.type == ALLOCATED), None)
    if current is not None and (current.status, current.reason, current.message) == (
        "False",
        reason,
        message,
    ):
        return None
    builtins: list[Any] = msgspec.to_builtins(set_condition(port.status.conditions, condition))
    return builtins


def _summary(vifs: dict[str, VIFStatus]) -> str:
    return "; ".join(
        f"{name}: {', '.join(decode(entry.vif).addresses)} by {entry.choice or 'an earlier version'}"
        for name, entry in sorted(vifs.items())
    )
