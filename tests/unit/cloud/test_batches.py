# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Callable
from statistics import mode

from kuryr.cloud.batches import ROUND, BatchSize

MAXIMUM = 10


def fill(batch: BatchSize, objects: int, seconds: Callable[[int], float]) -> list[int]:
    """Make so many objects, one call at a time; ``seconds`` tells how long a call for so many takes. Calls by size."""
    sizes = []
    while objects > 0:
        size = min(batch.size, objects)
        batch.completed(size, seconds(size), 1, maximum=MAXIMUM)
        sizes.append(size)
        objects -= size
    return sizes


def test_as_many_as_allowed_where_a_call_takes_its_time_whatever_it_makes() -> None:
    batch = BatchSize()
    sizes = fill(batch, 200, lambda size: 0.3)
    assert max(sizes) == batch.size == 8
    assert len(sizes) < 50


def test_one_where_objects_are_made_one_after_the_other() -> None:
    batch = BatchSize()
    sizes = fill(batch, 500, lambda size: 0.2 * size)
    assert batch.size == 1
    assert max(sizes) == 2
    # Tried ever more rarely.
    assert sizes.count(2) <= 6 * ROUND


def test_as_many_as_still_save_time() -> None:
    sizes = fill(BatchSize(), 1000, lambda size: 0.3 if size <= 4 else 0.1 * size)
    assert mode(sizes) == 4


def test_less_again_when_it_no_longer_pays() -> None:
    batch = BatchSize()
    fill(batch, 200, lambda size: 0.3)
    fill(batch, 800, lambda size: 0.4 * size)
    assert batch.size <= 2


def test_one_by_one_after_a_failure() -> None:
    batch = BatchSize()
    fill(batch, 200, lambda size: 0.3)
    batch.failed(1)
    assert batch.size == 8
    batch.failed(8)
    assert batch.size == 1
    assert fill(batch, 10, lambda size: 0.3) == [1] * 10


def test_calls_of_other_sizes_tell_nothing() -> None:
    batch = BatchSize()
    for _ in range(10 * ROUND):
        batch.completed(3, 0.001, 1, maximum=MAXIMUM)
    assert batch.size == 1
