# SPDX-License-Identifier: Apache-2.0
"""Whether a sandbox still has what ADD answered."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable

from kuryr.cni.attachments import Attachment
from kuryr.cni.binding.base import BindingError
from kuryr.cni.protocol import Result
from kuryr.net import links, netns
from kuryr.net.links import LinkState, Route


def verify(path: str, sandbox: str, previous: Result, ifname: str, found: Iterable[Attachment]) -> None:
    """Compare the namespace at ``path`` with an earlier result. What later plugins added is not looked at.

    :param sandbox: the namespace's path as the result has it.
    :param ifname: CNI_IFNAME; it must be in the result.
    :param found: the switch's attachments of this sandbox.
    :raises BindingError: naming what is missing or different.
    """
    expected = {i: entry for i, entry in enumerate(previous.interfaces) if entry.sandbox == sandbox}
    if ifname not in {entry.name for entry in expected.values()}:
        raise BindingError(f"prevResult has no interface {ifname} in {sandbox}")
    ours = {attachment.ifname for attachment in found} | {ifname}
    with netns.entered(path), links.links() as link:
        for i, entry in expected.items():
            if entry.name not in ours:
                continue
            state = link.state(entry.name)
            if state is None:
                raise BindingError(f"interface {entry.name} is not in {path}")
            _compare(state, entry.mac, [ip.address for ip in previous.ips if ip.interface == i])
        for route in previous.routes:
            network = str(ipaddress.ip_network(route.dst))
            if not link.has_route(Route(network, route.gw)):
                raise BindingError(f"route to {route.dst} via {route.gw or 'the link'} is not in {path}")


def _compare(state: LinkState, mac: str, addresses: Iterable[str]) -> None:
    if not state.up:
        raise BindingError(f"interface {state.name} is down")
    if mac and state.mac.lower() != mac.lower():
        raise BindingError(f"interface {state.name} has MAC address {state.mac}, expected {mac}")
    has = {str(ipaddress.ip_interface(address)) for address in state.addresses}
    for address in addresses:
        if str(ipaddress.ip_interface(address)) not in has:
            raise BindingError(f"interface {state.name} does not have the address {address}")
