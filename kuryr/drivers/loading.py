# SPDX-License-Identifier: Apache-2.0
"""Finding drivers and handlers by name, with errors that list the valid ones."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterable, Mapping
from importlib.metadata import EntryPoint, distributions
from typing import Any, TypeVar, cast

from oslo_config import cfg
from stevedore import ExtensionManager

from kuryr.drivers.base import (
    Driver,
    EndpointsLBaaSDriver,
    MultiVIFDriver,
    NetworkPolicyDriver,
    NodesSubnetsDriver,
    PodSecurityGroupsDriver,
    PodSubnetsDriver,
    PodVIFDriver,
    ProjectDriver,
    ServicePublicIPDriver,
    ServiceSecurityGroupsDriver,
    ServiceSubnetsDriver,
    VIFPoolDriver,
)
from kuryr.drivers.types import DriverContext
from kuryr.errors import ConfigurationError

NAMESPACE = "kuryr.drivers."

D = TypeVar("D", bound=Driver)


def entry_points(namespace: str) -> dict[str, list[EntryPoint]]:
    """Name → entry points of that name (several where packages clash)."""
    found: dict[str, list[EntryPoint]] = {}
    for entry_point in ExtensionManager(namespace=namespace, invoke_on_load=False).list_entry_points():
        known = found.setdefault(entry_point.name, [])
        if entry_point not in known:
            known.append(entry_point)
    return found


def load_class(namespace: str, name: str, option: str, base: type[Any]) -> type[Any]:
    """The class that ``name`` stands for.

    :param option: what to blame, for instance ``[kubernetes] vif_pool_driver``.
    :raises ConfigurationError: for an unknown or doubly defined name, a class that cannot be imported or is not a ``base``.
    """
    found = entry_points(namespace)
    if name not in found:
        valid = ", ".join(sorted(found)) or "none is installed"
        raise ConfigurationError(f"{option}: {name!r} is not known. Valid names: {valid}.")
    if len(found[name]) > 1:
        # What stevedore keeps in its cache has lost its package.
        packages = ", ".join(
            sorted(
                f"{distribution.name} has {entry_point.value}"
                for distribution in distributions()
                for entry_point in distribution.entry_points
                if (entry_point.group, entry_point.name) == (namespace, name)
            )
        )
        raise ConfigurationError(
            f"{option}: {name!r} is defined by several packages ({packages}). Remove all but one."
        )
    entry_point = found[name][0]
    try:
        loaded = entry_point.load()
    except Exception as error:
        raise ConfigurationError(
            f"{option}: {name!r} cannot be loaded from {entry_point.value}: {type(error).__name__}: {error}"
        ) from error
    if not (isinstance(loaded, type) and issubclass(loaded, base)):
        raise ConfigurationError(
            f"{option}: {name!r} ({entry_point.value}) is not a {base.__module__}.{base.__name__}."
        )
    missing = sorted(getattr(loaded, "__abstractmethods__", ()))
    if missing:
        raise ConfigurationError(
            f"{option}: {name!r} ({entry_point.value}) lacks {', '.join(missing)} of {base.__name__}."
        )
    return loaded


def register_options(conf: cfg.ConfigOpts, driver: type[Driver]) -> None:
    """Register the driver's own options."""
    for group, opts in driver.OPTS:
        conf.register_opts(list(opts), group=group)


KINDS: Mapping[str, type[Driver]] = {
    "endpoints_lbaas": EndpointsLBaaSDriver,
    "namespace_project": ProjectDriver,
    "network_policy": NetworkPolicyDriver,
    "network_policy_project": ProjectDriver,
    "nodes_subnets": NodesSubnetsDriver,
    "service_project": ProjectDriver,
    "service_public_ip": ServicePublicIPDriver,
    "service_security_groups": ServiceSecurityGroupsDriver,
    "service_subnets": ServiceSubnetsDriver,
}
"""Kinds beside the pod's path: made only where an enabled handler uses them (``Handler.drivers_used``)."""


def load_kind(conf: cfg.ConfigOpts, kind: str) -> type[Driver]:
    """The class that the option of one of :data:`KINDS` chooses.

    :raises ConfigurationError: as :func:`load_class`.
    """
    option = f"{kind}_driver"
    return load_class(NAMESPACE + kind, conf.kubernetes[option], f"[kubernetes] {option}", KINDS[kind])


