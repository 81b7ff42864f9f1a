# SPDX-License-Identifier: Apache-2.0
"""From changes to reconciles, with handlers that do as they are told."""

import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from kuryr.controller.metrics import Metrics
from kuryr.controller.pipeline import Pipeline
from kuryr.errors import ConfigurationError, KuryrError, Retry, Terminal, WaitFor
from kuryr.handlers.base import Handler
from kuryr.k8s.errors import NotHolding
from kuryr.k8s.informer import Change
from kuryr.k8s.store import Store
from kuryr.objects.core import Node, Pod, PodStatus
from kuryr.objects.meta import Key, KubernetesObject, ObjectMeta
from kuryr.objects.resources import NODES, PODS, Resource

PATIENCE = 60


class Informer:
    """Tells its listeners what a test says."""

    def __init__(self) -> None:
        self.store: Store[Any] = Store()
        self.listeners: list[Callable[[Change[Any]], None]] = []

    def add_listener(self, listener: Callable[[Change[Any]], None]) -> None:
        self.listeners.append(listener)

    def upsert(self, obj: KubernetesObject) -> None:
        self._tell(Change(self.store.upsert(obj), obj))

    def remove(self, key: Key) -> None:
        self._tell(Change(self.store.remove(key), None))

    def _tell(self, change: Change[Any]) -> None:
        for listener in self.listeners:
            listener(change)


class Scripted(Handler):
    """Each key does the next thing of its script; then nothing more."""

    resource = PODS

    def __init__(self) -> None:
        self.changed = threading.Condition()
        self.seen: Counter[str] = Counter()
        self.reports: list[tuple[str, KuryrError]] = []
        self.scripts: dict[str, list[Any]] = {}
        self.others: Callable[[KubernetesObject], list[Key]] = lambda obj: []
        self.matters: Callable[[Change[Any]], bool] = lambda change: True
        self.at_once: Counter[str] = Counter()

    def watches(self) -> Mapping[Resource[Any], Any]:
        return {NODES: lambda node: self.others(node)}

    def concerns(self, change: Change[Any]) -> bool:
        return self.matters(change)

    def reconcile(self, key: Key) -> float | None:
        with self.changed:
            self.at_once[key.name] += 1
            assert self.at_once[key.name] == 1, "never twice at a time for one key"
            script = self.scripts.get(key.name, [])
            step = script.pop(0) if script else None
        try:
            if callable(step):
                step = step()
            if isinstance(step, BaseException):
                raise step
            return step
        finally:
            with self.changed:
                self.at_once[key.name] -= 1
                self.seen[key.name] += 1
                self.changed.notify_all()

    def report(self, key: Key, error: KuryrError) -> None:
        with self.changed:
            self.reports.append((key.name, error))
            self.changed.notify_all()

    def wait(self, name: str, times: int) -> None:
        self.wait_for(lambda: self.seen[name] >= times)

    def wait_for(self, condition: Callable[[], bool]) -> None:
        with self.changed:
            assert self.changed.wait_for(condition, PATIENCE)


class Setup:
    def __init__(self, threads: int = 2) -> None:
        self.pods, self.nodes = Informer(), Informer()
        self.handler = Scripted()
        self.metrics = Metrics(CollectorRegistry())
        informers: Any = {PODS: self.pods, NODES: self.nodes}
        self.pipeline = Pipeline({"scripted": self.handler}, informers, self.metrics, threads)

    def result(self, name: str) -> float:
        labels = {"handler": "scripted", "result": name}
        return self.metrics.registry.get_sample_value("kuryr_reconcile_seconds_count", labels) or 0.0


def pod(name: str, version: str = "1", phase: str = "") -> Pod:
    metadata = ObjectMeta(name=name, namespace="ns", resource_version=version)
    return Pod(metadata=metadata, status=PodStatus(phase=phase))


def node(name: str, version: str) -> Node:
    return Node(metadata=ObjectMeta(name=name, resource_version=version))


@pytest.fixture
def setup() -> Iterator[Setup]:
    setup = Setup()
    yield setup
    setup.pipeline.stop(10)


def test_what_is_there_at_the_start_and_what_changes(setup: Setup) -> None:
    setup.pods.upsert(pod("before"))
    setup.pipeline.start()
    setup.handler.wait("before", 1)
    setup.pods.upsert(pod("after"))
    setup.handler.wait("after", 1)
    setup.pods.remove(Key("ns", "after"))
    setup.handler.wait("after", 2)
    assert setup.handler.seen["before"] == 1


