# SPDX-License-Identifier: Apache-2.0
"""What can be known at start: names, rights, extensions and ids that are wrong are said then, not by the first pod."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Any

from oslo_config import cfg

from kuryr.cloud.capabilities import Capabilities, probe
from kuryr.cloud.session import Cloud
from kuryr.drivers.base import (
    MultiVIFDriver,
    PodSecurityGroupsDriver,
    PodSubnetsDriver,
    PodVIFDriver,
    ProjectDriver,
    VIFPoolDriver,
)
from kuryr.drivers.loading import NAMESPACE, Drivers, duplicates, load_class
from kuryr.errors import CloudError, CloudUnavailable, ConfigurationError, Retry
from kuryr.handlers.base import Handler
from kuryr.k8s.client import Client
from kuryr.k8s.lease import LEASES
from kuryr.objects.resources import KURYRPORTS, NAMESPACES, NODES, PODS, Resource

LOG = logging.getLogger(__name__)

HANDLERS = "kuryr.handlers"
NODE_HANDLER = "node"
EXTENSIONS = ("binding", "security-group")
RIGHTS: list[tuple[str, Resource[Any], str]] = (
    [(verb, PODS, "") for verb in ("list", "watch")]
    + [(verb, NODES, "") for verb in ("list", "watch")]
    + [("get", NAMESPACES, "")]
    + [(verb, KURYRPORTS, "") for verb in ("list", "watch", "create", "patch", "delete")]
)
LEASE_RIGHTS = ("get", "list", "watch", "create", "patch")


def handler_classes(conf: cfg.ConfigOpts) -> dict[str, type[Handler]]:
    """The handlers that run, by name. The node's own port brings its handler, whatever the list says.

    :raises ConfigurationError: naming every handler that cannot be used.
    """
    option = "[kubernetes] enabled_handlers"
    names = list(conf.kubernetes.enabled_handlers)
    problems = [f"{option}: {name!r} stands more than once." for name in duplicates(names)]
    if conf.node_port.enabled and NODE_HANDLER not in names:
        names.append(NODE_HANDLER)
    classes: dict[str, type[Handler]] = {}
    for name in dict.fromkeys(names):
        try:
            classes[name] = load_class(HANDLERS, name, option, Handler)
        except ConfigurationError as error:
            problems.append(str(error))
    if problems:
        raise ConfigurationError("\n".join(problems))
    return classes


def check_names(conf: cfg.ConfigOpts) -> None:
    """Resolve every handler and driver that the configuration names, without making any.

    :raises ConfigurationError: with a line for each problem.
    """
    problems: list[str] = []
    kubernetes = conf.kubernetes
    try:
        handler_classes(conf)
    except ConfigurationError as error:
        problems.append(str(error))
    chosen = [
        ("pod_project", kubernetes.pod_project_driver, ProjectDriver, "pod_project_driver"),
        ("pod_subnets", kubernetes.pod_subnets_driver, PodSubnetsDriver, "pod_subnets_driver"),
        (
            "pod_security_groups",
            kubernetes.pod_security_groups_driver,
            PodSecurityGroupsDriver,
            "pod_security_groups_driver",
        ),
        ("pod_vif", kubernetes.pod_vif_driver, PodVIFDriver, "pod_vif_driver"),
        ("vif_pool", kubernetes.vif_pool_driver, VIFPoolDriver, "vif_pool_driver"),
        *(("multi_vif", name, MultiVIFDriver, "multi_vif_drivers") for name in kubernetes.multi_vif_drivers),
    ]
    for kind, name, base, option in chosen:
        try:
            load_class(NAMESPACE + kind, name, f"[kubernetes] {option}", base)
        except ConfigurationError as error:
            problems.append(str(error))
    if problems:
        raise ConfigurationError("\n".join(problems))


def check_kubernetes(client: Client, lease_namespace: str) -> list[str]:
    """Rights that are missing in Kubernetes."""
    wanted = [*RIGHTS, *((verb, LEASES, lease_namespace) for verb in LEASE_RIGHTS)]
    return [
        f"Kubernetes: the controller may not {verb} {resource.plural}"
        + (f" in namespace {namespace}" if namespace else "")
        + "; see its ClusterRole."
        for verb, resource, namespace in wanted
        if not client.access_review(verb, resource, namespace)
    ]


def check_cloud(conf: cfg.ConfigOpts, cloud: Cloud, drivers: Drivers) -> list[str]:
    """What is wrong in OpenStack, as far as it answers.

    :raises CloudUnavailable: where it does not.
    """
    problems: list[str] = []
    try:
        problems += _capabilities(conf, probe(cloud.project(conf.neutron_defaults.project or None)))
        for driver in drivers.all():
            problems += driver.validate()
    except CloudUnavailable:
        raise
    except CloudError as error:
        problems.append(f"OpenStack: {error}")
    return problems


def _capabilities(conf: cfg.ConfigOpts, found: Capabilities) -> Iterable[str]:
    for extension in EXTENSIONS:
        if extension not in found.extensions:
            yield f"Neutron: the extension {extension!r} is missing."
    if conf.neutron_defaults.resource_tags and not found.tags_on_create:
        LOG.warning(
            "[neutron_defaults] resource_tags: this Neutron drops tags in a port's creating call (extension driver "
            "tag_ports_during_bulk_creation is off); ports are recognised without them."
        )


def check_all(conf: cfg.ConfigOpts, client: Client, cloud: Cloud, drivers: Drivers) -> list[str]:
    """Everything; what does not answer is only logged, since it is waited for anyway."""
    problems: list[str] = []
    try:
        problems += check_kubernetes(client, conf.kubernetes.lease_namespace)
    except Retry as error:
        LOG.warning("The rights in Kubernetes could not be checked: %s", error)
    try:
        problems += check_cloud(conf, cloud, drivers)
    except CloudUnavailable as error:
        LOG.warning("OpenStack could not be checked: %s", error)
    for problem in problems:
        LOG.error("%s", problem)
    return problems
