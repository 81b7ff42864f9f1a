# SPDX-License-Identifier: Apache-2.0
"""Makes the ports that pools have ordered: a learnt number in one call, and always one call fewer than may be in flight."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError, Future
from typing import Any, Protocol

import msgspec

from kuryr.cloud.batches import BatchSize
from kuryr.cloud.networks import SubnetInfo
from kuryr.cloud.ports import Port
from kuryr.drivers.pod_vif.translate import UnusablePort
from kuryr.drivers.vif_pool.planning import Scope
from kuryr.drivers.vif_pool.pool import Member, PoolKey
from kuryr.drivers.vif_pool.stockroom import Stockroom
from kuryr.errors import CloudError, CloudNotFound, CloudUnavailable, KuryrError
from kuryr.objects.vif import VIF

LOG = logging.getLogger(__name__)

SHARE = "pool"
"""Whose turn the pools' calls take."""

Wanted = Sequence[tuple[PoolKey, Sequence[SubnetInfo]]]


class PortMaker(Protocol):
    """How ports of pools are made."""

    def make(self, key: PoolKey, subnets: Sequence[SubnetInfo]) -> Future[Port]:
        """Start to make a port of the pool, for the key's node, with one address of each subnet."""

    def make_together(self, wanted: Wanted) -> Future[list[Port]] | None:
        """Start to make ports of one project, all or none, by one call; None where each needs a call of its own."""

    def vif_of(self, port: Port, subnets: Sequence[SubnetInfo]) -> VIF:
        """The VIF of a port. May ask the cloud, and block.

        :raises UnusablePort: where it cannot be used.
        """


class _Call(msgspec.Struct, frozen=True):
    """A call that makes a port for each of ``keys``; ``in_flight``: of the pools', when it began, itself included."""

    keys: list[PoolKey]
    began: float
    in_flight: int


