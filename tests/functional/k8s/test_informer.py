# SPDX-License-Identifier: Apache-2.0
"""The informer against a real API behind a proxy."""

import queue
import threading
from collections.abc import Iterator

import pytest

from kuryr.k8s.client import Client
from kuryr.k8s.informer import Change, Informer
from kuryr.objects.core import Pod
from kuryr.objects.meta import Key
from kuryr.objects.resources import PODS
from tests.functional.k8s.pods import create_pod, delete_pod
from tests.functional.kubernetes import KubernetesApi
from tests.functional.proxy import Proxy

PATIENCE = 30.0


class Following:
    """An informer whose changes can be waited for."""

    def __init__(self, client: Client, namespace: str) -> None:
        self.calls: list[str] = []
        self.changes: queue.Queue[tuple[str | None, str | None]] = queue.Queue()
        self.informer = Informer(client, PODS, namespace=namespace)
        self.informer.add_listener(self._note)

    def _note(self, change: Change[Pod]) -> None:
        if change.new is not None and change.new.deleting:
            return  # the first half of a deletion
        old, new = (obj.metadata.name if obj else None for obj in (change.old, change.new))
        self.changes.put((old, new))

    def next(self) -> tuple[str | None, str | None]:
        return self.changes.get(timeout=PATIENCE)

    def nothing_more(self) -> bool:
        return self.changes.empty()


class Setup:
    """Calls are made directly, the informer sees the API through the proxy."""

    def __init__(self, api: KubernetesApi, proxy: Proxy, direct: Client, namespace: str) -> None:
        self.api, self.proxy, self.direct, self.namespace = api, proxy, direct, namespace
        self.observed: list[tuple[str, str]] = []
        settings = api.settings(
            api_root=f"https://127.0.0.1:{proxy.port}",
            watch_silence=2.0,
            connect_timeout=5.0,
            read_timeout=5.0,
        )
        self.through = Client(
            settings, observe=lambda operation, result, _: self.observed.append((operation, result))
        )
        self.following = Following(self.through, namespace)

    def count(self, operation: str, result: str = "200") -> int:
        return self.observed.count((operation, result))

    def create(self, name: str) -> None:
        create_pod(self.direct, self.namespace, name)

    def delete(self, name: str) -> None:
        delete_pod(self.direct, self.namespace, name)


@pytest.fixture
def setup(kubernetes_api: KubernetesApi, api_client: Client, namespace: str) -> Iterator[Setup]:
    with Proxy(kubernetes_api.port) as proxy:
        setup = Setup(kubernetes_api, proxy, api_client, namespace)
        setup.create("first")
        setup.following.informer.start()
        assert setup.following.informer.wait_synced(PATIENCE)
        assert setup.following.next() == (None, "first")
        yield setup
        setup.following.informer.stop()
        setup.through.close()


def test_changes_are_followed(setup: Setup) -> None:
    setup.create("second")
    assert setup.following.next() == (None, "second")
    setup.direct.merge_patch(PODS, Key(setup.namespace, "second"), {"metadata": {"labels": {"a": "b"}}})
    assert setup.following.next() == ("second", "second")
    stored = setup.following.informer.store.get(Key(setup.namespace, "second"))
    assert stored is not None
    assert stored.metadata.labels == {"a": "b"}
    setup.delete("second")
    assert setup.following.next() == ("second", None)
    assert len(setup.following.informer.store) == 1
    assert setup.following.informer.last_contact > 0


def test_a_dropped_watch_goes_on_where_it_was(setup: Setup) -> None:
    for name in ("second", "third"):
        setup.proxy.drop()
        setup.create(name)
        assert setup.following.next() == (None, name)
    assert setup.following.nothing_more()
    assert setup.count("list pods") == 1


def test_a_hung_watch_is_noticed(setup: Setup) -> None:
    setup.proxy.hang()
    setup.create("second")
    # Only another connection can bring it.
    assert setup.following.next() == (None, "second")
    assert setup.count("list pods") == 1


def test_an_api_that_is_away_is_waited_for(setup: Setup) -> None:
    setup.proxy.refuse()
    setup.proxy.drop()
    setup.create("second")
    setup.delete("first")
    while setup.count("watch pods", "error") < 3:
        threading.Event().wait(0.05)
    setup.proxy.refuse(False)
    assert [setup.following.next(), setup.following.next()] == [(None, "second"), ("first", None)]
    assert setup.count("list pods") == 1


def test_a_restart_of_the_api_server_loses_nothing(setup: Setup) -> None:
    setup.api.stop(kill=True)
    setup.api.start()
    setup.create("second")
    assert setup.following.next() == (None, "second")
    assert setup.following.nothing_more()


def test_history_that_is_gone_means_a_new_list_with_its_deletions(setup: Setup) -> None:
    setup.create("stays")
    assert setup.following.next() == (None, "stays")
    setup.proxy.refuse()
    setup.proxy.drop()
    setup.delete("first")
    setup.create("second")
    # Neither etcd nor the API server's cache, which starts empty, knows the old versions any more.
    setup.api.compact()
    setup.api.restart()
    setup.proxy.refuse(False)
    assert setup.following.next() == ("first", None)
    assert setup.following.next() == (None, "second")
    assert setup.following.nothing_more()
    assert setup.count("list pods") == 2
    setup.create("third")
    assert setup.following.next() == (None, "third")


@pytest.mark.parametrize("hung", [False, True])
def test_stop_ends_a_blocking_read(setup: Setup, hung: bool) -> None:
    if hung:
        setup.proxy.hang()
    informer = setup.following.informer
    informer.stop(timeout=PATIENCE)
    assert not informer.running
    setup.proxy.flow()
    setup.create("second")
    assert setup.following.nothing_more()


def test_a_listener_that_fails_stops_nobody(setup: Setup) -> None:
    def fail(change: Change[Pod]) -> None:
        raise RuntimeError("a bug")

    informer = setup.following.informer
    informer.add_listener(fail)
    later: queue.Queue[str] = queue.Queue()
    informer.add_listener(lambda change: later.put(change.latest.metadata.name))
    for name in ("second", "third"):
        setup.create(name)
        assert later.get(timeout=PATIENCE) == name
