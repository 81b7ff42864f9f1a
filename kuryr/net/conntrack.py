# SPDX-License-Identifier: Apache-2.0
"""Forgetting connections that Open vSwitch tracks, over ovs-vswitchd's control socket (what ovs-appctl speaks)."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any

from kuryr.net.errors import SwitchError

TIMEOUT = 5.0
_UNIX = "unix:"


def control_sockets(remote: str) -> list[Path]:
    """Control sockets of the ovs-vswitchd that works beside the database at ``remote``; there may be dead ones too."""
    if not remote.startswith(_UNIX):
        return []
    return sorted(Path(remote.removeprefix(_UNIX)).parent.glob("*vswitchd*.ctl"))


def flush(remote: str, zone: int) -> None:
    """Forget all connections of a zone.

    :param remote: OVSDB connection.
    :raises SwitchError: where ovs-vswitchd does not do it, as on a node with datapaths of both types.
    """
    failures = []
    for path in control_sockets(remote):
        try:
            # Without the datapath's name: Open vSwitch 3.1 takes it for something else.
            answer = _call(path, "dpctl/flush-conntrack", [f"zone={zone}"])
        except OSError as error:
            failures.append(f"{path}: {error}")
            continue
        if answer.get("error") is None:
            return
        failures.append(f"{path}: {str(answer['error']).strip()}")
    reason = "; ".join(failures) or f"ovs-vswitchd has no control socket beside {remote}"
    raise SwitchError(f"connections of zone {zone} are not forgotten: {reason}")


def _call(path: Path, method: str, parameters: list[str]) -> dict[str, Any]:
    """The answer to a JSON-RPC call, the only one on its connection."""
    request = json.dumps({"method": method, "params": parameters, "id": 0}).encode()
    data = b""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as channel:
        channel.settimeout(TIMEOUT)
        channel.connect(str(path))
        channel.sendall(request)
        while chunk := channel.recv(4096):
            data += chunk
            try:
                answer: dict[str, Any] = json.loads(data)
            except ValueError:
                continue  # the rest is still to come
            return answer
    raise ConnectionResetError(f"no answer to {method}")