def test_a_key_that_waits_gives_its_thread_back(setup: Setup) -> None:
    """A thousand of them wait for one slow call; others go on, in two threads."""
    call: Future[None] = Future()
    for number in range(1000):
        setup.handler.scripts[f"slow-{number}"] = [WaitFor([call])]
        setup.pods.upsert(pod(f"slow-{number}"))
    setup.pipeline.start()
    setup.handler.wait_for(lambda: sum(setup.handler.seen.values()) == 1000)
    for number in range(10):
        setup.pods.upsert(pod(f"quick-{number}"))
        setup.handler.wait(f"quick-{number}", 1)
    assert not call.done()
    call.set_result(None)
    setup.handler.wait_for(lambda: all(setup.handler.seen[f"slow-{n}"] == 2 for n in range(1000)))
    assert setup.handler.reports == [], "waiting is no failure"


def test_a_call_that_completes_at_once(setup: Setup) -> None:
    """Between the handler's looking at the call and its waiting for it."""
    call: Future[None] = Future()

    def completes() -> WaitFor:
        call.set_result(None)
        return WaitFor([call])

    setup.handler.scripts["a"] = [completes]
    setup.pipeline.start()
    setup.pods.upsert(pod("a"))
    setup.handler.wait("a", 2)


@pytest.mark.parametrize("end", ["error", "cancelled"])
def test_a_call_that_fails_brings_the_key_back_too(setup: Setup, end: str) -> None:
    call: Future[None] = Future()
    setup.handler.scripts["a"] = [WaitFor([call])]
    setup.pipeline.start()
    setup.pods.upsert(pod("a"))
    setup.handler.wait("a", 1)
    if end == "cancelled":
        call.cancel()
        call.set_running_or_notify_cancel()
    else:
        call.set_exception(RuntimeError("no"))
    setup.handler.wait("a", 2)


def test_of_several_calls_the_first_brings_it_back(setup: Setup) -> None:
    calls: list[Future[None]] = [Future(), Future()]
    setup.handler.scripts["a"] = [WaitFor(calls)]
    setup.pipeline.start()
    setup.pods.upsert(pod("a"))
    setup.handler.wait("a", 1)
    calls[1].set_result(None)
    setup.handler.wait("a", 2)


def test_waiting_for_nothing_loses_no_key(setup: Setup) -> None:
    setup.handler.scripts["a"] = [WaitFor([])]
    setup.pipeline.start()
    setup.pods.upsert(pod("a"))
    setup.handler.wait("a", 2)


@pytest.mark.parametrize(
    "error",
    [Retry("later"), Retry("at once", retry_after=0), Retry("soon", retry_after=0.01), KuryrError("typed")],
)
def test_what_is_tried_again(setup: Setup, error: KuryrError) -> None:
    setup.handler.scripts["a"] = [error, error]
    setup.pipeline.start()
    setup.pods.upsert(pod("a"))
    setup.handler.wait("a", 3)
    assert [reported for _, reported in setup.handler.reports] == [error, error]
    assert setup.result(error.reason) == 2
    assert setup.result("bug") == 0


def test_a_configuration_error_is_told_as_it_is(setup: Setup) -> None:
    """A driver that a pod names may be unknown: people read which are valid."""
    setup.handler.scripts["a"] = [ConfigurationError("Valid names: x.")]
    setup.pipeline.start()
    setup.pods.upsert(pod("a"))
    setup.handler.wait("a", 2)
    assert str(setup.handler.reports[0][1]) == "Valid names: x."


def test_a_terminal_error_waits_for_a_change(setup: Setup) -> None:
    setup.handler.scripts["a"] = [Terminal("wrong")]
    setup.pipeline.start()
    setup.pods.upsert(pod("a"))
    setup.handler.wait_for(lambda: bool(setup.handler.reports))
    setup.pods.upsert(pod("b"))
    setup.handler.wait("b", 1)
    assert setup.handler.seen["a"] == 1
    setup.pods.upsert(pod("a", "2", phase="Running"))
    setup.handler.wait("a", 2)


def test_a_bug_is_counted_told_and_hurts_no_other_key(setup: Setup) -> None:
    setup.handler.scripts["a"] = [ZeroDivisionError("bug")]
    setup.pipeline.start()
    setup.pods.upsert(pod("a"))
    setup.pods.upsert(pod("b"))
    setup.handler.wait("a", 2)
    setup.handler.wait("b", 1)
    ((name, error),) = setup.handler.reports
    assert (name, error.reason) == ("a", "InternalError")
    assert "bug" not in str(error), "what is in the log is not for users"
    assert setup.result("bug") == 1


def test_a_report_that_fails_hurts_nobody(setup: Setup) -> None:
    def broken(key: Key, error: KuryrError) -> None:
        raise ZeroDivisionError

    setup.handler.report = broken  # type: ignore[method-assign]
    setup.handler.scripts["a"] = [Retry("later")]
    setup.pipeline.start()
    setup.pods.upsert(pod("a"))
    setup.handler.wait("a", 2)


