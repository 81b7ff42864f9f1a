# SPDX-License-Identifier: Apache-2.0
"""One watch: the stream of changes that one HTTP response carries."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterable, Iterator
from typing import Generic, TypeVar

import msgspec
import urllib3
from oslo_log import log as logging
from urllib3.exceptions import HTTPError, ReadTimeoutError

from kuryr.errors import Terminal
from kuryr.k8s import decoding
from kuryr.k8s.errors import Status, Unavailable, from_status
from kuryr.objects.meta import KubernetesObject
from kuryr.objects.resources import Resource

LOG = logging.getLogger(__name__)

T = TypeVar("T", bound=KubernetesObject)

ADDED = "ADDED"
MODIFIED = "MODIFIED"
DELETED = "DELETED"
BOOKMARK = "BOOKMARK"
_ERROR = "ERROR"


class WatchEvent(msgspec.Struct, Generic[T], frozen=True):
    """A change. ``type`` is ADDED, MODIFIED, DELETED or BOOKMARK; ``object`` is None for a bookmark.

    ``resource_version`` is where a later watch goes on.
    """

    type: str
    object: T | None
    resource_version: str


class _Line(msgspec.Struct):
    type: str
    object: msgspec.Raw


_LINE = msgspec.json.Decoder(_Line)
_STATUS = msgspec.json.Decoder(Status)


def lines(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """The complete lines in a stream of chunks; a line that the end cuts off is dropped."""
    pending: list[bytes] = []
    for chunk in chunks:
        first, *rest = chunk.split(b"\n")
        pending.append(first)
        for following in rest:
            if line := b"".join(pending):
                yield line
            pending = [following]


def decode(resource: Resource[T], operation: str, line: bytes) -> WatchEvent[T]:
    """The event of a line.

    An object that cannot be decoded is told, and its event becomes a bookmark; a deletion stays one, with
    metadata only.

    :raises ApiError: for an ERROR event (Gone where the watch must start over).
    """
    try:
        raw = _LINE.decode(line)
        if raw.type == _ERROR:
            raise from_status(operation, _STATUS.decode(raw.object))
        if raw.type != BOOKMARK:
            try:
                obj = decoding.one(resource, raw.object)
                return WatchEvent(raw.type, obj, obj.metadata.resource_version)
            except Terminal as error:
                LOG.error("%s: an event is passed over: %s", operation, error)
        metadata = decoding.PARTIAL.decode(raw.object).metadata
    except msgspec.MsgspecError as error:
        raise Unavailable(operation, f"a line that is no event: {error}") from error
    if raw.type == DELETED:
        gone = resource.type(api_version=resource.api_version, kind=resource.kind, metadata=metadata)
        return WatchEvent(DELETED, gone, metadata.resource_version)
    return WatchEvent(BOOKMARK, None, metadata.resource_version)


class WatchStream(Generic[T]):
    """An iterator of :class:`WatchEvent`, for one thread; any other may :meth:`close` it."""

    def __init__(self, response: urllib3.HTTPResponse, resource: Resource[T], operation: str) -> None:
        self._response = response
        self._operation = operation
        self._lock = threading.Lock()
        self._begun = False
        self._ended = False
        self._events = self._read(resource)

    def __iter__(self) -> Iterator[WatchEvent[T]]:
        return self._events

    def __next__(self) -> WatchEvent[T]:
        return next(self._events)

    def close(self) -> None:
        """End the stream at once, also in the middle of a blocking read, which then sees its end."""
        with self._lock:
            if self._ended:
                return
            self._ended = True
            if not self._begun:
                self._response.close()
                return
            with contextlib.suppress(OSError, RuntimeError, ValueError):  # the server ended it at this moment
                self._response.shutdown()

    def _read(self, resource: Resource[T]) -> Iterator[WatchEvent[T]]:
        with self._lock:
            self._begun = True
            if self._ended:
                return
        try:
            for line in lines(self._response.stream(amt=65536)):
                yield decode(resource, self._operation, line)
        except ReadTimeoutError as error:
            raise Unavailable(
                self._operation,
                "silent for so long that its connection may hang",
                reason="Silent",
            ) from error
        except (HTTPError, OSError, ValueError) as error:
            # Cut off by ourselves, the response ends in one of several ways.
            if not self._ended:
                raise Unavailable(self._operation, f"the watch broke: {error}") from error
        finally:
            with self._lock:
                self._ended = True
                self._response.close()
