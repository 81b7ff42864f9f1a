# SPDX-License-Identifier: Apache-2.0
"""Checksum offload, by the ioctl that ethtool uses."""

from __future__ import annotations

import array
import fcntl
import socket
import struct

from kuryr.net.errors import NetworkError

_SIOCETHTOOL = 0x8946
_ETHTOOL_GTXCSUM = 0x16
_ETHTOOL_STXCSUM = 0x17


def _ethtool(ifname: str, command: int, value: int = 0) -> int:
    data = array.array("I", (command, value))
    address, _ = data.buffer_info()
    request = struct.pack("16sP", ifname.encode(), address)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as channel:
        try:
            fcntl.ioctl(channel.fileno(), _SIOCETHTOOL, request)
        except OSError as error:
            raise NetworkError(f"{ifname}: tx checksum offload: {error.strerror}") from error
    return data[1]


def tx_checksums(ifname: str) -> bool:
    """Whether checksums of what the interface (in this thread's namespace) sends are left to hardware."""
    return _ethtool(ifname, _ETHTOOL_GTXCSUM) != 0


def disable_tx_checksums(ifname: str) -> None:
    """Compute checksums before sending: a switch in user space passes packets on as they are, and the receiver
    drops those whose checksum was left to hardware that there is not."""
    _ethtool(ifname, _ETHTOOL_STXCSUM, 0)
