# SPDX-License-Identifier: Apache-2.0
"""A live copy of parts of Open vSwitch's database, and transactions on it.

One thread owns the connection; it hands every change of a row to its owner and carries out transactions. Several
transactions can be in flight at a time.
"""

from __future__ import annotations

import logging
import os
import select
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from typing import Any

from kuryr.net.errors import SwitchError, SwitchUnavailable
from kuryr.net.native_threads import without_eventlet

with without_eventlet():
    from ovs import jsonrpc, stream
    from ovs.db import idl
    from ovs.poller import Poller

LOG = logging.getLogger(__name__)

SCHEMA = "Open_vSwitch"

RECONNECT_AFTER = 1.0
"""Seconds between attempts to reach a database that was never reached."""

PROBE_INTERVAL = 5000
"""Milliseconds of silence after which the connection is probed (not on unix sockets)."""

Tables = Mapping[str, Sequence[str]]
Build = Callable[[Any, Any], None]
"""Composes a transaction: gets ``idl.tables`` and the transaction. May be called again when the data changed."""


class _Replica(idl.Idl):  # type: ignore[misc]
    """The library's copy, telling which rows changed."""

    def __init__(
        self, remote: str, schema: idl.SchemaHelper, changed: Callable[[str, Any, bool], None]
    ) -> None:
        super().__init__(remote, schema, probe_interval=PROBE_INTERVAL)
        self._changed = changed

    def notify(self, event: str, row: Any, updates: Any = None) -> None:
        self._changed(row._table.name, row, event == idl.ROW_DELETE)


class _Job:
    """A transaction that somebody waits for."""

    def __init__(self, build: Build) -> None:
        self.build = build
        self.outcome: Future[None] = Future()
        self.abandoned = False
        """Nobody waits any more: what was not carried out is not carried out later."""


