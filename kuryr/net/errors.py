# SPDX-License-Identifier: Apache-2.0
"""What can go wrong on a node's interfaces and its switch."""

from __future__ import annotations

from kuryr.errors import KuryrError


class NetworkError(KuryrError):
    """An interface, address or route could not be made; names it and the kernel's reason."""

    reason = "NetworkError"


class NamespaceGone(NetworkError):
    """The network namespace does not exist (any more)."""

    reason = "NamespaceGone"


class AlreadyThere(NetworkError):
    """An interface, address or route of that kind is there already."""

    reason = "AlreadyThere"


class SwitchError(KuryrError):
    """Open vSwitch's database refused or did not answer."""

    reason = "SwitchError"


class SwitchUnavailable(SwitchError):
    """No connection to Open vSwitch's database; tried again later it may work."""

    reason = "SwitchUnavailable"
