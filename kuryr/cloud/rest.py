# SPDX-License-Identifier: Apache-2.0
"""Answers that are not a success, as errors of ours. Pure: nothing is sent from here.

Neutron tells what went wrong by the ``type`` of a NeutronError, which says more than the status does.
"""

from __future__ import annotations

from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Final

import msgspec

from kuryr import errors
from kuryr.objects.codec import decoder

SUBNET_FULL: Final = frozenset(
    {
        "IpAddressGenerationFailure",
        "IpAddressGenerationFailureAllSubnets",
        "ExternalIpAddressExhausted",
    }
)
"""Types of NeutronError: no free address. Beside them the message tells, since bulk calls wrap errors."""

ADDRESS_IN_USE: Final = frozenset({"IpAddressAlreadyAllocated", "IpAddressInUse", "MacAddressInUse"})
QUOTA: Final = frozenset({"OverQuota"})

MAX_TEXT: Final = 500
"""Characters of an answer that go into a message."""


class NeutronError(msgspec.Struct, frozen=True):
    """What the body of an error says."""

    type: str = ""
    message: str = ""


class _Body(msgspec.Struct, frozen=True):
    error: NeutronError = msgspec.field(default_factory=NeutronError, name="NeutronError")


class _KeystoneDetail(msgspec.Struct, frozen=True):
    message: str = ""
    title: str = ""


class _KeystoneBody(msgspec.Struct, frozen=True):
    error: _KeystoneDetail = msgspec.field(default_factory=_KeystoneDetail)


class _PlainBody(msgspec.Struct, frozen=True):
    error: str = msgspec.field(default="", name="NeutronError")


def parse_error(body: bytes) -> NeutronError:
    """What an error's body says; empty for a body that is not JSON, such as a proxy's page."""
    for kind in (_Body, _PlainBody, _KeystoneBody):
        try:
            decoded = decoder(kind).decode(body)
        except msgspec.DecodeError:
            continue
        match decoded:
            case _Body(error=NeutronError() as error) if error.type or error.message:
                return error
            case _PlainBody(error=text) if text:
                return NeutronError(message=text)
            case _KeystoneBody(error=detail) if detail.message:
                return NeutronError(type=detail.title, message=detail.message)
    return NeutronError()


def retry_after(headers: Mapping[str, str], now: float) -> float | None:
    """Seconds that a Retry-After header asks to wait (given in seconds or as a date); None without one.

    :param now: Unix time, against which a date is taken.
    """
    value = headers.get("Retry-After", "").strip()
    if not value:
        return None
    if value.isdigit():
        return float(value)
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - now)
    except ValueError:
        return None


def failure(
    operation: str,
    status: int,
    body: bytes,
    headers: Mapping[str, str],
    *,
    now: float,
    service: str = "Neutron",
) -> errors.CloudError:
    """The error for an answer that is not a success.

    :param operation: a verb and its object: ``create port``.
    :param now: Unix time, for a Retry-After that is a date.
    :returns: its ``reason`` is Neutron's own type where that says more than the class, such as
        ``SecurityGroupNotFound``.
    """
    said = parse_error(body)
    text = said.message.strip()[:MAX_TEXT] or f"HTTP status {status}"
    wait = retry_after(headers, now)
    cls = _classify(said, status, text, throttled=wait is not None)
    reason = None
    match cls:
        case errors.CloudThrottled:
            message = f"{service} asks for fewer calls (HTTP {status} to {operation})"
        case errors.CloudUnavailable:
            message = f"{service} failed to {operation} (HTTP {status}): {text}"
        case errors.CloudUnauthorized:
            message = f"{service} does not accept the token of [neutron] to {operation}: {text}"
        case errors.CloudForbidden:
            message = f"the user of [neutron] may not {operation}: {text}"
        case _:
            message = f"{service} refuses to {operation}: {text}"
    if status == 412:
        reason = "RevisionConflict"
    elif cls in (errors.CloudNotFound, errors.CloudConflict) and not said.type.startswith("HTTP"):
        reason = said.type or None
    return cls(message, reason=reason, retry_after=wait, status=status, operation=operation)


_BY_STATUS: Final[Mapping[int, type[errors.CloudError]]] = {
    401: errors.CloudUnauthorized,
    403: errors.CloudForbidden,
    404: errors.CloudNotFound,
    409: errors.CloudConflict,
    412: errors.CloudConflict,
    429: errors.CloudThrottled,
}


def _classify(said: NeutronError, status: int, text: str, *, throttled: bool) -> type[errors.CloudError]:
    """The class by Neutron's type or, where several errors came as one, by words; else by status."""
    if status >= 500:
        return errors.CloudThrottled if status == 503 and throttled else errors.CloudUnavailable
    if said.type in SUBNET_FULL or "No more IP addresses available" in text:
        return errors.SubnetFull
    if said.type in QUOTA or "Quota exceeded for resources" in text:
        return errors.QuotaExceeded
    if said.type in ADDRESS_IN_USE or any(name in text for name in ADDRESS_IN_USE):
        return errors.AddressInUse
    return _BY_STATUS.get(status, errors.CloudBadRequest)
