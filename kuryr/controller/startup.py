# SPDX-License-Identifier: Apache-2.0
"""What can be known at start: names, rights, extensions and ids that are wrong are said then, not by the first pod."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from oslo_config import cfg

from kuryr.cloud.capabilities import Capabilities, probe
from kuryr.cloud.networks import Subnets
from kuryr.cloud.security_groups import SecurityGroups
from kuryr.cloud.session import Cloud
from kuryr.drivers.base import (
    MultiVIFDriver,
    PodSecurityGroupsDriver,
    PodSubnetsDriver,
    PodVIFDriver,
    ProjectDriver,
    VIFPoolDriver,
)
from kuryr.drivers.loading import NAMESPACE, Drivers, duplicates, load_class, load_kind, pool_problem
from kuryr.errors import CloudError, CloudNotFound, CloudUnavailable, ConfigurationError, KuryrError, Retry
from kuryr.handlers.base import Handler, Right
from kuryr.k8s.client import Client
from kuryr.k8s.events import EVENTS
from kuryr.k8s.lease import LEASES
from kuryr.objects.resources import KURYRPORTS, NAMESPACES, NODES, PODS, Resource

LOG = logging.getLogger(__name__)

HANDLERS = "kuryr.handlers"
ALWAYS = ("node", "vif_pool", "adoption")
"""Handlers that run whatever [kubernetes] enabled_handlers says: options and decisions elsewhere tell what they do."""
EXTENSIONS = ("binding", "security-group")
BINDING_ROLES = frozenset({"admin", "service"})
RIGHTS: list[Right] = (
    [(verb, PODS, "") for verb in ("get", "list", "watch", "patch")]
    + [(verb, NODES, "") for verb in ("get", "list", "watch")]
    + [("get", NAMESPACES, "")]
    + [(verb, KURYRPORTS, "") for verb in ("get", "list", "watch", "create", "patch", "delete")]
    + [("patch", KURYRPORTS, "status")]
)
"""Of every controller. etc/kubernetes/kuryr-controller.yaml gives these, and those of the handlers in this package; a test compares."""
EVENT_RIGHTS = ("create", "patch")
LEASE_RIGHTS = ("get", "list", "watch", "create", "patch")


def handler_classes(conf: cfg.ConfigOpts) -> dict[str, type[Handler]]:
    """The handlers that run, by name: those of the list, and those that always do.

    :raises ConfigurationError: naming every handler that cannot be used.
    """
    option = "[kubernetes] enabled_handlers"
    names = list(conf.kubernetes.enabled_handlers)
    problems = [f"{option}: {name!r} stands more than once." for name in duplicates(names)]
    classes: dict[str, type[Handler]] = {}
    for name in dict.fromkeys([*names, *ALWAYS]):
        try:
            classes[name] = load_class(HANDLERS, name, option, Handler)
        except ConfigurationError as error:
            problems.append(str(error))
    if problems:
        raise ConfigurationError("\n".join(problems))
    return classes


def kinds_used(classes: Mapping[str, type[Handler]]) -> list[str]:
    """The driver kinds beside the pod's path that these handlers ask."""
    return sorted({kind for cls in classes.values() for kind in cls.drivers_used})


def check_names(conf: cfg.ConfigOpts) -> None:
    """Resolve every handler and driver that the configuration names, and [neutron], without making a driver or a call.

    :raises ConfigurationError: with a line for each problem.
    """
    problems: list[str] = []
    kubernetes = conf.kubernetes
    try:
        classes = handler_classes(conf)
    except ConfigurationError as error:
        classes = {}
        problems.append(str(error))
    for kind in kinds_used(classes):
        try:
            load_kind(conf, kind)
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
            cls = load_class(NAMESPACE + kind, name, f"[kubernetes] {option}", base)
            if issubclass(cls, VIFPoolDriver):
                problems += cls.name_problems(conf)
                if problem := pool_problem(cls, name, kubernetes.pod_vif_driver):
                    problems.append(problem)
        except ConfigurationError as error:
            problems.append(str(error))
    problems += [
        f"[kubernetes] multi_vif_drivers: {name!r} stands more than once."
        for name in duplicates(kubernetes.multi_vif_drivers)
    ]
    try:
        Cloud(conf).close()
    except ConfigurationError as error:
        problems.append(str(error))
    if problems:
        raise ConfigurationError("\n".join(problems))


