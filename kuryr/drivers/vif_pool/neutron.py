# SPDX-License-Identifier: Apache-2.0
"""``vif_pool_driver = neutron``: ready Neutron ports, bound to their nodes."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future
from typing import ClassVar

from kuryr.cloud import identity
from kuryr.cloud.networks import SubnetInfo
from kuryr.cloud.ports import FixedIP, Port, PortRequest
from kuryr.drivers.pod_vif.translate import vif_of
from kuryr.drivers.vif_pool.base import PortPool
from kuryr.drivers.vif_pool.filling import KIND
from kuryr.drivers.vif_pool.making import SHARE, Wanted
from kuryr.drivers.vif_pool.pool import PoolKey
from kuryr.objects.vif import VIF

NAME = "kuryr-pool-port"
DEVICE = "kuryr-pool:"
LONGEST_NODE = 180
"""Characters of a node's name that an identity has room for; the binding has it whole."""


class NeutronPool(PortPool):
    """Ports that keep the pool's identity for life: who has one is told by KuryrPorts alone."""

    supported_vif_drivers: ClassVar[frozenset[str] | None] = frozenset({"neutron-vif"})

    def owns(self, port: Port) -> bool:
        """By its device."""
        return port.device_id == DEVICE + self.context.cluster

    def make(self, key: PoolKey, subnets: Sequence[SubnetInfo]) -> Future[Port]:
        """One creating call, with the binding in it."""
        return self.context.ports.create(self._request(key, subnets))

    def make_together(self, wanted: Wanted) -> Future[list[Port]] | None:
        """A bulk call."""
        return self.context.ports.create_bulk([self._request(key, subnets) for key, subnets in wanted])

    def _request(self, key: PoolKey, subnets: Sequence[SubnetInfo]) -> PortRequest:
        cluster = self.context.cluster
        return PortRequest(
            network_id=subnets[0].network_id,
            project_id=key.shape.project_id or None,
            fixed_ips=tuple(FixedIP(subnet.id) for subnet in subnets),
            security_groups=key.shape.security_groups,
            device_id=DEVICE + cluster,
            device_owner=identity.POD,
            description=identity.description(cluster, KIND, key.node[:LONGEST_NODE]),
            name=NAME,
            host_id=key.node,
            tags=tuple(self.context.conf.neutron_defaults.resource_tags),
            share=SHARE,
        )

    def vif_of(self, port: Port, subnets: Sequence[SubnetInfo]) -> VIF:
        """As neutron-vif has it."""
        conf = self.context.conf.neutron_defaults
        return vif_of(port, subnets, default_bridge=conf.ovs_bridge, mtu=conf.network_device_mtu)
