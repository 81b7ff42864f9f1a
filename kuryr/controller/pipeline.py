# SPDX-License-Identifier: Apache-2.0
"""From changes to reconciles: each handler with a keyed queue and its threads, while this process holds the shard."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from typing import Any

from kuryr.controller.metrics import Metrics
from kuryr.errors import KuryrError, Retry, Terminal, WaitFor
from kuryr.handlers.base import Handler
from kuryr.k8s.errors import NotHolding
from kuryr.k8s.informer import Change, Informer
from kuryr.k8s.queue import WorkQueue
from kuryr.objects.meta import Key
from kuryr.objects.resources import Resource

LOG = logging.getLogger(__name__)

Informers = Mapping[Resource[Any], Informer[Any]]


class HandlerRunner:
    """One handler, its queue and its threads. Made anew for each time that the shard is held."""

    def __init__(self, name: str, handler: Handler, threads: int, metrics: Metrics) -> None:
        self.name = name
        self.handler = handler
        self.queue: WorkQueue[Key] = WorkQueue(observe_latency=metrics.queue_latency.labels(name).observe)
        self._metrics = metrics
        self._threads = [
            threading.Thread(target=self._work, name=f"{name}-{number}", daemon=True)
            for number in range(threads)
        ]

    def start(self) -> None:
        """Begin to work."""
        for thread in self._threads:
            thread.start()

    def stop(self, deadline: float) -> bool:
        """Take no more keys, and wait for those in work until ``deadline`` (monotonic); whether all are through."""
        self.queue.shutdown()
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        return not any(thread.is_alive() for thread in self._threads)

    def _work(self) -> None:
        while (key := self.queue.get()) is not None:
            started = time.monotonic()
            result = "bug"
            try:
                result = self._reconcile(key)
            finally:
                self.queue.done(key)
                self._metrics.reconciled(self.name, result, time.monotonic() - started)

    def _reconcile(self, key: Key) -> str:
        """Reconcile once and queue the key again as the outcome asks; the outcome in a word."""
        try:
            again = self.handler.reconcile(key)
        except WaitFor as wait:
            self._wait_for(key, wait.calls)
            return "waiting"
        except NotHolding as error:
            # Told to nobody: another process may be at work on this key by now. If none is, the Lease is renewed
            # though late, and nothing else would bring the key back.
            LOG.warning("%s %s: %s", self.name, key, error)
            self.queue.retry(key)
            return error.reason
        except KuryrError as error:
            LOG.warning("%s %s: %s", self.name, key, error)
            self._report(key, error)
            if isinstance(error, Terminal):
                self.queue.forget(key)
            else:
                self._retry(key, error.retry_after if isinstance(error, Retry) else None)
            return error.reason
        except Exception:
            LOG.exception("%s %s: a bug in the handler or one of its drivers", self.name, key)
            self._report(
                key, KuryrError("an internal error; the controller's log has it", reason="InternalError")
            )
            self.queue.retry(key)
            return "bug"
        self.queue.forget(key)
        if again is not None:
            self.queue.add_after(key, again)
        return "ok"

    def _wait_for(self, key: Key, calls: Sequence[Future[Any]]) -> None:
        def completed(_: Future[Any]) -> None:
            self.queue.add(key)

        if not calls:
            # Nothing would ever bring the key back.
            self.queue.retry(key)
        for call in calls:
            call.add_done_callback(completed)

    def _retry(self, key: Key, after: float | None) -> None:
        if not after:
            self.queue.retry(key)
        else:
            self.queue.add_after(key, after)

    def _report(self, key: Key, error: KuryrError) -> None:
        try:
            self.handler.report(key, error)
        except Exception:
            LOG.exception("%s %s: the error could not be reported", self.name, key)


class Pipeline:
    """All handlers. Changes reach the queues only between :meth:`start` and :meth:`stop`."""

    def __init__(
        self, handlers: Mapping[str, Handler], informers: Informers, metrics: Metrics, threads: int
    ) -> None:
        self._handlers = handlers
        self._informers = informers
        self._metrics = metrics
        self._threads = threads
        self._runners: dict[str, HandlerRunner] = {}
        for name, handler in handlers.items():
            informers[handler.resource].add_listener(self._own_change(name, handler))
            for resource, affected in handler.watches().items():
                informers[resource].add_listener(self._other_change(name, affected))

    def _own_change(self, name: str, handler: Handler) -> Any:
        def changed(change: Change[Any]) -> None:
            runner = self._runners.get(name)
            if runner is not None and change.visible and handler.concerns(change):
                runner.queue.add(change.latest.key)

        return changed

    def _other_change(self, name: str, affected: Any) -> Any:
        def changed(change: Change[Any]) -> None:
            runner = self._runners.get(name)
            if runner is None or not change.visible:
                return
            # What the object was matters as well: it may have affected others before.
            keys = {key for obj in (change.old, change.new) if obj is not None for key in affected(obj)}
            for key in keys:
                runner.queue.add(key)

        return changed

    def start(self) -> None:
        """Begin to reconcile, with every key that there is."""
        runners = {
            name: HandlerRunner(name, handler, self._threads, self._metrics)
            for name, handler in self._handlers.items()
        }
        self._runners = runners
        self._metrics.watch_depths({name: runner.queue.__len__ for name, runner in runners.items()})
        for runner in runners.values():
            for key in self._keys(runner.handler):
                runner.queue.add(key)
            runner.start()

    def _keys(self, handler: Handler) -> set[Key]:
        keys = set(self._informers[handler.resource].store.keys())
        for resource, affected in handler.watches().items():
            for obj in self._informers[resource].store.values():
                keys.update(affected(obj))
        return keys

    def stop(self, grace: float) -> bool:
        """Finish what is in work within ``grace`` seconds, take nothing new; whether all was finished."""
        deadline = time.monotonic() + grace
        runners, self._runners = self._runners, {}
        for runner in runners.values():
            runner.queue.shutdown()
        finished = [runner.stop(deadline) for runner in runners.values()]
        return all(finished)
