# SPDX-License-Identifier: Apache-2.0
"""``vif_pool_driver = multi_pool``: a pool for each pod_vif driver, where nodes differ in how their VIFs are made."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from concurrent.futures import Future
from functools import partial
from typing import Any, ClassVar

from oslo_config import cfg

from kuryr.drivers.base import (
    Allocation,
    Choice,
    DriverContext,
    Owner,
    PodVIFDriver,
    PoolSize,
    Release,
    Shape,
    Stock,
    VIFPoolDriver,
    VIFRequest,
)
from kuryr.drivers.inventory import Snapshot
from kuryr.drivers.loading import NAMESPACE, load_class, pool_problem, register_options
from kuryr.errors import ConfigurationError
from kuryr.objects.core import POD_VIF_LABEL
from kuryr.objects.meta import Key
from kuryr.objects.resources import NODES
from kuryr.objects.vif import VIF

OPTION = "[vif_pool] vif_pool_mapping"


class MultiPool(VIFPoolDriver):
    """Passes everything to the pool in front of the VIF's own driver."""

    keeps_vifs: ClassVar[bool] = True

    def __init__(self, context: DriverContext, vif_driver: PodVIFDriver) -> None:
        """Make the pools and drivers of the mapping.

        :raises ConfigurationError: where the mapping is empty, names what is not known or does not go together.
        """
        super().__init__(context, vif_driver)
        self._default: str = context.conf.kubernetes.pod_vif_driver
        self._pools: dict[str, VIFPoolDriver] = {}
        for name, (driver_class, pool_class) in _classes(context.conf).items():
            driver = vif_driver
            if name != self._default:
                register_options(context.conf, driver_class)
                driver = driver_class(context)
            register_options(context.conf, pool_class)
            self._pools[name] = pool_class(context, driver)
            self._pools[name].serves = partial(self._is_of, name)

    def _is_of(self, name: str, node: str) -> bool:
        return self.vif_driver_name(node) == name

    @classmethod
    def name_problems(cls, conf: cfg.ConfigOpts) -> Iterable[str]:
        """Those of the mapping."""
        try:
            _classes(conf)
        except ConfigurationError as error:
            return str(error).splitlines()
        return ()

    def vif_driver_name(self, node: str) -> str:
        """As the node's label says, where the mapping has it."""
        found = self.context.stores[NODES].get(Key("", node)) if NODES in self.context.stores else None
        name = found.metadata.labels.get(POD_VIF_LABEL, "") if found is not None else ""
        return name if name in self._pools else self._default

    def vif_driver_names(self) -> Iterable[str]:
        """Those of the mapping."""
        return tuple(self._pools)

    def _of(self, node: str = "", driver: str = "") -> VIFPoolDriver:
        return self._pools.get(driver) or self._pools[self.vif_driver_name(node)]

    def validate(self) -> Iterable[str]:
        """What all of them find wrong."""
        for pool in self._pools.values():
            if pool.vif_driver is not self.vif_driver:
                yield from pool.vif_driver.validate()
            yield from pool.validate()

    def start(self) -> None:
        """Start all; the configured pod_vif driver is started by itself."""
        for pool in self._pools.values():
            if pool.vif_driver is not self.vif_driver:
                pool.vif_driver.start()
            pool.start()

    def stop(self) -> None:
        """Stop all."""
        for pool in self._pools.values():
            pool.stop()
            if pool.vif_driver is not self.vif_driver:
                pool.vif_driver.stop()

    def request_vif(self, request: VIFRequest, choice: Choice) -> Allocation:
        """Of the pool of the driver that the request names, else the node's."""
        return self._of(request.owner.node, request.pod_vif_driver).request_vif(request, choice)

    def settled(self, request: VIFRequest) -> None:
        """Told to the same pool."""
        self._of(request.owner.node, request.pod_vif_driver).settled(request)

    def abandon(self, owner: Owner) -> None:
        """Told to all: any may have been asked."""
        for pool in self._pools.values():
            pool.abandon(owner)

    def release_vif(self, release: Release) -> None:
        """To the pool of the driver that made it."""
        self._of(release.owner.node, release.driver).release_vif(release)

    def update_security_groups(self, allocation: Allocation, groups: Sequence[str], share: str) -> None:
        """By the pool that it came from."""
        self._of(driver=allocation.driver).update_security_groups(allocation, groups, share)

    def is_up(self, allocation: Allocation) -> bool:
        """As the driver that made it says."""
        return self._of(driver=allocation.driver).is_up(allocation)

    def port_fields(self, owner: Owner, ifname: str, allocation: Allocation) -> Mapping[str, Any] | None:
        """As the driver that made it says."""
        return self._of(owner.node, allocation.driver).port_fields(owner, ifname, allocation)

    def lost(self, vif_id: str) -> None:
        """Told to all: any may have it back."""
        for pool in self._pools.values():
            pool.lost(vif_id)

    def adopt(self, owner: Owner, ifname: str, vif: VIF, project_id: str) -> Allocation:
        """As the node's driver does."""
        return self._of(owner.node).adopt(owner, ifname, vif, project_id)

    def stock(self, node: str) -> Stock:
        """Of the node's pool."""
        return self._of(node).stock(node)

    def change(self, node: str) -> Future[None]:
        """Of the node's pool."""
        return self._of(node).change(node)

    def eased(self, node: str) -> float:
        """Of the node's pool."""
        return self._of(node).eased(node)

    def node_changed(self, node: str) -> None:
        """Told to all: the label may have changed."""
        for pool in self._pools.values():
            pool.node_changed(node)

    def audit(self, snapshot: Snapshot) -> None:
        """Shown to all."""
        for pool in self._pools.values():
            pool.audit(snapshot)

    def known_ports(self) -> Collection[str] | None:
        """Of all, once all know."""
        found: set[str] = set()
        for pool in self._pools.values():
            known = pool.known_ports()
            if known is None:
                return None
            found.update(known)
        return found

    def pools(self) -> Sequence[PoolSize]:
        """Of all."""
        return [size for pool in self._pools.values() for size in pool.pools()]

    def counters(self) -> Mapping[str, int]:
        """Sums."""
        sums: dict[str, int] = {}
        for pool in self._pools.values():
            for name, number in pool.counters().items():
                sums[name] = sums.get(name, 0) + number
        return sums

    def populate(self, node: str, number: int, shape: Shape | None = None) -> int:
        """The node's pool."""
        return self._of(node).populate(node, number, shape)

    def free(self, node: str = "") -> int:
        """Of all."""
        return sum(pool.free(node) for pool in self._pools.values())

    def drain(self, subnet_ids: Collection[str]) -> int:
        """Of all."""
        return sum(pool.drain(subnet_ids) for pool in self._pools.values())


