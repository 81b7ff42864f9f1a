# SPDX-License-Identifier: Apache-2.0
"""What the Kubernetes API answered (or did not) where that is not a success.

Retry
├── NotHolding              this process may not write now: another holds the Lease, or renewal is overdue
└── ApiError
    ├── Unauthorized        401
    ├── Forbidden           403
    ├── NotFound            404
    ├── Conflict            409, reason AlreadyExists where a create met an existing object
    ├── Gone                410: the resourceVersion or continue token is too old
    ├── Invalid             422
    ├── TooManyRequests     429, ``retry_after`` as the server asked
    └── Unavailable         no answer, or a server error; a write may have been carried out all the same
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from kuryr.errors import Retry
from kuryr.objects.codec import decoder


class NotHolding(Retry):
    """A write was refused before it was sent: this process does not (or no longer surely) hold its Lease."""

    reason = "NotHolding"


class ApiError(Retry):
    """An answer of the Kubernetes API that is not a success.

    :ivar status: HTTP status, 0 where there was no answer.
    :ivar reason: the API's own reason (``AlreadyExists``, ``Expired``, ...), else the class's.
    :ivar message: the API's own sentence; ``str()`` says in front what was asked.
    :ivar retry_after: seconds, where the server asked for a pause.
    """

    reason = "KubernetesError"

    def __init__(
        self,
        operation: str,
        message: str,
        *,
        status: int = 0,
        reason: str | None = None,
        retry_after: float | None = None,
    ) -> None:
        answer = f"HTTP {status}" if status else "no answer"
        super().__init__(f"{operation}: {answer}: {message}", reason=reason, retry_after=retry_after)
        self.operation = operation
        self.message = message
        self.status = status


class Unauthorized(ApiError):
    """The API server does not accept the credentials of [kubernetes]."""

    reason = "Unauthorized"


class Forbidden(ApiError):
    """A right is missing, or the namespace is being deleted (reason and message tell)."""

    reason = "Forbidden"


class NotFound(ApiError):
    """The object, or its kind, does not exist."""

    reason = "NotFound"


class Conflict(ApiError):
    """The object exists already, has changed since it was read, or a precondition does not hold."""

    reason = "Conflict"

    @property
    def already_exists(self) -> bool:
        """Whether a create met an object of the same name."""
        return self.reason == "AlreadyExists"


class Gone(ApiError):
    """The resourceVersion asked for is no longer there: list again."""

    reason = "Gone"


class Invalid(ApiError):
    """The API server calls the object invalid; the message names its fields."""

    reason = "Invalid"


class TooManyRequests(ApiError):
    """The API server asked for fewer calls; nothing was carried out."""

    reason = "TooManyRequests"


class Unavailable(ApiError):
    """No answer, or a server error. A write may have been carried out all the same."""

    reason = "KubernetesUnavailable"


_BY_STATUS: Mapping[int, type[ApiError]] = {
    401: Unauthorized,
    403: Forbidden,
    404: NotFound,
    409: Conflict,
    410: Gone,
    422: Invalid,
    429: TooManyRequests,
}


class _Details(msgspec.Struct, rename="camel"):
    retry_after_seconds: float = 0


class Status(msgspec.Struct, rename="camel"):
    """The API's ``Status`` object, as it comes in the body of an error or in a watch's ERROR event."""

    code: int = 0
    reason: str = ""
    message: str = ""
    details: _Details | None = None


def from_status(
    operation: str, status: Status, *, code: int = 0, retry_after: float | None = None
) -> ApiError:
    """The error for a ``Status``; ``code`` (the HTTP status) where the object has none."""
    number = status.code or code
    if retry_after is None and status.details is not None and status.details.retry_after_seconds > 0:
        retry_after = status.details.retry_after_seconds
    cls = _BY_STATUS.get(number, Unavailable if number >= 500 else ApiError)
    if status.reason in ("Expired", "Gone"):
        cls = Gone
    return cls(
        operation,
        status.message or "the server gave no message",
        status=number,
        reason=status.reason or None,
        retry_after=retry_after,
    )


def from_response(operation: str, code: int, headers: Mapping[str, str], body: bytes) -> ApiError:
    """The error for an HTTP answer; understands bodies that are no ``Status`` (a proxy's page)."""
    try:
        status = decoder(Status).decode(body)
    except msgspec.MsgspecError:
        status = Status(message=" ".join(body[:200].decode("utf-8", "replace").split()))
    status.code = code
    asked = headers.get("Retry-After", "")
    return from_status(operation, status, retry_after=float(asked) if asked.isdigit() else None)
