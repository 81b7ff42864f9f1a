# SPDX-License-Identifier: Apache-2.0
"""Checks of a configuration against both APIs, as commands tell them: what the controller checks at start, and more."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from oslo_config import cfg

from kuryr.cloud.capabilities import Capabilities, probe
from kuryr.cloud.networks import SubnetInfo
from kuryr.controller import startup
from kuryr.controller.site import Site
from kuryr.controller.verdicts import Verdict
from kuryr.errors import CloudError, CloudUnavailable, ConfigurationError, KuryrError
from kuryr.k8s.client import Client
from kuryr.objects.resources import KURYRPORTS, Resource

SERVED_STATUS = f"{KURYRPORTS.plural}/status"
SMALLEST_MTU = {4: 576, 6: 1280}
"""Bytes, by IP version: a link of less cannot carry it."""


def names(conf: cfg.ConfigOpts) -> Verdict:
    """Handlers, drivers and credentials that the configuration names."""
    try:
        startup.check_names(conf)
    except ConfigurationError as error:
        return Verdict("Configuration", tuple(str(error).splitlines()))
    return Verdict("Configuration")


def kubernetes(
    conf: cfg.ConfigOpts, client: Client, also: Iterable[tuple[str, Resource[Any]]] = ()
) -> Verdict:
    """The API server, the rights there, and our CRDs. ``also``: verbs with kinds that are needed beside the usual."""
    check = "Kubernetes"
    try:
        version = client.server_version()
        failures = startup.check_kubernetes(client, conf)
        failures += [
            f"Kubernetes: the controller may not {verb} {resource.plural}; see its ClusterRole."
            for verb, resource in also
            if not client.access_review(verb, resource)
        ]
        served = client.served(KURYRPORTS.group, KURYRPORTS.version)
    except KuryrError as error:
        return Verdict(check, (str(error),))
    if KURYRPORTS.plural not in served:
        failures.append("Custom resources: there is no KuryrPort; apply kubernetes_crds/.")
    elif SERVED_STATUS not in served:
        failures.append(
            "Custom resources: KuryrPorts have no status subresource, so the CRDs are those of an earlier release; "
            "apply kubernetes_crds/."
        )
    return Verdict(check, tuple(failures), notes=(f"Kubernetes {version}",))


def openstack(site: Site) -> Verdict:
    """Rights, extensions and ids: what the controller checks at start."""
    check = "OpenStack"
    try:
        found = probe(site.cloud.project(site.conf.neutron_defaults.project or None))
        failures = startup.check_cloud(site.conf, site.cloud, site.drivers, site.subnets)
    except CloudError as error:
        return Verdict(check, (f"OpenStack: {error}",))
    note = (
        f"user {found.user_id} with roles {', '.join(sorted(found.roles))} in project {found.project_id}; "
        f"{len(found.extensions)} extensions of Neutron"
    )
    return Verdict(check, tuple(failures), tuple(startup.capability_warnings(found)), notes=(note,))


def quotas(site: Site) -> Verdict:
    """Whether more ports fit into the project."""
    check = "Quotas"
    try:
        found = probe(site.cloud.project(site.conf.neutron_defaults.project or None))
    except CloudError as error:
        return Verdict(check, (f"OpenStack: {error}",))
    return judge_quotas(check, found, wanted=max(1, site.conf.vif_pool.ports_pool_batch))


def judge_quotas(check: str, found: Capabilities, *, wanted: int) -> Verdict:
    """Nothing fits: a failure; less than ``wanted`` ports, or a tenth of the quota, are left: a warning. Pure."""
    quota = found.quotas.get("port")
    if quota is None or quota.free is None:
        limit = "none" if quota is not None and quota.limit < 0 else "not told"
        return Verdict(check, notes=(f"quota of ports: {limit}",))
    said = f"{quota.free} of {quota.limit} ports are free in project {found.project_id}"
    if quota.free == 0:
        return Verdict(check, (f"{said}: no pod can start.",))
    if quota.free < max(wanted, quota.limit // 10):
        return Verdict(check, warnings=(f"{said}.",))
    return Verdict(check, notes=(said,))


def mtus(site: Site) -> Verdict:
    """Whether the pods' networks can carry their IP families, and [neutron_defaults] network_device_mtu fits them."""
    check = "MTU"
    subnets: list[SubnetInfo] = []
    for subnet_id in site.drivers.pod_subnets.subnet_ids():
        try:
            subnets.append(site.subnets.get(subnet_id).result())
        except CloudUnavailable as error:
            return Verdict(check, (f"OpenStack: {error}",))
        except CloudError:
            # The driver's own check tells of it.
            continue
    return judge_mtus(check, subnets, site.conf.neutron_defaults.network_device_mtu)


def judge_mtus(check: str, subnets: Iterable[SubnetInfo], configured: int) -> Verdict:
    """Compare the MTU of each network, bounded by ``configured`` (0: not), with what its subnets need. Pure."""
    failures, warnings, notes = [], [], []
    for subnet in subnets:
        network = subnet.network
        if configured and network.mtu and configured > network.mtu:
            warnings.append(
                f"[neutron_defaults] network_device_mtu: {configured} has no effect, network {network.id} has {network.mtu}."
            )
        mtu = min([size for size in (network.mtu, configured) if size], default=0)
        if mtu and mtu < SMALLEST_MTU[subnet.ip_version]:
            failures.append(
                f"Pods on subnet {subnet.id} would have an MTU of {mtu}; IPv{subnet.ip_version} needs "
                f"{SMALLEST_MTU[subnet.ip_version]}."
            )
        notes.append(f"pods on subnet {subnet.id}: {mtu or 'unknown'}")
    return Verdict(check, tuple(failures), tuple(dict.fromkeys(warnings)), tuple(notes))


def _not_above(low: str, high: str, unbounded: bool = False) -> Callable[[cfg.ConfigOpts], Verdict]:
    def check(conf: cfg.ConfigOpts) -> Verdict:
        values = conf.vif_pool
        least, most = values[low], values[high]
        failures = []
        if least > most and not (unbounded and most == 0):
            failures.append(f"[vif_pool] {low} is {least}, expected at most {high}, which is {most}.")
        return Verdict(f"{low} and {high}", tuple(failures))

    return check


POOLS: dict[str, Callable[[cfg.ConfigOpts], Verdict]] = {
    "vif_pool_min_max": _not_above("ports_pool_min", "ports_pool_max", unbounded=True),
    "vif_pool_min_batch": _not_above("ports_pool_min", "ports_pool_batch"),
    "vif_pool_max_batch": _not_above("ports_pool_batch", "ports_pool_max", unbounded=True),
}
"""Checks of [vif_pool], by the names that the original gave them. ports_pool_max 0 is no bound."""
