# SPDX-License-Identifier: Apache-2.0
"""Every option, for oslo-config-generator."""

from __future__ import annotations

from oslo_config import cfg

from kuryr.conf import (
    cni_daemon,
    kubernetes,
    neutron,
    neutron_defaults,
    node_port,
    os_vif_ovs,
    serving,
    vif_pool,
)


def list_opts() -> list[tuple[cfg.OptGroup, list[cfg.Opt]]]:
    """Groups and their options, in the order in which the sample shows them."""
    return [
        (kubernetes.GROUP, [*kubernetes.API_OPTS, *kubernetes.CONTROLLER_OPTS]),
        (neutron.GROUP, neutron.sample_opts()),
        (neutron_defaults.GROUP, [*neutron_defaults.NODE_OPTS, *neutron_defaults.OPTS]),
        (neutron.LIMITS_GROUP, neutron.LIMITS_OPTS),
        (node_port.GROUP, node_port.OPTS),
        (vif_pool.GROUP, vif_pool.OPTS),
        (vif_pool.MANAGER_GROUP, vif_pool.MANAGER_OPTS),
        (cni_daemon.GROUP, cni_daemon.OPTS),
        (os_vif_ovs.GROUP, os_vif_ovs.OPTS),
        (cni_daemon.BINDING_GROUP, cni_daemon.BINDING_OPTS),
        (cni_daemon.VHOSTUSER_GROUP, cni_daemon.VHOSTUSER_OPTS),
        (serving.CONTROLLER_GROUP, serving.CONTROLLER_OPTS),
        (serving.NODE_GROUP, serving.NODE_OPTS),
        (serving.METRICS_GROUP, serving.METRICS_OPTS),
    ]
