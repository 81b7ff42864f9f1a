# SPDX-License-Identifier: Apache-2.0
"""The latest known objects of one kind, with indexes."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from typing import Generic, TypeVar

from oslo_log import log as logging

from kuryr.objects.meta import Key, KubernetesObject

LOG = logging.getLogger(__name__)

T = TypeVar("T", bound=KubernetesObject)


class _Index(Generic[T]):
    """Value → the objects that have it."""

    def __init__(self, values_of: Callable[[T], Iterable[str]]) -> None:
        self.values_of = values_of
        self.objects: dict[str, dict[Key, T]] = {}

    def change(self, key: Key, old: T | None, new: T | None) -> None:
        values = self._values(new) if new is not None else set()
        if old is not None:
            for value in self._values(old):
                having = self.objects.get(value)
                if having is not None and value not in values:
                    having.pop(key, None)
                    if not having:
                        del self.objects[value]
        if new is not None:
            for value in values:
                self.objects.setdefault(value, {})[key] = new

    def _values(self, obj: T) -> set[str]:
        try:
            return set(self.values_of(obj))
        except Exception:
            # One bad object must not keep the others out of the store.
            LOG.exception("An index function failed on %s %s; it is found under no value", obj.kind, obj.key)
            return set()


class Store(Generic[T]):
    """Thread-safe. Objects are shared by their readers: nobody changes one. Index functions are pure."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._objects: dict[Key, T] = {}
        self._indexes: dict[str, _Index[T]] = {}

    def get(self, key: Key) -> T | None:
        """The object, or None."""
        return self._objects.get(key)

    def values(self) -> list[T]:
        """All objects, in no order that means something."""
        with self._lock:
            return list(self._objects.values())

    def keys(self) -> list[Key]:
        """All keys."""
        with self._lock:
            return list(self._objects)

    def __len__(self) -> int:
        return len(self._objects)

    def __contains__(self, key: Key) -> bool:
        return key in self._objects

    def add_index(self, name: str, values_of: Callable[[T], Iterable[str]]) -> None:
        """Keep an index: ``values_of`` gives the values under which an object is found.

        :raises ValueError: where the store has an index of that name.
        """
        index = _Index(values_of)
        with self._lock:
            if name in self._indexes:
                raise ValueError(f"index {name!r} exists already")
            for key, obj in self._objects.items():
                index.change(key, None, obj)
            self._indexes[name] = index

    def by_index(self, name: str, value: str) -> list[T]:
        """The objects that have ``value`` in the index.

        :raises KeyError: for an index that was not added.
        """
        with self._lock:
            return list(self._indexes[name].objects.get(value, {}).values())

    def upsert(self, obj: T) -> T | None:
        """Put the object in; what was there before."""
        with self._lock:
            return self._put(obj)

    def remove(self, key: Key) -> T | None:
        """Take the object out; what was there."""
        with self._lock:
            return self._drop(key)

    def replace(self, items: Iterable[T]) -> None:
        """Hold exactly ``items``."""
        new = {obj.key: obj for obj in items}
        with self._lock:
            for key in [key for key in self._objects if key not in new]:
                self._drop(key)
            for obj in new.values():
                self._put(obj)

    def _put(self, obj: T) -> T | None:
        key = obj.key
        old = self._objects.get(key)
        # Readers take no lock to get one object: it is replaced in one step, never missing in between.
        for index in self._indexes.values():
            index.change(key, old, obj)
        self._objects[key] = obj
        return old

    def _drop(self, key: Key) -> T | None:
        old = self._objects.pop(key, None)
        for index in self._indexes.values():
            index.change(key, old, None)
        return old
