# SPDX-License-Identifier: Apache-2.0
"""Keeping a store equal to a collection in the API: list once, then watch for ever.

Three small generators, each of which can be tested by itself: :func:`watch_once` is one HTTP call,
:func:`list_and_watch` goes on until the API no longer knows the resourceVersion, and the informer starts
over. What they yield is worked into the store by :func:`apply_listed` and :func:`apply_event`.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator
from typing import Generic, Protocol, TypeVar

import msgspec
from oslo_log import log as logging

from kuryr.errors import KuryrError
from kuryr.k8s.client import Client
from kuryr.k8s.decoding import ListResult
from kuryr.k8s.errors import ApiError, Gone, TooManyRequests, Unavailable
from kuryr.k8s.store import Store
from kuryr.k8s.watch import BOOKMARK, DELETED, WatchEvent, WatchStream
from kuryr.objects.meta import KubernetesObject
from kuryr.objects.resources import Resource

LOG = logging.getLogger(__name__)

T = TypeVar("T", bound=KubernetesObject)

# How long the server keeps a watch open, in seconds; jittered, so that not all end together.
WATCH_SECONDS = (300, 600)
FIRST_DELAY = 0.2
# The first failure in a row is mostly a restart; these are told aloud.
TOLD_FAILURES = (2, 20, 200)
LONGEST_DELAY = 10.0
# A watch that was open for as many seconds did not fail, whether or not anything happened.
LASTED = 20.0


class Change(msgspec.Struct, Generic[T], frozen=True):
    """What became of one object: added (``old`` is None), changed, or deleted (``new`` is None)."""

    old: T | None
    new: T | None

    @property
    def latest(self) -> T:
        """The new object, or the one that was deleted."""
        obj = self.new if self.new is not None else self.old
        assert obj is not None  # noqa: S101 - one of them always is
        return obj

    @property
    def visible(self) -> bool:
        """Whether anything is different that our kinds hold, beside the version: most of a pod's changes are not."""
        old, new = self.old, self.new
        if old is None or new is None:
            return True
        metadata = msgspec.structs.replace(old.metadata, resource_version=new.metadata.resource_version)
        return bool(msgspec.structs.replace(old, metadata=metadata) != new)


class Source(Protocol[T]):
    """Where lists and watches of one collection come from."""

    def list(self) -> ListResult[T]:
        """A snapshot."""

    def watch(self, resource_version: str) -> WatchStream[T]:
        """The changes since."""


def watch_once(stream: WatchStream[T]) -> Iterator[WatchEvent[T]]:
    """One watch, until its end; its connection is closed in any case."""
    try:
        yield from stream
    finally:
        stream.close()


def list_and_watch(
    source: Source[T], pause: Callable[[ApiError | None], bool]
) -> Iterator[ListResult[T] | WatchEvent[T]]:
    """A snapshot, then all that happens, across as many watches as it takes, until the API answers 410 Gone.

    :param pause: called between two watches with the error that ended the first (None: it ended by itself);
        waits as it sees fit, and says whether to go on.
    :raises ApiError: where the snapshot could not be had, or the API refuses to watch.
    """
    listed = source.list()
    yield listed
    version = listed.resource_version
    while True:
        failure: ApiError | None = None
        try:
            for event in watch_once(source.watch(version)):
                version = event.resource_version or version
                yield event
        except Gone:
            return
        except (Unavailable, TooManyRequests) as error:
            failure = error
        if not pause(failure):
            return


def apply_listed(store: Store[T], listed: ListResult[T]) -> Iterator[Change[T]]:
    """Make the store hold the snapshot, and tell how it differs from what was there."""
    present = {obj.key for obj in listed.items}
    gone_keys = [key for key in store.keys() if key not in present]  # noqa: SIM118 - not a dict
    for key in gone_keys:
        if (gone := store.remove(key)) is not None:
            yield Change(gone, None)
    for obj in listed.items:
        old = store.get(obj.key)
        if old is not None and old.metadata.uid != obj.metadata.uid:
            # Deleted and made anew while nobody looked.
            store.remove(obj.key)
            yield Change(old, None)
            old = None
        if old is None or old.metadata.resource_version != obj.metadata.resource_version:
            store.upsert(obj)
            yield Change(old, obj)


def apply_event(store: Store[T], event: WatchEvent[T]) -> Iterator[Change[T]]:
    """Work one event of a watch into the store, and tell what changed."""
    obj = event.object
    if event.type == BOOKMARK or obj is None:
        return
    if event.type == DELETED:
        store.remove(obj.key)
        # The last state, which the event carries, tells more than the one that was stored.
        yield Change(obj, None)
        return
    old = store.upsert(obj)
    yield Change(old, obj)


