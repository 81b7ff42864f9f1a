# SPDX-License-Identifier: Apache-2.0
"""Sessions: the configured user's way into the cloud, one per project.

keystoneauth authenticates and knows the catalog; calls are made directly, since a port's creation is
the hot path. A token is shared by all threads; each thread has connections of its own.
"""

from __future__ import annotations

import os
import threading
import time
import weakref
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec
import requests
from keystoneauth1 import exceptions, loading
from keystoneauth1.access import AccessInfo
from keystoneauth1.identity.base import BaseIdentityPlugin
from keystoneauth1.session import Session
from oslo_config import cfg

from kuryr import errors
from kuryr.cloud import rest
from kuryr.cloud.limits import Limiter
from kuryr.objects.codec import decoder

if TYPE_CHECKING:
    from openstack.connection import Connection

T = TypeVar("T")

Observer = Callable[[str, str, float], None]
"""Called after each call with the operation (``create port``), the result (``201``, ``timeout``), seconds."""

GROUP = "neutron"
DEFAULT_TIMEOUT = 60.0
CONNECT_TIMEOUT = 10.0
"""Seconds; a read may take [neutron] timeout."""

ADMIN = "admin"
"""A token with this role acts in all projects, so that no other is needed."""

EXPIRES_SOON = 120
"""Seconds before its end from which on a token is renewed."""

SCOPE_OPTIONS = frozenset(
    {
        "project-id",
        "project-name",
        "project-domain-id",
        "project-domain-name",
        "tenant-id",
        "tenant-name",
        "domain-id",
        "domain-name",
        "system-scope",
        "trust-id",
    }
)
"""keystoneauth's options that say what a token is for."""