def test_who_does_not_hold_the_lease_tells_nobody(setup: Setup) -> None:
    """It tries again: where the Lease is renewed after all, though late, nothing else brings the key back."""
    setup.handler.scripts["a"] = [NotHolding("its renewal is overdue")]
    setup.pipeline.start()
    setup.pods.upsert(pod("a"))
    setup.handler.wait("a", 2)
    assert setup.handler.reports == []


def test_looking_again_later(setup: Setup) -> None:
    setup.handler.scripts["a"] = [0.01, 0.01, None]
    setup.pipeline.start()
    setup.pods.upsert(pod("a"))
    setup.handler.wait("a", 3)
    setup.pods.upsert(pod("b"))
    setup.handler.wait("b", 1)
    assert setup.handler.seen["a"] == 3


def test_other_kinds_bring_the_keys_that_they_affect_and_affected(setup: Setup) -> None:
    setup.handler.others = lambda node: [Key("ns", name) for name in node.metadata.labels]
    node = Node(metadata=ObjectMeta(name="n", labels={"a": ""}))
    setup.nodes.upsert(node)
    setup.pipeline.start()
    setup.handler.wait("a", 1)
    setup.nodes.upsert(Node(metadata=ObjectMeta(name="n", labels={"b": ""})))
    setup.handler.wait("b", 1)
    setup.handler.wait("a", 2)
    setup.nodes.remove(Key("", "n"))
    setup.handler.wait("b", 2)


def test_changes_that_do_not_concern_a_handler(setup: Setup) -> None:
    setup.handler.matters = lambda change: change.old is not None
    setup.pipeline.start()
    setup.pods.upsert(pod("a", "2"))
    setup.pods.upsert(pod("a", "3", phase="Running"))
    setup.handler.wait("a", 1)
    setup.pods.upsert(pod("b", "1"))
    setup.pods.upsert(pod("b", "2", phase="Running"))
    setup.handler.wait("b", 1)
    assert setup.handler.seen["a"] == 1


def test_a_change_of_nothing_that_is_known_of_an_object_brings_no_reconcile(setup: Setup) -> None:
    setup.handler.others = lambda node: [Key("ns", "others")]
    setup.pipeline.start()
    setup.pods.upsert(pod("a", "1"))
    setup.nodes.upsert(node("n", "1"))
    setup.handler.wait("a", 1)
    setup.handler.wait("others", 1)
    setup.pods.upsert(pod("a", "2"))
    setup.nodes.upsert(node("n", "2"))
    setup.pods.upsert(pod("b", "1"))
    setup.handler.wait("b", 1)
    assert (setup.handler.seen["a"], setup.handler.seen["others"]) == (1, 1)
    setup.pods.upsert(pod("a", "3", phase="Running"))
    setup.handler.wait("a", 2)


def test_stopped_it_takes_nothing_and_started_again_everything(setup: Setup) -> None:
    setup.pipeline.start()
    setup.pods.upsert(pod("a"))
    setup.handler.wait("a", 1)
    assert setup.pipeline.stop(10)
    setup.pods.upsert(pod("b"))
    assert setup.handler.seen["b"] == 0
    setup.pipeline.start()
    setup.handler.wait("a", 2)
    setup.handler.wait("b", 1)


def test_stopping_waits_for_what_is_in_work_and_drops_what_waits() -> None:
    setup = Setup(threads=1)
    begun, go_on = threading.Event(), threading.Event()

    def slow() -> None:
        begun.set()
        assert go_on.wait(PATIENCE)

    setup.handler.scripts["a"] = [slow]
    setup.pipeline.start()
    setup.pods.upsert(pod("a"))
    assert begun.wait(PATIENCE)
    setup.pods.upsert(pod("b"))
    assert not setup.pipeline.stop(0), "it says that something was abandoned"
    go_on.set()
    setup.handler.wait("a", 1)
    assert setup.handler.seen["b"] == 0


def test_a_call_that_completes_after_the_stop_does_nothing(setup: Setup) -> None:
    call: Future[None] = Future()
    setup.handler.scripts["a"] = [WaitFor([call])]
    setup.pipeline.start()
    setup.pods.upsert(pod("a"))
    setup.handler.wait("a", 1)
    assert setup.pipeline.stop(10)
    call.set_result(None)
    assert setup.handler.seen["a"] == 1


def test_depths_are_shown(setup: Setup) -> None:
    setup.pipeline.start()
    value = setup.metrics.registry.get_sample_value("kuryr_queue_depth", {"handler": "scripted"})
    assert value == 0
