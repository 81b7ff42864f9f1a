# SPDX-License-Identifier: Apache-2.0
"""Which sandbox has which port.

The record of an attachment is in the external_ids of its port on the switch, written in the transaction that adds the
port: it is there exactly as long as the port is, whatever becomes of the daemon. Interfaces that no switch carries
(nested pods) live in the sandbox's own network namespace and go with it; there an alias marks them as ours.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from kuryr.net.switch import SwitchPort, SwitchState

ALIAS = "kuryr "
"""Beginning of the alias of a container's interface; the container's id follows."""

POOL = "kuryr-pool"
"""Entry of the record of a port that comes from a pool, and goes back to it."""

_CONTAINER = "kuryr-container"


class Attachment(msgspec.Struct, frozen=True, kw_only=True):
    """One interface of one sandbox.

    :ivar container: id of the sandbox's container.
    :ivar attachment: CNI_IFNAME of the request; further interfaces of the pod have it too.
    :ivar ifname: name of the interface in the sandbox.
    :ivar netns: path of the sandbox's network namespace.
    :ivar network: name of the CNI network.
    :ivar port: id of the Neutron port.
    :ivar pod: namespace/name.
    :ivar vif: class of the VIF, which names the binding driver.
    :ivar device: name of the port on the switch, empty where there is none.
    :ivar mac: of the Neutron port.
    :ivar pool: name of the pool that the port comes from, empty where it is the pod's own.
    """

    container: str
    attachment: str
    ifname: str
    netns: str
    network: str
    port: str
    pod: str
    pod_uid: str
    vif: str
    device: str = ""
    mac: str = ""
    pool: str = ""

    @property
    def alias(self) -> str:
        """What marks the interface in the sandbox."""
        return ALIAS + self.container

    def external_ids(self) -> dict[str, str]:
        """All that the switch's record says: for Neutron's backend and for us."""
        return {
            "iface-id": self.port,
            "iface-status": "active",
            "attached-mac": self.mac,
            "vm-uuid": self.pod_uid,
            _CONTAINER: self.container,
            "kuryr-attachment": self.attachment,
            "kuryr-ifname": self.ifname,
            "kuryr-netns": self.netns,
            "kuryr-network": self.network,
            "kuryr-pod": self.pod,
            "kuryr-pod-uid": self.pod_uid,
            "kuryr-vif": self.vif,
            **({POOL: self.pool} if self.pool else {}),
        }

    def identity(self) -> dict[str, str]:
        """The entries that tell this attachment from any other of the same port."""
        return {"iface-id": self.port, _CONTAINER: self.container, "kuryr-ifname": self.ifname}


def read(port: SwitchPort) -> Attachment | None:
    """The attachment that a port of the switch belongs to, None where it is not of ours."""
    ids: Mapping[str, str] = port.external_ids
    if _CONTAINER not in ids:
        return None
    return Attachment(
        container=ids[_CONTAINER],
        attachment=ids.get("kuryr-attachment", ""),
        ifname=ids.get("kuryr-ifname", ""),
        netns=ids.get("kuryr-netns", ""),
        network=ids.get("kuryr-network", ""),
        port=ids.get("iface-id", ""),
        pod=ids.get("kuryr-pod", ""),
        pod_uid=ids.get("kuryr-pod-uid", ""),
        vif=ids.get("kuryr-vif", ""),
        device=port.name,
        mac=ids.get("attached-mac", ""),
        pool=ids.get(POOL, ""),
    )


def all_of(state: SwitchState) -> list[Attachment]:
    """Every attachment on the switch."""
    found = (read(port) for port in state.ports.values())
    return [attachment for attachment in found if attachment is not None]


def of_container(state: SwitchState, container: str, attachment: str) -> list[Attachment]:
    """The attachments of a sandbox that were made for CNI_IFNAME ``attachment``."""
    return [a for a in all_of(state) if a.container == container and a.attachment == attachment]


def stale(state: SwitchState, network: str, valid: Iterable[tuple[str, str]]) -> list[Attachment]:
    """The attachments of the CNI network that are not among ``valid`` (container id, CNI_IFNAME)."""
    keep = set(valid)
    return [a for a in all_of(state) if a.network == network and (a.container, a.attachment) not in keep]
