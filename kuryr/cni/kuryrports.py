# SPDX-License-Identifier: Apache-2.0
"""Waiting for this node's KuryrPorts."""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Callable
from typing import Protocol

from kuryr.k8s.conditions import find_condition
from kuryr.k8s.informer import Change
from kuryr.objects.kuryrport import ALLOCATED, UP, KuryrPort
from kuryr.objects.meta import Condition, Key

LOOK_AGAIN = 5.0
"""Seconds after which those who wait look whether they are cancelled, though nothing happened."""


class Source(Protocol):
    """Where KuryrPorts are read; a Store of ``kuryr.k8s`` is one."""

    def get(self, key: Key) -> KuryrPort | None:
        """The latest known, or None."""


class KuryrPorts:
    """This node's KuryrPorts, with waiting. Whoever feeds the source calls :meth:`changed` after each change."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._lock = threading.Lock()
        # Of those who wait: each is woken by its own pod's changes alone, since a burst has many of both.
        self._waiting: defaultdict[Key, list[threading.Event]] = defaultdict(list)
        self._last_filled = float("-inf")

    @property
    def last_filled(self) -> float:
        """When a KuryrPort of this node got its VIFs last, by ``time.monotonic()``; minus infinity: never."""
        return self._last_filled

    def get(self, key: Key) -> KuryrPort | None:
        """The latest known, or None."""
        return self._source.get(key)

    def changed(self, change: Change[KuryrPort]) -> None:
        """Let those who wait for this one look again. Fits as an informer's listener."""
        if filled(change.new) and not filled(change.old):
            self._last_filled = time.monotonic()
        with self._lock:
            for event in self._waiting.get(change.latest.key, ()):
                event.set()

    def wake(self) -> None:
        """Let all who wait look whether they are cancelled."""
        with self._lock:
            for events in self._waiting.values():
                for event in events:
                    event.set()

    def wait_for(
        self,
        key: Key,
        condition: Callable[[KuryrPort | None], bool],
        deadline: Callable[[KuryrPort | None], float],
        cancelled: Callable[[], bool],
    ) -> KuryrPort | None:
        """The KuryrPort when ``condition`` holds for it; None at the deadline or when cancelled.

        :param deadline: seconds of ``time.monotonic()``, by what the KuryrPort is; asked again at each look.
        """
        event = threading.Event()
        with self._lock:
            self._waiting[key].append(event)
        try:
            while True:
                event.clear()
                kuryrport = self._source.get(key)
                if condition(kuryrport):
                    return kuryrport
                left = deadline(kuryrport) - time.monotonic()
                if left <= 0 or cancelled():
                    return None
                event.wait(min(left, LOOK_AGAIN))
        finally:
            with self._lock:
                self._waiting[key].remove(event)
                if not self._waiting[key]:
                    del self._waiting[key]


def belongs(kuryrport: KuryrPort, pod_uid: str) -> bool:
    """Whether the KuryrPort is of the pod with this UID, and not of an earlier one of the same name.

    A static pod's sandbox knows another UID than the API, so for these the name decides.
    """
    return not kuryrport.deleting and (kuryrport.spec.pod_static or kuryrport.spec.pod_uid == pod_uid)


def filled(kuryrport: KuryrPort | None) -> bool:
    """Whether the KuryrPort holds all VIFs of its pod."""
    return (
        kuryrport is not None
        and kuryrport.default_interface is not None
        and all(entry.vif is not None for entry in kuryrport.status.vifs.values())
    )


def allocated(kuryrport: KuryrPort | None, pod_uid: str) -> bool:
    """Whether the KuryrPort is the pod's and holds its VIFs."""
    return kuryrport is not None and belongs(kuryrport, pod_uid) and filled(kuryrport)


def trouble(kuryrport: KuryrPort | None) -> Condition | None:
    """What keeps the port from being had, where that is known."""
    if kuryrport is None:
        return None
    condition = find_condition(kuryrport.status.conditions, ALLOCATED)
    return condition if condition is not None and condition.status != "True" else None


def reported_up(kuryrport: KuryrPort, interface: str) -> bool:
    """Whether the controller says that the interface is up, by condition or by the VIF's own field."""
    entry = kuryrport.status.vifs.get(interface)
    if entry is None:
        return False
    if (condition := find_condition(entry.conditions, UP)) is not None:
        return condition.status == "True"
    vif = entry.vif if isinstance(entry.vif, dict) else {}
    return (vif.get("versioned_object.data") or {}).get("active") is True


def give_up_at(
    kuryrport: KuryrPort | None, *, began: float, last_filled: float, timeout: float, last: float
) -> float:
    """When an ADD that has waited for its KuryrPort since ``began`` is to fail. Pure; all times are of one clock.

    While other KuryrPorts of the node are filled it waits on: a sandbox made anew would wait no less. That leaves
    ``timeout`` before ``last`` for the interface to be up. What is known to keep the port is told in time.
    """
    since = began if trouble(kuryrport) is not None else max(began, last_filled)
    return min(last, max(began + timeout, min(since + timeout, last - timeout)))


def diagnose(kuryrport: KuryrPort | None, pod_uid: str) -> str:
    """Why the pod has no port yet, for people, from what its KuryrPort says."""
    if kuryrport is None:
        return "there is no KuryrPort for the pod: kuryr-k8s-controller seems to be down, or it cannot write KuryrPorts"
    if not belongs(kuryrport, pod_uid):
        state = "being deleted" if kuryrport.deleting else "there"
        return (
            f"the KuryrPort of an earlier pod of this name (UID {kuryrport.spec.pod_uid}) is still {state}: "
            "kuryr-k8s-controller seems to be down, or it cannot release the earlier pod's port"
        )
    if (known := trouble(kuryrport)) is not None:
        return f"the port could not be had: {known.reason}: {known.message}"
    if find_condition(kuryrport.status.conditions, ALLOCATED) is None:
        return "the KuryrPort was not filled and nothing was said about it: kuryr-k8s-controller seems to be down or busy"
    return "the KuryrPort is allocated but has no default interface"