def _classes(conf: cfg.ConfigOpts) -> dict[str, tuple[type[PodVIFDriver], type[VIFPoolDriver]]]:
    """The pod_vif drivers of the mapping by their names, each with its pool.

    :raises ConfigurationError: with a line for each problem.
    """
    default, mapping = conf.kubernetes.pod_vif_driver, _mapping(conf.vif_pool)
    problems: list[str] = []
    if not mapping:
        problems.append(
            f"{OPTION}: empty, expected pod_vif drivers with their pools, such as neutron-vif:neutron."
        )
    elif default not in mapping:
        problems.append(f"{OPTION}: lacks {default!r}, the driver of [kubernetes] pod_vif_driver.")
    found: dict[str, tuple[type[PodVIFDriver], type[VIFPoolDriver]]] = {}
    for name, pool_name in mapping.items():
        try:
            driver_class = load_class(NAMESPACE + "pod_vif", name, OPTION, PodVIFDriver)
            pool_class = load_class(NAMESPACE + "vif_pool", pool_name, OPTION, VIFPoolDriver)
        except ConfigurationError as error:
            problems.append(str(error))
            continue
        if issubclass(pool_class, MultiPool):
            problems.append(f"{OPTION}: {pool_name!r} cannot be in itself.")
        elif problem := pool_problem(pool_class, pool_name, name, OPTION):
            problems.append(problem)
        found[name] = (driver_class, pool_class)
    if problems:
        raise ConfigurationError("\n".join(problems))
    return found


def _mapping(group: cfg.ConfigOpts.GroupAttr) -> dict[str, str]:
    """Names of pod_vif drivers with their pools', by [vif_pool] vif_pool_mapping, else the original's older option."""
    if group.vif_pool_mapping:
        return dict(group.vif_pool_mapping)
    return {driver: pool for pool, driver in group.pools_vif_drivers.items()}
