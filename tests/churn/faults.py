# SPDX-License-Identifier: Apache-2.0
"""Faults at every kind of call to both APIs: a side for each, between the controllers' proxies and the server."""

from __future__ import annotations

import json
import random
import threading
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from typing import Final

from tests.functional.controller.calls_proxy import Answer, Call, Observer

CUT_BEFORE: Final = "cut before"
CUT_AFTER: Final = "cut after"
HANG: Final = "hang"
HANG_AFTER: Final = "hang after"
FAIL_AFTER: Final = "504 after"
CUT_LATER: Final = "cut later"
HANG_LATER: Final = "hang later"
EXPIRED_EVENT: Final = "410 event"

READS: Final = ("429", "503", "500", CUT_BEFORE, CUT_AFTER, HANG)
WRITES: Final = (*READS, HANG_AFTER, FAIL_AFTER)
WATCHES: Final = ("429", "503", "500", "410", EXPIRED_EVENT, CUT_BEFORE, HANG)
STREAMS: Final = (CUT_LATER, HANG_LATER)
CHANGES: Final = frozenset({"POST", "PUT", "PATCH", "DELETE"})

SELDOM: Final = 0.3
"""The part of the calls of a kind that fail until it has met every fault, so that those which are seldom made do too."""

STREAMING: Final = 0.05
"""How much less often than a call a piece of a watch fails: there are many, and all that follow fail with it."""


class Faults:
    """Which call fails in which way. Each kind of call meets each kind of fault: the one that it met least comes next.

    :ivar rate: the part of the calls that fail.
    :ivar injected: how often which kind of fault was injected; ``operations`` by operation.
    """

    def __init__(self, seed: int, patience: float) -> None:
        """Inject nothing yet.

        :param patience: seconds after which nobody waits for an answer any more.
        """
        self.rate = 0.0
        self.injected: Counter[str] = Counter()
        self.operations: dict[str, Counter[str]] = defaultdict(Counter)
        self.calls: Counter[str] = Counter()
        self._patience = patience
        self._random = random.Random(seed)
        self._lock = threading.Lock()
        self._over = threading.Event()

    def choose(self, operation: str, kinds: Sequence[str]) -> str:
        """The fault for this call; empty for none."""
        with self._lock:
            self.calls[operation] += 1
            least = min(self.operations[operation][kind] for kind in kinds)
            chance = max(self.rate, SELDOM) if self.rate and not least else self.rate
            return self._inject(operation, kinds) if self._random.random() < chance else ""

    def choose_in_stream(self, operation: str) -> str:
        """The fault for a piece of a watch; empty for none."""
        with self._lock:
            return self._inject(operation, STREAMS) if self._random.random() < self.rate * STREAMING else ""

    def _inject(self, operation: str, kinds: Sequence[str]) -> str:
        if self._over.is_set():
            return ""
        met = self.operations[operation]
        least = min(met[kind] for kind in kinds)
        kind = self._random.choice([kind for kind in kinds if met[kind] == least])
        met[kind] += 1
        self.injected[kind] += 1
        return kind

    def hang(self, times: float = 1.0) -> None:
        """Wait until nobody waits any more, or faults are over."""
        self._over.wait(self._patience * times * self._random.uniform(1.0, 1.5))

    def stop(self) -> None:
        """No more from now on; what hangs is let go."""
        self._over.set()