class Cloud:
    """OpenStack as [neutron] describes it. Makes no call until one is asked for; thread-safe.

    :ivar limiter: the limits on calls in flight, shared by all projects since the backend is.
    :ivar fence: where set, called before every call that changes something; raises when this process may not.
    :raises ConfigurationError: where [neutron] lacks what its ``auth_type`` needs, or names a file in vain.
    """

    fence: Callable[[], None] | None = None

    def __init__(self, conf: cfg.ConfigOpts, *, observe: Observer | None = None) -> None:
        self._conf = conf
        self._observe = observe or (lambda operation, result, seconds: None)
        self._timeout = float(conf[GROUP].timeout or DEFAULT_TIMEOUT)
        self._local = threading.local()
        self._sessions: weakref.WeakSet[requests.Session] = weakref.WeakSet()
        self._lock = threading.Lock()
        self.limiter = Limiter(max_in_flight=conf.cloud_limits.max_in_flight)
        for name in ("cafile", "certfile", "keyfile"):
            path = conf[GROUP][name]
            if path and not os.access(path, os.R_OK):
                raise errors.ConfigurationError(
                    f"[neutron] {name} = {path}: expected a file that can be read"
                )
        plugin = self._load_plugin(None)
        self._default = ProjectCloud(self, getattr(conf[self._auth_group], "project_id", None), plugin)
        self._projects: dict[str, ProjectCloud] = {}

    @property
    def auth_url(self) -> str:
        """Where Keystone is."""
        return str(getattr(self._conf[self._auth_group], "auth_url", None) or "")

    @property
    def timeout(self) -> float:
        """Seconds that an answer may take."""
        return self._timeout

    def project(self, project_id: str | None = None) -> ProjectCloud:
        """The session for a project; None, or the configured project's id, gives the configured one.

        Where the configured user is an administrator, or its credentials are bound to one project, calls for
        other projects are made with the configured token too; what they make is still the project's.
        """
        if not project_id or project_id == self._default.known_project_id:
            return self._default
        with self._lock:
            if project_id not in self._projects:
                self._projects[project_id] = ProjectCloud(self, project_id, None)
            return self._projects[project_id]

    def close(self, timeout: float = 0) -> int:
        """Finish the calls in flight within ``timeout`` seconds; returns how many are abandoned."""
        abandoned = self.limiter.close(timeout)
        for session in list(self._sessions):
            session.close()
        return abandoned

    def plugin_for(self, project_id: str) -> BaseIdentityPlugin:
        """What authenticates calls for a project other than the configured one. May ask Keystone."""
        configured = self._default.plugin
        access = self._default.authenticate()
        if access.project_id == project_id or ADMIN in access.role_names or not self._scope_is_free:
            return configured
        return self._load_plugin(project_id)

    def session(self) -> Session:
        """This thread's transport."""
        session: Session | None = getattr(self._local, "session", None)
        if session is None:
            http = requests.Session()
            self._sessions.add(http)
            session = self._local.session = loading.load_session_from_conf_options(
                self._conf, GROUP, session=http, timeout=self._timeout
            )
        return session

    def region(self, plugin: BaseIdentityPlugin) -> dict[str, Any]:
        """What openstacksdk needs to know to work in this region with these credentials, from this thread."""
        section = self._conf[GROUP]
        http = requests.Session()
        self._sessions.add(http)
        return {
            "session": _FencedSession(self, plugin, http),
            "name": "kuryr",
            "region_name": section.region_name,
            "interface": section.endpoint_type,
            "app_name": "kuryr",
        }

    def endpoint(self, access: AccessInfo) -> str:
        """Neutron's endpoint in the catalog that came with a token, without version.

        :raises CloudError: where the catalog has none.
        """
        section = self._conf[GROUP]
        try:
            url = access.service_catalog.url_for(
                service_type="network", interface=section.endpoint_type, region_name=section.region_name
            )
        except exceptions.CatalogException as error:
            raise errors.CloudError(
                f"Keystone's catalog has no endpoint of Neutron: {error}. Check [neutron] endpoint_type "
                f"({section.endpoint_type}) and region_name ({section.region_name or 'not set'})",
                reason="EndpointNotFound",
                operation="find Neutron",
            ) from error
        return str(url).rstrip("/").removesuffix("/v2.0")

    def observe(self, operation: str, result: str, started: float) -> None:
        """Tell of a call that began at ``started`` (monotonic seconds)."""
        self._observe(operation, result, time.monotonic() - started)

    def unreachable(self, operation: str, service: str, error: Exception) -> tuple[str, errors.CloudError]:
        """The result (for metrics) and the error for a call without an answer."""
        text = str(error)
        if isinstance(error, exceptions.SSLError) or "SSLError" in text or "SSL exception" in text:
            cafile = self._conf[GROUP].cafile or "not set: the system's authorities"
            return "tls", errors.CloudUnavailable(
                f"TLS to {service} failed: {text}. [neutron] cafile names the authorities to trust "
                f"({cafile})",
                reason="TLSVerificationFailed",
                operation=operation,
            )
        if isinstance(error, exceptions.ConnectTimeout) or "timed out" in text:
            message = f"{service} did not answer {operation} within {self._timeout:g} s ([neutron] timeout)"
            return "timeout", errors.CloudUnavailable(message, operation=operation)
        message = f"{service} cannot be reached to {operation}: {text}"
        return "unreachable", errors.CloudUnavailable(message, operation=operation)

    @property
    def _auth_group(self) -> str:
        return str(self._conf[GROUP].auth_section or GROUP)

    @property
    def _scope_is_free(self) -> bool:
        """Whether these credentials can get tokens for other projects."""
        kind = str(self._conf[self._auth_group].auth_type)
        return "password" in kind or "oidc" in kind

    def _load_plugin(self, project_id: str | None) -> BaseIdentityPlugin:
        """The configured credentials, for the configured scope or for the project of that id."""
        group = self._auth_group
        auth_type = self._conf[group].auth_type
        if not auth_type:
            raise errors.ConfigurationError(
                "[neutron] auth_type is not set: expected 'password' or 'v3applicationcredential' (or "
                "another of keystoneauth's plug-ins)"
            )
        try:
            loader = loading.get_plugin_loader(auth_type)
            self._conf.register_opts(loading.get_auth_plugin_conf_options(loader), group=group)

            def option(opt: loading.Opt) -> Any:
                if project_id is not None and opt.name in SCOPE_OPTIONS:
                    return project_id if opt.name == "project-id" else None
                return self._conf[group][opt.dest]

            plugin = loader.load_from_options_getter(option)
        except (exceptions.NoMatchingPlugin, exceptions.OptionError) as error:
            raise errors.ConfigurationError(f"[{group}] auth_type = {auth_type}: {error}") from error
        if not isinstance(plugin, BaseIdentityPlugin):
            raise errors.ConfigurationError(
                f"[{group}] auth_type = {auth_type}: expected a way to authenticate with Keystone"
            )
        return plugin


