# SPDX-License-Identifier: Apache-2.0
"""Conditions as the API conventions have them: one per type, its transition time kept while its status is."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime

import msgspec

from kuryr.objects.meta import Condition


def timestamp(moment: datetime | None = None) -> str:
    """RFC 3339 time in whole seconds, as ``metav1.Time`` has it; now where no ``moment`` is given."""
    return (moment or datetime.now(UTC)).astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def micro_timestamp(moment: datetime | None = None) -> str:
    """RFC 3339 time in microseconds, as ``metav1.MicroTime`` has it."""
    return (moment or datetime.now(UTC)).astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def find_condition(conditions: Iterable[Condition], type_: str) -> Condition | None:
    """The condition of that type."""
    return next((condition for condition in conditions if condition.type == type_), None)


def set_condition(
    conditions: Iterable[Condition], condition: Condition, *, now: datetime | None = None
) -> list[Condition]:
    """``conditions`` with ``condition`` in the place of the one of its type (or at the end), as a new list.

    ``last_transition_time`` stays the old one's while the status is the same, else it is the condition's own
    or now. Equal conditions give an equal list, so that a caller can see that there is nothing to write.
    """
    result = list(conditions)
    index = next((i for i, old in enumerate(result) if old.type == condition.type), len(result))
    old = result[index] if index < len(result) else None
    if old is not None and old.status == condition.status and old.last_transition_time:
        since = old.last_transition_time
    else:
        since = condition.last_transition_time or timestamp(now)
    result[index : index + 1] = [msgspec.structs.replace(condition, last_transition_time=since)]
    return result
