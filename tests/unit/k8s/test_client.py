# SPDX-License-Identifier: Apache-2.0
import itertools
from pathlib import Path

import pytest

from kuryr.errors import Terminal
from kuryr.k8s.client import Client
from kuryr.k8s.errors import ApiError, Gone, NotHolding, TooManyRequests, Unauthorized, Unavailable
from kuryr.k8s.settings import ApiSettings
from kuryr.objects.meta import Key
from kuryr.objects.resources import NODES, PODS
from tests.unit.k8s.scripted_api import Answer, Request, ScriptedApi

POD = {"metadata": {"name": "web", "namespace": "default", "uid": "1", "resourceVersion": "7"}}
WEB = Key("default", "web")


def client_of(api: ScriptedApi, **settings: object) -> Client:
    return Client(ApiSettings(api_root=api.api_root, **settings))


def test_calls_are_observed_by_operation_and_result() -> None:
    seen: list[tuple[str, str]] = []
    with ScriptedApi(lambda request: Answer(404 if "gone" in request.path else 200, POD)) as api:
        client = Client(
            ApiSettings(api_root=api.api_root),
            observe=lambda operation, result, _: seen.append((operation, result)),
        )
        client.get(PODS, WEB)
        client.merge_patch(PODS, WEB, {}, subresource="status")
        with pytest.raises(ApiError):
            client.get(PODS, Key("default", "gone"))
        client.close()
    with pytest.raises(Unavailable):
        client.get(PODS, WEB)
    assert seen[:3] == [("get pods", "200"), ("patch pods/status", "200"), ("get pods", "404")]
    assert set(seen[3:]) == {("get pods", "error")}


@pytest.mark.parametrize(("header", "seconds"), [({"Retry-After": "3"}, 3.0), ({}, 5.0)])
def test_429_says_when_to_come_back(header: dict[str, str], seconds: float) -> None:
    status = {"kind": "Status", "code": 429, "reason": "TooManyRequests", "details": {"retryAfterSeconds": 5}}
    with ScriptedApi(lambda _: Answer(429, status, header)) as api, pytest.raises(TooManyRequests) as caught:
        client_of(api).get(PODS, WEB)
    assert caught.value.retry_after == seconds


def test_a_body_that_is_no_status_is_told_in_short() -> None:
    with (
        ScriptedApi(lambda _: Answer(502, b"<html>\nBad  gateway</html>")) as api,
        pytest.raises(Unavailable, match=r"get pods: HTTP 502: <html> Bad gateway</html>"),
    ):
        client_of(api).get(PODS, WEB)


def test_an_object_that_cannot_be_decoded_names_the_field() -> None:
    bad = {"metadata": POD["metadata"], "spec": {"nodeName": 5}}
    with (
        ScriptedApi(lambda _: Answer(200, bad)) as api,
        pytest.raises(Terminal, match=r"Pod default/web: .*\$\.spec\.nodeName"),
    ):
        client_of(api).get(PODS, WEB)


def test_null_means_absent() -> None:
    body = {
        "metadata": {"name": "node1", "labels": None},
        "spec": None,
        "status": {"addresses": [{"type": "Hostname", "address": None}]},
    }
    with ScriptedApi(lambda _: Answer(200, body)) as api:
        node = client_of(api).get(NODES, Key("", "node1"))
    assert node.metadata.labels == {}
    assert [(each.type, each.address) for each in node.status.addresses] == [("Hostname", "")]


def test_one_bad_item_does_not_spoil_a_list() -> None:
    items = [{"metadata": {"name": "bad"}, "spec": 1}, POD]
    with ScriptedApi(lambda _: Answer(200, {"metadata": {"resourceVersion": "9"}, "items": items})) as api:
        listed = client_of(api).list(PODS)
    assert [pod.key for pod in listed.items] == [WEB]
    assert listed.items[0].kind == "Pod"
    assert listed.items[0].api_version == "v1"


def test_pages_that_expire_are_listed_again_in_one_piece() -> None:
    def answer(request: Request) -> Answer:
        if "continue" in request.path:
            return Answer(410, {"code": 410, "reason": "Expired", "message": "too old"})
        more = "token" if "limit" in request.path else ""
        return Answer(200, {"metadata": {"resourceVersion": "9", "continue": more}, "items": [POD]})

    with ScriptedApi(answer) as api:
        listed = client_of(api).list(PODS, limit=1)
    assert len(listed.items) == 1
    assert len(api.requests) == 3


