# SPDX-License-Identifier: Apache-2.0
"""What drivers are asked with and what they answer with."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

import msgspec
from oslo_config import cfg

from kuryr.errors import KuryrError
from kuryr.objects.kuryrport import KuryrPort
from kuryr.objects.meta import Key, KubernetesObject
from kuryr.objects.resources import Resource
from kuryr.objects.vif import VIF

if TYPE_CHECKING:
    from kuryr.cloud.networks import Subnets
    from kuryr.cloud.ports import Ports
    from kuryr.cloud.security_groups import SecurityGroups
    from kuryr.cloud.session import Cloud
    from kuryr.drivers.inventory import PortInventory
    from kuryr.k8s.store import Store

Stores = Mapping[Resource[Any], "Store[Any]"]
Affected = Callable[[KubernetesObject], Iterable[Key]]


class DriverContext(msgspec.Struct, frozen=True):
    """What a driver may use.

    ``stores`` holds the kinds that are watched; objects in it are never changed. ``cluster`` is what this cluster's
    things in the cloud are marked with. ``inventory`` knows the ports that were there at take-over.
    """

    conf: cfg.ConfigOpts
    cloud: Cloud
    ports: Ports
    subnets: Subnets
    security_groups: SecurityGroups
    inventory: PortInventory
    stores: Stores
    cluster: str
    read_kuryrports: Callable[[], Iterable[KuryrPort]] | None = None
    """Asks the API, blocking, where what a store knows is not sure enough. None: the store is all there is."""


class FixedIP(msgspec.Struct, frozen=True):
    """An address asked for: any of the subnet, or ``address`` itself."""

    subnet_id: str
    address: str | None = None


class Choice(msgspec.Struct, frozen=True, kw_only=True):
    """One candidate for a VIF: one address of each entry of ``fixed_ips`` (one per IP family), on one network.

    ``network_id`` may be empty: it is then that of the subnets. ``reason`` says why it is a candidate and is shown to people.
    """

    fixed_ips: tuple[FixedIP, ...]
    reason: str
    network_id: str = ""
    mac_address: str | None = None

    @property
    def subnet_ids(self) -> tuple[str, ...]:
        """Ids of the subnets, in the order of the addresses."""
        return tuple(ip.subnet_id for ip in self.fixed_ips)


class Owner(msgspec.Struct, frozen=True, kw_only=True):
    """Whose VIF it is: a pod or a node (``kind``). ``node`` is where it runs, ``share`` what it is fair with."""

    kind: str
    key: Key
    uid: str
    node: str

    @property
    def share(self) -> str:
        """Calls are shared out fairly between these: namespaces of pods, and the nodes together."""
        return self.key.namespace or "nodes"


class VIFRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A VIF that is wanted. ``choices`` are tried in order; ``security_groups`` are ids.

    ``pod_vif_driver`` names another driver than the configured one, as a network definition may.
    """

    owner: Owner
    ifname: str
    project_id: str
    choices: tuple[Choice, ...]
    security_groups: tuple[str, ...]
    default: bool = True
    pod_vif_driver: str = ""


class Allocation(msgspec.Struct, frozen=True, kw_only=True):
    """A VIF that is there, and how it was chosen. ``reported_by``: who tells that it is up (node or controller).

    ``pool`` names the pool that it came from, where it did, ``driver`` the pod_vif driver that made it, where that was
    written down. ``up``: it is known to carry traffic already, so that nobody need tell.
    """

    vif: VIF
    project_id: str
    security_groups: tuple[str, ...]
    subnet_ids: tuple[str, ...]
    reason: str
    reported_by: str = "node"
    pool: str = ""
    driver: str = ""
    up: bool = False


class Release(msgspec.Struct, frozen=True, kw_only=True):
    """A VIF that is no longer used, with what was written down of it (the original wrote ``vif`` alone)."""

    owner: Owner
    ifname: str
    vif: VIF
    project_id: str = ""
    security_groups: tuple[str, ...] = ()
    subnet_ids: tuple[str, ...] = ()
    pool: str = ""
    driver: str = ""


class AdditionalVIF(msgspec.Struct, frozen=True, kw_only=True):
    """A further interface of a pod. Empty ``security_groups`` or ``ifname``: as the pod's first / the next free."""

    choices: tuple[Choice, ...]
    ifname: str = ""
    security_groups: tuple[str, ...] | None = None
    pod_vif_driver: str = ""
    project_id: str = ""


class Shape(msgspec.Struct, frozen=True, order=True):
    """What ready VIFs must have in common to stand for each other: project, subnets and groups, ids sorted."""

    project_id: str
    subnet_ids: tuple[str, ...]
    security_groups: tuple[str, ...]


class Stock(msgspec.Struct, frozen=True, kw_only=True):
    """A node's ready VIFs.

    :ivar ready: those that can be handed out, by the longest ready first.
    :ivar handed_out: ids of those that were, but whose KuryrPort was not seen yet.
    :ivar trouble: why there are fewer than there should be, where something is wrong.
    """

    ready: tuple[Allocation, ...] = ()
    handed_out: frozenset[str] = frozenset()
    trouble: KuryrError | None = None


class PoolSize(msgspec.Struct, frozen=True, kw_only=True):
    """One pool in numbers of VIFs.

    :ivar ready: can be handed out now.
    :ivar wired: of these, plugged in on the node already.
    :ivar resting: were released too short a time ago.
    :ivar in_use: handed out.
    :ivar making: being made.
    :ivar target: how many of ready, resting and making there should be at least.
    """

    node: str
    shape: Shape
    ready: int = 0
    wired: int = 0
    resting: int = 0
    in_use: int = 0
    making: int = 0
    target: int = 0
    trouble: str = ""
