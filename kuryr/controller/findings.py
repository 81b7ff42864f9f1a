# SPDX-License-Identifier: Apache-2.0
"""What an audit finds wrong with ports, from a listing and the KuryrPorts. Pure: nothing is read or written from here."""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Iterable, Mapping
from typing import Any, Final, Generic, TypeVar

import msgspec

from kuryr.cloud.ports import Port
from kuryr.drivers.inventory import Snapshot
from kuryr.objects.kuryrport import KuryrPort, VIFStatus, used_vif_ids
from kuryr.objects.meta import Key
from kuryr.objects.original import unadopted
from kuryr.objects.vif import InvalidVIF, decode

T = TypeVar("T", bound=Hashable)

ORPHAN: Final = "Orphan"
"""It has no owner: it is deleted."""

CHANGED: Final = "Changed"
"""Somebody else changed what its owner needs: it is put back."""

MISSING: Final = "Missing"
"""An owner's is gone, or no longer marked as ours."""

Fields = Mapping[str, Any]
FieldsOf = Callable[[KuryrPort, str, VIFStatus], Fields | None]
"""What the Neutron port of a KuryrPort's interface must have; None where it is no Neutron port of its own."""


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """Something that is not as it should be.

    :ivar resource: Neutron's name for its kind, such as ``port``.
    :ivar verdict: ORPHAN, CHANGED or MISSING.
    :ivar owner: whose it is or was: ``pod <UID>`` for orphans, else ``Pod namespace/name``.
    :ivar kuryrport: key and UID of the KuryrPort that names it; None for orphans.
    :ivar fields: what it should have: for CHANGED only what is otherwise.
    :ivar revision: of the thing as it was listed; None where it was not.
    """

    resource: str
    id: str
    verdict: str
    owner: str
    message: str
    project_id: str = ""
    created_at: str = ""
    kuryrport: Key | None = None
    kuryrport_uid: str = ""
    interface: str = ""
    fields: dict[str, Any] = {}
    revision: int | None = None

    @property
    def identity(self) -> tuple[Hashable, ...]:
        """The same for the same trouble, whenever it is found."""
        fields = tuple(sorted((name, str(value)) for name, value in self.fields.items()))
        return self.resource, self.id, self.verdict, self.kuryrport_uid, fields


def orphans(
    snapshot: Snapshot, kuryrports: Iterable[KuryrPort], pooled: Collection[str] | None = None
) -> set[str]:
    """Ids of the ports that no KuryrPort has or is about to have.

    A port of a KuryrPort that is not filled yet, or is being deleted, is about to be dealt with.

    :param pooled: ids of the ports that wait in pools; None leaves all ports of pools alone.
    """
    kuryrports = [port for port in kuryrports if port.spec.owner_kind != "Pool"]
    by_uid = {port.spec.pod_uid: port for port in kuryrports}
    used = {vif_id for port in kuryrports for vif_id in used_vif_ids(port)}
    found = set()
    for port_id, (_, who) in snapshot.ports.items():
        if port_id in used:
            # Whatever it is marked as: somebody would lose its network.
            continue
        if who.kind == "pool" and pooled is not None and port_id not in pooled:
            found.add(port_id)
        if who.kind not in ("pod", "node"):
            continue
        owner = by_uid.get(who.uid)
        if owner is None:
            found.add(port_id)
            continue
        entry = owner.status.vifs.get(who.detail)
        if owner.deleting or entry is None:
            continue
        try:
            if decode(entry.vif).id != port_id:
                found.add(port_id)
        except InvalidVIF:
            continue
    return found


def orphan_findings(
    snapshot: Snapshot, kuryrports: Iterable[KuryrPort], pooled: Collection[str] | None = None
) -> list[Finding]:
    """:func:`orphans` with what there is to say about them, by id."""
    found = []
    for port_id in sorted(orphans(snapshot, kuryrports, pooled)):
        port, who = snapshot.ports[port_id]
        found.append(
            Finding(
                resource="port",
                id=port_id,
                verdict=ORPHAN,
                owner=f"{who.kind} {who.uid}",
                message=f"port {port_id} of {who.kind} {who.uid} has no owner",
                project_id=port.project_id,
                created_at=port.created_at,
            )
        )
    return found


def drift(snapshot: Snapshot, kuryrports: Iterable[KuryrPort], fields_of: FieldsOf) -> list[Finding]:
    """The ports of KuryrPorts that are not in the listing, or not as these need them, by KuryrPort.

    What the original made and nobody adopted yet is left alone; so are KuryrPorts that are being deleted.
    """
    found = []
    for kuryrport in sorted(kuryrports, key=lambda port: port.key):
        if kuryrport.deleting or kuryrport.spec.owner_kind not in ("Pod", "Node"):
            continue
        for name, entry in sorted(kuryrport.status.vifs.items()):
            if unadopted(entry):
                continue
            try:
                port_id = decode(entry.vif).id
            except InvalidVIF:
                continue
            fields = fields_of(kuryrport, name, entry)
            if fields is None:
                continue
            if entry.security_groups is None:
                fields = {key: value for key, value in fields.items() if key != "security_groups"}
            finding = _compare(snapshot, kuryrport, name, entry, port_id, fields)
            if finding is not None:
                found.append(finding)
    return found


def _compare(
    snapshot: Snapshot, kuryrport: KuryrPort, name: str, entry: VIFStatus, port_id: str, fields: Fields
) -> Finding | None:
    spec = kuryrport.spec
    owner = f"Pod {kuryrport.key}" if spec.owner_kind == "Pod" else f"Node {spec.pod_node_name}"
    where = f"port {port_id} (interface {name} of {owner})"
    common: dict[str, Any] = {
        "resource": "port",
        "id": port_id,
        "owner": owner,
        "project_id": entry.project_id,
        "kuryrport": kuryrport.key,
        "kuryrport_uid": kuryrport.metadata.uid,
        "interface": name,
    }
    listed = snapshot.ports.get(port_id)
    if listed is None:
        message = f"Neutron has no {where} that is marked as this cluster's"
        return Finding(verdict=MISSING, message=message, fields=dict(fields), **common)
    port = listed[0]
    changed = differences(port, fields)
    if not changed:
        return None
    told = "; ".join(f"{key} is {_text(getattr(port, key))}, not {_text(changed[key])}" for key in changed)
    return Finding(
        verdict=CHANGED,
        message=f"{where} was changed by others: {told}",
        created_at=port.created_at,
        fields=changed,
        revision=port.revision_number,
        **common,
    )


def differences(port: Port, fields: Fields) -> dict[str, Any]:
    """Those of ``fields`` that the port has otherwise; what the user may not see (None) is not judged."""
    found = {}
    for name, wanted in fields.items():
        has = getattr(port, name)
        if has is None:
            continue
        same = set(has) == set(wanted) if isinstance(has, tuple) else has == wanted
        if not same:
            found[name] = wanted
    return found


def _text(value: Any) -> str:
    if isinstance(value, tuple):
        return ", ".join(sorted(map(str, value))) or "empty"
    return str(value) or "empty"


class Suspects(msgspec.Struct, Generic[T]):
    """What was found wrong, each with the monotonic time when it was first."""

    since: dict[T, float] = {}

    def judge(self, found: Collection[T], now: float, grace: float) -> set[T]:
        """Remember ``found`` and return those that were found before, at least ``grace`` seconds ago."""
        sure = {one for one in found if one in self.since and now - self.since[one] >= grace}
        self.since = {one: self.since.get(one, now) for one in found}
        return sure
