# SPDX-License-Identifier: Apache-2.0
"""What watches the cluster while it lives: the nodes' daemons, as far as the controller needs them, and an eye on ports."""

from __future__ import annotations

import queue
import threading
from contextlib import suppress
from typing import Self

from kuryr.cni.kuryrports import reported_up
from kuryr.cni.reports import parked_patch, up_patch
from kuryr.k8s.client import Client
from kuryr.k8s.errors import Conflict, Invalid, NotFound
from kuryr.k8s.informer import Change, Informer
from kuryr.objects.kuryrport import KuryrPort, used_vif_ids
from kuryr.objects.meta import Key
from kuryr.objects.resources import KURYRPORTS


class Watchers:
    """A context manager.

    :ivar changed: notified at every change of a KuryrPort.
    :ivar served: UIDs of the pods that ever had their VIFs.
    :ivar violations: ports that two KuryrPorts named at a time, a sentence each.
    """

    def __init__(self, client: Client) -> None:
        self.changed = threading.Condition()
        self.served: set[str] = set()
        self.violations: list[str] = []
        self._client = client
        self._informer = Informer(client, KURYRPORTS)
        self._informer.add_listener(self._seen)
        self._hands: dict[str, KuryrPort] = {}
        self._unreported: queue.SimpleQueue[Key | None] = queue.SimpleQueue()
        self._reporter = threading.Thread(target=self._report, name="daemons", daemon=True)

    def __enter__(self) -> Self:
        self._informer.start()
        self._informer.wait_synced(30)
        self._reporter.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._informer.stop()
        self._unreported.put(None)
        self._reporter.join(10)

    def kuryrports(self) -> list[KuryrPort]:
        """All that there are."""
        return self._informer.store.values()

    def _seen(self, change: Change[KuryrPort]) -> None:
        for vif_id in used_vif_ids(change.old) if change.old is not None else ():
            if (holder := self._hands.get(vif_id)) and holder.metadata.uid == change.latest.metadata.uid:
                del self._hands[vif_id]
        port = change.new
        if port is not None:
            for vif_id in used_vif_ids(port):
                if (other := self._hands.get(vif_id)) and other.metadata.uid != port.metadata.uid:
                    self.violations.append(
                        f"port {vif_id} was in two hands: {other.key} (KuryrPort {other.metadata.uid}) and "
                        f"{port.key} (KuryrPort {port.metadata.uid})"
                    )
                self._hands[vif_id] = port
            if port.spec.owner_kind == "Pod" and port.status.vifs:
                self.served.add(port.spec.pod_uid)
            self._unreported.put(port.key)
        with self.changed:
            self.changed.notify_all()

    def _report(self) -> None:
        """Say that VIFs are up, as kuryr-daemon does."""
        while (key := self._unreported.get()) is not None:
            port = self._informer.store.get(key)
            if port is None or port.deleting:
                continue
            names = [name for name in port.status.vifs if not reported_up(port, name)]
            if not names:
                continue
            pool = port.spec.owner_kind == "Pool"
            patch = parked_patch(port, names) if pool else up_patch(port, names, "simulated")
            with suppress(NotFound, Conflict, Invalid):
                self._client.merge_patch(KURYRPORTS, key, patch or {}, subresource="status")
