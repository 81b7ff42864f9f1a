# SPDX-License-Identifier: Apache-2.0
"""How many calls may be in flight, learnt; and whose turn it is.

What is queued while calls are in flight goes as soon as one returns; nothing waits for company, and no thread
is held by a call that is queued.
"""

from __future__ import annotations

import queue
import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, Final, TypeVar

import msgspec

from kuryr import errors

T = TypeVar("T")

DEFAULT_MAX: Final = 32
DEFAULT_START: Final = 4
"""Few, since a small Neutron gets less done with more at once; the steps up are large, so that a large one loses little."""
IDLE_SECONDS: Final = 30.0
"""A worker thread without a call for so long ends."""

GAIN: Final = 0.5
"""Share of the ideal gain in throughput that more calls in flight must bring to be kept."""

GAIN_FAST: Final = 0.8
"""Share of it from which on larger steps are tried."""

HOLD_MIN: Final = 4
HOLD_MAX: Final = 64
"""Rounds between two tries of a higher limit, doubled by each try that brought nothing."""

DECREASE: Final = 0.5
CONFLICT_STORM: Final = 0.5
"""Share of conflicts among the calls of a round from which the limit is lowered."""


class Window:
    """The limit on the calls of one operation in flight: pure arithmetic on what it is told.

    A *round* is as many completions as the limit, while calls were queued. If a round with a higher limit did
    not make the time per object shorter, the limit goes back: then more calls in flight only wait for
    each other, or are in each other's way. It also goes back when a later round shows so. Throttling and missing
    answers halve it, once for all calls that were in flight together.
    """

    def __init__(self, start: int, maximum: int) -> None:
        self._maximum = maximum
        self._limit = min(start, maximum)
        self._fast = True
        # The first round opens connections and warms the cloud up: nothing is compared with it.
        self._hold = 1
        self._hold_next = HOLD_MIN
        self._trying = False
        self._steps: list[tuple[int, float]] = []
        self._epoch = 0
        self._completed = 0
        self._objects = 0
        self._conflicts = 0
        self._round_began: float | None = None

    @property
    def limit(self) -> int:
        """Calls that may be in flight."""
        return self._limit

    @property
    def epoch(self) -> int:
        """Number of reductions so far; a call hands the one it began in to :meth:`completed`."""
        return self._epoch

    def started(self, now: float, *, saturated: bool) -> None:
        """A call was started; ``saturated``: the limit is reached."""
        if saturated and self._round_began is None:
            self._round_began = now
            self._completed = self._objects = self._conflicts = 0

    def completed(
        self, now: float, epoch: int, error: BaseException | None, *, saturated: bool, objects: int = 1
    ) -> None:
        """A call for so many objects came back. ``saturated``: others are queued."""
        if isinstance(error, errors.CloudUnavailable):
            self._reduce(epoch)
            return
        if not saturated:
            self._round_began = None
            return
        self._completed += 1
        self._objects += objects
        # The typed conflicts are answers about one port; the bare one is calls in each other's way.
        self._conflicts += type(error) is errors.CloudConflict
        if self._round_began is not None and self._completed >= self._limit:
            self._end_round(now, epoch)

    def _reduce(self, epoch: int) -> None:
        if epoch == self._epoch:
            self._epoch += 1
            self._limit = max(1, int(self._limit * DECREASE))
            self._fast = False
            self._hold = self._hold_next
            self._trying = False
            self._steps.clear()
            self._round_began = None

    def _end_round(self, now: float, epoch: int) -> None:
        began, completed, conflicts = self._round_began, self._completed, self._conflicts
        objects = self._objects
        self._round_began, self._completed, self._objects, self._conflicts = now, 0, 0, 0
        if conflicts >= max(2, CONFLICT_STORM * completed):
            self._reduce(epoch)
            return
        cost = (now - (began if began is not None else now)) / objects
        if self._steps and not self._keep(cost):
            self._limit, _ = self._steps.pop()
            self._fast = False
            if self._trying:
                self._hold, self._hold_next = self._hold_next, min(HOLD_MAX, 2 * self._hold_next)
            self._trying = False
            return
        self._trying = False
        if self._hold > 0:
            self._hold -= 1
        elif self._limit < self._maximum:
            self._steps.append((self._limit, cost))
            step = max(1, self._limit // 2) if self._fast else 1
            self._limit = min(self._maximum, self._limit + step)
            self._trying = True

    def _keep(self, cost: float) -> bool:
        """Whether the present limit is worth more than the one before it, at this time per object."""
        lower, cost_of_lower = self._steps[-1]
        if not self._trying:
            return cost <= cost_of_lower
        ideal = cost_of_lower * (1 - lower / self._limit)
        gain = cost_of_lower - cost
        if gain < GAIN * ideal:
            return False
        self._fast = gain >= GAIN_FAST * ideal
        self._hold_next = HOLD_MIN
        return True


class Load(msgspec.Struct, frozen=True):
    """Calls of one operation: how many may be in flight, are in flight, wait for their turn."""

    limit: int
    in_flight: int
    queued: int


class _Call(msgspec.Struct):
    future: Future[Any]
    run: Callable[[], Any]
    objects: int


class _Share(msgspec.Struct):
    queued: deque[_Call]
    in_flight: int = 0


class _Operation:
    """The queue of one operation: the share with the fewest calls in flight goes next, equals in turn."""

    def __init__(self, window: Window) -> None:
        self.window = window
        self.in_flight = 0
        self.queued = 0
        self.paused_until = 0.0
        self._shares: dict[str, _Share] = {}
        # Shares that have calls queued, by the number of their calls in flight.
        self._lines: defaultdict[int, deque[str]] = defaultdict(deque)

    def add(self, share: str, call: _Call) -> None:
        """Queue a call."""
        entry = self._shares.get(share)
        if entry is None:
            entry = self._shares[share] = _Share(deque())
        if not entry.queued:
            self._lines[entry.in_flight].append(share)
        entry.queued.append(call)
        self.queued += 1

    def take(self) -> tuple[str, _Call]:
        """The next call and its share; there is one."""
        share = self._lines[min(count for count, line in self._lines.items() if line)].popleft()
        entry = self._shares[share]
        call = entry.queued.popleft()
        self.queued -= 1
        entry.in_flight += 1
        self.in_flight += 1
        if entry.queued:
            self._lines[entry.in_flight].append(share)
        return share, call

    def give_back(self, share: str) -> None:
        """A call of this share returned."""
        self.in_flight -= 1
        entry = self._shares[share]
        if entry.queued:
            self._lines[entry.in_flight].remove(share)
            self._lines[entry.in_flight - 1].append(share)
        entry.in_flight -= 1
        if not entry.in_flight and not entry.queued:
            del self._shares[share]

    def clear(self) -> list[_Call]:
        """Take out all that is queued."""
        calls = [call for share in self._shares.values() for call in share.queued]
        for share in self._shares.values():
            share.queued.clear()
        self._lines.clear()
        self.queued = 0
        return calls


class Limiter:
    """Runs blocking calls in few threads, a learnt number of each operation at a time, fair between shares.

    The share with the fewest calls in flight goes next, so that a share's first call waits for one call to return
    at most, however many calls another share has queued.
    """

    def __init__(
        self,
        *,
        max_in_flight: int = DEFAULT_MAX,
        start: int = DEFAULT_START,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Start nothing yet.

        :param max_in_flight: upper bound of calls in flight, of one operation and of all.
        :param start: calls of an operation in flight before anything is learnt.
        """
        self._max = max_in_flight
        self._start = start
        self._clock = clock
        self._changed = threading.Condition()
        self._operations: dict[str, _Operation] = {}
        self._turns: deque[_Operation] = deque()
        self._in_flight = 0
        self._work: queue.SimpleQueue[tuple[_Operation, str, _Call, int] | None] = queue.SimpleQueue()
        self._threads = 0
        self._closed = False

    def submit(self, operation: str, share: str, fn: Callable[[], T], *, objects: int = 1) -> Future[T]:
        """Queue ``fn``; the future may be cancelled while queued. Callbacks of the future must be short.

        :param operation: calls of one operation share a limit.
        :param share: whose turn the call takes, usually a namespace.
        :param objects: that the call is for.
        """
        future: Future[T] = Future()
        with self._changed:
            if self._closed:
                future.set_exception(errors.CloudUnavailable(f"stopping: no call to {operation} any more"))
                return future
            entry = self._operations.get(operation)
            if entry is None:
                entry = self._operations[operation] = _Operation(Window(self._start, self._max))
                self._turns.append(entry)
            entry.add(share, _Call(future, fn, objects))
            self._dispatch()
        return future

    def limit(self, operation: str) -> int:
        """Calls of ``operation`` that may be in flight at present."""
        with self._changed:
            entry = self._operations.get(operation)
            return entry.window.limit if entry else min(self._start, self._max)

    def loads(self) -> dict[str, Load]:
        """How things stand, by operation."""
        with self._changed:
            return {
                name: Load(entry.window.limit, entry.in_flight, entry.queued)
                for name, entry in self._operations.items()
            }

    def close(self, timeout: float = 0) -> int:
        """Take no more calls, cancel what is queued, wait for what is in flight.

        :returns: how many calls were abandoned after ``timeout`` seconds; their outcome is not known.
        """
        with self._changed:
            self._closed = True
            dropped = [call for entry in self._operations.values() for call in entry.clear()]
            self._changed.wait_for(lambda: self._in_flight == 0, timeout)
            abandoned = self._in_flight
            for _ in range(self._threads):
                self._work.put(None)
        for call in dropped:
            call.future.cancel()
            call.future.set_running_or_notify_cancel()
        return abandoned

    def _dispatch(self) -> None:
        """Hand calls to threads, operations in turn, while limits allow. The lock is held."""
        now = self._clock()
        idle_turns = 0
        while self._in_flight < self._max and idle_turns < len(self._turns):
            entry = self._turns[0]
            self._turns.rotate(-1)
            if not entry.queued or entry.in_flight >= entry.window.limit or entry.paused_until > now:
                idle_turns += 1
                continue
            share, call = entry.take()
            if not call.future.set_running_or_notify_cancel():
                entry.give_back(share)
                continue
            idle_turns = 0
            self._in_flight += 1
            entry.window.started(now, saturated=entry.in_flight >= entry.window.limit)
            self._work.put((entry, share, call, entry.window.epoch))
            if self._threads < self._in_flight:
                self._threads += 1
                threading.Thread(target=self._run, name="cloud-call", daemon=True).start()

    def _run(self) -> None:
        while True:
            try:
                item = self._work.get(timeout=IDLE_SECONDS)
            except queue.Empty:
                with self._changed:
                    # As many threads as calls in flight stay, since one of those may be on its way to here.
                    if self._threads > self._in_flight:
                        self._threads -= 1
                        return
                continue
            if item is None:
                with self._changed:
                    self._threads -= 1
                return
            self._call(*item)

    def _call(self, entry: _Operation, share: str, call: _Call, epoch: int) -> None:
        result: Any = None
        error: BaseException | None = None
        try:
            result = call.run()
        except BaseException as raised:
            error = raised
        with self._changed:
            self._in_flight -= 1
            now = self._clock()
            # Told before the call is given back: rounds count only while the limit is what holds calls up.
            entry.window.completed(now, epoch, error, saturated=entry.queued > 0, objects=call.objects)
            entry.give_back(share)
            if isinstance(error, errors.CloudThrottled) and error.retry_after:
                self._pause(entry, now + error.retry_after, error.retry_after)
            if not self._closed:
                self._dispatch()
            self._changed.notify_all()
        if error is None:
            call.future.set_result(result)
        else:
            call.future.set_exception(error)

    def _pause(self, entry: _Operation, until: float, seconds: float) -> None:
        if until > entry.paused_until:
            entry.paused_until = until
            timer = threading.Timer(seconds, self._resume)
            timer.daemon = True
            timer.start()

    def _resume(self) -> None:
        with self._changed:
            if not self._closed:
                self._dispatch()
