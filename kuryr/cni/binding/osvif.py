# SPDX-License-Identifier: Apache-2.0
"""os-vif, for the plugging that it does well and for plugins of others.

It is loaded when first needed: it costs memory that a node whose VIFs need none of it keeps.
"""

from __future__ import annotations

import threading
from typing import Any

from kuryr.cni.attachments import Attachment
from kuryr.cni.binding.base import BindingError

_GROUP = "os_vif_ovs"
_lock = threading.Lock()
_loaded: Any = None


def _load(ovsdb_connection: str) -> Any:
    """os_vif, set up once to use this connection and to work in this process, which is root's."""
    global _loaded
    with _lock:
        if _loaded is None:
            import os_vif
            from oslo_config import cfg
            from vif_plug_ovs import privsep
            from vif_plug_ovs.ovs import OvsPlugin

            cfg.CONF.register_opts(OvsPlugin.CONFIG_OPTS, group=_GROUP)
            cfg.CONF.set_override("ovsdb_connection", ovsdb_connection, group=_GROUP)
            privsep.vif_plug.set_client_mode(False)
            os_vif.initialize()
            _loaded = os_vif
        return _loaded


def hybrid_bridge(attachment: Attachment, linux_bridge: str, ovs_bridge: str, mtu: int) -> Any:
    """os-vif's VIFBridge: the port on ``ovs_bridge`` through ``linux_bridge``, where iptables filter."""
    from os_vif.objects.network import Network
    from os_vif.objects.vif import VIFBridge, VIFPortProfileOpenVSwitch

    arguments: dict[str, Any] = {"bridge": ovs_bridge}
    if mtu:
        arguments["mtu"] = mtu
    return VIFBridge(
        id=attachment.port,
        address=attachment.mac,
        network=Network(**arguments),
        plugin="ovs",
        vif_name=attachment.device,
        bridge_name=linux_bridge,
        has_traffic_filtering=True,
        port_profile=VIFPortProfileOpenVSwitch(interface_id=attachment.port),
    )


def plug(ovsdb_connection: str, vif: Any, attachment: Attachment) -> None:
    """Plug an os-vif VIF for the sandbox.

    :raises BindingError: with os-vif's reason.
    """
    _call(_load(ovsdb_connection).plug, vif, attachment)


def unplug(ovsdb_connection: str, vif: Any, attachment: Attachment) -> None:
    """Unplug it.

    :raises BindingError: with os-vif's reason.
    """
    _call(_load(ovsdb_connection).unplug, vif, attachment)


def _call(function: Any, vif: Any, attachment: Attachment) -> None:
    from os_vif.exception import ExceptionBase
    from os_vif.objects.instance_info import InstanceInfo

    try:
        function(vif, InstanceInfo(uuid=attachment.pod_uid or attachment.port, name=attachment.pod))
    except ExceptionBase as error:
        raise BindingError(f"os-vif: {function.__name__} of port {attachment.port}: {error}") from error
