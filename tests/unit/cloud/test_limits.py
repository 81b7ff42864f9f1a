# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import heapq
import random
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future, wait

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kuryr import errors
from kuryr.cloud.limits import DEFAULT_START, Limiter, Window


def simulate(window: Window, calls: int, seconds: Callable[[int, float], float], start: float = 0) -> float:
    """Send calls as fast as the window lets them; ``seconds`` tells how long one takes, from how many are in flight
    and when it starts. Returns when the last is done."""
    now, waiting, in_flight = start, calls, list[float]()
    while waiting or in_flight:
        while waiting and len(in_flight) < window.limit:
            waiting -= 1
            heapq.heappush(in_flight, now + seconds(len(in_flight) + 1, now))
            window.started(now, saturated=len(in_flight) >= window.limit)
        now = heapq.heappop(in_flight)
        window.completed(now, window.epoch, None, saturated=waiting > 0)
    return now


class Line:
    """A backend that works on one call after the other."""

    def __init__(self, each: float) -> None:
        self.each = each
        self.free_at = 0.0

    def __call__(self, in_flight: int, now: float) -> float:
        self.free_at = max(now, self.free_at) + self.each
        return self.free_at - now


def test_the_limit_grows_while_more_calls_in_flight_get_more_done() -> None:
    window = Window(8, 32)
    done = simulate(window, 1000, lambda in_flight, now: 0.3)
    assert window.limit == 32
    assert done < 1.25 * 1000 * 0.3 / 32


def test_the_limit_stays_where_calls_only_wait_for_each_other() -> None:
    window = Window(8, 32)
    done = simulate(window, 500, Line(0.1))
    assert window.limit <= 9
    assert done < 1.01 * 500 * 0.1


def test_the_limit_goes_back_when_calls_are_in_each_others_way() -> None:
    window = Window(8, 32)
    simulate(window, 300, lambda in_flight, now: 0.3)
    assert window.limit > 16
    simulate(window, 2000, lambda in_flight, now: 0.1 * in_flight * max(1.0, in_flight / 8), start=100)
    assert window.limit <= 9


def test_chance_does_not_carry_the_limit_away() -> None:
    chance = random.Random(7)
    limits = []
    for _ in range(20):
        line = Line(0.1)
        window = Window(8, 32)

        def seconds(in_flight: int, now: float, line: Line = line) -> float:
            line.each = 0.1 * chance.lognormvariate(0, 0.5)
            return line(in_flight, now)

        simulate(window, 200, seconds)
        limits.append(window.limit)
    assert sorted(limits)[10] <= 10


class Fixed(Window):
    """A limit that stays."""

    def completed(self, now: float, epoch: int, error: BaseException | None, *, saturated: bool) -> None:
        """Learn nothing."""


class Small:
    """A backend with two processors: 4 calls in flight get most done, 8 a quarter less; the first calls take twice as
    long, and chance has a say. In seconds, as measured of a Neutron with OVN."""

    RATES = {1: 1.2, 2: 2.0, 3: 2.5, 4: 2.7, 5: 2.6, 6: 2.5, 7: 2.3, 8: 2.0}

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.calls = 0

    def __call__(self, in_flight: int, now: float) -> float:
        self.calls += 1
        cold = 2 if self.calls <= 4 else 1
        rate = self.RATES.get(in_flight, 16 / in_flight)
        return cold * in_flight / rate * self.chance.lognormvariate(0, 0.5)


def mean(make: Callable[[], Window], calls: int = 40, seeds: int = 100) -> float:
    """Seconds that a burst takes on a small backend, on average."""
    return sum(simulate(make(), calls, Small(seed)) for seed in range(seeds)) / seeds


def test_a_burst_on_a_small_backend_takes_little_more_than_with_the_best_fixed_number() -> None:
    best = min(mean(lambda number=number: Fixed(number, number)) for number in (1, 2, 3, 4, 6, 8, 16))  # type: ignore[misc]
    assert mean(lambda: Window(DEFAULT_START, 32)) < 1.2 * best