def check_kubernetes(
    client: Client, conf: cfg.ConfigOpts, watched: Iterable[Resource[Any]] = ()
) -> list[str]:
    """Rights that are missing in Kubernetes. ``watched``: what handlers and drivers watch beside the usual.

    :raises ApiError: where the API does not answer.
    """
    lease_namespace = conf.kubernetes.lease_namespace
    of_handlers = [right for cls in handler_classes(conf).values() for right in cls.rights]
    wanted = [(*right, "") for right in dict.fromkeys([*RIGHTS, *of_handlers])]
    wanted += [
        (verb, resource, "", "")
        for resource in watched
        for verb in ("list", "watch")
        if (verb, resource, "") not in RIGHTS
    ]
    wanted += [(verb, LEASES, "", lease_namespace) for verb in LEASE_RIGHTS]
    if conf.kubernetes.use_events:
        wanted += [(verb, EVENTS, "", "") for verb in EVENT_RIGHTS]
    return [
        f"Kubernetes: the controller may not {verb} {resource.plural}"
        + (f"/{subresource}" if subresource else "")
        + (f" in namespace {namespace}" if namespace else "")
        + "; see its ClusterRole."
        for verb, resource, subresource, namespace in wanted
        if not client.access_review(verb, resource, namespace, subresource=subresource)
    ]


def check_cloud(conf: cfg.ConfigOpts, cloud: Cloud, drivers: Drivers, subnets: Subnets) -> list[str]:
    """What is wrong in OpenStack, as far as it answers.

    :raises CloudUnavailable: where it does not.
    """
    try:
        problems = list(_capabilities(probe(cloud.project(conf.neutron_defaults.project or None))))
    except CloudUnavailable:
        raise
    except CloudError as error:
        # Wrong credentials, for instance: all else would only say the same.
        return [f"OpenStack: {error}"]
    checks: list[Callable[[], Iterable[str]]] = [driver.validate for driver in drivers.all()]
    checks.append(lambda: _options(conf, cloud, subnets))
    for check in checks:
        try:
            problems += check()
        except CloudUnavailable:
            raise
        except KuryrError as error:
            problems.append(f"OpenStack: {error}")
        except Exception as error:
            LOG.exception("A driver's check failed in a way that is a bug.")
            problems.append(f"A driver's check failed, see the log: {type(error).__name__}: {error}")
    return list(dict.fromkeys(problems))


def _options(conf: cfg.ConfigOpts, cloud: Cloud, subnets: Subnets) -> Iterable[str]:
    """Ids that options name and no driver answers for."""
    for subnet_id in conf.neutron_defaults.service_subnet:
        try:
            subnets.get(subnet_id).result()
        except CloudNotFound:
            yield (
                f"[neutron_defaults] service_subnet: subnet {subnet_id} does not exist, or not for this user."
            )
    if conf.node_port.enabled:
        for group in sorted(SecurityGroups(cloud).missing(conf.node_port.security_groups)):
            yield (
                f"[node_port] security_groups: security group {group} does not exist, or not for this user."
            )


def _capabilities(found: Capabilities) -> Iterable[str]:
    for extension in EXTENSIONS:
        if extension not in found.extensions:
            yield f"Neutron: the extension {extension!r} is missing."
    for warning in capability_warnings(found):
        LOG.warning("%s", warning)


def capability_warnings(found: Capabilities) -> Iterable[str]:
    """What may turn out to be wrong."""
    if not found.roles & BINDING_ROLES:
        # Not sure: an operator may have given the right to another role.
        yield (
            f"The user of [neutron] has none of the roles {', '.join(sorted(BINDING_ROLES))} in project "
            f"{found.project_id}; with Neutron's own policy it cannot bind ports to hosts."
        )


def check_all(
    conf: cfg.ConfigOpts,
    client: Client,
    cloud: Cloud,
    drivers: Drivers,
    subnets: Subnets,
    watched: Iterable[Resource[Any]] = (),
) -> list[str]:
    """Everything; that something does not answer is a problem too, until it does."""
    problems: list[str] = []
    try:
        problems += check_kubernetes(client, conf, watched)
    except Retry as error:
        problems.append(f"The rights in Kubernetes could not be checked yet: {error}")
    try:
        problems += check_cloud(conf, cloud, drivers, subnets)
    except CloudUnavailable as error:
        problems.append(f"OpenStack could not be checked yet: {error}")
    return problems