class Drivers:
    """The drivers of the pod's path, made and matched with each other, and those of other kinds that handlers use.

    :raises ConfigurationError: where any option names what cannot be used; all of them are told at once.
    """

    def __init__(self, context: DriverContext, used: Iterable[str] = ()) -> None:
        self._context = context
        self._problems: list[str] = []
        self._lock = threading.Lock()
        self._vif_drivers: dict[str, PodVIFDriver] = {}
        conf = context.conf.kubernetes
        self.pod_project = cast(
            ProjectDriver, self._make("pod_project", conf.pod_project_driver, ProjectDriver)
        )
        self.pod_subnets = cast(
            PodSubnetsDriver, self._make("pod_subnets", conf.pod_subnets_driver, PodSubnetsDriver)
        )
        self.pod_security_groups = cast(
            PodSecurityGroupsDriver,
            self._make("pod_security_groups", conf.pod_security_groups_driver, PodSecurityGroupsDriver),
        )
        self.pod_vif = cast(PodVIFDriver, self._make("pod_vif", conf.pod_vif_driver, PodVIFDriver))
        self.vif_pool = cast(VIFPoolDriver, self._make_pool(conf.vif_pool_driver, conf.pod_vif_driver))
        self.multi_vif = [
            cast(MultiVIFDriver, driver)
            for name in conf.multi_vif_drivers
            if (driver := self._make("multi_vif", name, MultiVIFDriver, "multi_vif_drivers")) is not None
        ]
        self._others: dict[str, Driver] = {
            kind: driver
            for kind in sorted(set(used))
            if (driver := self._make(kind, conf[f"{kind}_driver"], KINDS[kind])) is not None
        }
        if self._problems:
            raise ConfigurationError("\n".join(self._problems))
        for name in self.vif_pool.vif_driver_names():
            self._vif_drivers[name] = self.vif_pool

    def _make(
        self, kind: str, name: str, base: type[Driver], option: str | None = None, *args: Any
    ) -> Driver | None:
        try:
            cls = load_class(NAMESPACE + kind, name, f"[kubernetes] {option or kind + '_driver'}", base)
            register_options(self._context.conf, cls)
            return cast(Driver, cls(self._context, *args))
        except ConfigurationError as error:
            self._problems.append(str(error))
            return None

    def _make_pool(self, name: str, vif_driver: str) -> Driver | None:
        if self.pod_vif is None:
            return None
        pool = self._make("vif_pool", name, VIFPoolDriver, None, self.pod_vif)
        if isinstance(pool, VIFPoolDriver) and (problem := pool_problem(type(pool), name, vif_driver)):
            self._problems.append(problem)
        return pool

    def of_kind(self, base: type[D], kind: str = "") -> D:
        """The driver of one of :data:`KINDS`, by its contract (and kind, where several share the contract).

        :raises KeyError: where no enabled handler says in ``drivers_used`` that it uses the kind.
        """
        return cast(D, self._others[kind or base.kind])

    def vif_driver(self, name: str = "") -> PodVIFDriver:
        """The driver to ask for VIFs: the pool in front of the configured one, or another pod_vif driver by name.

        :raises ConfigurationError: where ``name`` is not known.
        """
        name = name or self._context.conf.kubernetes.pod_vif_driver
        with self._lock:
            driver = self._vif_drivers.get(name)
            if driver is None:
                cls = load_class(NAMESPACE + "pod_vif", name, f"pod_vif driver {name!r}", PodVIFDriver)
                register_options(self._context.conf, cls)
                driver = self._vif_drivers[name] = cls(self._context)
                # It is asked for the first time by a reconcile: the others were started before.
                driver.start()
        return driver

    def vif_drivers(self) -> list[PodVIFDriver]:
        """Those that were asked for VIFs: the pool, and others by name."""
        with self._lock:
            return list(dict.fromkeys(self._vif_drivers.values()))

    def all(self) -> list[Driver]:
        """Every driver, once."""
        fixed: list[Driver] = [
            self.pod_project,
            self.pod_subnets,
            self.pod_security_groups,
            self.pod_vif,
            self.vif_pool,
            *self.multi_vif,
            *self._others.values(),
        ]
        return fixed + [driver for driver in self.vif_drivers() if driver not in fixed]


def pool_problem(
    pool: type[VIFPoolDriver], name: str, vif_driver: str, option: str = "[kubernetes] vif_pool_driver"
) -> str | None:
    """Why the pool of that name cannot keep VIFs of that driver, if it cannot."""
    supported = pool.supported_vif_drivers
    if supported is None or vif_driver in supported:
        return None
    return (
        f"{option}: {name!r} cannot keep VIFs of pod_vif_driver {vif_driver!r}, "
        f"only of: {', '.join(sorted(supported))}."
    )


def duplicates(names: list[str]) -> list[str]:
    """Names that stand more than once in a list option."""
    return [name for name, count in Counter(names).items() if count > 1]
