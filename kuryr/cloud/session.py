# SPDX-License-Identifier: Apache-2.0
"""Sessions: the configured user's way into the cloud, one per project."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from oslo_config import cfg

from kuryr.cloud.limits import Limiter

T = TypeVar("T")

Observer = Callable[[str, str, float], None]
"""Called after each call with the operation (``create port``), the result (``201``, ``timeout``) and seconds."""


class Cloud:
    """OpenStack as [neutron] describes it. Makes no call until one is asked for; thread-safe.

    :ivar limiter: the limits on calls in flight, shared by all projects since the backend is.
    """

    def __init__(self, conf: cfg.ConfigOpts, *, observe: Observer | None = None) -> None:
        self.limiter = Limiter()

    def project(self, project_id: str | None = None) -> ProjectCloud:
        """The session for a project; None, or the configured project's id, gives the configured one."""
        raise NotImplementedError

    def close(self, timeout: float = 0) -> None:
        """Finish the calls in flight within ``timeout`` seconds and abandon the rest."""
        raise NotImplementedError


class ProjectCloud:
    """Calls within one project."""

    @property
    def project_id(self) -> str:
        """The project that the token is for. Asks Keystone at first."""
        raise NotImplementedError

    def request(
        self,
        method: str,
        path: str,
        *,
        operation: str,
        type: type[T],
        body: Any = None,
        params: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> T:
        """One call to Neutron; blocks until it is answered.

        :param path: such as ``/v2.0/ports``.
        :param operation: a verb and what it acts on, for messages and metrics: ``create port``.
        :param type: what the body of the answer is decoded to.
        :raises CloudError: one of its subclasses, for every answer but a success.
        """
        raise NotImplementedError