class Ovsdb:
    """A connection that is made again whenever it breaks.

    :param remote: for instance ``unix:/run/openvswitch/db.sock`` or ``tcp:127.0.0.1:6640``.
    :param tables: table → the columns to follow.
    :param changed: called in the connection's thread for a row that changed: table, row, whether it went away.
    :param settled: called there after each batch of changes with the live tables.
    """

    def __init__(
        self,
        remote: str,
        tables: Tables,
        changed: Callable[[str, Any, bool], None],
        settled: Callable[[Any], None],
    ) -> None:
        self.remote = remote
        self._tables = tables
        self._changed = changed
        self._settled = settled
        self._live = False
        self._thread: threading.Thread | None = None
        self._stopping = False
        self._wake_fd = -1
        self._lock = threading.Lock()
        self._queue: deque[_Job] = deque()
        self._pending: list[tuple[Any, _Job]] = []

    def start(self) -> None:
        """Connect, in the background."""
        self._wake_fd = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._thread = threading.Thread(target=self._run, name="ovsdb", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Disconnect; transactions that are not through fail."""
        if self._thread is None:
            return
        self._stopping = True
        self._wake()
        self._thread.join()
        self._thread = None
        os.close(self._wake_fd)

    @property
    def connected(self) -> bool:
        """Whether the copy is complete and live."""
        return self._live

    def transact(self, build: Build, timeout: float) -> None:
        """Carry out a transaction; what it changed is in the copy when this returns.

        :param build: composes it; whatever it raises is raised here, and nothing is changed.
        :param timeout: seconds to wait for the database.
        :raises SwitchUnavailable: without an answer in time; it may be carried out all the same.
        :raises SwitchError: with the database's reason.
        """
        self.begin(build)(timeout)

    def begin(self, build: Build) -> Callable[[float], None]:
        """Begin a transaction; what is returned waits for its end, as :meth:`transact` does.

        :raises SwitchUnavailable: where it cannot be begun.
        """
        job = _Job(build)
        with self._lock:
            if self._thread is None or self._stopping:
                raise SwitchUnavailable(f"Open vSwitch's database {self.remote}: not connected")
            self._queue.append(job)
        self._wake()

        def finish(timeout: float) -> None:
            try:
                job.outcome.result(timeout)
            except TimeoutError:
                job.abandoned = True
                raise SwitchUnavailable(
                    f"Open vSwitch's database {self.remote} does not answer: is ovsdb-server running?"
                ) from None

        return finish

    def _wake(self) -> None:
        os.eventfd_write(self._wake_fd, 1)

    def _run(self) -> None:
        while not self._stopping:
            if (schema := self._schema()) is None:
                self._sleep(RECONNECT_AFTER)
                continue
            replica = _Replica(self.remote, schema, self._changed)
            try:
                self._follow(replica)
            except Exception:
                # The copy cannot be trusted after an error in the library: begin again with a new one.
                LOG.exception("Lost track of Open vSwitch's database %s", self.remote)
                self._sleep(RECONNECT_AFTER)
            finally:
                self._live = False
                replica.close()
        self._fail_all()

    def _schema(self) -> idl.SchemaHelper | None:
        """The database's schema, cut to our tables."""
        error, channel = stream.Stream.open_block(stream.Stream.open(self.remote))
        if error:
            LOG.warning("Open vSwitch's database %s: %s", self.remote, os.strerror(error))
            return None
        rpc = jsonrpc.Connection(channel)
        try:
            error, answer = rpc.transact_block(jsonrpc.Message.create_request("get_schema", [SCHEMA]))
        finally:
            rpc.close()
        if error or answer.error:
            LOG.warning("Open vSwitch's database %s has no schema %s", self.remote, SCHEMA)
            return None
        helper = idl.SchemaHelper(schema_json=answer.result)
        for table, columns in self._tables.items():
            helper.register_columns(table, list(columns))
        return helper

    def _sleep(self, seconds: float) -> None:
        waiting = select.poll()
        waiting.register(self._wake_fd, select.POLLIN)
        waiting.poll(seconds * 1000)
        self._drain()

    def _drain(self) -> None:
        try:
            os.eventfd_read(self._wake_fd)
        except BlockingIOError:
            return

    def _follow(self, replica: _Replica) -> None:
        poller = Poller()
        while not self._stopping:
            if replica.run():
                self._settled(replica.tables)
            # Only now: while the library works, its copy is complete before its owner has seen it.
            self._live = replica.state == idl.Idl.IDL_S_MONITORING
            self._progress(replica)
            replica.wait(poller)
            poller.fd_wait(self._wake_fd, select.POLLIN)
            poller.block()
            self._drain()

    def _progress(self, replica: _Replica) -> None:
        """Send what was asked for, complete what was answered."""
        still = []
        for transaction, job in self._pending:
            status = transaction.commit()
            if status == idl.Transaction.INCOMPLETE:
                still.append((transaction, job))
            else:
                self._complete(transaction, status, job)
        self._pending = still
        if replica.state != idl.Idl.IDL_S_MONITORING:
            return
        with self._lock:
            batch, self._queue = self._queue, deque()
        for job in batch:
            if job.abandoned:
                continue
            transaction = idl.Transaction(replica)
            try:
                job.build(replica.tables, transaction)
            except Exception as error:
                transaction.abort()
                job.outcome.set_exception(error)
                continue
            status = transaction.commit()
            if status == idl.Transaction.INCOMPLETE:
                self._pending.append((transaction, job))
            else:
                self._complete(transaction, status, job)

    def _complete(self, transaction: Any, status: str, job: _Job) -> None:
        if status in (idl.Transaction.SUCCESS, idl.Transaction.UNCHANGED):
            job.outcome.set_result(None)
        elif status == idl.Transaction.TRY_AGAIN:
            with self._lock:
                self._queue.append(job)
            self._wake()
        else:
            reason = transaction.get_error() or status
            job.outcome.set_exception(SwitchError(f"Open vSwitch's database {self.remote}: {reason}"))

    def _fail_all(self) -> None:
        with self._lock:
            batch, self._queue = self._queue, deque()
        waiting = [*batch, *(job for _, job in self._pending)]
        self._pending = []
        for job in waiting:
            job.outcome.set_exception(
                SwitchUnavailable(f"Open vSwitch's database {self.remote}: disconnected")
            )
