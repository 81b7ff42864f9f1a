# SPDX-License-Identifier: Apache-2.0
"""Small parts of the daemon: locks, cancellations, health, the node's name and routes."""

from __future__ import annotations

import threading
import urllib.error
import urllib.request
from types import SimpleNamespace
from typing import Any

import pytest

from kuryr.cni.daemon import netns_path, node_name
from kuryr.cni.health import Failures, HealthServer
from kuryr.cni.locks import KeyedLocks
from kuryr.cni.node_port import own, wanted_routes
from kuryr.cni.pending import Additions
from kuryr.cni.plugin import explain
from kuryr.cni.protocol import CniError, Code
from kuryr.errors import Retry
from kuryr.net.errors import NetworkError, SwitchUnavailable
from kuryr.net.links import Route
from kuryr.objects.kuryrport import KuryrPort, KuryrPortSpec, RouteStatus
from kuryr.objects.meta import ObjectMeta
from kuryr.objects.vif import InvalidVIF


def test_one_at_a_time_for_a_key() -> None:
    locks = KeyedLocks()
    inside: list[str] = []
    entered = threading.Event()

    def second() -> None:
        with locks.held("a"):
            inside.append("second")
            entered.set()

    with locks.held("a"), locks.held("b"):
        thread = threading.Thread(target=second)
        thread.start()
        assert not entered.is_set()
        inside.append("first")
    thread.join(5)
    assert inside == ["first", "second"]
    assert locks._locks == {}


def test_a_newer_sandbox_or_its_removal_ends_an_add() -> None:
    woken: list[int] = []
    additions = Additions(lambda: woken.append(1))
    with additions.running("old", "default/web", lambda: True) as old:
        assert not old.cancelled()
        with (
            additions.running("new", "default/web", lambda: True) as new,
            additions.running("x", "default/db", lambda: True) as other,
        ):
            assert old.cancelled()
            assert "sandbox new" in old.reason
            additions.cancel("removed", container="new")
            assert new.cancelled()
            assert not other.cancelled()
            additions.cancel("stopping")
            assert other.reason == "stopping"
    assert len(woken) == 3
    with additions.running("gone", "default/web", lambda: False) as gone:
        assert gone.cancelled()
        assert gone.reason == "the container runtime gave up"


def test_failures_in_a_row_count() -> None:
    failures = Failures(2)
    failures.failed("one")
    assert failures.probe() == ""
    failures.succeeded()
    failures.failed("two")
    failures.failed("three")
    assert failures.probe() == "2 requests in a row failed, the last: three"


@pytest.mark.parametrize("address", ["127.0.0.1", "::"])
def test_health(address: str) -> None:
    problem = ""
    server = HealthServer(address, 0, lambda: "", lambda: problem)
    server.start()

    def ask(path: str) -> tuple[int, str]:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{server.port}{path}", timeout=5) as answer:
                assert answer.headers["Connection"] == "close"
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()

    assert ask("/livez") == (200, "ok\n")
    assert ask("/ready?verbose") == (200, "ok\n")
    problem = "the switch is away"
    assert ask("/readyz") == (500, "the switch is away\n")
    assert ask("/alive") == (200, "ok\n")
    assert ask("/other")[0] == 404
    server.stop()


def test_the_nodes_name() -> None:
    assert node_name({"KUBERNETES_NODE_NAME": "Node1.example"}) == "Node1.example"
    assert node_name({}) == node_name({}).lower()


@pytest.mark.parametrize(
    ("mode", "directory", "path", "expected"),
    [
        (True, "/host_proc", "/proc/42/ns/net", "/host_proc/42/ns/net"),
        (True, "/host_proc", "/run/netns/x", "/run/netns/x"),
        (False, "/host_proc", "/proc/42/ns/net", "/proc/42/ns/net"),
        (True, None, "/proc/42/ns/net", "/proc/42/ns/net"),
    ],
)
def test_where_a_namespace_is_in_a_container(
    mode: bool, directory: str | None, path: str, expected: str
) -> None:
    conf: Any = SimpleNamespace(cni_daemon=SimpleNamespace(docker_mode=mode, netns_proc_dir=directory))
    assert netns_path(conf, path) == expected


def test_routes_are_written_as_the_kernel_does() -> None:
    routes = [
        RouteStatus("10.11.5.0/16", "10.10.0.1"),
        RouteStatus("FD00:0::/32", "fd00:10:10:0::1"),
        RouteStatus("bad", "10.10.0.1"),
        RouteStatus("10.12.0.0/16", "bad"),
    ]
    assert wanted_routes(routes) == {Route("10.11.0.0/16", "10.10.0.1"), Route("fd00::/32", "fd00:10:10::1")}


def test_which_kuryrport_is_the_nodes() -> None:
    pod = KuryrPort(metadata=ObjectMeta(name="web"))
    going = KuryrPort(
        metadata=ObjectMeta(name="old", deletion_timestamp="now"), spec=KuryrPortSpec(owner_kind="Node")
    )
    node = KuryrPort(metadata=ObjectMeta(name="node"), spec=KuryrPortSpec(owner_kind="Node"))
    assert own([pod, going]) is None
    assert own([pod, going, node]) is node


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (CniError(Code.IO, "x"), 5),
        (SwitchUnavailable("x"), 11),
        (Retry("x"), 11),
        (InvalidVIF("x"), 102),
        (NetworkError("x"), 101),
        (RuntimeError("x"), 100),
    ],
)
def test_every_error_has_a_code(error: Exception, code: int) -> None:
    error.add_note("and more")
    made = explain(error)
    assert made.code == code
    assert "x" in made.message
