# SPDX-License-Identifier: Apache-2.0
"""Results of asynchronous calls, kept by identity between the reconciles that ask for them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from typing import Any, TypeVar

from kuryr.errors import WaitFor

T = TypeVar("T")


class CallBook:
    """Lets a reconcile be written as if calls were synchronous.

    A reconcile that needs a call asks ``run``; it is told to wait by :class:`~kuryr.errors.WaitFor`, gives
    its thread back, and when it runs again ``run`` with the same identity returns what the call gave.
    Thread-safe.
    """

    def __init__(self) -> None:
        # Reentrant: a call may be started by a function that itself asks the book.
        self._lock = threading.RLock()
        self._calls: dict[Hashable, Future[Any]] = {}

    def run(self, identity: Hashable, start: Callable[[], Future[T]]) -> T:
        """The result of the call named ``identity``, which ``start`` starts where it is not yet known.

        The result is kept until :meth:`forget`. An error is raised once and then forgotten, so that the next
        ``run`` starts a new call.

        :param start: must not block; it runs under the book's lock, so that a call is never started twice.
        :raises WaitFor: while the call is under way.
        """
        with self._lock:
            call: Future[T] | None = self._calls.get(identity)
            if call is None or call.cancelled():
                call = self._calls[identity] = start()
            if not call.done():
                raise WaitFor([call])
            if call.cancelled() or call.exception() is not None:
                del self._calls[identity]
        return call.result()

    def forget(self, identity: Hashable) -> Future[Any] | None:
        """Drop what is known of a call; returns it where there was one, so that its outcome can be used.

        A call that is under way goes on.
        """
        with self._lock:
            return self._calls.pop(identity, None)

    def __len__(self) -> int:
        return len(self._calls)
