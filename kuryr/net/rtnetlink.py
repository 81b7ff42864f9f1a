# SPDX-License-Identifier: Apache-2.0
"""Requests to the kernel's routing netlink: pyroute2's messages over one plain socket, as many at once as are known.

A pod's interface takes a dozen requests. pyroute2's IPRoute makes an event loop for each socket and waits for each answer:
that costs the processor several times what the requests do, with Python's lock held.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pyroute2.netlink.rtnl.ifaddrmsg import ifaddrmsg
from pyroute2.netlink.rtnl.ifinfmsg import ifinfmsg
from pyroute2.netlink.rtnl.nsidmsg import nsidmsg
from pyroute2.netlink.rtnl.rtmsg import rtmsg

from kuryr.net.errors import AlreadyThere, NetworkError

NEW_LINK = 16
DELETE_LINK = 17
GET_LINK = 18
NEW_ADDRESS = 20
NEW_ROUTE = 24
DELETE_ROUTE = 25
GET_NAMESPACE_ID = 90

CREATE = 0x400 | 0x200
"""Flags of a request for what must not be there yet."""

_REQUEST_ACK = 0x01 | 0x04
_NLMSG_ERROR = 2
_HEADER = struct.Struct("=IHHII")
_ERROR = struct.Struct("=i")
_LARGEST = 1 << 17
"""Bytes of a datagram; an interface with all its attributes has a few thousand."""

_NO_ID = 0xFFFFFFFF
_TIMEOUT = 30.0
"""Seconds. The kernel answers while it takes the request."""

_MESSAGES: Mapping[int, type[Any]] = {
    NEW_LINK: ifinfmsg,
    DELETE_LINK: ifinfmsg,
    GET_LINK: ifinfmsg,
    NEW_ADDRESS: ifaddrmsg,
    NEW_ROUTE: rtmsg,
    DELETE_ROUTE: rtmsg,
    GET_NAMESPACE_ID: nsidmsg,
}

Attributes = Sequence[tuple[str, Any]]
"""Named as pyroute2 has them."""


@dataclass(frozen=True, slots=True, eq=False)
class Request:
    """One request. ``fields`` are the message's, named as pyroute2 has them.

    ``what`` is what it is about, for errors. ``fine``: errno of refusals that are as good as success.
    """

    what: str
    type: int
    fields: Mapping[str, int] = field(default_factory=dict)
    attributes: Attributes = ()
    flags: int = 0
    fine: frozenset[int] = frozenset()

    def encode(self, sequence: int) -> bytes:
        """As it goes to the kernel, padded for another to follow."""
        message = _MESSAGES[self.type]()
        for name, value in self.fields.items():
            message[name] = value
        message["attrs"] = list(self.attributes)
        message["header"] = {
            "type": self.type,
            "flags": _REQUEST_ACK | self.flags,
            "pid": 0,
            "sequence_number": sequence,
        }
        message.encode()
        return bytes(message.data).ljust(_aligned(len(message.data)), b"\0")


class Rtnetlink:
    """A socket of the namespace in which it was opened; for one thread."""

    def __init__(self) -> None:
        kind = socket.SOCK_RAW | socket.SOCK_CLOEXEC
        self._socket = socket.socket(socket.AF_NETLINK, kind, socket.NETLINK_ROUTE)
        self._socket.settimeout(_TIMEOUT)
        self._sequence = 0

    def close(self) -> None:
        """Close it."""
        self._socket.close()

    def carry_out(self, requests: Sequence[Request]) -> None:
        """Have all carried out, in this order; one that is refused does not keep the kernel from the next.

        :raises AlreadyThere, NetworkError: for the first that was refused, once all are through.
        """
        self._ask(requests)

    def link(self, index: int) -> Any:
        """The interface of that index, as pyroute2's ifinfmsg.

        :raises NetworkError: where there is none.
        """
        (answer,) = self._ask([Request(f"interface {index}", GET_LINK, {"index": index})])
        message = ifinfmsg(answer)
        message.decode()
        return message

    def namespace_id(self, namespace: int) -> int | None:
        """Id by which this socket's namespace knows that of the file descriptor; None where it has none for it."""
        request = Request("a namespace's id", GET_NAMESPACE_ID, attributes=[("NETNSA_FD", namespace)])
        (answer,) = self._ask([request])
        message = nsidmsg(answer)
        message.decode()
        known = int(message.get_attr("NETNSA_NSID"))
        return known if known != _NO_ID else None

    def _ask(self, requests: Sequence[Request]) -> list[bytes]:
        """Send all at once; what was answered beside acknowledgements."""
        waiting = {self._sequence + number: request for number, request in enumerate(requests, 1)}
        self._sequence += len(requests)
        answers: list[bytes] = []
        refusals: list[tuple[Request, int]] = []
        try:
            self._socket.sendto(b"".join(each.encode(number) for number, each in waiting.items()), (0, 0))
            while waiting:
                data = self._socket.recv(_LARGEST)
                while len(data) >= _HEADER.size:
                    length, kind, _, sequence, _ = _HEADER.unpack_from(data)
                    if kind != _NLMSG_ERROR:
                        answers.append(data[:length])
                    elif (request := waiting.pop(sequence, None)) is not None:
                        number = -_ERROR.unpack_from(data, _HEADER.size)[0]
                        if number and number not in request.fine:
                            refusals.append((request, number))
                    data = data[_aligned(length) :]
        except OSError as error:
            about = ", ".join(request.what for request in waiting.values())
            raise NetworkError(f"{about}: netlink: {error}") from error
        for request, number in refusals:
            kind_of_error = AlreadyThere if number == errno.EEXIST else NetworkError
            raise kind_of_error(f"{request.what}: {os.strerror(number)}")
        return answers


def _aligned(length: int) -> int:
    """Where the next message in a datagram begins."""
    return (length + 3) & ~3
