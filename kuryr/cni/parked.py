# SPDX-License-Identifier: Apache-2.0
"""Ports that wait on their node, wired, for a pod to come.

A parked port is on the switch as an attached one is, so the backend wires it; its veth pair's inner end waits beside
it, down and without addresses, and ADD only moves it into the sandbox. The switch's record tells the two apart: that
of a parked port names its pool and no container. Sandboxes of pooled ports keep the pool's name in theirs, so that DEL
knows where the interface goes.
"""

from __future__ import annotations

import msgspec

from kuryr.cni import attachments
from kuryr.cni.attachments import POOL, Attachment
from kuryr.net.switch import SwitchPort, SwitchState
from kuryr.objects.vif import VIF, vif_name

BRIDGE = "kuryr-bridge"
MTU = "kuryr-mtu"
VIF_CLASS = "kuryr-vif"
INNER_PREFIX = "prk"
"""Of the names of interfaces that wait: the rest is as in the name of the port on the switch."""


class Parked(msgspec.Struct, frozen=True, kw_only=True):
    """A port that waits.

    :ivar port: id of the Neutron port.
    :ivar device: name of the port on the switch.
    :ivar mtu: in bytes, 0 unknown.
    """

    port: str
    mac: str
    pool: str
    vif: str
    bridge: str
    mtu: int
    device: str

    @property
    def inner(self) -> str:
        """Name of the interface that waits to be a pod's."""
        return inner_name(self.port)

    def layout(self) -> dict[str, str]:
        """The entries of the record that must be so for the interface to serve a VIF, whoever has it."""
        return {"iface-id": self.port, "attached-mac": self.mac, BRIDGE: self.bridge, MTU: str(self.mtu)}

    def external_ids(self) -> dict[str, str]:
        """All that the switch's record says."""
        return {**self.layout(), "iface-status": "active", POOL: self.pool, VIF_CLASS: self.vif}


def inner_name(port: str) -> str:
    """Name on the node of the interface of a Neutron port that waits."""
    return vif_name(INNER_PREFIX, port)


def parked(vif: VIF, *, pool: str, bridge: str, device: str) -> Parked:
    """What a VIF is when it is parked."""
    return Parked(
        port=vif.id,
        mac=vif.address,
        pool=pool,
        vif=vif.kind,
        bridge=bridge,
        mtu=vif.network.mtu,
        device=device,
    )


def of_attachment(attachment: Attachment, port: SwitchPort) -> Parked | None:
    """What a sandbox's port is when it is parked; None where its record does not say enough."""
    ids = port.external_ids
    if not attachment.pool or BRIDGE not in ids:
        return None
    return Parked(
        port=attachment.port,
        mac=attachment.mac,
        pool=attachment.pool,
        vif=attachment.vif,
        bridge=ids[BRIDGE],
        mtu=_number(ids.get(MTU, "")),
        device=attachment.device,
    )


def read(port: SwitchPort) -> Parked | None:
    """What waits on this port of the switch; None where nothing does."""
    ids = port.external_ids
    if POOL not in ids or attachments.read(port) is not None:
        return None
    return Parked(
        port=ids.get("iface-id", ""),
        mac=ids.get("attached-mac", ""),
        pool=ids[POOL],
        vif=ids.get(VIF_CLASS, ""),
        bridge=ids.get(BRIDGE, ""),
        mtu=_number(ids.get(MTU, "")),
        device=port.name,
    )


def all_of(state: SwitchState) -> list[Parked]:
    """Every parked port of the switch."""
    found = (read(port) for port in state.ports.values() if POOL in port.external_ids)
    return [entry for entry in found if entry is not None]


def _number(text: str) -> int:
    return int(text) if text.isdecimal() else 0
