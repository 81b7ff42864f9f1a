# SPDX-License-Identifier: Apache-2.0
"""How many VIFs a pool should have, and which is to be made next. Pure: the caller tells the time, and locks."""

from __future__ import annotations

import math
from collections import Counter, deque
from collections.abc import Callable, Iterable

import msgspec

from kuryr.drivers.types import Shape
from kuryr.drivers.vif_pool.pool import PoolKey
from kuryr.errors import KuryrError

BURST = 60.0
"""Seconds: as many VIFs as were wanted within this time are kept ready for the next time."""

HALF_LIFE = 300.0
"""Seconds after which half of a past demand is forgotten."""

FIRST_PAUSE = 5.0
LONGEST_PAUSE = 300.0
"""Seconds that nothing is made after a failure; doubled by each further one."""

EASE = 10.0
"""Seconds from a burst's first VIF for which pools are neither filled nor shrunk: Neutron and the nodes are busy with the burst."""

LONGEST_EASE = 30.0
"""The same at most, where VIFs are wanted densely; then it is :data:`EASE` from the last of these."""

DENSE = 10
"""VIFs within :data:`DENSE_TIME` seconds."""

DENSE_TIME = 2.0

CALM = 5.0
"""Seconds without a VIF being wanted after which the next one begins a burst."""

Scope = PoolKey | Shape | None
"""What a failure is about: one node's pool, a shape on all nodes, or the whole cloud (None)."""


class Limits(msgspec.Struct, frozen=True):
    """[vif_pool] ports_pool_min, ports_pool_max (0: none) and ports_pool_batch."""

    minimum: int
    maximum: int
    batch: int


class Pause(msgspec.Struct, frozen=True):
    """Nothing is made until then, because of that."""

    until: float
    failures: int
    error: KuryrError


class Demand:
    """A maximum that is forgotten with time: of the VIFs wanted within :data:`BURST` seconds."""

    def __init__(self) -> None:
        self._times: deque[float] = deque()
        self._level = 0.0
        self._at = 0.0

    def note(self, now: float) -> None:
        """One was wanted."""
        self._times.append(now)
        self.expect(self._recent(now), now)

    def expect(self, number: float, now: float) -> None:
        """As many will be wanted."""
        self._level, self._at = max(number, self.level(now)), now

    def level(self, now: float) -> float:
        """How many should be ready."""
        return self._level * math.exp2((self._at - now) / HALF_LIFE)

    def _recent(self, now: float) -> int:
        while self._times and self._times[0] <= now - BURST:
            self._times.popleft()
        return len(self._times)