class _ClientSource(Generic[T]):
    """Lists and watches through the client; remembers the open stream so that it can be cut off."""

    def __init__(
        self, client: Client, resource: Resource[T], namespace: str, label_selector: str, field_selector: str
    ) -> None:
        self._client = client
        self._resource = resource
        self._namespace = namespace
        self._label_selector = label_selector
        self._field_selector = field_selector
        self._lock = threading.Lock()
        self._stream: WatchStream[T] | None = None
        self._closed = False
        self.last_answer = 0.0

    def list(self) -> ListResult[T]:
        listed = self._client.list(
            self._resource,
            namespace=self._namespace,
            label_selector=self._label_selector,
            field_selector=self._field_selector,
        )
        self.last_answer = time.monotonic()
        return listed

    def watch(self, resource_version: str) -> WatchStream[T]:
        stream = self._client.watch(
            self._resource,
            resource_version=resource_version,
            namespace=self._namespace,
            label_selector=self._label_selector,
            field_selector=self._field_selector,
            timeout_seconds=random.randint(*WATCH_SECONDS),
        )
        self.last_answer = time.monotonic()
        with self._lock:
            self._stream = stream
            closed = self._closed
        if closed:
            stream.close()
        return stream

    def close(self) -> None:
        with self._lock:
            self._closed = True
            stream = self._stream
        if stream is not None:
            stream.close()


class Informer(Generic[T]):
    """Lists and watches one collection in a thread of its own.

    Listeners are called in that thread, after the store holds the change, one change at a time and in order;
    they put a key into a queue and return. It outlives restarts of the API server, 410 Gone, dropped and hung
    watches, and 429.
    """

    def __init__(
        self,
        client: Client,
        resource: Resource[T],
        *,
        namespace: str = "",
        label_selector: str = "",
        field_selector: str = "",
    ) -> None:
        self.resource = resource
        self.store: Store[T] = Store()
        self._source = _ClientSource(client, resource, namespace, label_selector, field_selector)
        self._listeners: list[Callable[[Change[T]], None]] = []
        self._synced = threading.Event()
        self._stopping = threading.Event()
        self._failures = 0
        self._resumed = time.monotonic()
        self._last_contact = 0.0
        self._thread = threading.Thread(target=self._run, name=f"informer-{resource.plural}", daemon=True)

    def add_listener(self, listener: Callable[[Change[T]], None]) -> None:
        """Call ``listener`` with every change from now on. Before ``start``, or changes may be missed."""
        self._listeners.append(listener)

    def start(self) -> None:
        """Start the thread; an informer is started once."""
        self._thread.start()

    def stop(self, timeout: float = 2.0) -> None:
        """Cut off the watch and wait for the thread to end; no listener is called after that."""
        self._stopping.set()
        self._source.close()
        if self._thread.ident is not None and self._thread is not threading.current_thread():
            self._thread.join(timeout)

    def wait_synced(self, timeout: float | None = None) -> bool:
        """Wait until the first snapshot is in the store and told to all listeners."""
        return self._synced.wait(timeout)

    @property
    def running(self) -> bool:
        """Whether its thread is there."""
        return self._thread.is_alive()

    @property
    def synced(self) -> bool:
        """Whether the first snapshot is in the store; it stays so."""
        return self._synced.is_set()

    @property
    def last_contact(self) -> float:
        """When the API last sent something, by ``time.monotonic()``; 0 for never.

        While all is well it is not older than the API client's ``watch_silence`` and the time to open a
        watch.
        """
        return max(self._last_contact, self._source.last_answer)

    def _run(self) -> None:
        for item in self._follow():
            self._last_contact = time.monotonic()
            self._failures = 0
            changes = (
                apply_listed(self.store, item)
                if isinstance(item, ListResult)
                else apply_event(self.store, item)
            )
            for change in changes:
                self._tell(change)
            if isinstance(item, ListResult) and not self._stopping.is_set():
                self._synced.set()

    def _follow(self) -> Iterator[ListResult[T] | WatchEvent[T]]:
        """Everything, for ever: lists again where a watch cannot go on."""
        while not self._stopping.is_set():
            failure: KuryrError | None = None
            try:
                for item in list_and_watch(self._source, self._pause):
                    if self._stopping.is_set():
                        return
                    yield item
            except KuryrError as error:
                failure = error
            except Exception as error:
                LOG.exception(
                    "Following %s failed in a way that is a bug; it starts over", self.resource.plural
                )
                failure = KuryrError(str(error))
            if self._pause(failure):
                LOG.info("Listing %s anew: %s", self.resource.plural, failure or "the watch is too old")

    def _pause(self, failure: KuryrError | None) -> bool:
        """Wait before the next call, the longer the more calls failed in a row; whether to go on."""
        if time.monotonic() - self._resumed > LASTED:
            self._failures = 0
        delay = min(LONGEST_DELAY, FIRST_DELAY * 2.0 ** min(self._failures, 16)) * random.uniform(0.5, 1.0)
        if failure is None and self._failures == 0:
            delay = 0.0
        elif isinstance(failure, ApiError) and failure.retry_after is not None:
            delay = max(delay, failure.retry_after)
        if failure is not None:
            log = LOG.warning if self._failures in TOLD_FAILURES else LOG.debug
            log("%s; goes on in %.1f s (failures in a row: %d)", failure, delay, self._failures + 1)
        # Any item sets this back; a watch that ends at once, again and again, counts as failing.
        self._failures += 1
        go_on = not self._stopping.wait(delay)
        self._resumed = time.monotonic()
        return go_on

    def _tell(self, change: Change[T]) -> None:
        for listener in self._listeners:
            if self._stopping.is_set():
                return
            try:
                listener(change)
            except Exception:
                LOG.exception("A listener failed on %s %s", self.resource.kind, change.latest.key)
