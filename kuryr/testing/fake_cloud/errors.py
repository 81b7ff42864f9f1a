# SPDX-License-Identifier: Apache-2.0
"""Errors as Keystone and Neutron word them."""

from __future__ import annotations

from typing import Any


class ApiError(Exception):
    """An answer that is not a success."""

    def __init__(self, status: int, body: dict[str, Any]) -> None:
        super().__init__(f"{status}: {body}")
        self.status = status
        self.body = body


class NeutronError(ApiError):
    """Neutron's form. ``type`` is the name of Neutron's exception class."""

    def __init__(self, status: int, type: str, message: str, detail: str = "") -> None:
        super().__init__(status, {"NeutronError": {"type": type, "message": message, "detail": detail}})


class KeystoneError(ApiError):
    """Keystone's form."""

    def __init__(self, status: int, title: str, message: str) -> None:
        super().__init__(status, {"error": {"code": status, "message": message, "title": title}})


def bad_request(message: str) -> NeutronError:
    """A request that does not fit the schema."""
    return NeutronError(400, "HTTPBadRequest", message)


def invalid_input(message: str) -> NeutronError:
    """A value that Neutron's plug-in refuses."""
    return NeutronError(400, "InvalidInput", f"Invalid input for operation: {message}.")


def not_found(type: str, message: str) -> NeutronError:
    """Something that the request names does not exist, or is not to be seen."""
    return NeutronError(404, type, message)


def conflict(type: str, message: str) -> NeutronError:
    """The request conflicts with what is there."""
    return NeutronError(409, type, message)


def forbidden(rule: str) -> NeutronError:
    """A right is missing. ``rule`` as policy names it: ``(rule:create_port and …)``."""
    return NeutronError(403, "PolicyNotAuthorized", f"{rule} is disallowed by policy")


def unauthorized() -> KeystoneError:
    """Keystone's answer to a missing, false or expired token, and to false credentials."""
    return KeystoneError(401, "Unauthorized", "The request you have made requires authentication.")