class Planner:
    """Orders VIFs where pools are too small, and says what is to be made next."""

    def __init__(self) -> None:
        self._demands: dict[PoolKey, Demand] = {}
        self._ordered: dict[PoolKey, int] = {}
        self._making: Counter[PoolKey] = Counter()
        self._pauses: dict[Scope, Pause] = {}
        self._emptied: set[PoolKey] = set()
        self._burst_began = self._last_wanted = self._eased_until = -math.inf
        self._lately: deque[float] = deque(maxlen=DENSE)

    # Demand

    def note(self, key: PoolKey, now: float) -> None:
        """A VIF of the key was wanted."""
        # Pods that come every few seconds are one burst, after which pools have their turn.
        if now > max(self._last_wanted + CALM, self._eased_until + EASE):
            self._burst_began, self._eased_until = now, now + EASE
            self._lately.clear()
        self._last_wanted = now
        self._lately.append(now)
        if len(self._lately) == DENSE and now - self._lately[0] <= DENSE_TIME:
            self._eased_until = max(self._eased_until, min(now + EASE, self._burst_began + LONGEST_EASE))
        self._emptied.discard(key)
        self._demands.setdefault(key, Demand()).note(now)

    def expect(self, key: PoolKey, number: int, now: float) -> None:
        """As many are going to be wanted."""
        self._emptied.discard(key)
        self._demands.setdefault(key, Demand()).expect(number, now)

    def empty(self, key: PoolKey) -> None:
        """Keep none until one is wanted."""
        self._emptied.add(key)
        self._demands.pop(key, None)
        self._ordered.pop(key, None)

    def shapes(self, now: float) -> set[Shape]:
        """Shapes that were wanted lately, on any node; what is forgotten is dropped."""
        self._demands = {key: demand for key, demand in self._demands.items() if demand.level(now) >= 0.5}
        return {key.shape for key in self._demands}

    def target(self, key: PoolKey, limits: Limits, now: float, expected: int = 0) -> int:
        """How many there should be at least. ``expected``: are going to be wanted besides."""
        if key in self._emptied:
            return 0
        demand = self._demands.get(key)
        level = math.ceil(demand.level(now) - 0.5) if demand is not None else 0
        target = max(limits.minimum, level, expected)
        return min(target, limits.maximum) if limits.maximum else target

    # Making

    def order(self, key: PoolKey, size: int, target: int, limits: Limits) -> None:
        """Order what a pool of ``size`` lacks, a batch at least; no more than the maximum allows."""
        coming = size + self._making[key] + self._ordered.get(key, 0)
        if coming >= target:
            return
        number = max(limits.batch, target - coming)
        if limits.maximum:
            number = min(number, limits.maximum - coming)
        if number > 0:
            self._ordered[key] = self._ordered.get(key, 0) + number

    def cancel(self, wanted: Callable[[PoolKey], bool]) -> None:
        """Forget the orders that are no longer wanted."""
        self._ordered = {key: number for key, number in self._ordered.items() if wanted(key)}
        self._emptied = {key for key in self._emptied if wanted(key)}

    def next(
        self, now: float, size: Callable[[PoolKey], int], fits: Callable[[PoolKey], bool] = lambda key: True
    ) -> PoolKey | None:
        """The key that a VIF is to be made of: one that fits and has fewest. It counts as being made until :meth:`made`."""
        if self.pause(None, now) is not None:
            return None
        open_keys = [key for key in self._ordered if fits(key) and not self._held_up(key, now)]
        if not open_keys:
            return None
        key = min(open_keys, key=lambda key: size(key) + self._making[key])
        left = self._ordered.pop(key) - 1
        if left:
            self._ordered[key] = left
        self._making[key] += 1
        return key

    def again(self, key: PoolKey) -> None:
        """One that was to be made has to be made all the same."""
        self.made(key)
        self._ordered[key] = self._ordered.get(key, 0) + 1

    def made(self, key: PoolKey) -> None:
        """The making of one of the key ended, one way or the other."""
        self._making[key] -= 1
        if self._making[key] <= 0:
            del self._making[key]

    def making(self, key: PoolKey) -> int:
        """How many of the key are being made."""
        return self._making[key]

    def bursting(self, now: float) -> bool:
        """Whether a burst has just begun: what has a VIF goes before what may come."""
        return now < self._eased_until

    def eased(self, now: float) -> float:
        """Seconds until that is over."""
        return max(0.0, self._eased_until - now)

    # Too many

    def surplus(self, size: int, target: int, limits: Limits, now: float) -> int:
        """How many of a pool of ``size`` are too many; a batch above the target is none yet, nor anything in a burst."""
        most = target + limits.batch if target else 0
        if target and self.bursting(now):
            most = size
        if limits.maximum:
            most = min(most, limits.maximum)
        return max(0, size - most)

    # Failures

    def fail(self, scope: Scope, error: KuryrError, now: float) -> None:
        """Making failed: pause, for longer each time (once for all that were in flight together)."""
        known = self._pauses.get(scope)
        if known is not None and now < known.until:
            return
        failures = known.failures + 1 if known is not None else 1
        seconds = min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** (failures - 1))
        self._pauses[scope] = Pause(now + seconds, failures, error)

    def succeed(self, key: PoolKey, now: float) -> None:
        """Making works. A pause that is under way goes on: what succeeds may have begun before the failure."""
        for scope in (key, key.shape, None):
            if self.pause(scope, now) is None:
                self._pauses.pop(scope, None)

    def pause(self, scope: Scope, now: float) -> Pause | None:
        """The pause that is under way."""
        pause = self._pauses.get(scope)
        return pause if pause is not None and now < pause.until else None

    def next_end(self, now: float) -> float | None:
        """When the next pause, or the burst that goes before filling, ends."""
        moments = [pause.until for pause in self._pauses.values() if pause.until > now]
        if self.bursting(now):
            moments.append(self._eased_until)
        return min(moments, default=None)

    def trouble(self, keys: Iterable[PoolKey]) -> KuryrError | None:
        """Why VIFs of these keys could not be made when it was last tried."""
        for key in keys:
            pause = self._pauses.get(key) or self._pauses.get(key.shape)
            if pause is not None:
                return pause.error
        return None

    def _held_up(self, key: PoolKey, now: float) -> bool:
        return self.pause(key, now) is not None or self.pause(key.shape, now) is not None
