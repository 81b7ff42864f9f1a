# SPDX-License-Identifier: Apache-2.0
"""What there is of the original's in a cluster, what adopting it changes, and what is in the way."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from kuryr.cloud import identity
from kuryr.cloud.ports import Port
from kuryr.controller.site import Site
from kuryr.controller.verdicts import Verdict
from kuryr.errors import CloudError
from kuryr.handlers import decision
from kuryr.handlers.node import kuryrport_key
from kuryr.handlers.vif import needs_port
from kuryr.k8s.client import Client
from kuryr.k8s.errors import ApiError, Forbidden, NotFound
from kuryr.objects.core import Pod
from kuryr.objects.kuryrport import KuryrPort, used_vif_ids
from kuryr.objects.meta import Key, KubernetesObject
from kuryr.objects.original import POD_FINALIZER, VIF_ANNOTATION, held, unadopted_interfaces
from kuryr.objects.resources import KURYRPORTS, NODES, PODS, Resource
from kuryr.objects.vif import InvalidVIF, decode

SHOWN = 10
"""Names told one by one; of more only the number is."""

LEFT_ALONE = tuple(
    Resource("openstack.org", "v1", plural, kind, KubernetesObject)
    for plural, kind in (
        ("kuryrnetworks", "KuryrNetwork"),
        ("kuryrnetworkpolicies", "KuryrNetworkPolicy"),
        ("kuryrloadbalancers", "KuryrLoadBalancer"),
    )
)
"""Kinds of the original's that no handler of ours works on yet."""


class Interface(msgspec.Struct, frozen=True, order=True):
    """An interface of a pod, as the original wrote it down."""

    pod: Key
    name: str
    port_id: str


class Survey(msgspec.Struct, frozen=True, kw_only=True):
    """What there is in Kubernetes.

    :ivar decided: when it was decided to adopt, empty where it was not.
    :ivar interfaces: those not adopted yet.
    :ivar held: pods with the original's finalizer.
    :ivar nodes: nodes that will have a port of their own and have none.
    :ivar unreadable: KuryrPorts that cannot be understood, with the reason.
    :ivar ownerless: KuryrPorts whose pod is gone.
    :ivar annotated: pods whose VIFs only an annotation has, from before release 3.0.0.
    :ivar vif_ids: all ports that KuryrPorts name.
    :ivar pod_uids: UIDs of all pods.
    """

    decided: str = ""
    interfaces: tuple[Interface, ...] = ()
    held: tuple[Key, ...] = ()
    nodes: tuple[str, ...] = ()
    unreadable: tuple[str, ...] = ()
    ownerless: tuple[Key, ...] = ()
    annotated: tuple[Key, ...] = ()
    vif_ids: frozenset[str] = frozenset()
    pod_uids: frozenset[str] = frozenset()

    @property
    def rest(self) -> int:
        """How much is left to adopt."""
        return len(self.interfaces) + len(self.held)


def survey(
    pods: Sequence[Pod],
    kuryrports: Sequence[KuryrPort],
    *,
    decided: str = "",
    nodes: Iterable[str] = (),
    lease_namespace: str = "",
) -> Survey:
    """What the objects show. Pure.

    :param nodes: nodes that are to have a port of their own.
    """
    by_key = {pod.key: pod for pod in pods}
    keys = {port.key for port in kuryrports}
    interfaces: list[Interface] = []
    unreadable: list[str] = []
    ownerless: list[Key] = []
    for port in kuryrports:
        for name, entry in sorted(port.status.vifs.items()):
            try:
                vif = decode(entry.vif)
            except InvalidVIF as error:
                unreadable.append(f"KuryrPort {port.key}, interface {name}: {error}")
                continue
            if name in unadopted_interfaces(port):
                interfaces.append(Interface(port.key, name, vif.id))
        pod = by_key.get(port.key)
        if port.spec.owner_kind == "Pod" and (pod is None or pod.metadata.uid != port.spec.pod_uid):
            ownerless.append(port.key)
    return Survey(
        decided=decided,
        interfaces=tuple(sorted(interfaces)),
        held=tuple(sorted(pod.key for pod in pods if held(pod))),
        nodes=tuple(sorted(node for node in nodes if kuryrport_key(lease_namespace, node) not in keys)),
        unreadable=tuple(unreadable),
        ownerless=tuple(sorted(ownerless)),
        annotated=tuple(
            sorted(
                pod.key
                for pod in pods
                if VIF_ANNOTATION in pod.metadata.annotations and pod.key not in keys and needs_port(pod)
            )
        ),
        vif_ids=frozenset(vif_id for port in kuryrports for vif_id in used_vif_ids(port)),
        pod_uids=frozenset(pod.metadata.uid for pod in pods),
    )


def take(client: Client, lease_namespace: str, *, node_ports: bool) -> Survey:
    """Ask the API and survey what it has.

    :raises ApiError: where it does not answer or refuses.
    """
    nodes = client.list(NODES).items if node_ports else []
    return survey(
        client.list(PODS).items,
        client.list(KURYRPORTS).items,
        decided=decision.read(client, lease_namespace),
        nodes=[node.metadata.name for node in nodes],
        lease_namespace=lease_namespace,
    )


