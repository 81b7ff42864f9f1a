# SPDX-License-Identifier: Apache-2.0
"""What the daemons of all nodes say to the API, without nodes: a KuryrPort that is filled is up."""

from __future__ import annotations

import logging
import queue
import threading
import time
from types import TracebackType
from typing import Self

from kuryr.cni.reports import up_patch
from kuryr.k8s.client import Client
from kuryr.k8s.errors import ApiError, Conflict, NotFound
from kuryr.k8s.informer import Change, Informer
from kuryr.objects.kuryrport import KuryrPort
from kuryr.objects.meta import Key
from kuryr.objects.resources import KURYRPORTS
from tests.bench.figures import MeasurementError

LOG = logging.getLogger(__name__)

_THREADS = 4
_SYNC = 120.0


class Daemons:
    """Watches all KuryrPorts while it is entered, and reports those of pods up."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._informer = Informer(client, KURYRPORTS)
        self._informer.add_listener(self._seen)
        self._filled: dict[Key, tuple[str, float]] = {}
        self._to_report: queue.SimpleQueue[Key | None] = queue.SimpleQueue()
        self._threads = [threading.Thread(target=self._report, daemon=True) for _ in range(_THREADS)]

    def __enter__(self) -> Self:
        self._informer.start()
        if not self._informer.wait_synced(_SYNC):
            raise MeasurementError(f"the KuryrPorts could not be listed within {_SYNC:.0f} s")
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._informer.stop()
        for _ in self._threads:
            self._to_report.put(None)
        for thread in self._threads:
            thread.join(10)

    @property
    def number(self) -> int:
        """KuryrPorts of pods that are filled."""
        return len(self._filled)

    def filled(self, key: Key, pod_uid: str) -> float | None:
        """When the KuryrPort of that very pod was first seen filled (monotonic); None where it was not."""
        uid, since = self._filled.get(key, ("", 0.0))
        return since if uid == pod_uid else None

    def all_up(self) -> bool:
        """Whether everything that is filled is reported up."""
        return all(
            up_patch(port, port.status.vifs, "") is None
            for port in self._informer.store.values()
            if port.spec.owner_kind == "Pod"
        )

    def _seen(self, change: Change[KuryrPort]) -> None:
        port = change.latest
        if port.spec.owner_kind != "Pod":
            return
        if change.new is None:
            self._filled.pop(port.key, None)
        elif port.status.vifs and not port.deleting:
            if self.filled(port.key, port.spec.pod_uid) is None:
                self._filled[port.key] = (port.spec.pod_uid, time.monotonic())
            self._to_report.put(port.key)

    def _report(self) -> None:
        while (key := self._to_report.get()) is not None:
            port = self._informer.store.get(key)
            patch = up_patch(port, port.status.vifs, "simulated") if port is not None else None
            if patch is None:
                continue
            try:
                self._client.merge_patch(KURYRPORTS, key, patch, subresource="status")
            except (NotFound, Conflict):
                # Gone, or another of the same name by now: the watch will tell.
                continue
            except ApiError as error:
                LOG.warning("KuryrPort %s could not be reported up yet: %s", key, error)
                self._to_report.put(key)
