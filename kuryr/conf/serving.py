# SPDX-License-Identifier: Apache-2.0
"""[health_server], [cni_health_server] and [prometheus_exporter]: what the programs serve over HTTP."""

from __future__ import annotations

from oslo_config import cfg

CONTROLLER_GROUP = cfg.OptGroup("health_server", title="Health of the controller")
NODE_GROUP = cfg.OptGroup("cni_health_server", title="Health of the daemon")
METRICS_GROUP = cfg.OptGroup("prometheus_exporter", title="Prometheus metrics")


def _bind_address() -> cfg.StrOpt:
    return cfg.StrOpt(
        "bind_address", default="::", help="Address to listen on; '::' is all, of both families."
    )


CONTROLLER_OPTS = [
    cfg.PortOpt(
        "port", default=8082, help="Port of /livez and /readyz (and the original's /alive and /ready)."
    ),
    _bind_address(),
]

NODE_OPTS = [
    cfg.PortOpt(
        "port", default=8090, help="Port of /livez and /readyz (and the original's /alive and /ready)."
    ),
    _bind_address(),
]

METRICS_OPTS = [
    cfg.PortOpt("controller_exporter_port", default=9654, help="Port of the controller's /metrics."),
    cfg.PortOpt("cni_exporter_port", default=9655, help="Port of the daemon's /metrics."),
    _bind_address(),
]


def register_controller(conf: cfg.ConfigOpts) -> None:
    """Register what the controller serves."""
    conf.register_group(CONTROLLER_GROUP)
    conf.register_opts(CONTROLLER_OPTS, group=CONTROLLER_GROUP)
    conf.register_group(METRICS_GROUP)
    conf.register_opts(METRICS_OPTS, group=METRICS_GROUP)


def register_node(conf: cfg.ConfigOpts) -> None:
    """Register what the daemon serves."""
    conf.register_group(NODE_GROUP)
    conf.register_opts(NODE_OPTS, group=NODE_GROUP)
    conf.register_group(METRICS_GROUP)
    conf.register_opts(METRICS_OPTS, group=METRICS_GROUP)
