# SPDX-License-Identifier: Apache-2.0
import threading
from collections import Counter

import hypothesis.strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from kuryr.k8s.queue import WorkQueue

KEYS = st.sampled_from("abcd")


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class QueueMachine(RuleBasedStateMachine):
    """The queue against a plain model of what each key is owed."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock()
        self.latencies: list[float] = []
        self.queue: WorkQueue[str] = WorkQueue(clock=self.clock, observe_latency=self.latencies.append)
        self.owed: set[str] = set()  # must be got (again)
        self.in_work: set[str] = set()
        self.due: dict[str, float] = {}

    def time_passes(self) -> None:
        for key, due in list(self.due.items()):
            if due <= self.clock.now:
                del self.due[key]
                self.owed.add(key)

    @rule(key=KEYS)
    def add(self, key: str) -> None:
        self.queue.add(key)
        self.owed.add(key)

    @rule(key=KEYS, seconds=st.integers(0, 5))
    def add_after(self, key: str, seconds: int) -> None:
        self.queue.add_after(key, seconds)
        if seconds == 0:
            self.owed.add(key)
        else:
            due = self.clock.now + seconds
            self.due[key] = min(due, self.due.get(key, due))

    @rule(seconds=st.integers(0, 4))
    def wait(self, seconds: int) -> None:
        self.clock.now += seconds
        self.time_passes()

    @rule()
    def get(self) -> None:
        key = self.queue.get(timeout=0)
        if key is None:
            assert not self.owed - self.in_work
            return
        assert key in self.owed - self.in_work
        self.owed.remove(key)
        self.in_work.add(key)

    @precondition(lambda self: self.in_work)
    @rule(data=st.data(), failed=st.booleans())
    def done(self, data: st.DataObject, failed: bool) -> None:
        key = data.draw(st.sampled_from(sorted(self.in_work)))
        if failed:
            failures = self.queue.failures(key)
            delay = self.queue.retry(key)
            assert 0 <= delay <= min(60.0, 0.05 * 2**failures)
            assert self.queue.failures(key) == failures + 1
            if delay == 0:
                self.owed.add(key)
            else:
                due = self.clock.now + delay
                self.due[key] = min(due, self.due.get(key, due))
        else:
            self.queue.forget(key)
            assert self.queue.failures(key) == 0
        self.queue.done(key)
        self.in_work.remove(key)

    @invariant()
    def counts_agree(self) -> None:
        assert len(self.queue) == len(self.owed - self.in_work)
        assert self.queue.in_work == len(self.in_work)
        assert self.queue.delayed == len(self.due)
        assert all(latency >= 0 for latency in self.latencies)

    @invariant()
    def age_is_that_of_a_ready_key(self) -> None:
        assert (self.queue.oldest_age() >= 0) if self.owed - self.in_work else (self.queue.oldest_age() == 0)


TestQueue = QueueMachine.TestCase


def test_first_come_first_served_and_once() -> None:
    queue: WorkQueue[str] = WorkQueue()
    for key in "abcab":
        queue.add(key)
    assert [queue.get(0) for _ in range(4)] == ["a", "b", "c", None]


def test_a_key_added_at_work_comes_once_more() -> None:
    queue: WorkQueue[str] = WorkQueue()
    queue.add("a")
    assert queue.get(0) == "a"
    queue.add("a")
    queue.add("a")
    assert queue.get(0) is None
    queue.done("a")
    assert queue.get(0) == "a"
    queue.done("a")
    assert queue.get(0) is None


def test_a_waiting_worker_takes_up_a_delayed_key() -> None:
    queue: WorkQueue[str] = WorkQueue()
    got: list[str | None] = []
    worker = threading.Thread(target=lambda: got.append(queue.get()))
    worker.start()
    queue.add_after("late", 3600)
    queue.add_after("soon", 0.01)
    worker.join()
    assert got == ["soon"]


def test_shutdown_releases_every_worker_and_takes_nothing() -> None:
    queue: WorkQueue[str] = WorkQueue()
    got: list[str | None] = []
    workers = [threading.Thread(target=lambda: got.append(queue.get())) for _ in range(5)]
    for worker in workers:
        worker.start()
    queue.shutdown()
    for worker in workers:
        worker.join()
    queue.add("a")
    queue.add_after("b", 0)
    assert got == [None] * 5
    assert queue.get() is None


def test_no_key_is_with_two_workers_and_none_is_lost() -> None:
    queue: WorkQueue[int] = WorkQueue()
    lock = threading.Lock()
    at_work: Counter[int] = Counter()
    latest = dict.fromkeys(range(20), 0)
    seen = dict.fromkeys(range(20), 0)
    clashes: list[int] = []

    def work() -> None:
        while (key := queue.get()) is not None:
            with lock:
                at_work[key] += 1
                if at_work[key] > 1:
                    clashes.append(key)
                seen[key] = latest[key]
            with lock:
                at_work[key] -= 1
            queue.done(key)
            with lock:
                if seen == latest and latest[0] == 50:
                    finished.set()

    finished = threading.Event()
    workers = [threading.Thread(target=work) for _ in range(4)]
    for worker in workers:
        worker.start()
    for number in range(1, 51):
        for key in range(20):
            with lock:
                latest[key] = number
            queue.add(key)
    assert finished.wait(30)
    queue.shutdown()
    for worker in workers:
        worker.join()
    assert clashes == []
    assert seen == latest
