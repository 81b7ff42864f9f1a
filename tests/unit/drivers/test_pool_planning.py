# SPDX-License-Identifier: Apache-2.0
"""Planner: how many, and when not."""

from hypothesis import given
from hypothesis import strategies as st

from kuryr.drivers.types import Shape
from kuryr.drivers.vif_pool.planning import (
    BURST,
    CALM,
    DENSE,
    DENSE_TIME,
    EASE,
    FIRST_PAUSE,
    HALF_LIFE,
    LONGEST_EASE,
    LONGEST_PAUSE,
    Limits,
    Planner,
)
from kuryr.drivers.vif_pool.pool import PoolKey
from kuryr.errors import CloudUnavailable, SubnetFull

SHAPE = Shape("p", ("s",), ("g",))
KEY = PoolKey("n1", SHAPE)
OTHER = PoolKey("n2", SHAPE)
THIRD = PoolKey("n1", Shape("p2", ("s2",), ()))
LIMITS = Limits(5, 0, 10)


def drain(planner: Planner, now: float = 0.0) -> list[PoolKey]:
    """All that may be made now."""
    found = []
    while (key := planner.next(now, lambda key: 0)) is not None:
        found.append(key)
    return found


def test_the_minimum_is_made_in_a_batch() -> None:
    planner = Planner()
    planner.order(KEY, 0, planner.target(KEY, LIMITS, 0), LIMITS)
    assert drain(planner) == [KEY] * 10
    assert planner.making(KEY) == 10
    planner.order(KEY, 0, 5, LIMITS)
    assert drain(planner) == []


def test_nothing_is_made_while_there_are_enough() -> None:
    planner = Planner()
    planner.order(KEY, 5, 5, LIMITS)
    assert drain(planner) == []
    planner.order(KEY, 4, 5, LIMITS)
    assert len(drain(planner)) == 10


def test_a_burst_is_expected_again_and_forgotten() -> None:
    planner = Planner()
    for number in range(50):
        planner.note(KEY, number * 0.1)
    assert planner.target(KEY, LIMITS, 5) == 50
    assert planner.target(KEY, LIMITS, 5 + HALF_LIFE) == 25
    assert planner.target(KEY, LIMITS, 5 + 20 * HALF_LIFE) == 5
    assert planner.target(OTHER, LIMITS, 5) == 5
    assert planner.shapes(5) == {SHAPE}
    assert planner.shapes(5 + 20 * HALF_LIFE) == set()


def test_single_pods_now_and_then_are_no_burst() -> None:
    planner = Planner()
    for number in range(50):
        planner.note(KEY, number * BURST)
    assert planner.target(KEY, Limits(0, 0, 10), 50 * BURST) == 1


@given(
    sizes=st.integers(0, 50),
    takes=st.integers(0, 100),
    minimum=st.integers(0, 20),
    maximum=st.integers(0, 40),
    batch=st.integers(1, 20),
)
def test_targets_hold(sizes: int, takes: int, minimum: int, maximum: int, batch: int) -> None:
    planner, limits = Planner(), Limits(minimum, maximum, batch)
    for _ in range(takes):
        planner.note(KEY, 0)
    target = planner.target(KEY, limits, 0)
    assert target == (min(max(minimum, takes), maximum) if maximum else max(minimum, takes))
    planner.order(KEY, sizes, target, limits)
    made = len(drain(planner))
    if sizes >= target:
        assert made == 0
    else:
        assert sizes + made >= target
        assert not maximum or sizes + made <= maximum
        assert made <= max(batch, target - sizes)
    # What is made is never too much at once.
    assert planner.surplus(sizes + made, target, limits, EASE) == 0 or sizes >= target
    left = sizes - planner.surplus(sizes, target, limits, EASE)
    assert left >= min(sizes, target)
    assert not maximum or left <= maximum


def test_emptied_until_wanted() -> None:
    planner = Planner()
    planner.order(KEY, 0, 5, LIMITS)
    planner.empty(KEY)
    assert drain(planner) == []
    assert planner.target(KEY, LIMITS, 0) == 0
    planner.note(KEY, 0)
    assert planner.target(KEY, LIMITS, 0) == 5


