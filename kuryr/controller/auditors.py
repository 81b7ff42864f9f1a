# SPDX-License-Identifier: Apache-2.0
"""What audits look at, one auditor for each kind of thing in the cloud, and how each puts right what it finds."""

from __future__ import annotations

import abc
import logging
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any, ClassVar

from kuryr.cloud.ports import Ports
from kuryr.controller import findings
from kuryr.controller.findings import CHANGED, ORPHAN, Fields, Finding
from kuryr.drivers.inventory import PortInventory, Snapshot
from kuryr.drivers.loading import Drivers
from kuryr.drivers.types import Owner
from kuryr.errors import CloudConflict, ConfigurationError
from kuryr.handlers.statuses import allocation_of
from kuryr.k8s.client import Client
from kuryr.k8s.conditions import find_condition, set_condition
from kuryr.k8s.errors import Conflict, NotFound
from kuryr.objects.kuryrport import UP, KuryrPort, VIFStatus
from kuryr.objects.meta import Condition, Key
from kuryr.objects.resources import KURYRPORTS, Resource

LOG = logging.getLogger(__name__)

SHARE = "audit"
"""Whose turn the calls of audits take: one among all namespaces."""

PORT_PRESENT = "PortPresent"
"""Condition of a KuryrPort: False where a port that its pod uses was deleted by others."""

REPAIRED, PORT_MISSING, PORT_RECREATED = "PortRepaired", "PortMissing", "PortRecreated"
"""Reasons of the Events."""

Objects = Callable[[Resource[Any]], Iterable[Any]]
"""All objects of a kind: from a store, or from the API."""

Tell = Callable[[Finding, str, str], None]
"""Tells people, with a reason (CamelCase) and a sentence, about the pod or node of a finding."""


class Auditor(abc.ABC):
    """Finds what is wrong with one kind of thing that this cluster has in the cloud."""

    resource: ClassVar[str]
    """Neutron's name for the kind."""

    @abc.abstractmethod
    def list(self) -> None:
        """Ask the cloud what there is, by one paged listing.

        :raises CloudError: where it cannot tell.
        """

    @abc.abstractmethod
    def judge(self, objects: Objects) -> Sequence[Finding]:
        """What is wrong with what was listed, given the objects in Kubernetes. Asks nobody else.

        Objects must be newer than the listing: what was made in between is then in no listing, and nobody misses it.
        """

    @abc.abstractmethod
    def mend(self, finding: Finding) -> str:
        """Put it right; what was done, in words, empty where nothing was. Blocks.

        :raises KuryrError: where it could not be done.
        """


class PortAuditor(Auditor):
    """Ports: those without owner are deleted, those that others changed are put back.

    One that others deleted cannot be had again: Neutron chooses its id, and the node's interface waits for that id. So
    a node's port, and that of a pod which never ran with it, are made anew, by deleting the KuryrPort; a pod that runs
    is told of it, and that it must be deleted, by an Event and a condition.

    :ivar listed: the last listing.
    """

    resource = "port"

    def __init__(
        self,
        inventory: PortInventory,
        ports: Ports,
        drivers: Drivers,
        client: Client,
        tell: Tell,
        pooled: Callable[[], Collection[str] | None],
        take_in: Callable[[Snapshot], None] = lambda snapshot: None,
    ) -> None:
        """Ask nothing yet.

        :param pooled: ids of the ports that wait in pools; None: not known, ports of pools are left alone.
        :param take_in: given each listing before it is judged.
        """
        self.listed = Snapshot(0.0, {})
        self._inventory = inventory
        self._ports = ports
        self._drivers = drivers
        self._client = client
        self._tell = tell
        self._pooled = pooled
        self._take_in = take_in

    def list(self) -> None:
        """One listing for everything about ports."""
        # The last one goes first: a large cluster's two would be held at once.
        self.listed = Snapshot(0.0, {})
        self.listed = self._inventory.refresh()
        self._take_in(self.listed)

    def judge(self, objects: Objects) -> Sequence[Finding]:
        """Ports without owner, ports that were changed, ports that are gone."""
        kuryrports = list(objects(KURYRPORTS))
        return [
            *findings.orphan_findings(self.listed, kuryrports, self._pooled()),
            *findings.drift(self.listed, kuryrports, self._fields),
        ]

    def _fields(self, kuryrport: KuryrPort, name: str, entry: VIFStatus) -> Fields | None:
        spec = kuryrport.spec
        try:
            driver = self._drivers.vif_driver(entry.driver)
        except ConfigurationError:
            return None
        key = kuryrport.key if spec.owner_kind == "Pod" else Key("", spec.pod_node_name)
        owner = Owner(kind=spec.owner_kind, key=key, uid=spec.pod_uid, node=spec.pod_node_name)
        return driver.port_fields(owner, name, allocation_of(entry))

    def mend(self, finding: Finding) -> str:
        """As the class says."""
        if finding.verdict == ORPHAN:
            self._ports.delete(finding.id, SHARE, project_id=finding.project_id or None).result()
            return "deleted"
        if finding.verdict == CHANGED:
            return self._put_back(finding, finding.fields, finding.revision)
        return self._missing(finding)

    def _put_back(self, finding: Finding, fields: Fields, revision: int | None) -> str:
        try:
            self._ports.update(
                finding.id, revision, project_id=finding.project_id or None, share=SHARE, **fields
            ).result()
        except CloudConflict as error:
            if error.reason != "RevisionConflict":
                raise
            # It changed since it was listed: the next listing tells whether anything is left to do.
            return ""
        self._tell(finding, REPAIRED, f"{finding.message}; it was put back")
        return f"put back: {', '.join(sorted(fields))}"

    def _missing(self, finding: Finding) -> str:
        call = self._ports.find(finding.project_id or None, ids=[finding.id], share=SHARE)
        found = next(iter(call.result()), None)
        if found is not None:
            # It is there, but not marked as ours any more.
            changed = findings.differences(found, finding.fields)
            return self._put_back(finding, changed, found.revision_number) if changed else ""
        if finding.kuryrport is None:
            return ""
        try:
            port = self._client.get(KURYRPORTS, finding.kuryrport)
            if port.metadata.uid != finding.kuryrport_uid or port.deleting:
                return ""
            if finding.interface in port.status.vifs:
                self._drivers.vif_driver(port.status.vifs[finding.interface].driver).lost(finding.id)
            if port.spec.owner_kind == "Node" or not _ran(port):
                self._tell(finding, PORT_RECREATED, f"{finding.message}; another is made")
                self._client.delete(KURYRPORTS, port.key, uid=port.metadata.uid)
                return "made anew"
            return self._lost(finding, port)
        except (NotFound, Conflict):
            return ""

    def _lost(self, finding: Finding, port: KuryrPort) -> str:
        message = f"{finding.message}: it was deleted by others. The pod has no network: delete it, so that another takes its place"
        conditions = set_condition(
            port.status.conditions, Condition(PORT_PRESENT, "False", PORT_MISSING, message)
        )
        if conditions == port.status.conditions:
            return ""
        meta = {"uid": port.metadata.uid, "resourceVersion": port.metadata.resource_version}
        status = {"conditions": conditions}
        self._client.merge_patch(
            KURYRPORTS, port.key, {"metadata": meta, "status": status}, subresource="status"
        )
        self._tell(finding, PORT_MISSING, message)
        return "told"


def _ran(port: KuryrPort) -> bool:
    """Whether a node said of one of its VIFs that it was up, so that a sandbox uses them."""
    return any(
        (condition := find_condition(entry.conditions, UP)) is not None and condition.status == "True"
        for entry in port.status.vifs.values()
    )