def listed(site: Site) -> dict[str, Port]:
    """All ports of pods in the cluster's projects, whoever made them, by id.

    :raises CloudError: where Neutron cannot list.
    """
    return {
        port.id: port
        for project in site.drivers.pod_project.projects()
        for page in site.ports.list_pages(project or None, device_owner=[identity.POD])
        for port in page
    }


def explanation(found: Survey) -> list[str]:
    """What adopting changes, in sentences."""
    pods = {interface.pod for interface in found.interfaces}
    said = [
        f"{len(found.interfaces)} Neutron ports of {len(pods)} pods get this cluster's description and their pod's UID as "
        "device_id. Addresses, groups, bindings and traffic stay as they are.",
        f"{len(pods)} KuryrPorts gain projectId, subnetIds, conditions and, where no policy set them, securityGroups in "
        "their status.",
        f"{len(found.held)} pods lose the finalizer {POD_FINALIZER}.",
    ]
    if found.nodes:
        said.append(
            f"{len(found.nodes)} nodes get a port on the pod network ([node_port] enabled): {_some(found.nodes)}."
        )
    return said


def state(found: Survey) -> Verdict:
    """How far adoption is."""
    check = "Adoption"
    if not found.rest:
        return Verdict(check, notes=("nothing of kuryr-kubernetes is left to adopt",))
    left = f"{len(found.interfaces)} interfaces and {len(found.held)} pods with the original's finalizer"
    if found.decided:
        return Verdict(check, warnings=(f"Decided at {found.decided} and under way: {left} are left.",))
    return Verdict(
        check,
        warnings=(
            f"{left} are as kuryr-kubernetes left them, and are used so. `kuryr-k8s-status adopt` makes them this "
            "project's own.",
        ),
    )


def objects(found: Survey) -> Verdict:
    """KuryrPorts and pods that cannot be taken over as they are."""
    failures = list(found.unreadable)
    if found.annotated:
        failures.append(
            f"{len(found.annotated)} pods have their ports in the annotation {VIF_ANNOTATION} alone, as releases before "
            f"3.0.0 wrote it; delete them, that others take their place: {_some(found.annotated)}."
        )
    warnings = []
    if found.ownerless:
        warnings.append(
            f"{len(found.ownerless)} KuryrPorts have no pod any more; the controller releases them when it starts: "
            f"{_some(found.ownerless)}."
        )
    return Verdict("KuryrPorts", tuple(failures), tuple(warnings))


def ports(found: Survey, there: dict[str, Port]) -> Verdict:
    """Neutron's ports beside what Kubernetes says. Pure.

    :param there: all ports of pods, whoever made them.
    """
    missing = [interface for interface in found.interfaces if interface.port_id not in there]
    warnings = []
    if missing:
        names = [f"{interface.pod} {interface.name} ({interface.port_id})" for interface in missing]
        warnings.append(
            f"{len(missing)} ports are not among the cluster's ports in Neutron. If they are gone their pods have no "
            f"network, and have to be deleted: {_some(names)}."
        )
    lost = sorted(
        port.id
        for port in there.values()
        if port.id not in found.vif_ids
        and port.device_id not in found.pod_uids
        and identity.parse(port.description or "") is None
    )
    if lost:
        warnings.append(
            f"{len(lost)} ports with device_owner {identity.POD} belong to no pod of this cluster: leftovers or pooled "
            f"ports of kuryr-kubernetes, or another cluster's. Nobody here deletes them: {_some(lost)}."
        )
    return Verdict("Neutron ports", warnings=tuple(warnings), notes=(f"{len(there)} ports of pods",))


def left_alone(client: Client) -> Verdict:
    """Objects of the original's that stay as they are."""
    check = "Services, policies and namespaces"
    warnings: list[str] = []
    notes: list[str] = []
    for resource in LEFT_ALONE:
        try:
            number = len(client.list(resource).items)
        except NotFound:
            continue
        except Forbidden:
            # The controller itself needs no such right.
            notes.append(f"{resource.plural} were not counted: this account may not list them")
            continue
        except ApiError as error:
            warnings.append(f"{resource.plural} could not be listed: {error}")
            continue
        if number:
            warnings.append(
                f"{number} {resource.kind} objects are left as they are: no handler of this release works on them."
            )
    return Verdict(check, warnings=tuple(warnings), notes=tuple(notes))


def cloud(site: Site, found: Survey) -> Verdict:
    """:func:`ports` of what Neutron lists now."""
    try:
        return ports(found, listed(site))
    except CloudError as error:
        return Verdict("Neutron ports", (f"OpenStack: {error}",))


def _some(names: Iterable[object]) -> str:
    told = [str(name) for name in names]
    rest = len(told) - SHOWN
    return ", ".join(told[:SHOWN]) + (f" and {rest} more" if rest > 0 else "")