def test_a_low_start_costs_a_backend_that_scales_two_calls_time_once() -> None:
    seconds = 0.3
    for calls in (40, 200, 1000):
        higher = simulate(Window(8, 32), calls, lambda in_flight, now: seconds)
        window = Window(DEFAULT_START, 32)
        first = simulate(window, calls, lambda in_flight, now: seconds)
        assert first <= higher + 2.01 * seconds
        assert simulate(window, calls, lambda in_flight, now: seconds, first) - first <= higher


def test_a_higher_limit_is_tried_ever_more_rarely() -> None:
    window = Window(8, 32)
    tries, last = 0, window.limit
    line = Line(0.1)
    for _ in range(400):
        simulate(window, window.limit * 2, line, line.free_at)
        tries += window.limit > last
        last = window.limit
    assert tries < 20


def test_throttling_halves_the_limit_once_for_calls_in_flight_together() -> None:
    window = Window(8, 32)
    together = window.epoch
    for _ in range(8):
        window.completed(1, together, errors.CloudThrottled("slow down"), saturated=True)
    assert window.limit == 4
    for _ in range(5):
        window.completed(1, window.epoch, errors.CloudUnavailable("no answer"), saturated=True)
    assert window.limit == 1


def test_a_lowered_limit_recovers() -> None:
    window = Window(8, 32)
    for _ in range(5):
        window.completed(1, window.epoch, errors.CloudUnavailable("no answer"), saturated=True)
    simulate(window, 2000, lambda in_flight, now: 0.3, start=2)
    assert window.limit > 8


def test_answers_about_one_port_do_not_lower_the_limit() -> None:
    window = Window(8, 32)
    for error in (errors.SubnetFull("full"), errors.QuotaExceeded("quota"), errors.CloudNotFound("gone")):
        for _ in range(20):
            window.completed(1, window.epoch, error, saturated=True)
    assert window.limit == 8


def test_a_storm_of_conflicts_lowers_the_limit() -> None:
    window = Window(8, 32)
    for _ in range(8):
        window.started(0, saturated=True)
    for number in range(8):
        error = errors.CloudConflict("concurrent") if number % 2 else None
        window.completed(1, window.epoch, error, saturated=True)
    assert window.limit == 4


@given(
    st.lists(
        st.tuples(
            st.sampled_from(
                [None, errors.CloudThrottled("t"), errors.CloudConflict("c"), errors.SubnetFull("f")]
            ),
            st.booleans(),
            st.floats(0, 5),
        ),
        max_size=200,
    ),
    st.integers(1, 64),
)
def test_the_limit_stays_within_its_bounds(
    calls: list[tuple[errors.CloudError | None, bool, float]], maximum: int
) -> None:
    window, now = Window(8, maximum), 0.0
    for error, saturated, seconds in calls:
        window.started(now, saturated=saturated)
        now += seconds
        window.completed(now, window.epoch, error, saturated=saturated)
        assert 1 <= window.limit <= maximum


class Gate:
    """Calls that end when they are let go."""

    def __init__(self, limiter: Limiter) -> None:
        self.limiter = limiter
        self.started: list[str] = []
        self.threads: set[int] = set()
        self.side_by_side: list[int] = []
        """How many calls of its share were in flight when a call started, itself included."""
        self._in_flight: Counter[str] = Counter()
        self._changed = threading.Condition()
        self._allowed = 0

    def submit(self, share: str, operation: str = "create port") -> Future[str]:
        def call() -> str:
            with self._changed:
                self.started.append(share)
                self.threads.add(threading.get_ident())
                self._in_flight[share] += 1
                self.side_by_side.append(self._in_flight[share])
                self._changed.notify_all()
                assert self._changed.wait_for(lambda: self._allowed > 0, 10)
                self._allowed -= 1
                self._in_flight[share] -= 1
            return share

        return self.limiter.submit(operation, share, call)

    def wait_started(self, number: int) -> list[str]:
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.started) >= number, 10)
            return list(self.started)

    def let_go(self, number: int) -> None:
        with self._changed:
            self._allowed += number
            self._changed.notify_all()


