# SPDX-License-Identifier: Apache-2.0
"""[vif_pool] and [pool_manager]: ports that are ready before they are wanted."""

from __future__ import annotations

from oslo_config import cfg

GROUP = cfg.OptGroup("vif_pool", title="Ports that are ready before they are wanted")

OPTS = [
    cfg.IntOpt(
        "ports_pool_max",
        default=0,
        min=0,
        mutable=True,
        help="Ports in a pool at most: what is released beyond is deleted. 0: no bound.",
    ),
    cfg.IntOpt(
        "ports_pool_min",
        default=5,
        min=0,
        mutable=True,
        help="Ports in a pool at least. A pool is kept for each node, project, set of subnets and set of "
        "security groups in use.",
    ),
    cfg.IntOpt(
        "ports_pool_batch",
        default=10,
        min=1,
        mutable=True,
        help="Ports made (and removed, where there are too many) together.",
    ),
    cfg.IntOpt(
        "ports_pool_update_frequency",
        default=20,
        min=1,
        mutable=True,
        help="Seconds between two looks at the sizes of pools without a cause.",
    ),
    cfg.IntOpt(
        "address_rest",
        default=10,
        min=0,
        mutable=True,
        help="Seconds for which the port of a pod that is gone is not given to another, so that nobody takes the "
        "new one for the old.",
    ),
    cfg.DictOpt(
        "vif_pool_mapping",
        default={},
        help="For vif_pool_driver = multi_pool: names of pod_vif drivers with the vif_pool driver of each, such as "
        "neutron-vif:neutron. The label pod_vif of a node names the pod_vif driver there.",
    ),
    cfg.DictOpt(
        "pools_vif_drivers",
        default={},
        deprecated_for_removal=True,
        deprecated_reason="Use vif_pool_mapping, which has names and values the other way round.",
        help="Names of vif_pool drivers with the pod_vif driver of each.",
    ),
]

MANAGER_GROUP = cfg.OptGroup("pool_manager", title="The socket of kuryr-pools")

MANAGER_OPTS = [
    cfg.StrOpt(
        "sock_file",
        default="/run/kuryr/kuryr_manage.sock",
        help="Path of the socket on which the controller that does the work listens, where [kubernetes] "
        "enable_manager is set. Only root can open it.",
    ),
]


def register(conf: cfg.ConfigOpts) -> None:
    """Register both groups."""
    conf.register_group(GROUP)
    conf.register_opts(OPTS, group=GROUP)
    register_manager(conf)


def register_manager(conf: cfg.ConfigOpts) -> None:
    """Register [pool_manager] alone."""
    conf.register_group(MANAGER_GROUP)
    conf.register_opts(MANAGER_OPTS, group=MANAGER_GROUP)
