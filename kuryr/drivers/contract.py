# SPDX-License-Identifier: Apache-2.0
"""What every driver kind shares. Third parties find it in ``kuryr.drivers.base``."""

from __future__ import annotations

import abc
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar

from oslo_config import cfg

from kuryr.drivers.types import Affected, DriverContext
from kuryr.objects.resources import Resource


class Driver(abc.ABC):
    """What all kinds share."""

    kind: ClassVar[str]
    """The kind: entry points of it are in ``kuryr.drivers.<kind>``."""

    OPTS: ClassVar[Sequence[tuple[str, Sequence[cfg.Opt]]]] = ()
    """Options of the driver's own: groups and what they hold. Registered before the driver is made."""

    def __init__(self, context: DriverContext) -> None:
        self.context = context

    def validate(self) -> Iterable[str]:
        """Tell what keeps the driver from working here, one sentence each, naming the option and what was expected.

        Called once, at start, with the stores empty. It may ask the cloud and block. An unreachable cloud is not a
        problem to tell (raise ``CloudUnavailable``); an id that does not exist there is.
        """
        return ()

    def watches(self) -> Mapping[Resource[Any], Affected]:
        """Kinds whose objects the answers depend on, with the keys of the KuryrPorts that each such object affects.

        The kinds are then in ``context.stores``, and the named KuryrPorts are reconciled when an object changes.
        """
        return {}

    def start(self) -> None:
        """Begin background work. Called when this process takes over its shard, with all stores synced."""

    def stop(self) -> None:
        """End background work within a second or two: this process reconciles no more. ``start`` may follow."""