class Making:
    """The calls of one stockroom; all methods are for one thread."""

    def __init__(self, room: Stockroom, maker: PortMaker) -> None:
        self._room = room
        self._maker = maker
        self._context = room.context
        self._batch = BatchSize()
        self._in_flight = 0
        self._answers: list[tuple[_Call, Future[list[Port]], float]] = []

    def begin(self) -> None:
        """Start to make what is ordered, as far as no pod waits for a call's turn because of it."""
        while not self._room.stopping.is_set():
            keys = self._next(time.monotonic())
            if not keys:
                return
            for call, future in self._start(keys):
                self._follow(call, future)

    def receive(self) -> None:
        """Take in what was made."""
        while self._answers:
            with self._room.lock:
                call, future, ended = self._answers.pop(0)
            self._in_flight -= 1
            self._learn(call, future, ended)
            self._take_in(call.keys, future)

    def _next(self, now: float) -> list[PoolKey]:
        """What the next call is to make; nothing where no more calls may be in flight, or a burst goes before."""
        room = self._room
        limit = self._context.cloud.limiter.limit("create port")
        with room.lock:
            # One call is always left to pods, so that the next one's turn is at once.
            most = limit - 1 - room.cold if room.cold else max(1, limit - 1)
            if self._in_flight >= most or room.planner.bursting(now):
                return []
            first = room.planner.next(now, room.pool.size)
            keys = [first] if first is not None else []
            while first is not None and len(keys) < self._batch.size:
                more = room.planner.next(now, room.pool.size, _of_project(first.shape.project_id))
                if more is None:
                    break
                keys.append(more)
        return keys

    def _start(self, keys: list[PoolKey]) -> list[tuple[_Call, Future[list[Port]]]]:
        began = time.monotonic()
        try:
            wanted = [(key, self._subnets(key)) for key in keys]
            together = self._maker.make_together(wanted) if len(wanted) > 1 else None
            if together is not None:
                self._in_flight += 1
                return [(_Call(keys, began, self._in_flight), together)]
        except (KuryrError, CancelledError, ValueError) as error:
            self._in_flight += 1
            return [(_Call(keys, began, self._in_flight), _failed(error))]
        calls = []
        for key, subnets in wanted:
            self._in_flight += 1
            call = _Call([key], began, self._in_flight)
            try:
                future = _as_list(self._maker.make(key, subnets))
            except (KuryrError, CancelledError, ValueError) as error:
                future = _failed(error)
            calls.append((call, future))
        return calls

    def _follow(self, call: _Call, future: Future[list[Port]]) -> None:
        def arrived(done: Future[list[Port]]) -> None:
            with self._room.lock:
                self._answers.append((call, done, time.monotonic()))
                self._room.wake()

        future.add_done_callback(arrived)

    def _subnets(self, key: PoolKey) -> list[SubnetInfo]:
        """In the order in which requests have them.

        :raises KuryrError: where they cannot be read.
        """
        order = self._room.orders.get(key.shape.subnet_ids, key.shape.subnet_ids)
        reads = [self._context.subnets.get(subnet_id, share=SHARE) for subnet_id in order]
        return [read.result() for read in reads]

    def _learn(self, call: _Call, future: Future[list[Port]], ended: float) -> None:
        if future.cancelled() or future.exception() is not None:
            self._batch.failed(len(call.keys))
        else:
            maximum = self._context.conf.vif_pool.ports_pool_batch
            self._batch.completed(len(call.keys), ended - call.began, call.in_flight, maximum=maximum)

    def _take_in(self, keys: list[PoolKey], future: Future[list[Port]]) -> None:
        try:
            ports = future.result()
        except (KuryrError, CancelledError, ValueError) as error:
            if len(keys) > 1 and isinstance(error, CloudError) and not isinstance(error, CloudUnavailable):
                # All or none: one by one it shows which can be had.
                LOG.info("%d ports for pools were refused together: %s", len(keys), error)
                with self._room.lock:
                    for key in keys:
                        self._room.planner.again(key)
                return
            for key in keys:
                self._fail(key, error, None)
            return
        for key, port in zip(keys, ports, strict=True):
            self._add(key, port)

    def _add(self, key: PoolKey, port: Port) -> None:
        room, now = self._room, time.monotonic()
        try:
            subnets = self._subnets(key)
            vif = self._maker.vif_of(port, subnets)
        except (KuryrError, CancelledError, ValueError) as error:
            self._fail(key, error, port)
            return
        with room.lock:
            room.planner.made(key)
            room.planner.succeed(key, now)
            room.counters["made"] += 1
            order = tuple(subnet.id for subnet in subnets)
            room.add(Member(vif=vif, key=key, subnet_ids=order, since=now, rests_until=now))

    def _fail(self, key: PoolKey, error: BaseException, port: Port | None) -> None:
        room, now = self._room, time.monotonic()
        told = error if isinstance(error, KuryrError) else KuryrError(f"{type(error).__name__}: {error}")
        LOG.warning("No port for the pool of %s: %s", key.node, told)
        scope: Scope = key.shape
        if isinstance(error, UnusablePort):
            scope = key
        elif isinstance(error, CloudUnavailable) or not isinstance(error, CloudError):
            # What an unknown outcome left is found by an audit.
            scope = None
        if isinstance(error, CloudNotFound):
            for subnet_id in key.shape.subnet_ids:
                self._context.subnets.refresh(subnet_id)
        with room.lock:
            room.planner.made(key)
            room.planner.fail(scope, told, now)
            room.counters["failed"] += 1
            if port is not None:
                room.remove(port.id, port.project_id, now)
            for node in room.nodes():
                room.tell(node)


def _of_project(project_id: str) -> Callable[[PoolKey], bool]:
    return lambda key: key.shape.project_id == project_id


def _as_list(future: Future[Port]) -> Future[list[Port]]:
    """A future of a list of what ``future`` gives."""
    several: Future[list[Port]] = Future()

    def done(one: Future[Any]) -> None:
        if one.cancelled():
            several.set_exception(CancelledError())
        elif (error := one.exception()) is not None:
            several.set_exception(error)
        else:
            several.set_result([one.result()])

    future.add_done_callback(done)
    return several


def _failed(error: BaseException) -> Future[list[Port]]:
    future: Future[list[Port]] = Future()
    future.set_exception(error)
    return future
