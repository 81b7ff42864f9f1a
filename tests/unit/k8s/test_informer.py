# SPDX-License-Identifier: Apache-2.0
import itertools
import queue
from collections.abc import Iterator
from typing import Any

import pytest

from kuryr.k8s.client import Client
from kuryr.k8s.decoding import ListResult
from kuryr.k8s.errors import ApiError, Forbidden, Gone, Unavailable
from kuryr.k8s.informer import Change, Informer, apply_event, apply_listed, list_and_watch
from kuryr.k8s.settings import ApiSettings
from kuryr.k8s.store import Store
from kuryr.k8s.watch import WatchEvent, lines
from kuryr.objects.core import Pod
from kuryr.objects.meta import ObjectMeta
from kuryr.objects.resources import PODS
from tests.unit.k8s.scripted_api import Answer, Request, ScriptedApi


def pod(name: str, version: int, uid: str = "") -> Pod:
    return Pod(metadata=ObjectMeta(namespace="ns", name=name, uid=uid or name, resource_version=str(version)))


def told(changes: Iterator[Change[Pod]]) -> list[tuple[str | None, str | None]]:
    def short(obj: Pod | None) -> str | None:
        return f"{obj.metadata.name}{obj.metadata.resource_version}" if obj else None

    return [(short(change.old), short(change.new)) for change in changes]


def test_a_relist_tells_the_difference() -> None:
    store: Store[Pod] = Store()
    first = ListResult([pod("same", 1), pod("changed", 2), pod("gone", 3), pod("anew", 4, "old")], "5")
    assert len(told(apply_listed(store, first))) == 4
    second = ListResult([pod("same", 1), pod("changed", 6), pod("anew", 7, "new"), pod("added", 8)], "9")
    assert told(apply_listed(store, second)) == [
        ("gone3", None),
        ("changed2", "changed6"),
        ("anew4", None),
        (None, "anew7"),
        (None, "added8"),
    ]
    assert len(store) == 4


def test_events_change_the_store_before_they_are_told() -> None:
    store: Store[Pod] = Store()
    for event, expected in (
        (WatchEvent("ADDED", pod("a", 1), "1"), [(None, "a1")]),
        (WatchEvent("MODIFIED", pod("a", 2), "2"), [("a1", "a2")]),
        (WatchEvent[Pod]("BOOKMARK", None, "3"), []),
        (WatchEvent("DELETED", pod("a", 4), "4"), [("a4", None)]),
    ):
        assert told(apply_event(store, event)) == expected
    assert len(store) == 0


class FakeStream:
    def __init__(self, items: list[Any]) -> None:
        self.items = items
        self.closed = False

    def __iter__(self) -> Iterator[WatchEvent[Pod]]:
        for item in self.items:
            if isinstance(item, Exception):
                raise item
            yield item

    def close(self) -> None:
        self.closed = True


class FakeSource:
    """Gives the watches one after the other; notes from which version each was asked for."""

    def __init__(self, *watches: list[Any] | Exception) -> None:
        self.watches = list(watches)
        self.versions: list[str] = []
        self.streams: list[FakeStream] = []

    def list(self) -> ListResult[Pod]:
        return ListResult([], "10")

    def watch(self, resource_version: str) -> Any:
        self.versions.append(resource_version)
        items = self.watches.pop(0)
        if isinstance(items, Exception):
            raise items
        self.streams.append(FakeStream(items))
        return self.streams[-1]


def test_watches_go_on_where_the_last_ended_until_gone() -> None:
    cut = Unavailable("watch pods", "cut off")
    bookmark: WatchEvent[Pod] = WatchEvent("BOOKMARK", None, "12")
    source = FakeSource(
        [WatchEvent("ADDED", pod("a", 11), "11")], [bookmark, cut], cut, [Gone("watch pods", "too old")]
    )
    failures: list[ApiError | None] = []

    def pause(failure: ApiError | None) -> bool:
        failures.append(failure)
        return True

    items = list(list_and_watch(source, pause))
    assert len(items) == 3
    assert source.versions == ["10", "11", "12", "12"]
    assert failures == [None, cut, cut]
    assert all(stream.closed for stream in source.streams)


def test_a_watch_that_is_refused_ends_it_all() -> None:
    with pytest.raises(Forbidden):
        list(list_and_watch(FakeSource(Forbidden("watch pods", "no right")), lambda failure: True))


def test_pause_may_end_it() -> None:
    assert len(list(list_and_watch(FakeSource([]), lambda failure: False))) == 1


@pytest.mark.parametrize(
    ("chunks", "expected"),
    [
        ([b"a\nb\n"], [b"a", b"b"]),
        ([b"a", b"b\n\nc", b"\n"], [b"ab", b"c"]),
        ([b"a\ncut"], [b"a"]),
        ([], []),
    ],
)
def test_lines_are_put_together(chunks: list[bytes], expected: list[bytes]) -> None:
    assert list(lines(chunks)) == expected


def test_an_informer_comes_back_when_the_api_has_time_again() -> None:
    numbers = itertools.count()
    busy = Answer(429, {"code": 429, "reason": "TooManyRequests"}, {"Retry-After": "0"})
    added = {"type": "ADDED", "object": {"metadata": {"name": "a", "resourceVersion": "2"}}}

    def answer(request: Request) -> Answer:
        match next(numbers):
            case 0 | 2:
                return busy
            case 1:
                return Answer(200, {"metadata": {"resourceVersion": "1"}, "items": []})
            case _:
                return Answer(200, [added])

    seen: queue.Queue[str] = queue.Queue()
    with ScriptedApi(answer) as api:
        client = Client(ApiSettings(api_root=api.api_root))
        informer = Informer(client, PODS)
        informer.add_listener(lambda change: seen.put(change.latest.metadata.name))
        informer.start()
        assert seen.get(timeout=30) == "a"
        informer.stop()
        client.close()
    paths = ["watch" if "watch" in request.path else "list" for request in api.requests[:4]]
    assert paths == ["list", "list", "watch", "watch"]
