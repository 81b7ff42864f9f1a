# SPDX-License-Identifier: Apache-2.0
"""Interfaces that the original's daemon plugged, on a cluster that was taken over from it.

Its ports carry iface-id and attached-mac but do not say which sandbox they belong to. They are recognised when their
sandbox is removed, and then written down as ours, so that all else treats them as any other.
"""

from __future__ import annotations

from collections.abc import Collection

from kuryr.cni.attachments import POOL, Attachment, read
from kuryr.net.switch import SwitchPort, SwitchState

_HYBRID_PREFIX = "qvo"


def unowned(state: SwitchState, mac: str, ports: Collection[str]) -> list[SwitchPort]:
    """The switch's ports of Neutron that no sandbox owns and that have this MAC address or a port id among ``ports``."""
    return [
        port
        for port in state.ports.values()
        if "iface-id" in port.external_ids
        and read(port) is None
        and POOL not in port.external_ids
        and _of_a_pod(port)
        and (
            (mac and port.external_ids.get("attached-mac", "").lower() == mac.lower())
            or port.external_ids["iface-id"] in ports
        )
    ]


def _of_a_pod(port: SwitchPort) -> bool:
    """The original's names; nodes' own ports and virtual machines' have others, or are none of a pod's MAC."""
    return (
        port.name.startswith(("tap", _HYBRID_PREFIX)) and port.name[3:] == port.external_ids["iface-id"][:11]
    )


def adopted(
    port: SwitchPort, *, container: str, ifname: str, netns: str, network: str, pod: str, uid: str
) -> Attachment:
    """What the port is an attachment of."""
    return Attachment(
        container=container,
        attachment=ifname,
        ifname=ifname,
        netns=netns,
        network=network,
        port=port.external_ids["iface-id"],
        pod=pod,
        pod_uid=uid,
        vif="VIFBridge" if port.name.startswith(_HYBRID_PREFIX) else "VIFOpenVSwitch",
        device=port.name,
        mac=port.external_ids.get("attached-mac", ""),
    )
