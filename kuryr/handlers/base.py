# SPDX-License-Identifier: Apache-2.0
"""The contract of handlers.

A handler reconciles the objects of one kind. It is level-triggered: ``reconcile`` is given a key, looks at the latest
state in the stores, compares what should be with what is, and does nothing where they are equal. It never lists the API,
never sleeps, and never calls another handler: handlers meet through objects in the API only. It is a class behind an
entry point of ``kuryr.handlers``, named in ``[kubernetes] enabled_handlers``.
"""

from __future__ import annotations

import abc
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import msgspec
from oslo_config import cfg

from kuryr.drivers.loading import Drivers
from kuryr.drivers.types import Affected, Stores
from kuryr.errors import KuryrError
from kuryr.k8s.errors import Conflict, NotFound
from kuryr.objects.meta import Key, KubernetesObject
from kuryr.objects.resources import Resource

if TYPE_CHECKING:
    from kuryr.cloud.networks import Subnets
    from kuryr.k8s.client import Client
    from kuryr.k8s.events import EventRecorder
    from kuryr.k8s.informer import Change

ObserveStage = Callable[[str, float], None]

Right = tuple[str, Resource[Any], str]
"""Verb, kind and subresource, in all namespaces."""


class Context(msgspec.Struct, frozen=True):
    """What a handler may use. ``observe_stage(stage, seconds)`` feeds the metric of a pod's stages."""

    conf: cfg.ConfigOpts
    client: Client
    stores: Stores
    recorder: EventRecorder
    drivers: Drivers
    subnets: Subnets
    observe_stage: ObserveStage


class Handler(abc.ABC):
    """A reconciler of one kind."""

    resource: ClassVar[Resource[Any]]
    """The kind whose keys :meth:`reconcile` is given; every change that :meth:`concerns` it brings its object's key."""

    drivers_used: ClassVar[Collection[str]] = ()
    """Driver kinds beside the pod's path that the handler asks (``context.drivers.of_kind``)."""

    rights: ClassVar[Iterable[Right]] = ()
    """What the handler does in Kubernetes beside what the controller does anyway and beside watching: looked at at start."""

    def __init__(self, context: Context) -> None:
        self.context = context

    def watches(self) -> Mapping[Resource[Any], Affected]:
        """Other kinds that matter, each with a function from a changed object to the keys to reconcile."""
        return {}

    def concerns(self, change: Change[Any]) -> bool:
        """Whether a change of an object of :attr:`resource` calls for a reconcile; by default every change does.

        Not asked where nothing differs that the kind's class holds. So a write that a Conflict refused must be tried
        again (:class:`~kuryr.errors.Retry`): the change that it met need not bring the key back.

        A change that the handler itself makes to report a failure must not, or it would undo the key's back-off.
        """
        return True

    def shard_key(self, key: Key) -> str:
        """What decides which shard the key is in: by default its namespace."""
        return key.namespace

    @abc.abstractmethod
    def reconcile(self, key: Key) -> float | None:
        """Bring the object of ``key`` (or what is left of it, where the store has none) to what it should be.

        Runs in one of several threads, never twice at a time for one key.

        :returns: seconds after which to look again although nothing changed, or None.
        :raises WaitFor: to be called again when one of its calls completes.
        :raises Retry, Terminal: told by :meth:`report`; a Retry is called again with back-off.
        """

    def really_gone(self, resource: Resource[Any], key: Key, uid: str) -> bool:
        """Ask the API whether there is no object of that UID any more.

        For what cannot be undone, where the store that lacks it may be behind that of another kind: each is watched by
        itself, and a process that has just taken over may know what the last one wrote before it knows why.

        :raises ApiError: where the API does not answer.
        """
        try:
            return bool(self.context.client.get(resource, key).metadata.uid != uid)
        except NotFound:
            return True

    def report(self, key: Key, error: KuryrError) -> None:
        """Tell people about an error of ``key``: by default an Event on the object. Must not raise ``KuryrError``.

        Nobody is told of a Conflict: it only says that the store was not up to date.
        """
        if error.reason == Conflict.reason:
            return
        obj = self.context.stores[self.resource].get(key)
        if obj is not None:
            self.event(obj, error)

    def event(self, obj: KubernetesObject, error: KuryrError) -> None:
        """A Warning Event on ``obj`` that says what is wrong."""
        if self.context.conf.kubernetes.use_events:
            self.context.recorder.event(obj, error.reason, str(error), type="Warning")
