# SPDX-License-Identifier: Apache-2.0
"""[cni_daemon], [binding] and [vhostuser]: the daemon on each node."""

from __future__ import annotations

from oslo_config import cfg

GROUP = cfg.OptGroup("cni_daemon", title="The daemon on each node")
BINDING_GROUP = cfg.OptGroup("binding", title="Nested pods' parent interface")
VHOSTUSER_GROUP = cfg.OptGroup("vhostuser", title="vhost-user sockets")

OPTS = [
    cfg.StrOpt(
        "socket_path",
        default="/run/kuryr/kuryr-daemon.sock",
        help="Unix socket on which kuryr-daemon answers kuryr-cni. Its directory and itself are for root alone.",
    ),
    cfg.IntOpt(
        "vif_annotation_timeout",
        default=60,
        min=1,
        max=200,
        mutable=True,
        help="Seconds that ADD waits for the KuryrPort, counted anew while other KuryrPorts of the node are filled, and "
        "again for its interface to be up. Both together stay below the kubelet's own deadline of four minutes.",
    ),
    cfg.IntOpt(
        "worker_num",
        default=30,
        min=1,
        help="Requests that plug or unplug at a time. Any number may wait for their KuryrPort, or to be up, beside them.",
    ),
    cfg.BoolOpt(
        "docker_mode", default=False, help="The daemon runs in a container with the host's /proc mounted."
    ),
    cfg.StrOpt("netns_proc_dir", help="Where the host's /proc is mounted, with docker_mode."),
    cfg.IntOpt(
        "cni_failures_count",
        default=3,
        min=1,
        help="Failures in a row, other than of the cloud or the API, after which /livez says that the daemon is broken.",
    ),
    cfg.StrOpt(
        "bind_address",
        help="Has no effect any more: kuryr-cni and kuryr-daemon talk over socket_path.",
        deprecated_for_removal=True,
        deprecated_reason="The daemon answers on a root-only unix socket, see socket_path.",
    ),
]

BINDING_OPTS = [
    cfg.StrOpt(
        "link_iface",
        default="",
        help="Interface of the node that carries the trunk (nested-vlan) or the macvlan interfaces. "
        "Empty: the one with the default route.",
    ),
]

VHOSTUSER_OPTS = [
    cfg.StrOpt("mount_point", default="/var/cni/vhostuser", help="Where a pod's vhost-user socket is put."),
    cfg.StrOpt("ovs_vhu_path", default="/var/run/openvswitch/", help="Where Open vSwitch keeps its sockets."),
]


def register(conf: cfg.ConfigOpts) -> None:
    """Register the daemon's groups."""
    for group, opts in ((GROUP, OPTS), (BINDING_GROUP, BINDING_OPTS), (VHOSTUSER_GROUP, VHOSTUSER_OPTS)):
        conf.register_group(group)
        conf.register_opts(opts, group=group)
