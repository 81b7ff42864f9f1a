# SPDX-License-Identifier: Apache-2.0
"""Telling the API what became of pods' interfaces, off the path of ADD."""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from kuryr.cni.activity import Activity
from kuryr.cni.attachments import Attachment
from kuryr.cni.kuryrports import belongs, reported_up
from kuryr.cni.protocol import CniError
from kuryr.cni.stages import Stages
from kuryr.k8s.client import Client
from kuryr.k8s.conditions import set_condition
from kuryr.k8s.errors import ApiError, Conflict, Invalid, NotFound
from kuryr.k8s.events import EventRecorder
from kuryr.objects.core import Pod
from kuryr.objects.kuryrport import BY_CONTROLLER, UP, KuryrPort
from kuryr.objects.meta import Condition, Key, ObjectMeta
from kuryr.objects.resources import KURYRPORTS

LOG = logging.getLogger(__name__)

RETRY_AFTER = 5.0

CALM, YIELD = 0.1, 10.0
"""Seconds without a request after which what is up is told, and for which that waits at most: no pod waits for it."""


@dataclass(frozen=True, slots=True)
class Report:
    """These interfaces of the KuryrPort are up. ``message`` says how long what took."""

    key: Key
    uid: str
    interfaces: tuple[str, ...]
    message: str


def up_patch(kuryrport: KuryrPort, interfaces: Iterable[str], message: str) -> dict[str, Any] | None:
    """The merge patch of the status that says that the interfaces are up, None where it says so already.

    It holds the UID, so that a KuryrPort that was made anew under the name is never written to.
    """
    vifs: dict[str, Any] = {}
    for name in interfaces:
        entry = kuryrport.status.vifs.get(name)
        if entry is None or reported_up(kuryrport, name):
            continue
        conditions = set_condition(
            entry.conditions, Condition(type=UP, status="True", reason="Wired", message=message)
        )
        vifs[name] = {
            "conditions": msgspec.to_builtins(conditions),
            "vif": {"versioned_object.data": {"active": True}},
        }
    if not vifs:
        return None
    return {"metadata": {"uid": kuryrport.metadata.uid}, "status": {"vifs": vifs}}


def parked_patch(kuryrport: KuryrPort, names: Iterable[str]) -> dict[str, Any]:
    """The merge patch of the status that says that these VIFs of a pool are up.

    It holds the version that it was made from: a VIF that was taken out of the pool meanwhile must not come back.
    """
    vifs = {}
    for name in names:
        up = Condition(
            type=UP, status="True", reason="Wired", message="the port waits on its node, carrying traffic"
        )
        conditions = set_condition(kuryrport.status.vifs[name].conditions, up)
        vifs[name] = {"conditions": msgspec.to_builtins(conditions)}
    metadata = {"uid": kuryrport.metadata.uid, "resourceVersion": kuryrport.metadata.resource_version}
    return {"metadata": metadata, "status": {"vifs": vifs}}


