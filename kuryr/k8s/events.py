# SPDX-License-Identifier: Apache-2.0
"""Kubernetes Events: what ``kubectl describe`` shows below an object.

core/v1 Events with ``count``, ``firstTimestamp`` and ``lastTimestamp``, which every kubectl shows as "x5 over
2m".
"""

from __future__ import annotations

import threading
import time
import uuid
from collections import OrderedDict
from collections.abc import Callable
from typing import Literal

import msgspec
from oslo_log import log as logging

from kuryr.errors import KuryrError
from kuryr.k8s.client import Client
from kuryr.k8s.conditions import timestamp
from kuryr.k8s.errors import NotFound, TooManyRequests, Unavailable
from kuryr.objects.meta import Key, KubernetesObject
from kuryr.objects.resources import Resource

LOG = logging.getLogger(__name__)


class Event(KubernetesObject, kw_only=True):
    """What is read back of an Event."""

    reason: str = ""
    message: str = ""
    count: int = 0


EVENTS = Resource("", "v1", "events", "Event", Event)

Type = Literal["Normal", "Warning"]

# As client-go has them: equal Events within ten minutes are one; an object has 25 calls at once, then one in
# five minutes. The last is the API's.
AGGREGATION_SECONDS = 600.0
BURST = 25
REFILL_SECONDS = 300.0
LONGEST_MESSAGE = 1024

# Bounds on memory: Events that wait to be sent, and objects and Events that are remembered.
LONGEST_QUEUE = 1000
REMEMBERED = 4096
ATTEMPTS = 3
LONGEST_PAUSE = 10.0


class _Subject(msgspec.Struct, frozen=True):
    """The object that an Event is about."""

    api_version: str
    kind: str
    name: str
    namespace: str
    uid: str


class _Sameness(msgspec.Struct, frozen=True):
    """What makes two Events one."""

    subject: _Subject
    type: str
    reason: str
    message: str


class _Series(msgspec.Struct):
    """An Event that was sent, and how often it happened; ``last`` by the monotonic clock."""

    key: Key
    count: int
    last: float


class SpamFilter:
    """A bucket of tokens for each object."""

    def __init__(self, burst: int = BURST, refill: float = REFILL_SECONDS) -> None:
        self._burst = burst
        self._refill = refill
        self._buckets: OrderedDict[_Subject, tuple[float, float]] = OrderedDict()  # tokens left, as of when

    def take(self, subject: _Subject, now: float) -> bool:
        """Whether the object may have one more call at ``now`` (seconds)."""
        tokens, then = self._buckets.pop(subject, (float(self._burst), now))
        tokens = min(float(self._burst), tokens + (now - then) / self._refill)
        granted = tokens >= 1
        self._buckets[subject] = (tokens - 1 if granted else tokens, now)
        if len(self._buckets) > REMEMBERED:
            self._buckets.popitem(last=False)
        return granted


