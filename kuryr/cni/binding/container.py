# SPDX-License-Identifier: Apache-2.0
"""The container's side of every VIF."""

from __future__ import annotations

from kuryr.cni.addressing import Plan
from kuryr.cni.attachments import Attachment
from kuryr.net import links, netns, offload
from kuryr.net.errors import AlreadyThere, NamespaceGone


def make_veth(host: str, attachment: Attachment, mtu: int, *, master: str = "") -> None:
    """A veth pair between ``host`` here and the sandbox's interface; the host's end is up, joined to ``master``.

    :raises AlreadyThere: where the sandbox has an interface of that name.
    """
    with netns.opened(attachment.netns) as namespace, links.links() as link:
        # The port is ours alone: a host end that is there is left from an earlier sandbox or a killed daemon.
        try:
            link.add_veth(host, attachment.ifname, namespace, mac=attachment.mac, mtu=mtu)
        except AlreadyThere:
            if not link.delete(host):
                raise AlreadyThere(
                    f"{attachment.netns} has an interface {attachment.ifname} already"
                ) from None
            link.add_veth(host, attachment.ifname, namespace, mac=attachment.mac, mtu=mtu)
        links.disable_ipv6(host)
        link.set_up(host, master=master)


def park(host: str, inner: str, mac: str, mtu: int) -> None:
    """A veth pair with both ends here: ``host`` up, for the switch; ``inner``, with the MAC, down until it is moved."""
    with netns.own() as here, links.links() as link:
        link.delete(host)
        link.add_veth(host, inner, here, mac=mac, mtu=mtu)
        for name in (host, inner):
            links.disable_ipv6(name)
        link.set_up(host)


def take(inner: str, attachment: Attachment, mtu: int) -> None:
    """Move what waits here into the sandbox.

    :raises AlreadyThere: where the sandbox has an interface of that name; the other is in the sandbox all the same.
    """
    with netns.opened(attachment.netns) as namespace, links.links() as link:
        link.move(inner, attachment.ifname, namespace, mac=attachment.mac, mtu=mtu, alias=attachment.alias)


def put_back(host: str, inner: str, attachment: Attachment, mtu: int) -> bool:
    """Move the sandbox's interface here, as :func:`park` made it; False where it is not the other end of ``host``."""
    index = links.index_of(host)
    with netns.own() as here:
        if not links.exists(inner):
            with netns.entered(attachment.netns), links.links() as link:
                # Whoever is root in the pod may have put something else in its place,
                if not link.leads_to(attachment.ifname, index, here):
                    return False
                link.drop_program(attachment.ifname)
                link.move(attachment.ifname, inner, here, mac=attachment.mac, mtu=mtu)
        links.disable_ipv6(inner)
        with links.links() as link:
            # or do so between the two.
            if link.leads_to(inner, index, here):
                return True
            link.delete(inner)
    return False


def configure(
    attachment: Attachment, plan: Plan, *, compute_checksums: bool = False, wired: bool = False
) -> None:
    """Bring the sandbox's interface up with the plan's addresses and routes.

    :param compute_checksums: the switch does not do it, so the interface must.
    :param wired: the port carries traffic already.
    """
    with netns.entered(attachment.netns), links.links() as link:
        name = attachment.ifname
        if plan.ipv6:
            links.prepare_ipv6(name, wired=wired)
        if compute_checksums:
            offload.disable_tx_checksums(name)
        with link.together():
            link.set_up("lo")
            link.set_up(name, alias=attachment.alias)
            for address in plan.addresses:
                link.add_address(name, address.cidr)
            for route in plan.routes:
                # Two subnets may name the same destination, or a host route the subnet itself: the first stays.
                link.add_route(name, route, onlink=route.gateway in plan.onlink, exist_ok=True)


def remove(netns_path: str, ifname: str, alias: str) -> None:
    """Take away the interfaces in a namespace that were made for a sandbox; fine where the namespace is gone.

    These carry ``alias``, or are ``ifname`` where a daemon was killed before it could set that.
    """
    if not netns_path:
        return
    try:
        with netns.entered(netns_path), links.links() as link:
            for state in link.states():
                if state.ours and (state.alias == alias or (not state.alias and state.name == ifname)):
                    link.delete(state.name)
    except NamespaceGone:
        return


def mac(netns_path: str, ifname: str) -> str:
    """MAC address of an interface in a namespace, "" where either is gone."""
    if not netns_path:
        return ""
    try:
        with netns.entered(netns_path), links.links() as link:
            state = link.state(ifname)
    except NamespaceGone:
        return ""
    return state.mac if state is not None else ""
