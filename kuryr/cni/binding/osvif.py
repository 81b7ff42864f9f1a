# SPDX-License-Identifier: Apache-2.0
"""os-vif, for the plugging that it does well and for plugins of others.

It is loaded when first needed: it costs memory that a node whose VIFs need none of it keeps.
"""

from __future__ import annotations

import threading
import uuid
from typing import Any

from kuryr.cni.attachments import Attachment
from kuryr.cni.binding.base import BindingError
from kuryr.net.native_threads import without_eventlet

_GROUP = "os_vif_ovs"
_lock = threading.Lock()
_loaded: Any = None


def _load(ovsdb_connection: str) -> Any:
    """os_vif, set up once to use this connection and to work in this process, which is root's."""
    global _loaded
    with _lock:
        if _loaded is None:
            with without_eventlet():
                from oslo_service import backend

                backend.init_backend(backend.BackendType.THREADING)
                import os_vif
                import os_vif.objects
                from oslo_config import cfg
                from vif_plug_ovs import privsep
                from vif_plug_ovs.ovs import OvsPlugin

                os_vif.objects.register_all()
            cfg.CONF.register_opts(OvsPlugin.CONFIG_OPTS, group=_GROUP)
            cfg.CONF.set_override("ovsdb_connection", ovsdb_connection, group=_GROUP)
            privsep.vif_plug.set_client_mode(False)
            os_vif.initialize()
            _loaded = os_vif
        return _loaded


def hybrid_bridge(
    ovsdb_connection: str,
    attachment: Attachment,
    linux_bridge: str,
    ovs_bridge: str,
    *,
    datapath_type: str,
    mtu: int = 0,
) -> Any:
    """os-vif's VIFBridge: the port on ``ovs_bridge`` through ``linux_bridge``, where iptables filter.

    :param datapath_type: that of ``ovs_bridge``; os-vif gives the bridge the one that the VIF names.
    """
    _load(ovsdb_connection)
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
        port_profile=VIFPortProfileOpenVSwitch(
            interface_id=attachment.port, datapath_type=datapath_type or "system"
        ),
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
        instance = str(uuid.UUID(attachment.pod_uid))
    except ValueError:
        instance = attachment.port  # a static pod's UID is a hash; os-vif wants a UUID
    try:
        function(vif, InstanceInfo(uuid=instance, name=attachment.pod))
    except ExceptionBase as error:
        raise BindingError(f"os-vif: {function.__name__} of port {attachment.port}: {error}") from error
