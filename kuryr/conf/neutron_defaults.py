# SPDX-License-Identifier: Apache-2.0
"""[neutron_defaults]: what pods get from Neutron where no driver says otherwise."""

from __future__ import annotations

from oslo_config import cfg

GROUP = cfg.OptGroup("neutron_defaults", title="What pods get from Neutron")

NODE_OPTS = [
    cfg.StrOpt("ovs_bridge", default="br-int", help="Integration bridge, where a port's binding names none."),
]

OPTS = [
    cfg.StrOpt("project", default="", help="Id of the project that owns the pods' ports. Required."),
    cfg.ListOpt(
        "pod_subnet",
        default=[],
        help="Ids of the subnets of pods: one, or one for each IP family (both of the same network).",
    ),
    cfg.ListOpt(
        "service_subnet",
        default=[],
        help="Ids of the subnets that hold the cluster IPs of Services: one, or one for each IP family.",
    ),
    cfg.ListOpt("pod_security_groups", default=[], help="Ids of the security groups of the pods' ports."),
    cfg.IntOpt(
        "network_device_mtu",
        default=0,
        min=0,
        help="Upper bound of the MTU of pods, in bytes; 0: as the network has it.",
    ),
    cfg.ListOpt(
        "resource_tags",
        default=[],
        help="Tags set on what is made in OpenStack, for people. Kuryr itself recognises its things by "
        "device_id and description. They cost one call more for each port, unless Neutron keeps those of a port's "
        "creating call (ML2's extension driver tag_ports_during_bulk_creation).",
    ),
]


def register_node(conf: cfg.ConfigOpts) -> None:
    """Register what the daemon reads too."""
    conf.register_group(GROUP)
    conf.register_opts(NODE_OPTS, group=GROUP)


def register(conf: cfg.ConfigOpts) -> None:
    """Register all."""
    register_node(conf)
    conf.register_opts(OPTS, group=GROUP)