def test_who_has_fewest_comes_first() -> None:
    planner = Planner()
    for key in (KEY, OTHER):
        planner.order(key, 0, 2, Limits(2, 0, 1))
    sizes = {KEY: 1, OTHER: 0}
    assert [planner.next(0, sizes.__getitem__) for _ in range(4)] == [OTHER, KEY, OTHER, KEY]


def test_a_full_subnet_pauses_its_shape_for_longer_each_time() -> None:
    planner = Planner()
    for key in (KEY, OTHER, THIRD):
        planner.order(key, 0, 1, Limits(1, 0, 1))
    planner.fail(SHAPE, SubnetFull("full"), 0)
    planner.fail(SHAPE, SubnetFull("full"), 1)
    assert drain(planner, 1) == [THIRD]
    assert planner.next_end(1) == FIRST_PAUSE
    assert drain(planner, FIRST_PAUSE) == [KEY, OTHER]
    error = planner.trouble([KEY])
    assert isinstance(error, SubnetFull)
    planner.fail(SHAPE, SubnetFull("full"), FIRST_PAUSE)
    assert planner.next_end(FIRST_PAUSE) == FIRST_PAUSE + 2 * FIRST_PAUSE
    now = FIRST_PAUSE
    for _ in range(20):
        now = planner.next_end(now) or now
        planner.fail(SHAPE, SubnetFull("full"), now)
    assert (planner.next_end(now) or 0) - now == LONGEST_PAUSE


def test_a_cloud_in_trouble_pauses_all() -> None:
    planner = Planner()
    planner.order(KEY, 0, 1, Limits(1, 0, 1))
    planner.order(THIRD, 0, 1, Limits(1, 0, 1))
    planner.fail(None, CloudUnavailable("down"), 0)
    assert drain(planner, 1) == []
    # What was begun before the failure says nothing of what comes now.
    planner.succeed(KEY, 1)
    assert drain(planner, 1) == []
    assert sorted(drain(planner, FIRST_PAUSE)) == sorted([KEY, THIRD])
    planner.succeed(KEY, FIRST_PAUSE)
    planner.fail(None, CloudUnavailable("down"), 100)
    assert planner.next_end(100) == 100 + FIRST_PAUSE


def test_orders_that_are_no_longer_wanted_are_forgotten() -> None:
    planner = Planner()
    planner.order(KEY, 0, 5, LIMITS)
    planner.cancel(lambda key: False)
    assert drain(planner) == []


def test_a_burst_begins_after_a_calm_and_ends_by_itself() -> None:
    planner = Planner()
    assert not planner.bursting(0)
    for second in range(100):
        planner.note(KEY, second)
        assert planner.bursting(second) == (second < EASE)
    planner.note(KEY, 99 + CALM)
    assert not planner.bursting(99 + CALM)
    planner.note(KEY, 100 + 2 * CALM)
    assert planner.bursting(100 + 2 * CALM)


def test_a_dense_burst_is_eased_to_its_end_but_not_for_ever() -> None:
    planner, step = Planner(), DENSE_TIME / DENSE
    for number in range(5 * DENSE):
        planner.note(KEY, number * step)
    last = (5 * DENSE - 1) * step
    assert planner.bursting(last + EASE - 0.1)
    assert not planner.bursting(last + EASE)
    assert planner.eased(last) == EASE
    assert planner.eased(last + EASE) == 0
    assert planner.next_end(last) == last + EASE
    for number in range(5 * DENSE, 50 * DENSE):
        planner.note(KEY, number * step)
        assert planner.bursting(number * step) == (number * step < LONGEST_EASE)


def test_nothing_is_removed_in_a_burst_but_what_nobody_wants_or_may_have() -> None:
    planner = Planner()
    planner.note(KEY, 0)
    assert planner.surplus(100, 5, LIMITS, 0) == 0
    assert planner.surplus(100, 0, LIMITS, 0) == 100
    assert planner.surplus(100, 5, Limits(5, 20, 10), 0) == 80
    assert planner.next_end(0) == EASE
    assert planner.surplus(100, 5, LIMITS, EASE) == 85


def test_pods_now_and_then_do_not_keep_pools_from_being_filled() -> None:
    planner, step = Planner(), CALM + 1
    eased = 0
    for number in range(100):
        planner.note(KEY, number * step)
        eased += planner.bursting(number * step)
    assert 0 < eased <= 50
