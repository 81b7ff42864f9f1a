# SPDX-License-Identifier: Apache-2.0
"""[neutron] (credentials), [neutron_defaults] (what pods get) and [cloud_limits]."""

from __future__ import annotations

from keystoneauth1 import loading
from oslo_config import cfg

GROUP = cfg.OptGroup("neutron", title="Credentials for OpenStack")
"""For the sample alone: a group that is registered gathers the options of its auth_type, so each gets one of its own."""

TIMEOUT = 60
"""Seconds to wait for an answer; keystoneauth would wait for ever."""

OPTS = [
    cfg.StrOpt("region_name", help="Region of the catalog. Needed where the catalog has several."),
    cfg.StrOpt(
        "endpoint_type",
        default="public",
        choices=["public", "internal", "admin"],
        help="Interface of the catalog's endpoints.",
    ),
]

LIMITS_GROUP = cfg.OptGroup("cloud_limits", title="Limits on calls to OpenStack")

LIMITS_OPTS = [
    cfg.IntOpt(
        "max_in_flight",
        default=32,
        min=1,
        max=64,
        help="Upper bound of the calls of one operation in flight; the number in force is learnt from latency "
        "and errors.",
    ),
    cfg.IntOpt(
        "capacity_warning",
        default=10,
        min=0,
        max=50,
        mutable=True,
        help="Percentage of the project's quota of ports, or of a pod subnet's addresses, below which a Warning "
        "Event on the controller's Lease and a line in the log tell how much is left. 0: never.",
    ),
    cfg.BoolOpt(
        "capacity_readiness",
        default=False,
        mutable=True,
        help="Be unready while the quota of ports or a pod subnet's addresses are used up.",
    ),
]


def register(conf: cfg.ConfigOpts) -> None:
    """Register [neutron] with keystoneauth's options, and [cloud_limits]."""
    group = cfg.OptGroup(GROUP.name, title=GROUP.title)
    conf.register_group(group)
    conf.register_opts(OPTS, group=group)
    loading.register_auth_conf_options(conf, group.name)
    loading.register_session_conf_options(conf, group.name)
    conf.set_default("timeout", TIMEOUT, group=group.name)
    conf.register_group(LIMITS_GROUP)
    conf.register_opts(LIMITS_OPTS, group=LIMITS_GROUP)


def sample_opts() -> list[cfg.Opt]:
    """What the sample shows of [neutron]: our options and those of the password plug-in."""
    common = loading.get_auth_common_conf_options() + loading.get_session_conf_options()
    cfg.set_defaults(common, timeout=TIMEOUT)
    for opt in common:
        if opt.dest == "insecure":
            # keystoneauth's own words say the opposite.
            opt.help = "Do not verify the certificates of HTTPS. For tests only."
    return [*OPTS, *common, *loading.get_auth_plugin_conf_options("password")]
