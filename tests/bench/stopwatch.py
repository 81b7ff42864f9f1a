# SPDX-License-Identifier: Apache-2.0
"""When pods and their KuryrPorts reached which stage, by one clock, as watches tell it."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable
from types import TracebackType
from typing import Final, Self

from kuryr.k8s.client import Client
from kuryr.k8s.conditions import find_condition
from kuryr.k8s.informer import Change, Informer
from kuryr.objects.kuryrport import KuryrPort
from kuryr.objects.meta import Key
from kuryr.objects.resources import KURYRPORTS
from tests.bench.figures import MeasurementError
from tests.bench.running import PODS, RunningPod

CREATED: Final = "created"
SCHEDULED: Final = "scheduled"
READY: Final = "Ready"
GONE: Final = "gone"
KURYRPORT: Final = "KuryrPort"
FILLED: Final = "filled"
UP: Final = "up"
KURYRPORT_GONE: Final = "KuryrPort gone"


class Stopwatch:
    """Watches one namespace while it is entered. Stamps are monotonic seconds, each stage's first."""

    def __init__(self, client: Client, namespace: str) -> None:
        self._namespace = namespace
        self._pods = Informer(client, PODS, namespace=namespace)
        self._ports = Informer(client, KURYRPORTS, namespace=namespace)
        self._pods.add_listener(self._pod)
        self._ports.add_listener(self._port)
        self._changed = threading.Condition()
        self._stamps: dict[str, dict[str, float]] = {}

    def __enter__(self) -> Self:
        for informer in (self._pods, self._ports):
            informer.start()
        for informer in (self._pods, self._ports):
            if not informer.wait_synced(30):
                raise MeasurementError(f"the {informer.resource.plural} could not be listed within 30 s")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for informer in (self._pods, self._ports):
            informer.stop()

    def pod(self, name: str) -> RunningPod:
        """The pod as it was last seen."""
        found = self._pods.store.get(Key(self._namespace, name))
        if found is None:
            raise MeasurementError(f"pod {name} is not there")
        return found

    def at(self, name: str, stage: str) -> float:
        """When the pod of that name reached the stage.

        :raises MeasurementError: where it did not.
        """
        with self._changed:
            try:
                return self._stamps[name][stage]
            except KeyError:
                raise MeasurementError(f"pod {name} was not seen {stage}") from None

    def reached(self, name: str, stage: str) -> bool:
        """Whether the pod of that name reached the stage."""
        with self._changed:
            return stage in self._stamps.get(name, {})

    def between(self, name: str, first: str, last: str) -> float:
        """Seconds from one stage to another."""
        return self.at(name, last) - self.at(name, first)

    def wait(self, names: Iterable[str], stage: str, timeout: float = 180) -> None:
        """Wait until all these pods reached the stage.

        :raises MeasurementError: naming those that did not within ``timeout`` seconds.
        """
        wanted = set(names)

        def missing() -> set[str]:
            return {name for name in wanted if stage not in self._stamps.get(name, {})}

        with self._changed:
            if not self._changed.wait_for(lambda: not missing(), timeout):
                left = sorted(missing())
                raise MeasurementError(
                    f"not {stage} within {timeout:.0f} s: {len(left)} of {len(wanted)} pods, as {left[0]}"
                )

    def _pod(self, change: Change[RunningPod]) -> None:
        now = time.monotonic()
        pod = change.latest
        if change.new is None:
            self._note(pod.metadata.name, now, GONE)
            return
        stages = [CREATED]
        if pod.spec.node_name:
            stages.append(SCHEDULED)
        if pod.ready:
            stages.append(READY)
        self._note(pod.metadata.name, now, *stages)

    def _port(self, change: Change[KuryrPort]) -> None:
        now = time.monotonic()
        port = change.latest
        if change.new is None:
            self._note(port.metadata.name, now, KURYRPORT_GONE)
            return
        stages = [KURYRPORT]
        if port.status.vifs:
            stages.append(FILLED)
            ups = (find_condition(vif.conditions, "Up") for vif in port.status.vifs.values())
            if all(up is not None and up.status == "True" for up in ups):
                stages.append(UP)
        self._note(port.metadata.name, now, *stages)

    def _note(self, name: str, now: float, *stages: str) -> None:
        with self._changed:
            seen = self._stamps.setdefault(name, {})
            for stage in stages:
                seen.setdefault(stage, now)
            self._changed.notify_all()