class _FencedSession(Session):  # type: ignore[misc]
    """A session whose changing calls pass the cloud's fence; Keystone's are sent without authentication, and do not."""

    def __init__(self, cloud: Cloud, plugin: BaseIdentityPlugin, http: requests.Session) -> None:
        shared = cloud.session()
        super().__init__(
            auth=plugin,
            session=http,
            verify=shared.verify,
            cert=shared.cert,
            timeout=cloud.timeout,
        )
        self._cloud = cloud

    def request(self, url: str, method: str, *args: Any, **kwargs: Any) -> Any:
        """As keystoneauth has it."""
        if (
            method not in ("GET", "HEAD")
            and kwargs.get("authenticated") is not False
            and self._cloud.fence is not None
        ):
            self._cloud.fence()
        return super().request(url, method, *args, **kwargs)


class ProjectCloud:
    """Calls within one project. Made by :meth:`Cloud.project`."""

    def __init__(self, cloud: Cloud, project_id: str | None, plugin: BaseIdentityPlugin | None) -> None:
        self._cloud = cloud
        self._project_id = project_id
        self._plugin = plugin
        self._endpoint: str | None = None
        self._access: AccessInfo | None = None
        self._refusal: errors.CloudError | None = None
        self._attempts = 0
        self._renewal = threading.Lock()
        self._connections = threading.local()

    @property
    def known_project_id(self) -> str | None:
        """The project's id where it is known without asking Keystone."""
        return self._project_id

    @property
    def project_id(self) -> str:
        """The project's id. May ask Keystone."""
        if not self._project_id:
            self._project_id = str(self.authenticate().project_id or "")
        return self._project_id

    @property
    def plugin(self) -> BaseIdentityPlugin:
        """What authenticates. May ask Keystone."""
        if self._plugin is None:
            self._plugin = self._cloud.plugin_for(self._project_id or "")
        return self._plugin

    @property
    def connection(self) -> Connection:
        """openstacksdk's way into this project, for drivers that speak it; one for each thread, made when first asked for.

        It shares the token, TLS files, time-out, region and interface of [neutron], and the fence. It does not pass
        the :class:`~kuryr.cloud.limits.Limiter`: its calls block, raise openstacksdk's errors, and belong in a
        function given to ``cloud.limiter.submit``. Importing openstacksdk costs some 16 MB of memory.
        """
        connection: Connection | None = getattr(self._connections, "connection", None)
        if connection is None:
            from openstack.config.cloud_region import from_session
            from openstack.connection import Connection

            connection = Connection(config=from_session(**self._cloud.region(self.plugin)))
            self._connections.connection = connection
        return connection

    def authenticate(self) -> AccessInfo:
        """A token that is valid now, with its roles and catalog. Asks Keystone where there is none.

        :raises CloudUnauthorized: where Keystone refuses the credentials.
        :raises CloudForbidden: where it refuses them for this project alone.
        """
        access, attempts = self._access, self._attempts
        if access is not None and not access.will_expire_soon(EXPIRES_SOON):
            return access
        with self._renewal:
            if attempts != self._attempts and self._refusal is not None:
                # Tried while we waited for the lock: else a Keystone that hangs would hold threads one by one.
                raise self._refusal.with_traceback(None)
            try:
                self._access, self._refusal = self._get_access(), None
            except errors.CloudError as error:
                self._refusal = error
                raise
            finally:
                self._attempts += 1
            return self._access

    def _get_access(self) -> AccessInfo:
        plugin = self.plugin
        started = time.monotonic()
        operation = "authenticate"
        try:
            access = plugin.get_access(self._cloud.session())
        except exceptions.HttpError as error:
            self._cloud.observe(operation, str(error.http_status), started)
            raise self._refused(error, operation) from error
        except (exceptions.ConnectionError, exceptions.DiscoveryFailure) as error:
            result, raised = self._cloud.unreachable(operation, f"Keystone ({self._cloud.auth_url})", error)
            self._cloud.observe(operation, result, started)
            raise raised from error
        if access is not self._access:
            self._cloud.observe(operation, "201", started)
        return access

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
        fenced: bool = True,
    ) -> T:
        """One call to Neutron; blocks until it is answered.

        :param path: such as ``/v2.0/ports``.
        :param operation: a verb and what it acts on, for messages and metrics: ``create port``.
        :param type: what the body of the answer is decoded to; an empty body is null.
        :param fenced: whether a call that changes something passes :attr:`Cloud.fence`.
        :raises CloudError: one of its subclasses, for every answer but a success.
        """
        data = msgspec.json.encode(body) if body is not None else None
        guard = self._cloud.fence if fenced and method != "GET" else None

        def send(access: AccessInfo) -> tuple[int, bytes, Mapping[str, str]]:
            # Last of all: its turn may have come long after it was queued, and Keystone may have taken its time.
            if guard is not None:
                guard()
            return self._send(method, path, access, operation, data, params, headers)

        access = self.authenticate()
        status, answer, sent_back = send(access)
        if status == 401:
            # The token may have been revoked early; credentials that are refused show in authenticate().
            self._renew(access)
            access = self.authenticate()
            status, answer, sent_back = send(access)
        if not 200 <= status < 300:
            raise rest.failure(operation, status, answer, sent_back, now=time.time())
        try:
            return decoder(type).decode(answer or b"null")
        except msgspec.DecodeError as error:
            raise errors.CloudError(
                f"Neutron's answer to {operation} is not understood: {error}",
                status=status,
                operation=operation,
            ) from error

    def _send(
        self,
        method: str,
        path: str,
        access: AccessInfo,
        operation: str,
        data: bytes | None,
        params: Mapping[str, Any] | None,
        headers: Mapping[str, str] | None,
    ) -> tuple[int, bytes, Mapping[str, str]]:
        if self._endpoint is None:
            self._endpoint = self._cloud.endpoint(access)
        all_headers = {"X-Auth-Token": access.auth_token, "Accept": "application/json", **(headers or {})}
        if data is not None:
            all_headers["Content-Type"] = "application/json"
        started = time.monotonic()
        try:
            response = self._cloud.session().request(
                self._endpoint + path,
                method,
                data=data,
                params=params,
                headers=all_headers,
                authenticated=False,
                raise_exc=False,
                timeout=(min(CONNECT_TIMEOUT, self._cloud.timeout), self._cloud.timeout),
            )
        except exceptions.ConnectionError as error:
            result, raised = self._cloud.unreachable(operation, f"Neutron ({self._endpoint})", error)
            self._cloud.observe(operation, result, started)
            # The endpoint may have moved; the catalog tells when the token is renewed.
            self._endpoint = None
            raise raised from error
        self._cloud.observe(operation, str(response.status_code), started)
        return response.status_code, response.content, response.headers

    def _renew(self, refused: AccessInfo) -> None:
        with self._renewal:
            if self._access is refused:
                self._access = None
                # Sessions may share credentials: another may have renewed the token already.
                if self.plugin.auth_ref is refused:
                    self.plugin.invalidate()

    def _refused(self, error: exceptions.HttpError, operation: str) -> errors.CloudError:
        """Keystone's refusal: of the credentials, or only for this project."""
        response = error.response
        body = response.content if response is not None else str(error.message or "").encode()
        headers = response.headers if response is not None else {}
        raised = rest.failure(
            operation, error.http_status, body, headers, now=time.time(), service="Keystone"
        )
        if not isinstance(raised, errors.CloudUnauthorized):
            return raised
        if self.plugin is not self._cloud.project().plugin:
            return errors.CloudForbidden(
                f"Keystone gives the user of [neutron] no token for the project {self._project_id}: "
                "the project does not exist, or the user has no role in it",
                reason="ProjectNotAllowed",
                status=error.http_status,
                operation=operation,
            )
        return errors.CloudUnauthorized(
            f"Keystone ({self._cloud.auth_url}) refuses the credentials of [neutron]: "
            "check username, password and project, and their domains (or the application credential)",
            status=error.http_status,
            operation=operation,
        )
