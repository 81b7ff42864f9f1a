# SPDX-License-Identifier: Apache-2.0
"""VIFOpenVSwitch: a veth pair whose host end is a port of an Open vSwitch bridge.

os-vif makes no port for such a VIF (it leaves that to hypervisors), so nothing of it is used here.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from contextlib import suppress

from kuryr.cni.addressing import Plan
from kuryr.cni.attachments import Attachment, read
from kuryr.cni.binding import container
from kuryr.cni.binding.base import BindingError, ParkingDriver
from kuryr.cni.parked import Parked, of_attachment, parked
from kuryr.cni.protocol import Interface
from kuryr.cni.stages import NETLINK, OVS, Stages
from kuryr.errors import KuryrError
from kuryr.net import conntrack, links
from kuryr.net.errors import SwitchUnavailable
from kuryr.net.switch import TRUNK_BRIDGE_PREFIX, NewPort, SwitchPort
from kuryr.objects.vif import VIF, VIFOpenVSwitch, vif_name

LOG = logging.getLogger(__name__)

DATAPATHS = ("", "system", "netdev")


class OpenVSwitchBinding(ParkingDriver):
    """Binds a port of the integration bridge (OVN, or the Open vSwitch agent with any but the hybrid firewall)."""

    def validate(self, vif: VIF) -> None:
        """Refuse an unknown datapath, or a bridge that this node does not have."""
        if not isinstance(vif, VIFOpenVSwitch):
            raise BindingError(f"VIF {vif.id} is a {type(vif).__name__}, expected VIFOpenVSwitch")
        if vif.datapath_type not in DATAPATHS:
            raise BindingError(
                f"VIF {vif.id}: datapath_type is {vif.datapath_type!r}, expected one of {', '.join(DATAPATHS[1:])}"
            )
        bridges = self.node.switch.require().bridges
        if vif.bridge_name not in bridges and not vif.bridge_name.startswith(TRUNK_BRIDGE_PREFIX):
            raise BindingError(
                f"VIF {vif.id}: bridge {vif.bridge_name} does not exist on this node, "
                f"which has {', '.join(sorted(bridges)) or 'none'}"
            )

    def device(self, vif: VIF) -> str:
        """The host's end of the veth pair."""
        return vif.vif_name or vif_name("tap", vif.id)

    def connect(self, vif: VIF, attachment: Attachment, plan: Plan, stages: Stages) -> tuple[Interface, ...]:
        """Take the pair that waits, or make it, put the host's end on the bridge, and set the other up meanwhile."""
        assert isinstance(vif, VIFOpenVSwitch)  # noqa: S101 - validate() saw to it
        device = attachment.device
        port = self.node.switch.require().ports.get(device)
        waiting = parked(vif, pool=attachment.pool, bridge=vif.bridge_name, device=device)
        if port is not None and _serves(port, waiting):
            self._take(vif, waiting, attachment, plan, stages)
        else:
            self._make(vif, waiting, attachment, plan, stages)
        return (
            Interface(device, mtu=plan.mtu),
            Interface(attachment.ifname, mac=vif.address, sandbox=attachment.netns, mtu=plan.mtu),
        )

    def _make(
        self, vif: VIFOpenVSwitch, waiting: Parked, attachment: Attachment, plan: Plan, stages: Stages
    ) -> None:
        switch = self.node.switch
        device = attachment.device
        if device in switch.state.ports:
            with stages.measure(OVS):
                self._evict(device)
        with stages.measure(NETLINK):
            container.make_veth(device, attachment, plan.mtu)
        layout = waiting.layout() if attachment.pool else {}
        # The switch and the backend get to know it while the sandbox's end is set up.
        added = switch.begin_to_add(
            [
                NewPort(
                    name=device,
                    bridge=vif.bridge_name,
                    external_ids=layout | attachment.external_ids(),
                    datapath_type=vif.datapath_type,
                )
            ]
        )
        try:
            with stages.measure(NETLINK):
                self._configure(vif, attachment, plan)
        except Exception:
            # What is rolled back must be there, or be known not to come.
            with suppress(KuryrError):
                added()
            raise
        with stages.measure(OVS):
            added()

    def _take(
        self, vif: VIFOpenVSwitch, waiting: Parked, attachment: Attachment, plan: Plan, stages: Stages
    ) -> None:
        """Write down whose it is while it is moved: either may be done when the daemon is killed."""
        switch = self.node.switch
        # One of an earlier sandbox, killed on its way, says more than is replaced.
        written = switch.begin_to_replace(attachment.device, waiting.layout(), attachment.external_ids())
        try:
            with stages.measure(NETLINK):
                container.take(waiting.inner, attachment, plan.mtu)
                self._configure(vif, attachment, plan, wired=switch.state.wired(attachment.device))
            with stages.measure(OVS):
                written()
        except Exception:
            # The pair goes, and with it what is in the sandbox; a record that is left is one of a broken port.
            with links.links() as link:
                link.delete(attachment.device)
            with suppress(KuryrError):
                written()
            raise

    def _configure(
        self, vif: VIFOpenVSwitch, attachment: Attachment, plan: Plan, *, wired: bool = False
    ) -> None:
        datapath = vif.datapath_type or self.node.switch.state.bridges.get(vif.bridge_name, "")
        container.configure(attachment, plan, compute_checksums=datapath == "netdev", wired=wired)

    def _evict(self, device: str) -> None:
        """Make room: the port belongs to a sandbox that the pod no longer has."""
        switch = self.node.switch
        LOG.info("Port %s is still attached to %s: taken over", device, read(switch.state.ports[device]))
        # ovs-vswitchd must let go of the old interface before one of the same name comes.
        switch.delete_port(device, applied=True)

    def disconnect(self, attachment: Attachment) -> None:
        """Put back what comes from a pool; else take the port off the switch if it is still this sandbox's, and the pair."""
        switch = self.node.switch
        if attachment.pool and self._put_back(attachment):
            return
        if switch.delete_port(attachment.device, expected=attachment.identity()):
            with links.links() as link:
                link.delete(attachment.device)

    def _put_back(self, attachment: Attachment) -> bool:
        """Let the sandbox's interface wait for another; False where it has to be made anew."""
        switch = self.node.switch
        state = switch.require()
        port = state.ports.get(attachment.device)
        if port is None or not attachment.identity().items() <= port.external_ids.items():
            return False
        waiting = of_attachment(attachment, port)
        # Where others use the zone too, the next pod could be met by what is open to this one.
        zone = state.conntrack_zone(attachment.port)
        if waiting is None or zone is None:
            return False
        own, after = attachment.external_ids(), waiting.external_ids()
        try:
            if not container.put_back(attachment.device, waiting.inner, attachment, waiting.mtu):
                return False
            conntrack.flush(switch.remote, zone)
            switch.begin_to_replace(attachment.device, attachment.identity(), after, own.keys() - after)()
        except SwitchUnavailable:
            raise
        except KuryrError as error:
            LOG.info("Port %s cannot go back to its pool as it is: %s", attachment.device, error)
            return False
        return True

    def parked(self, vif: VIF, pool: str) -> Parked:
        """Any that this node can bind, but those of a trunk's bridge."""
        self.validate(vif)
        if not isinstance(vif, VIFOpenVSwitch) or vif.bridge_name.startswith(TRUNK_BRIDGE_PREFIX):
            raise BindingError(f"VIF {vif.id} cannot be plugged before its pod comes")
        return parked(vif, pool=pool, bridge=vif.bridge_name, device=self.device(vif))

    def park(self, wanted: Sequence[Parked]) -> None:
        """Make the pairs, then put all on the switch in one transaction."""
        switch = self.node.switch
        there = switch.require().ports
        for each in wanted:
            if each.device in there:
                switch.delete_port(each.device, applied=True)
            container.park(each.device, each.inner, each.mac, each.mtu)
        switch.begin_to_add(
            [
                NewPort(name=each.device, bridge=each.bridge, external_ids=each.external_ids())
                for each in wanted
            ]
        )()

    def unpark(self, parked: Parked) -> None:
        """Take the port off the switch, and the pair away."""
        port = self.node.switch.require().ports.get(parked.device)
        if port is not None and (read(port) is not None or port.external_ids.get("iface-id") != parked.port):
            return
        self.node.switch.delete_port(parked.device)
        with links.links() as link:
            link.delete(parked.device)

    def check(self, attachment: Attachment) -> None:
        """Look whether the port is on the switch and the switch has no complaint."""
        port = self.node.switch.require().ports.get(attachment.device)
        if port is None or read(port) != attachment:
            raise BindingError(f"port {attachment.device} is not on the switch for {attachment.container}")
        if port.error:
            raise BindingError(f"port {attachment.device}: Open vSwitch says: {port.error}")

    def wait_up(self, attachment: Attachment, deadline: float, cancelled: Callable[[], bool]) -> bool:
        """Wait for ovn-installed, or for the agent's tag."""
        switch = self.node.switch
        up = switch.wait_for(lambda state: state.wired(attachment.device) or None, deadline, cancelled)
        return up is True

    def is_up(self, attachment: Attachment) -> bool:
        """Whether the backend has wired the port."""
        return self.node.switch.state.wired(attachment.device)


def _serves(port: SwitchPort, waiting: Parked) -> bool:
    """Whether the port is as the VIF needs it and its interface waits here, whoever had it before."""
    return (
        waiting.layout().items() <= port.external_ids.items()
        and not port.error
        and links.exists(waiting.inner)
    )
