# SPDX-License-Identifier: Apache-2.0
"""VIFVHostUser: a vhost-user socket for a program in the pod that brings its own network stack (DPDK)."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable
from pathlib import Path

from kuryr.cni.addressing import Plan
from kuryr.cni.attachments import Attachment, read
from kuryr.cni.binding.base import BindingDriver, BindingError
from kuryr.cni.protocol import Interface
from kuryr.cni.stages import OVS, Stages
from kuryr.net.switch import NewPort
from kuryr.objects.vif import VIF, VIFVHostUser, vif_name

LOG = logging.getLogger(__name__)

_TYPES = {"client": "dpdkvhostuser", "server": "dpdkvhostuserclient"}


class VHostUserBinding(BindingDriver):
    """Binds a port of a bridge with the userspace datapath.

    The pod finds ``<container>-<interface>`` under [vhostuser] mount_point: a JSON file with the socket's name,
    mode, MAC address and addresses.
    """

    def validate(self, vif: VIF) -> None:
        """Refuse an unknown mode, and a bridge that has no userspace datapath."""
        if not isinstance(vif, VIFVHostUser):
            raise BindingError(f"VIF {vif.id} is a {type(vif).__name__}, expected VIFVHostUser")
        if vif.mode not in _TYPES:
            raise BindingError(f"VIF {vif.id}: mode is {vif.mode!r}, expected one of {', '.join(_TYPES)}")
        bridge = vif.bridge_name or self.node.ovs_bridge
        datapath = self.node.switch.require().bridges.get(bridge)
        if datapath != "netdev":
            raise BindingError(
                f"VIF {vif.id}: bridge {bridge} "
                + ("does not exist" if datapath is None else f"has datapath_type {datapath or 'system'!r}")
                + ", expected one with datapath_type 'netdev'"
            )

    def device(self, vif: VIF) -> str:
        """The port of type dpdkvhostuser."""
        return vif_name("vhu", vif.id)

    def connect(self, vif: VIF, attachment: Attachment, plan: Plan, stages: Stages) -> tuple[Interface, ...]:
        """Add the port, and tell the pod in a file."""
        assert isinstance(vif, VIFVHostUser)  # noqa: S101 - validate() saw to it
        switch = self.node.switch
        socket = os.path.join(self.node.ovs_vhu_path, attachment.device) if vif.mode == "client" else vif.path
        with stages.measure(OVS):
            if (old := switch.require().ports.get(attachment.device)) is not None:
                LOG.info("Port %s is still attached to %s: taken over", attachment.device, read(old))
                switch.delete_port(attachment.device, applied=True)
            switch.add_port(
                NewPort(
                    name=attachment.device,
                    bridge=vif.bridge_name or self.node.ovs_bridge,
                    external_ids=attachment.external_ids(),
                    type=_TYPES[vif.mode],
                    mtu=plan.mtu,
                    options={"vhost-server-path": vif.path} if vif.mode == "server" else {},
                )
            )
        description = {
            "vhostuser": {"mode": vif.mode, "path": socket},
            "mac": attachment.mac,
            "mtu": plan.mtu,
            "ips": [{"address": address.cidr, "gateway": address.gateway} for address in plan.addresses],
            "routes": [{"dst": route.destination, "gw": route.gateway} for route in plan.routes],
        }
        self._file(attachment).parent.mkdir(parents=True, exist_ok=True)
        self._file(attachment).write_text(json.dumps(description))
        return (
            Interface(
                attachment.ifname,
                mac=vif.address,
                sandbox=attachment.netns,
                mtu=plan.mtu,
                socket_path=socket,
            ),
        )

    def _file(self, attachment: Attachment) -> Path:
        return Path(self.node.vhostuser_mount_point) / f"{attachment.container}-{attachment.ifname}"

    def disconnect(self, attachment: Attachment) -> None:
        """Take the port and the file away."""
        self.node.switch.delete_port(attachment.device, expected=attachment.identity())
        self._file(attachment).unlink(missing_ok=True)

    def check(self, attachment: Attachment) -> None:
        """Look whether the port and the file are there."""
        port = self.node.switch.require().ports.get(attachment.device)
        if port is None or port.error:
            raise BindingError(f"port {attachment.device}: {port.error if port else 'not on the switch'}")
        if not self._file(attachment).exists():
            raise BindingError(f"{self._file(attachment)} is gone")

    def wait_up(self, attachment: Attachment, deadline: float, cancelled: Callable[[], bool]) -> bool:
        """Wait for ovn-installed, or for the agent's tag."""
        switch = self.node.switch
        up = switch.wait_for(lambda state: state.wired(attachment.device) or None, deadline, cancelled)
        return up is True

    def is_up(self, attachment: Attachment) -> bool:
        """Whether the backend has wired the port."""
        return self.node.switch.state.wired(attachment.device)
