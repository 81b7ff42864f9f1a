# SPDX-License-Identifier: Apache-2.0
"""[os_vif_ovs]: Open vSwitch of the node. The group is os-vif's."""

from __future__ import annotations

from oslo_config import cfg

GROUP = cfg.OptGroup("os_vif_ovs", title="Open vSwitch of the node")

OPTS = [
    cfg.StrOpt(
        "ovsdb_connection",
        default="unix:/run/openvswitch/db.sock",
        deprecated_opts=[cfg.DeprecatedOpt("ovsdb_connection", group="vif_plug_ovs")],
        help="Connection to Open vSwitch's database (an option of os-vif, whose default is tcp:127.0.0.1:6640).",
    ),
]


def register(conf: cfg.ConfigOpts) -> None:
    """Register [os_vif_ovs]."""
    conf.register_group(GROUP)
    conf.register_opts(OPTS, group=GROUP)