class EventRecorder:
    """Records Events without ever blocking or raising into the caller; one thread sends them.

    Equal Events (object, type, reason, message) within ten minutes become one whose count rises, and those
    that meet in the queue become one call. What the queue or the spam filter does not let through, or the API
    refuses, is counted in ``dropped``. Events need no Lease: what a process that lost it has to say is still
    worth telling.
    """

    def __init__(
        self, client: Client, component: str, instance: str, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """
        :param component: who says it, such as ``kuryr-controller``.
        :param instance: which one, such as the node's name.
        """
        self.dropped = 0
        self._client = client
        self._component = component
        self._instance = instance
        self._clock = clock
        self._changed = threading.Condition()
        self._pending: OrderedDict[_Sameness, int] = OrderedDict()  # → how often since it was last sent
        self._sending = False
        self._stopping = threading.Event()
        # The sender's own:
        self._sent: OrderedDict[_Sameness, _Series] = OrderedDict()
        self._spam = SpamFilter()
        self._thread = threading.Thread(target=self._run, name="events", daemon=True)
        self._thread.start()

    def event(self, obj: KubernetesObject, reason: str, message: str, *, type: Type = "Warning") -> None:
        """Tell ``message`` (a sentence) under ``reason`` (CamelCase) about the object."""
        metadata = obj.metadata
        subject = _Subject(obj.api_version, obj.kind, metadata.name, metadata.namespace, metadata.uid)
        same = _Sameness(subject, type, reason, _shortened(message))
        with self._changed:
            if self._stopping.is_set() or (same not in self._pending and len(self._pending) >= LONGEST_QUEUE):
                self.dropped += 1
                return
            self._pending[same] = self._pending.get(same, 0) + 1
            self._changed.notify_all()

    def flush(self, timeout: float) -> bool:
        """Wait until all is sent (or dropped); False where ``timeout`` seconds were not enough."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._pending and not self._sending, timeout)

    def stop(self, timeout: float = 2.0) -> None:
        """Send what waits for at most ``timeout`` seconds, then end; later Events are dropped."""
        self.flush(timeout)
        with self._changed:
            self._stopping.set()
            self._changed.notify_all()
        self._thread.join(timeout)

    def _run(self) -> None:
        while True:
            with self._changed:
                self._sending = False
                self._changed.notify_all()
                self._changed.wait_for(lambda: self._pending or self._stopping.is_set())
                if self._stopping.is_set():
                    self.dropped += len(self._pending)
                    return
                same, times = self._pending.popitem(last=False)
                self._sending = True
            if not self._handle(same, times):
                with self._changed:
                    self.dropped += 1

    def _handle(self, same: _Sameness, times: int) -> bool:
        """Send an Event; False where it was dropped."""
        now = self._clock()
        series = self._sent.pop(same, None)
        if series is not None and now - series.last > AGGREGATION_SECONDS:
            series = None
        if series is not None:
            series.count += times
            series.last = now
            self._remember(same, series)
        if not self._spam.take(same.subject, now):
            return False
        for attempt in range(ATTEMPTS):
            try:
                self._send(same, series, times, now)
                return True
            except (Unavailable, TooManyRequests) as error:
                if attempt + 1 == ATTEMPTS or self._stopping.wait(
                    min(error.retry_after or 2.0**attempt, LONGEST_PAUSE)
                ):
                    LOG.warning("Event %s on %s is lost: %s", same.reason, same.subject.name, error)
                    return False
            except KuryrError as error:
                # Its namespace is going away, or a right is missing.
                LOG.debug("Event %s on %s is dropped: %s", same.reason, same.subject.name, error)
                return False
            except Exception:
                LOG.exception("Sending Event %s failed in a way that is a bug", same.reason)
                return False
        return False

    def _send(self, same: _Sameness, series: _Series | None, times: int, now: float) -> None:
        if series is not None:
            patch = {"count": series.count, "lastTimestamp": timestamp(), "message": same.message}
            try:
                self._client.merge_patch(EVENTS, series.key, patch, fenced=False)
                return
            except NotFound:
                # Events live for an hour or less: this one is over, a new series begins.
                times = series.count
        namespace = same.subject.namespace or "default"
        created = self._client.create(EVENTS, namespace, self._body(same, times), fenced=False)
        self._remember(same, _Series(created.key, times, now))

    def _remember(self, same: _Sameness, series: _Series) -> None:
        self._sent[same] = series
        self._sent.move_to_end(same)
        if len(self._sent) > REMEMBERED:
            self._sent.popitem(last=False)

    def _body(self, same: _Sameness, times: int) -> dict[str, object]:
        subject = same.subject
        namespace = subject.namespace or "default"
        now = timestamp()
        involved = {
            "apiVersion": subject.api_version,
            "kind": subject.kind,
            "name": subject.name,
            "namespace": subject.namespace,
            "uid": subject.uid,
        }
        return {
            "metadata": {"name": f"{subject.name}.{uuid.uuid4().hex[:16]}", "namespace": namespace},
            "involvedObject": {field: value for field, value in involved.items() if value},
            "type": same.type,
            "reason": same.reason,
            "message": same.message,
            "count": times,
            "firstTimestamp": now,
            "lastTimestamp": now,
            "source": {"component": self._component, "host": self._instance},
            "reportingComponent": self._component,
            "reportingInstance": self._instance,
        }


def _shortened(message: str) -> str:
    encoded = message.encode()
    if len(encoded) <= LONGEST_MESSAGE:
        return message
    return encoded[: LONGEST_MESSAGE - 3].decode(errors="ignore") + "..."
