# SPDX-License-Identifier: Apache-2.0
"""[node_port]: the port by which a node reaches its pods."""

from __future__ import annotations

from oslo_config import cfg

GROUP = cfg.OptGroup("node_port", title="The node's own port on the pod network")

OPTS = [
    cfg.BoolOpt(
        "enabled",
        default=True,
        help="Give every node a port on the pod network and routes to all pod and service subnets, so that "
        "probes, port-forward, webhooks and host programs reach pods. Switch it off in a cloud that routes "
        "otherwise; the ports are then removed.",
    ),
    cfg.StrOpt(
        "interface",
        default="kuryr-node",
        max_length=15,
        help="Name of the interface that the daemon makes on its node for the port.",
    ),
    cfg.ListOpt(
        "security_groups",
        default=[],
        help="Ids of the security groups of the nodes' ports. Empty: [neutron_defaults] pod_security_groups.",
    ),
]


def register(conf: cfg.ConfigOpts) -> None:
    """Register [node_port]."""
    conf.register_group(GROUP)
    conf.register_opts(OPTS, group=GROUP)
