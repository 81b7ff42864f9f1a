# SPDX-License-Identifier: Apache-2.0
"""[kubernetes]: the API server, and which handlers and drivers run."""

from __future__ import annotations

import os

from oslo_config import cfg

GROUP = cfg.OptGroup("kubernetes", title="The Kubernetes API, handlers and drivers")

SERVICE_ACCOUNT = "/var/run/secrets/kubernetes.io/serviceaccount"

API_OPTS = [
    cfg.StrOpt(
        "api_root",
        default=os.environ.get("K8S_API", "https://localhost:6443"),
        sample_default="https://localhost:6443",
        help="URL of the Kubernetes API, http or https. The environment variable K8S_API sets the default. "
        "Empty: KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT_HTTPS, as a pod has them.",
    ),
    cfg.StrOpt("ssl_client_crt_file", default="", help="Client certificate (PEM), used where no token is."),
    cfg.StrOpt("ssl_client_key_file", default="", help="Key of ssl_client_crt_file (PEM)."),
    cfg.StrOpt(
        "ssl_ca_crt_file",
        default=f"{SERVICE_ACCOUNT}/ca.crt",
        help="CA certificates (PEM) that the API server's certificate is verified against. "
        "The default, where the file does not exist, means the system's.",
    ),
    cfg.BoolOpt(
        "ssl_verify_server_crt",
        default=True,
        help="Verify the API server's certificate. The original's default was off; switch it off only for tests.",
    ),
    cfg.StrOpt(
        "token_file",
        default=f"{SERVICE_ACCOUNT}/token",
        help="File with the bearer token; read again when it changes. The default may be missing.",
    ),
    cfg.IntOpt(
        "watch_connection_timeout", default=30, min=1, help="Seconds to wait for a connection to the API."
    ),
    cfg.IntOpt(
        "watch_read_timeout",
        default=60,
        min=5,
        help="Seconds to wait for an answer of the API. A watch that is silent for longer than its bookmarks "
        "explain is opened anew.",
    ),
    cfg.BoolOpt("use_events", default=True, help="Tell failures and their ends by Kubernetes Events."),
]


def _driver(name: str, default: str, answers: str) -> cfg.StrOpt:
    return cfg.StrOpt(
        f"{name}_driver",
        default=default,
        help=f"{answers} The name of an entry point in kuryr.drivers.{name}, looked for where an enabled handler asks it.",
    )


CONTROLLER_OPTS = [
    cfg.ListOpt(
        "enabled_handlers",
        default=["vif", "kuryrport"],
        help="Handlers that run: names of entry points in kuryr.handlers. The handlers node, vif_pool and adoption "
        "always do; other options tell what they do.",
    ),
    _driver("pod_project", "default", "Which OpenStack project a pod's ports belong to."),
    _driver("pod_subnets", "default", "Which subnets a pod gets addresses from."),
    _driver("pod_security_groups", "default", "Which security groups a pod's ports have."),
    _driver("pod_vif", "neutron-vif", "How a pod's VIF is made."),
    _driver("vif_pool", "noop", "Where ready VIFs are kept."),
    cfg.BoolOpt(
        "enable_manager",
        default=False,
        help="Let kuryr-pools (and the original's pool manager clients) look at pools and fill or empty them, over "
        "the socket [pool_manager] sock_file.",
    ),
    _driver("namespace_project", "default", "Which project a namespace's networks belong to."),
    _driver("service_project", "default", "Which project a Service's load balancer belongs to."),
    _driver("network_policy_project", "default", "Which project a policy's security groups belong to."),
    _driver("service_subnets", "default", "Which subnets the cluster IPs of Services are in."),
    _driver("service_security_groups", "default", "Which security groups a load balancer has."),
    _driver("endpoints_lbaas", "lbaasv2", "How Services are balanced."),
    _driver("service_public_ip", "neutron_floating_ip", "How Services get public addresses."),
    _driver("network_policy", "default", "How network policies become security groups."),
    _driver("nodes_subnets", "config", "Which subnets the nodes are in."),
    cfg.ListOpt(
        "multi_vif_drivers",
        default=["noop"],
        help="What gives a pod more interfaces than its first: names of entry points in kuryr.drivers.multi_vif.",
    ),
    cfg.StrOpt(
        "additional_ifname_prefix", default="eth", help="Prefix of the names of a pod's further interfaces."
    ),
    cfg.BoolOpt("port_debug", default=False, help="Name Neutron ports after their pods (namespace/pod)."),
    cfg.StrOpt(
        "cluster_name",
        default="",
        help="What this cluster's things in OpenStack are marked with, so that several clusters can share a "
        "project. Letters, digits, '.', '_' and '-'. Empty: the UID of the namespace kube-system. "
        "Must not change while things of the cluster exist.",
    ),
    cfg.StrOpt(
        "lease_namespace",
        default="kube-system",
        help="Namespace of the Leases by which controllers divide the work, and of the nodes' KuryrPorts.",
    ),
    cfg.IntOpt(
        "workers",
        default=1,
        min=1,
        max=8,
        help="Worker processes of this controller. One reconciles, the others stand by with warm stores.",
    ),
    cfg.IntOpt(
        "reconcile_threads", default=8, min=1, max=256, help="Threads that reconcile, for each handler."
    ),
    cfg.IntOpt(
        "graceful_timeout",
        default=25,
        min=1,
        help="Seconds that work in flight is given to finish when the controller stops. Keep it below the "
        "terminationGracePeriodSeconds of the controller's pod.",
    ),
    cfg.IntOpt(
        "audit_period",
        default=300,
        min=1,
        mutable=True,
        help="Seconds between two audits, each one paged listing of this cluster's ports that finds what has no "
        "owner. A port is removed only when two audits in a row, at least audit_grace apart, find it so.",
    ),
    cfg.IntOpt(
        "audit_grace",
        default=180,
        min=1,
        mutable=True,
        help="Seconds for which a port without owner is left alone. Keep it above [neutron] timeout.",
    ),
]


def register_api(conf: cfg.ConfigOpts) -> None:
    """Register what both programs read."""
    conf.register_group(GROUP)
    conf.register_opts(API_OPTS, group=GROUP)


def register_controller(conf: cfg.ConfigOpts) -> None:
    """Register what the controller alone reads."""
    register_api(conf)
    conf.register_opts(CONTROLLER_OPTS, group=GROUP)
