# SPDX-License-Identifier: Apache-2.0
"""The configuration of kuryr-k8s-controller."""

from __future__ import annotations

from collections.abc import Sequence

from oslo_config import cfg

from kuryr.conf import kubernetes, neutron, neutron_defaults, node_port, serving, vif_pool
from kuryr.conf.loading import parse


def register(conf: cfg.ConfigOpts) -> None:
    """Register all groups that the controller reads."""
    kubernetes.register_controller(conf)
    neutron.register(conf)
    neutron_defaults.register(conf)
    node_port.register(conf)
    vif_pool.register(conf)
    serving.register_controller(conf)


def load(args: Sequence[str]) -> cfg.ConfigOpts:
    """Read the configuration as the command line says.

    :raises ConfigurationError: where a file is missing or a value invalid.
    """
    conf = cfg.ConfigOpts()
    register(conf)
    return parse(conf, args, prog="kuryr-k8s-controller")