class Side(Observer):
    """One controller's way to one API."""

    def __init__(self, faults: Faults) -> None:
        self._faults = faults
        self._now = threading.local()

    def operation(self, call: Call) -> str:
        """What kind of call it is."""
        raise NotImplementedError

    def kinds(self, call: Call) -> Sequence[str]:
        """The faults that it may meet."""
        raise NotImplementedError

    def answer(self, status: int, call: Call) -> Answer:
        """How the API says that."""
        raise NotImplementedError

    def sent(self, call: Call) -> None:
        """A call goes to the API."""

    def done(self, call: Call, status: int) -> None:
        """The API carried it out, whether or not the caller will hear of it."""

    def before(self, call: Call) -> bool | Answer:
        fault = self._now.fault = self._faults.choose(self.operation(call), self.kinds(call))
        if fault.isdigit():
            return self.answer(int(fault), call)
        if fault == EXPIRED_EVENT:
            event = {"type": "ERROR", "object": json.loads(self.answer(410, call).body)}
            return Answer(200, json.dumps(event).encode() + b"\n")
        if fault == HANG:
            self._faults.hang()
        if fault in (HANG, CUT_BEFORE):
            return False
        self.sent(call)
        return True

    def after(self, call: Call, status: int) -> bool | Answer:
        self.done(call, status)
        fault = self._now.fault
        if fault == FAIL_AFTER:
            return self.answer(504, call)
        if fault == HANG_AFTER:
            self._faults.hang()
        return fault not in (CUT_AFTER, HANG_AFTER)

    def passing(self, call: Call) -> bool:
        fault = self._faults.choose_in_stream(f"{self.operation(call)}, open")
        if fault == HANG_LATER:
            self._faults.hang(4)
        return not fault


class KubernetesSide(Side):
    """A controller's way to the Kubernetes API."""

    def __init__(
        self, faults: Faults, sent: Callable[[str, Call], None], done: Callable[[str, Call, int], None]
    ) -> None:
        """``sent`` and ``done`` are told of each call with its operation, such as ``patch leases``."""
        super().__init__(faults)
        self._sent = sent
        self._done = done

    def operation(self, call: Call) -> str:
        return "kubernetes: " + kubernetes_operation(call)

    def kinds(self, call: Call) -> Sequence[str]:
        if call.watch:
            return WATCHES
        if call.method not in CHANGES:
            return READS
        # A deletion with a UID is only refused where another object has the name.
        return WRITES if call.method == "DELETE" else (*WRITES, "409")

    def answer(self, status: int, call: Call) -> Answer:
        reasons = {
            409: "Conflict",
            410: "Expired",
            429: "TooManyRequests",
            500: "InternalError",
            503: "ServiceUnavailable",
            504: "Timeout",
        }
        body = {
            "kind": "Status",
            "apiVersion": "v1",
            "status": "Failure",
            "code": status,
            "reason": reasons[status],
            "message": f"injected: {status}",
        }
        return Answer(status, json.dumps(body).encode(), {"Retry-After": "1"} if status == 429 else {})

    def sent(self, call: Call) -> None:
        self._sent(kubernetes_operation(call), call)

    def done(self, call: Call, status: int) -> None:
        self._done(kubernetes_operation(call), call, status)


class CloudSide(Side):
    """The controllers' way to Keystone and Neutron."""

    def operation(self, call: Call) -> str:
        return f"cloud: {call.operation}"

    def kinds(self, call: Call) -> Sequence[str]:
        if call.method not in CHANGES or "auth/tokens" in call.path:
            return READS
        return (*WRITES, "409")

    def answer(self, status: int, call: Call) -> Answer:
        types = {409: "OverQuota" if call.method == "POST" else "Conflict"}
        error = {"type": types.get(status, "HTTPError"), "message": f"injected: {status}", "detail": ""}
        headers = {"Retry-After": "1"} if status == 429 else {}
        return Answer(status, json.dumps({"NeutronError": error}).encode(), headers)


def kubernetes_operation(call: Call) -> str:
    """A verb and what it acts on, such as ``patch kuryrports/status``."""
    parts = call.path.partition("?")[0].strip("/").split("/")
    rest = parts[2:] if parts[0] == "api" else parts[3:]
    if rest[:1] == ["namespaces"] and len(rest) > 2:
        rest = rest[2:]
    one = len(rest) > 1
    verbs = {"POST": "create", "PUT": "replace", "PATCH": "patch", "DELETE": "delete"}
    verb = "watch" if call.watch else verbs.get(call.method, "get" if one else "list")
    return f"{verb} {'/'.join([*rest[:1], *rest[2:3]]) or call.path}"
