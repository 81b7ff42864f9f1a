# SPDX-License-Identifier: Apache-2.0
"""What VIFs on a virtual machine's own interface have in common: no switch of this node carries them."""

from __future__ import annotations

import abc
from collections.abc import Callable

from kuryr.cni.addressing import Plan
from kuryr.cni.attachments import Attachment
from kuryr.cni.binding import container
from kuryr.cni.binding.base import BindingDriver, BindingError
from kuryr.cni.protocol import Interface
from kuryr.cni.stages import NETLINK, Stages
from kuryr.net import links, netns
from kuryr.net.links import Links
from kuryr.objects.vif import VIF


class NestedBinding(BindingDriver):
    """Makes a sub-interface of [binding] link_iface in the sandbox. It goes with the sandbox's namespace."""

    @abc.abstractmethod
    def add(
        self, link: Links, vif: VIF, attachment: Attachment, parent: str, namespace: int, mtu: int
    ) -> None:
        """Make the sub-interface of ``parent`` in the namespace."""

    def parent(self) -> str:
        """The node's interface that carries pods.

        :raises BindingError: where there is none.
        """
        with links.links() as link:
            name = self.node.link_iface or link.default_route_interface()
            if name is None:
                raise BindingError(
                    "[binding] link_iface is empty and the node has no default route: name the interface of the trunk"
                )
            if link.state(name) is None:
                raise BindingError(f"[binding] link_iface: interface {name} does not exist on this node")
        return name

    def device(self, vif: VIF) -> str:
        """No port of a switch."""
        return ""

    def connect(self, vif: VIF, attachment: Attachment, plan: Plan, stages: Stages) -> tuple[Interface, ...]:
        """Make the sub-interface and set it up."""
        parent = self.parent()
        with stages.measure(NETLINK):
            with netns.opened(attachment.netns) as namespace, links.links() as link:
                state = link.state(parent)
                # A sub-interface larger than its parent is refused by the kernel, or loses packets.
                mtu = min(plan.mtu or state.mtu, state.mtu) if state is not None else plan.mtu
                self.add(link, vif, attachment, parent, namespace, mtu)
            container.configure(attachment, plan)
        return (Interface(attachment.ifname, mac=vif.address, sandbox=attachment.netns, mtu=mtu),)

    def disconnect(self, attachment: Attachment) -> None:
        """Take the sub-interface away, if the namespace still has it."""
        container.remove(attachment.netns, attachment.ifname, attachment.alias)

    def check(self, attachment: Attachment) -> None:
        """Nothing of it is outside the sandbox."""

    def wait_up(self, attachment: Attachment, deadline: float, cancelled: Callable[[], bool]) -> bool:
        """This node cannot tell; the controller reports such VIFs."""
        return True

    def is_up(self, attachment: Attachment) -> bool:
        """This node cannot tell."""
        return True
