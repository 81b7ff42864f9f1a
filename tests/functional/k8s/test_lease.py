# SPDX-License-Identifier: Apache-2.0
"""Holding, standing by, taking over and being fenced, with real Leases."""

import contextlib
import queue
import threading
from collections.abc import Callable, Iterator

import pytest

from kuryr.k8s.client import Client
from kuryr.k8s.errors import NotHolding
from kuryr.k8s.lease import LEASES, LeaseElector
from kuryr.objects.meta import Key
from tests.functional.kubernetes import KubernetesApi
from tests.functional.proxy import Proxy

PATIENCE = 30.0


class Candidate:
    """An elector with a client of its own, behind a proxy of its own."""

    def __init__(self, api: KubernetesApi, namespace: str, identity: str, duration: float) -> None:
        self.proxy = Proxy(api.port)
        self.client = Client(api.settings(api_root=f"https://127.0.0.1:{self.proxy.port}", watch_silence=5.0))
        self.told: queue.Queue[str] = queue.Queue()
        self.when_acquired: Callable[[], None] = lambda: self.told.put("acquired")
        self.elector = LeaseElector(
            self.client,
            namespace,
            "shard-0",
            identity,
            duration=duration,
            on_acquired=lambda: self.when_acquired(),
            on_lost=lambda: self.told.put("lost"),
        )
        self.client.fence = self.elector.may_write

    def __enter__(self) -> "Candidate":
        self.proxy.__enter__()
        self.elector.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.proxy.flow()
        self.proxy.refuse(False)
        self.elector.stop()
        self.client.close()
        self.proxy.__exit__()

    def expect(self, what: str) -> None:
        assert self.told.get(timeout=PATIENCE) == what


Make = Callable[[str], Candidate]


@pytest.fixture(params=[3.0])
def make(request: pytest.FixtureRequest, kubernetes_api: KubernetesApi, namespace: str) -> Iterator[Make]:
    with contextlib.ExitStack() as stack:
        yield lambda identity: stack.enter_context(
            Candidate(kubernetes_api, namespace, identity, request.param)
        )


def test_a_lease_given_back_is_taken_at_once(make: Make, api_client: Client, namespace: str) -> None:
    key = Key(namespace, "shard-0")
    first = make("first")
    first.expect("acquired")
    assert first.elector.holding
    second = make("second")
    with pytest.raises(NotHolding, match="second does not hold"):
        second.elector.may_write()
    lease = api_client.get(LEASES, key)
    assert (lease.holder, lease.spec.lease_duration_seconds) == ("first", 3)

    first.elector.stop()
    first.expect("lost")
    second.expect("acquired")
    assert not first.elector.holding
    lease = api_client.get(LEASES, key)
    assert (lease.holder, lease.spec.lease_transitions) == ("second", 1)


@pytest.mark.parametrize("make", [1.5], indirect=True)
def test_a_holder_that_is_cut_off_stops_writing_before_another_takes_over(make: Make) -> None:
    first = make("first")
    first.expect("acquired")
    second = make("second")
    fenced_first: list[bool] = []
    taken = threading.Event()

    def on_acquired() -> None:
        fenced_first.append(not first.elector.holding)
        taken.set()

    second.when_acquired = on_acquired
    first.proxy.hang(new=True)
    assert taken.wait(PATIENCE)
    assert fenced_first == [True]
    with pytest.raises(NotHolding):
        first.elector.may_write()
    first.expect("lost")
    first.proxy.drop()
    first.proxy.flow()
    second.elector.may_write()
    second.elector.stop()
    first.expect("acquired")


def test_a_holder_that_loses_the_lease_stops(make: Make, api_client: Client, namespace: str) -> None:
    first = make("first")
    first.expect("acquired")
    api_client.merge_patch(LEASES, Key(namespace, "shard-0"), {"spec": {"holderIdentity": "usurper"}})
    first.expect("lost")
    with pytest.raises(NotHolding):
        first.elector.may_write()
    # The usurper never renews.
    first.expect("acquired")


def test_a_deleted_lease_is_made_again(make: Make, api_client: Client, namespace: str) -> None:
    first = make("first")
    first.expect("acquired")
    api_client.delete(LEASES, Key(namespace, "shard-0"))
    first.expect("lost")
    first.expect("acquired")


def test_renewal_outlives_a_restart_of_the_api_server(make: Make, kubernetes_api: KubernetesApi) -> None:
    first = make("first")
    first.expect("acquired")
    kubernetes_api.restart()
    # Down for longer than a short Lease lasts: it may be lost, and is then had again.
    while not first.elector.holding:
        first.told.get(timeout=PATIENCE)
    first.elector.may_write()


def test_of_many_one_holds(make: Make) -> None:
    candidates = [make(f"candidate-{number}") for number in range(4)]
    while not any(candidate.elector.holding for candidate in candidates):
        threading.Event().wait(0.05)
    for _ in range(3):
        holders = [candidate for candidate in candidates if candidate.elector.holding]
        assert len(holders) == 1
        candidates.remove(holders[0])
        holders[0].elector.stop()
        while not any(candidate.elector.holding for candidate in candidates):
            threading.Event().wait(0.05)
