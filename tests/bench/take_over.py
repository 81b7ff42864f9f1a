# SPDX-License-Identifier: Apache-2.0
"""How long the work rests when the controller that does it ends, or is killed, and another stands by.

Two controllers on a real API server and the fake cloud, with pods that have their ports.
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable
from functools import partial
from types import TracebackType
from typing import Any, Self

from kuryr.k8s.client import Client
from kuryr.k8s.informer import Change, Informer
from kuryr.k8s.lease import LEASES, Lease
from kuryr.objects.resources import NAMESPACES
from tests.bench import stopwatch
from tests.bench.figures import Distribution, Figure, MeasurementError
from tests.bench.pods import NODES, Namespace, pod
from tests.bench.settings import Bench
from tests.bench.stopwatch import Stopwatch
from tests.bench.testbed import make_testbed
from tests.functional.controller.harness import LEASE

GRACEFUL, KILLED = "graceful", "after a kill"
LIMITS = {GRACEFUL: 2.0, KILLED: 15.0}
LATENCY = 0.1

_SPACE = "bench"
_TIMEOUT = 60.0


def measure(bench: Bench) -> list[Figure]:
    """Hand-overs and kills in turn; the controller that ended stands by for the next."""
    number, rounds = bench.amounts.scale, bench.amounts.take_overs
    found: dict[str, list[tuple[float, float]]] = {GRACEFUL: [], KILLED: []}
    with make_testbed(f"--latency={LATENCY}") as bed:
        client = bed.api.client()
        client.create(NAMESPACES, "", {"metadata": {"name": _SPACE}})
        with Stopwatch(client, _SPACE) as watch, Holder(client) as lease:
            space = Namespace(client, _SPACE, watch)
            with bed.controller() as holder:
                holder.wait_ready()
                lease.wait()
                standing = [_pod(f"standing-{index}") for index in range(number)]
                watch.wait(space.create(*standing), stopwatch.FILLED, timeout=_TIMEOUT + number)
                with bed.controller() as standby:
                    for round_ in range(2 * rounds):
                        standby.wait_ready()
                        how = (GRACEFUL, KILLED)[round_ % 2]
                        end = partial(holder.signal, signal.SIGTERM) if how == GRACEFUL else holder.kill
                        seconds = _take_over(end, lease, space, f"pod-{round_}")
                        bench.say(f"take-over, {how}: the Lease {seconds[0]:.2f} s, a pod {seconds[1]:.2f} s")
                        found[how].append(seconds)
                        holder.wait()
                        holder.start()
                        holder, standby = standby, holder
        client.close()
    return [_figure(how, found[how], number) for how in found]


class Holder:
    """Knows who holds the shard's Lease, and since when."""

    def __init__(self, client: Client) -> None:
        selector = f"metadata.name={LEASE.name}"
        self._informer = Informer(client, LEASES, namespace=LEASE.namespace, field_selector=selector)
        self._informer.add_listener(self._seen)
        self._changed = threading.Condition()
        self._name, self._since = "", 0.0

    def __enter__(self) -> Self:
        self._informer.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._informer.stop()

    def wait(self, other_than: str = "") -> tuple[str, float]:
        """Wait until somebody else holds it; who, and since when (monotonic).

        :raises MeasurementError: where nobody does.
        """
        with self._changed:
            if not self._changed.wait_for(lambda: self._name not in ("", other_than), _TIMEOUT):
                raise MeasurementError(f"nobody took the Lease {LEASE} within {_TIMEOUT:.0f} s")
            return self._name, self._since

    def _seen(self, change: Change[Lease]) -> None:
        name = change.new.holder if change.new is not None else ""
        with self._changed:
            if name != self._name:
                self._name, self._since = name, time.monotonic()
                self._changed.notify_all()


def _take_over(end: Callable[[], Any], lease: Holder, space: Namespace, name: str) -> tuple[float, float]:
    """Seconds until another holds the Lease, and until a pod that was created at once has its port."""
    before, _ = lease.wait()
    began = time.monotonic()
    end()
    space.watch.wait(space.create(_pod(name)), stopwatch.FILLED, _TIMEOUT)
    _, since = lease.wait(other_than=before)
    return since - began, space.watch.at(name, stopwatch.FILLED) - began


def _pod(name: str) -> dict[str, Any]:
    manifest = pod(name)
    manifest["spec"]["nodeName"] = NODES[0]
    return manifest


def _figure(how: str, found: list[tuple[float, float]], pods: int) -> Figure:
    works = Distribution.of([max(both) for both in found])
    return Figure(
        name=f"take-over, {how}: slowest",
        value=works.maximum,
        unit="s",
        n=works.n,
        limit=LIMITS[how],
        samples=works,
        remark=f"until a pod created meanwhile is filled; the Lease within {max(held for held, _ in found):.1f} s; "
        f"{pods} pods standing",
    )