def test_a_list_from_a_version_that_is_gone_raises() -> None:
    with ScriptedApi(lambda _: Answer(410, {"code": 410, "reason": "Expired"})) as api, pytest.raises(Gone):
        client_of(api).list(PODS, resource_version="1")


def test_a_rotated_token_is_read_again(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("one\n")
    with ScriptedApi(lambda _: Answer(200, POD)) as api:
        client = client_of(api, token_file=str(file))
        client.get(PODS, WEB)
        (tmp_path / "new").write_text("two")
        (tmp_path / "new").replace(file)
        client.get(PODS, WEB)
        file.unlink()
        client.get(PODS, WEB)
    assert [request.headers["Authorization"] for request in api.requests] == [
        "Bearer one",
        "Bearer two",
        "Bearer two",
    ]


def test_a_refused_token_is_tried_once_more(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("one")
    unauthorized = Answer(401, {"code": 401, "reason": "Unauthorized"})
    with ScriptedApi(lambda _: unauthorized) as api, pytest.raises(Unauthorized):
        client_of(api, token_file=str(file)).get(PODS, WEB)
    assert len(api.requests) == 2


def test_the_fence_stops_writes_and_nothing_else() -> None:
    def fence() -> None:
        raise NotHolding("somebody else has it")

    with ScriptedApi(lambda _: Answer(200, POD)) as api:
        client = client_of(api)
        client.fence = fence
        client.get(PODS, WEB)
        for write in (
            lambda: client.create(PODS, "default", {}),
            lambda: client.merge_patch(PODS, WEB, {}),
            lambda: client.apply(PODS, WEB, {}, field_manager="test"),
            lambda: client.replace(PODS, WEB, {}),
            lambda: client.delete(PODS, WEB),
        ):
            with pytest.raises(NotHolding):
                write()
        client.merge_patch(PODS, WEB, {}, fenced=False)
    assert [request.method for request in api.requests] == ["GET", "PATCH"]


def test_a_get_whose_idle_connection_was_closed_is_sent_again() -> None:
    numbers = itertools.count()

    def answer(request: Request) -> Answer:
        if next(numbers) == 1:
            raise ConnectionAbortedError
        return Answer(200, POD)

    with ScriptedApi(answer) as api:
        client = client_of(api)
        client.get(PODS, WEB)
        client.get(PODS, WEB)
    assert len(api.requests) == 3


def test_a_watch_yields_events_and_raises_what_the_api_says() -> None:
    events = [
        {"type": "ADDED", "object": POD},
        {"type": "MODIFIED", "object": {"metadata": {**POD["metadata"], "resourceVersion": "8"}, "spec": 3}},
        {"type": "BOOKMARK", "object": {"metadata": {"resourceVersion": "9", "creationTimestamp": None}}},
        {"type": "DELETED", "object": {"metadata": POD["metadata"], "spec": 3}},
        {"type": "ERROR", "object": {"code": 410, "reason": "Expired", "message": "too old"}},
    ]
    with ScriptedApi(lambda _: Answer(200, events)) as api:
        stream = client_of(api).watch(PODS, resource_version="5", label_selector="a=b")
        seen = [next(stream) for _ in range(4)]
        with pytest.raises(Gone):
            next(stream)
    assert [(event.type, event.resource_version) for event in seen] == [
        ("ADDED", "7"),
        ("BOOKMARK", "8"),
        ("BOOKMARK", "9"),
        ("DELETED", "7"),
    ]
    assert seen[3].object is not None
    assert seen[3].object.key == WEB
    assert "labelSelector=a%3Db" in api.requests[0].path
    assert "allowWatchBookmarks=true" in api.requests[0].path


def test_a_stream_that_was_closed_before_it_was_read_is_empty() -> None:
    with ScriptedApi(lambda _: Answer(200, [{"type": "ADDED", "object": POD}])) as api:
        stream = client_of(api).watch(PODS, resource_version="5")
        stream.close()
        assert list(stream) == []