class Reporter:
    """Writes the conditions of attached pods and the Events of those that could not be.

    :param latest: the latest known KuryrPort of a key.
    :param activity: what is done for requests goes first.
    """

    def __init__(
        self,
        client: Client,
        events: EventRecorder | None,
        latest: Callable[[Key], KuryrPort | None],
        activity: Activity,
    ) -> None:
        self._client = client
        self._activity = activity
        self._stopping = False
        self._events = events
        self._latest = latest
        self._queue: queue.SimpleQueue[Report | None] = queue.SimpleQueue()
        self._later: list[tuple[float, Report]] = []
        self._thread = threading.Thread(target=self._run, name="reports", daemon=True)

    def start(self) -> None:
        """Begin to write."""
        self._thread.start()

    def stop(self) -> None:
        """Write what is waiting, then end."""
        self._stopping = True
        self._activity.wake()
        self._queue.put(None)
        self._thread.join(5.0)

    def attached(self, kuryrport: KuryrPort, interfaces: list[str], stages: Stages) -> None:
        """The interfaces carry traffic."""
        stages.finish()
        self._queue.put(Report(kuryrport.key, kuryrport.metadata.uid, tuple(interfaces), str(stages)))

    def failed(self, pod: Key, pod_uid: str, error: CniError) -> None:
        """The pod has no interfaces, and why."""
        if self._events is not None:
            metadata = ObjectMeta(name=pod.name, namespace=pod.namespace, uid=pod_uid)
            self._events.event(
                Pod(api_version="v1", kind="Pod", metadata=metadata), error.reason, error.message
            )

    def parked(self, kuryrport: KuryrPort, names: Iterable[str]) -> bool:
        """Write, now, that these VIFs of a pool carry traffic; False where it should be tried again without a cause."""
        try:
            patch = parked_patch(kuryrport, names)
            self._client.merge_patch(KURYRPORTS, kuryrport.key, patch, subresource="status")
        except (NotFound, Conflict):
            LOG.debug("KuryrPort %s changed before it could be said what is up", kuryrport.key)
        except ApiError as error:
            LOG.warning("What is up of KuryrPort %s could not be told yet: %s", kuryrport.key, error)
            return False
        return True

    def catch_up(self, wired: Mapping[str, list[Attachment]]) -> None:
        """Report what a daemon that was killed could not.

        :param wired: pod (namespace/name) → its attachments that are up.
        """
        for pod, attachments in wired.items():
            namespace, _, name = pod.partition("/")
            kuryrport = self._latest(Key(namespace, name))
            if kuryrport is None or not belongs(kuryrport, attachments[0].pod_uid):
                continue
            ports = {attachment.port for attachment in attachments}
            interfaces = tuple(
                interface
                for interface, vif in kuryrport.decoded_vifs().items()
                if vif.id in ports and kuryrport.status.vifs[interface].reported_by != BY_CONTROLLER
            )
            self._queue.put(
                Report(
                    kuryrport.key, kuryrport.metadata.uid, interfaces, "found after a restart of the daemon"
                )
            )

    def _run(self) -> None:
        while True:
            try:
                report = self._queue.get(timeout=self._until_next())
            except queue.Empty:
                due = [report for when, report in self._later if when <= time.monotonic()]
                self._later = [entry for entry in self._later if entry[0] > time.monotonic()]
                for entry in due:
                    self._write(entry)
                continue
            self._activity.wait_quiet(CALM, YIELD, lambda: self._stopping)
            # All that came meanwhile waited with it.
            while report is not None:
                self._write(report)
                try:
                    report = self._queue.get_nowait()
                except queue.Empty:
                    break
            else:
                return

    def _until_next(self) -> float | None:
        if not self._later:
            return None
        return max(0.0, min(when for when, _ in self._later) - time.monotonic())

    def _write(self, report: Report) -> None:
        """Patch; what may work later is tried again until the KuryrPort is gone."""
        kuryrport = self._latest(report.key)
        if kuryrport is None or kuryrport.metadata.uid != report.uid:
            return
        patch = up_patch(kuryrport, report.interfaces, report.message)
        if patch is None:
            return
        try:
            self._client.merge_patch(KURYRPORTS, report.key, patch, subresource="status")
        except NotFound:
            LOG.debug("KuryrPort %s went away before it could be reported up", report.key)
        except Invalid as error:
            LOG.error("KuryrPort %s could not be reported up: %s", report.key, error)
        except Conflict as error:
            # Many wrote at once, or it is another by now: the next try tells.
            LOG.debug("KuryrPort %s could not be reported up yet: %s", report.key, error)
            self._later.append((time.monotonic() + RETRY_AFTER, report))
        except ApiError as error:
            LOG.warning("KuryrPort %s could not be reported up yet: %s", report.key, error)
            self._later.append((time.monotonic() + RETRY_AFTER, report))
