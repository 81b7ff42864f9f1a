# SPDX-License-Identifier: Apache-2.0
"""Who holds the Lease, as the API's own answers tell it, and who writes all the same."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable

from kuryr.testing.fake_cloud import Call as CloudCall
from kuryr.testing.fake_cloud.journal import WRITES, Journal
from tests.functional.controller.calls_proxy import Call

UNFENCED = ("leases", "events", "selfsubjectaccessreviews")
"""What anybody may write: the Lease itself, what is told to people, and questions."""

IN_HAND = 5.0
"""Seconds after it was thawed in which a process may finish the calls that it was at when it was frozen."""


class Fencing:
    """Thread-safe.

    :ivar violations: writes by a controller while another held the Lease, a sentence each.
    :ivar in_hand: writes that a frozen controller had begun and that went out when it was thawed.
    :ivar transitions: how often the Lease went to another controller.
    """

    def __init__(self, say: Callable[[str], None]) -> None:
        self.violations: list[str] = []
        self.in_hand = 0
        self.transitions = 0
        self.holder = ""
        self._since = 0.0
        self._thawed: dict[str, float] = {}
        self._lock = threading.Lock()
        self._say = say

    def thawed(self, who: str) -> None:
        """A frozen controller goes on."""
        self._thawed[who] = time.monotonic()

    def written(self, who: str, call: Call, status: int) -> None:
        """A controller wrote the Lease."""
        if status >= 300:
            return
        identity = json.loads(call.body).get("spec", {}).get("holderIdentity")
        with self._lock:
            before = self.holder
            if identity:
                self.holder = who
            elif self.holder == who:
                self.holder = ""
            if self.holder != before:
                self._since = time.monotonic()
                self.transitions += bool(self.holder)
                self._say(f"the Lease: {before or 'nobody'} → {self.holder or 'nobody'}")

    def check(self, who: str, what: str, began: float) -> None:
        """A controller writes something that only the holder may."""
        with self._lock:
            if self.holder in ("", who) or began <= self._since:
                return
            if began - self._thawed.get(who, -IN_HAND) < IN_HAND:
                self.in_hand += 1
                return
            message = f"{who} made the call `{what}` while {self.holder} held the Lease"
            self.violations.append(message)
        self._say(message)


class Ledger(Journal):
    """The fake cloud's journal: checks who writes. ``names`` maps users to controllers."""

    def __init__(self, fencing: Fencing) -> None:
        super().__init__(keep=1)
        self._fencing = fencing

    def add(self, call: CloudCall) -> None:
        """Write a call down."""
        super().add(call)
        probe = call.operation == "create port" and "description" not in (call.body or {}).get("port", {})
        if call.method in WRITES and call.user and not probe:
            self._fencing.check(call.user, call.operation, call.began)
