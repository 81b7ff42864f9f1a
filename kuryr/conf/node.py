# SPDX-License-Identifier: Apache-2.0
"""The configuration of kuryr-daemon."""

from __future__ import annotations

from collections.abc import Sequence

from oslo_config import cfg

from kuryr.conf import cni_daemon, kubernetes, neutron_defaults, node_port, os_vif_ovs, serving
from kuryr.conf.loading import parse


def register(conf: cfg.ConfigOpts) -> None:
    """Register all groups that the daemon reads."""
    kubernetes.register_api(conf)
    neutron_defaults.register_node(conf)
    cni_daemon.register(conf)
    os_vif_ovs.register(conf)
    node_port.register(conf)
    serving.register_node(conf)


def load(args: Sequence[str]) -> cfg.ConfigOpts:
    """Read the configuration as the command line says.

    :raises ConfigurationError: where a file is missing or a value invalid.
    """
    conf = cfg.ConfigOpts()
    register(conf)
    return parse(conf, args, prog="kuryr-daemon")
