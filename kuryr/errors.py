# SPDX-License-Identifier: Apache-2.0
"""The errors of Kuryr, classed by what the core does with them.

    KuryrError
    ├── ConfigurationError    found at start: printed, exit code 2
    ├── WaitFor               not an error: the reconcile goes on when the calls it names complete
    ├── Retry                 something outside is not as needed: told on the object, tried again with back-off
    │   └── CloudError        what OpenStack answered (or did not), see below
    │       ├── CloudUnavailable      no answer, 5xx; the outcome may be unknown
    │       │   └── CloudThrottled    429 or 503 with Retry-After
    │       ├── CloudUnauthorized     401: credentials are wrong
    │       ├── CloudForbidden        403: a right is missing
    │       ├── CloudNotFound         404
    │       ├── CloudBadRequest       400 and the like
    │       └── CloudConflict         409
    │           ├── QuotaExceeded
    │           ├── SubnetFull
    │           └── AddressInUse      an IP or MAC address is taken
    └── Terminal              the object itself is wrong: told on the object, not tried again until it changes

Anything else that leaves a reconcile is a bug: logged with its trace, counted, retried with back-off, and
kept from every other key. ``reason`` is what Events and conditions show, in CamelCase.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future
from typing import Any


class KuryrError(Exception):
    """Base of all errors that Kuryr raises on purpose; ``str()`` is a sentence for people."""

    reason = "KuryrError"

    def __init__(self, message: str, *, reason: str | None = None) -> None:
        super().__init__(message)
        if reason is not None:
            self.reason = reason


class ConfigurationError(KuryrError):
    """The configuration cannot work: names the option, its value and what was expected."""

    reason = "ConfigurationError"


class WaitFor(KuryrError):
    """Nothing more can be done for this key until one of ``calls`` completes.

    Raised through a reconcile it gives the worker thread back; the key is queued again by the completion.
    """

    reason = "Waiting"

    def __init__(self, calls: Sequence[Future[Any]], message: str = "waiting for a call to complete") -> None:
        super().__init__(message)
        self.calls = tuple(calls)


class Retry(KuryrError):
    """Tried again, after ``retry_after`` seconds where given, else with the key's exponential back-off."""

    reason = "Retrying"

    def __init__(self, message: str, *, reason: str | None = None, retry_after: float | None = None) -> None:
        super().__init__(message, reason=reason)
        self.retry_after = retry_after


class Terminal(KuryrError):
    """Cannot succeed as the object stands; tried again only when the object changes."""

    reason = "Invalid"


class CloudError(Retry):
    """An answer of OpenStack that is not a success.

    :ivar status: HTTP status, 0 where there was no answer.
    :ivar operation: what was asked, for instance ``create port``.
    """

    reason = "CloudError"

    def __init__(
        self,
        message: str,
        *,
        reason: str | None = None,
        retry_after: float | None = None,
        status: int = 0,
        operation: str = "",
    ) -> None:
        super().__init__(message, reason=reason, retry_after=retry_after)
        self.status = status
        self.operation = operation


class CloudUnavailable(CloudError):
    """No answer, or a server error. A write may have been carried out all the same."""

    reason = "CloudUnavailable"


class CloudThrottled(CloudUnavailable):
    """The cloud asked for fewer calls (429, or 503 with Retry-After). The write was not carried out."""

    reason = "CloudThrottled"


class CloudUnauthorized(CloudError):
    """Keystone refused the credentials of [neutron]."""

    reason = "CloudUnauthorized"


class CloudForbidden(CloudError):
    """The configured user lacks a right."""

    reason = "CloudForbidden"


class CloudNotFound(CloudError):
    """Something that the call names does not exist."""

    reason = "CloudNotFound"


class CloudBadRequest(CloudError):
    """The cloud calls the request invalid."""

    reason = "CloudBadRequest"


class CloudConflict(CloudError):
    """The request conflicts with what is there."""

    reason = "CloudConflict"


class QuotaExceeded(CloudConflict):
    """The project's quota for this resource is used up."""

    reason = "QuotaExceeded"


class SubnetFull(CloudConflict):
    """No free address is left in the subnet (or the requested range of it)."""

    reason = "SubnetFull"


class AddressInUse(CloudConflict):
    """The requested IP or MAC address belongs to another port."""

    reason = "AddressInUse"
