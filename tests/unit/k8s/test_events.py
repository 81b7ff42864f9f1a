# SPDX-License-Identifier: Apache-2.0
import threading
from typing import Any

import pytest

from kuryr.k8s import events
from kuryr.k8s.errors import Forbidden, NotFound, Unavailable
from kuryr.k8s.events import Event, EventRecorder
from kuryr.objects.core import Pod
from kuryr.objects.meta import Key, ObjectMeta

POD = Pod(api_version="v1", kind="Pod", metadata=ObjectMeta(namespace="ns", name="web", uid="u"))


class FakeClient:
    """Keeps Events by name; ``gate`` holds calls back, ``errors`` are raised first."""

    def __init__(self) -> None:
        self.events: dict[str, dict[str, Any]] = {}
        self.calls: list[str] = []
        self.errors: list[Exception] = []
        self.gate = threading.Event()
        self.gate.set()

    def create(self, resource: Any, namespace: str, body: dict[str, Any], *, fenced: bool) -> Event:
        self._call("create")
        name = body["metadata"]["name"]
        self.events[name] = dict(body)
        return Event(metadata=ObjectMeta(namespace=namespace, name=name))

    def merge_patch(self, resource: Any, key: Key, patch: dict[str, Any], *, fenced: bool) -> Event:
        self._call("patch")
        if key.name not in self.events:
            raise NotFound("patch events", "gone", status=404)
        self.events[key.name] |= patch
        return Event()

    def _call(self, what: str) -> None:
        self.gate.wait(30)
        self.calls.append(what)
        if self.errors:
            raise self.errors.pop(0)

    @property
    def counts(self) -> list[int]:
        return [event["count"] for event in self.events.values()]


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def client() -> FakeClient:
    return FakeClient()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def recorder(client: FakeClient, clock: Clock) -> Any:
    recorder = EventRecorder(client, "kuryr-test", "here", clock=clock)  # type: ignore[arg-type]
    yield recorder
    client.gate.set()
    recorder.stop()


def test_equal_events_become_one_with_a_count(
    recorder: EventRecorder, client: FakeClient, clock: Clock
) -> None:
    for _ in range(3):
        recorder.event(POD, "NoSubnet", "subnet s is full")
        assert recorder.flush(30)
    recorder.event(POD, "NoSubnet", "subnet t is full")
    assert recorder.flush(30)
    assert client.counts == [3, 1]
    assert client.calls == ["create", "patch", "patch", "create"]
    clock.now += events.AGGREGATION_SECONDS + 1
    recorder.event(POD, "NoSubnet", "subnet s is full")
    assert recorder.flush(30)
    assert client.counts == [3, 1, 1]


def test_equal_events_that_wait_are_one_call(recorder: EventRecorder, client: FakeClient) -> None:
    client.gate.clear()
    recorder.event(POD, "First", "occupies the sender")
    for _ in range(100):
        recorder.event(POD, "NoSubnet", "subnet s is full")
    client.gate.set()
    assert recorder.flush(30)
    assert sorted(client.counts) in ([1, 100], [100])
    assert len(client.calls) <= 3


def test_an_event_that_expired_begins_a_new_series(recorder: EventRecorder, client: FakeClient) -> None:
    recorder.event(POD, "NoSubnet", "full")
    assert recorder.flush(30)
    client.events.clear()
    recorder.event(POD, "NoSubnet", "full")
    assert recorder.flush(30)
    assert client.counts == [2]


def test_one_object_cannot_flood(recorder: EventRecorder, client: FakeClient, clock: Clock) -> None:
    for number in range(40):
        recorder.event(POD, "Reason", f"message {number}")
    other = Pod(api_version="v1", kind="Pod", metadata=ObjectMeta(namespace="ns", name="other", uid="o"))
    recorder.event(other, "Reason", "message")
    assert recorder.flush(30)
    assert len(client.events) == events.BURST + 1
    assert recorder.dropped == 40 - events.BURST
    clock.now += events.REFILL_SECONDS
    recorder.event(POD, "Reason", "after a while")
    assert recorder.flush(30)
    assert len(client.events) == events.BURST + 2


def test_the_queue_is_bounded(
    recorder: EventRecorder, client: FakeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events, "LONGEST_QUEUE", 5)
    client.gate.clear()
    for number in range(20):
        recorder.event(POD, "Reason", f"message {number}")
    assert recorder.dropped >= 14
    client.gate.set()
    assert recorder.flush(30)


def test_a_refusal_is_dropped_and_an_outage_tried_again(
    recorder: EventRecorder, client: FakeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    client.errors = [
        Forbidden("create events", "namespace is being terminated", status=403),
        Unavailable("create events", "refused", retry_after=0.01),
    ]
    recorder.event(POD, "First", "refused")
    assert recorder.flush(30)
    recorder.event(POD, "Second", "tried again")
    assert recorder.flush(30)
    assert recorder.dropped == 1
    assert [event["reason"] for event in client.events.values()] == ["Second"]


def test_a_bug_in_the_sender_does_not_end_it(recorder: EventRecorder, client: FakeClient) -> None:
    client.errors = [RuntimeError("bug")]
    recorder.event(POD, "First", "lost")
    recorder.event(POD, "Second", "sent")
    assert recorder.flush(30)
    assert [event["reason"] for event in client.events.values()] == ["Second"]


def test_stop_ends_soon_and_later_events_are_dropped(recorder: EventRecorder, client: FakeClient) -> None:
    recorder.event(POD, "Last", "goes out")
    recorder.stop()
    recorder.event(POD, "Late", "does not")
    assert client.counts == [1]
    assert recorder.dropped == 1


def test_long_messages_are_cut_between_characters(recorder: EventRecorder, client: FakeClient) -> None:
    recorder.event(POD, "Long", "ü" * 2000)
    assert recorder.flush(30)
    (event,) = client.events.values()
    assert len(event["message"].encode()) <= 1024
    assert event["message"].endswith("ü...")
    assert event["involvedObject"] == {
        "apiVersion": "v1",
        "kind": "Pod",
        "name": "web",
        "namespace": "ns",
        "uid": "u",
    }