@pytest.fixture
def limiter() -> Iterator[Limiter]:
    limiter = Limiter(max_in_flight=4, start=4)
    yield limiter
    limiter.close(1)


def test_another_share_goes_next_however_many_calls_are_queued(limiter: Limiter) -> None:
    gate = Gate(limiter)
    first = [gate.submit("large") for _ in range(100)]
    gate.wait_started(4)
    other = gate.submit("small")

    gate.let_go(1)
    assert gate.wait_started(5)[4] == "small"

    gate.let_go(200)
    wait([*first, other], 10)
    assert Counter(gate.started) == {"large": 100, "small": 1}


def test_shares_have_equal_parts_of_the_calls_in_flight(limiter: Limiter) -> None:
    gate = Gate(limiter)
    calls = [gate.submit(share) for share in "abc" for _ in range(30)]
    for number in range(4, 60):
        gate.wait_started(number)
        gate.let_go(1)
    gate.wait_started(60)
    # The first four were all that was queued when they started.
    assert max(gate.side_by_side[4:60]) <= 2
    gate.let_go(200)
    wait(calls, 10)


def test_one_operation_does_not_hold_up_another(limiter: Limiter) -> None:
    gate = Gate(limiter)
    calls = [gate.submit("creating") for _ in range(20)]
    gate.wait_started(4)
    calls.append(gate.submit("deleting", "delete port"))
    gate.let_go(1)
    assert gate.wait_started(5)[4] in ("creating", "deleting")
    gate.let_go(1)
    assert "deleting" in gate.wait_started(6)
    gate.let_go(100)
    wait(calls, 10)


def test_no_more_threads_than_calls_in_flight(limiter: Limiter) -> None:
    gate = Gate(limiter)
    calls = [gate.submit("share") for _ in range(1000)]
    gate.wait_started(4)
    load = limiter.loads()["create port"]
    assert (load.limit, load.in_flight, load.queued) == (4, 4, 996)
    gate.let_go(1000)
    wait(calls, 30)
    assert all(call.result() == "share" for call in calls)
    assert len(gate.threads) == 4


def test_errors_go_to_who_asked(limiter: Limiter) -> None:
    def fail() -> None:
        raise errors.SubnetFull("full")

    with pytest.raises(errors.SubnetFull):
        limiter.submit("create port", "", fail).result(10)
    assert limiter.submit("create port", "", lambda: 1).result(10) == 1


def test_a_queued_call_can_be_cancelled(limiter: Limiter) -> None:
    gate = Gate(limiter)
    running = [gate.submit("a") for _ in range(4)]
    gate.wait_started(4)
    queued = gate.submit("b")
    last = gate.submit("c")
    assert queued.cancel()
    gate.let_go(10)
    wait([*running, last], 10)
    assert gate.started == ["a"] * 4 + ["c"]


def test_throttling_holds_calls_back_until_the_time_given(limiter: Limiter) -> None:
    def throttled() -> None:
        raise errors.CloudThrottled("slow down", retry_after=0.05)

    with pytest.raises(errors.CloudThrottled):
        limiter.submit("create port", "", throttled).result(10)
    assert limiter.limit("create port") == 2
    assert limiter.submit("create port", "", lambda: 1).result(10) == 1


def test_close_cancels_what_is_queued_and_waits_for_the_rest() -> None:
    limiter = Limiter(max_in_flight=2, start=2)
    gate = Gate(limiter)
    calls = [gate.submit("a") for _ in range(5)]
    gate.wait_started(2)
    assert limiter.close(0.01) == 2
    assert [call.cancelled() for call in calls] == [False, False, True, True, True]
    gate.let_go(2)
    assert [call.result(10) for call in calls[:2]] == ["a", "a"]
    assert limiter.close(1) == 0
    with pytest.raises(errors.CloudUnavailable, match="stopping"):
        gate.submit("b").result(10)
