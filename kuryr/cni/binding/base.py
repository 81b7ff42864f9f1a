# SPDX-License-Identifier: Apache-2.0
"""The contract of binding drivers: what puts a VIF into a pod and takes it out.

A driver serves one class of VIF. It is an entry point in ``kuryr.cni.binding`` whose name is the class's, for
instance ``VIFOpenVSwitch``. One instance serves all requests, from several threads; requests for the same Neutron
port never come at the same time.
"""

from __future__ import annotations

import abc
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from kuryr.cni.addressing import Plan
from kuryr.cni.attachments import Attachment
from kuryr.cni.parked import Parked
from kuryr.cni.protocol import Interface
from kuryr.cni.stages import Stages
from kuryr.errors import KuryrError
from kuryr.net.switch import Switch
from kuryr.objects.vif import VIF


class BindingError(KuryrError):
    """A VIF cannot be bound on this node, or is not as it was bound; names what was expected."""

    reason = "BindingError"


@dataclass(frozen=True, slots=True)
class Node:
    """What drivers get of the node. Options are named as in kuryr.conf."""

    switch: Switch
    ovs_bridge: str = "br-int"
    link_iface: str = ""
    vhostuser_mount_point: str = "/var/cni/vhostuser"
    ovs_vhu_path: str = "/var/run/openvswitch/"


class BindingDriver(abc.ABC):
    """Binds VIFs of one class."""

    def __init__(self, node: Node) -> None:
        self.node = node

    @abc.abstractmethod
    def validate(self, vif: VIF) -> None:
        """Look whether this node can bind the VIF, before anything is touched.

        :raises BindingError: naming the detail that is unknown or missing. What is not understood is refused: a port
            that goes ACTIVE although it is not filtered is worse than one that does not.
        """

    @abc.abstractmethod
    def device(self, vif: VIF) -> str:
        """Name of the VIF's port on the switch, or "" where no switch carries it."""

    @abc.abstractmethod
    def connect(self, vif: VIF, attachment: Attachment, plan: Plan, stages: Stages) -> tuple[Interface, ...]:
        """Make the interface ``attachment.ifname`` in ``attachment.netns``, with the addresses and routes of ``plan``.

        What an earlier sandbox, or a daemon that was killed, left of this port is replaced. Where the port is on the
        switch its record carries ``attachment.external_ids()`` from the transaction on that adds it.

        :returns: the interfaces made, the container's last.
        :raises KuryrError: with nothing left that :meth:`disconnect` does not take away.
        """

    @abc.abstractmethod
    def disconnect(self, attachment: Attachment) -> None:
        """Undo :meth:`connect`, or what there is of it; fine where nothing is. A newer sandbox's is not touched."""

    @abc.abstractmethod
    def check(self, attachment: Attachment) -> None:
        """Look whether what :meth:`connect` made outside the sandbox is all there.

        :raises BindingError: naming what is not.
        """

    @abc.abstractmethod
    def wait_up(self, attachment: Attachment, deadline: float, cancelled: Callable[[], bool]) -> bool:
        """Wait until the VIF carries traffic, by events; whether it does.

        :param deadline: seconds of ``time.monotonic()``.
        :param cancelled: looked at whenever the switch changes or is woken.
        """

    @abc.abstractmethod
    def is_up(self, attachment: Attachment) -> bool:
        """Whether the VIF carries traffic now, as far as this node can tell."""

    def why_down(self, attachment: Attachment) -> str:
        """What to look at when the VIF does not come up, for people."""
        return self.node.switch.state.why_unwired(attachment.device)


class ParkingDriver(BindingDriver):
    """Binds VIFs that can wait on the node for their pod, wired.

    ``connect`` takes what waits instead of making it anew, and ``disconnect`` puts back what has ``attachment.pool``;
    where either cannot, they do as for any other. Killed at any instant, a driver leaves what its next ``connect``,
    ``disconnect`` or ``park`` of that port puts right.
    """

    @abc.abstractmethod
    def parked(self, vif: VIF, pool: str) -> Parked:
        """What the VIF is when it waits.

        :raises BindingError: where it cannot wait on this node.
        """

    @abc.abstractmethod
    def park(self, wanted: Sequence[Parked]) -> None:
        """Let these wait, plugged in one go; what there is of them already is replaced."""

    @abc.abstractmethod
    def unpark(self, parked: Parked) -> None:
        """Take away what waits; one that is a sandbox's by now is not touched."""
