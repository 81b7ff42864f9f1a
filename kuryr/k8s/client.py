# SPDX-License-Identifier: Apache-2.0
"""Typed calls to the Kubernetes API over the official client's pooled transport."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any, TypeVar
from urllib.parse import quote, urlencode

import msgspec
import urllib3
from kubernetes.client import Configuration
from kubernetes.client.exceptions import ApiException
from kubernetes.client.rest import RESTClientObject
from oslo_log import log as logging
from urllib3.exceptions import HTTPError, InsecureRequestWarning, ProtocolError, SSLError

from kuryr.k8s import decoding
from kuryr.k8s.decoding import ListResult
from kuryr.k8s.errors import ApiError, Gone, NotFound, Unavailable, from_response
from kuryr.k8s.settings import ApiSettings
from kuryr.k8s.token import TokenFile
from kuryr.k8s.watch import WatchStream
from kuryr.objects.codec import decoder
from kuryr.objects.meta import Key, KubernetesObject
from kuryr.objects.resources import Resource

LOG = logging.getLogger(__name__)

T = TypeVar("T", bound=KubernetesObject)
Body = Mapping[str, Any] | msgspec.Struct
Observe = Callable[[str, str, float], None]
Query = dict[str, str]

JSON = "application/json"
MERGE_PATCH = "application/merge-patch+json"
APPLY_PATCH = "application/apply-patch+yaml"

# Connections kept open for reuse at most; urllib3 warns about each that it cannot keep.
POOL_SIZE = 128


class Client:
    """One a process: a pool of connections that all threads share. Make it after a fork, not before.

    ``observe(operation, result, seconds)`` is called after each call, in the calling thread: operation such
    as ``list pods``, result an HTTP status or ``error``; a watch counts when it opens.

    ``fence``, where set, is called before every write and raises when this process may no longer write.

    Every method raises :class:`~kuryr.k8s.errors.ApiError`, a write also what ``fence`` raises.
    """

    fence: Callable[[], None] | None = None

    def __init__(self, settings: ApiSettings, *, observe: Observe | None = None) -> None:
        """
        :raises ConfigurationError: where the token file is not readable.
        """
        self.settings = settings
        self._observe: Observe = observe or (lambda operation, result, seconds: None)
        self._token = TokenFile(settings.token_file) if settings.token_file else None
        if settings.tls and not settings.verify:
            # Told once, here; urllib3 would tell it with every call.
            urllib3.disable_warnings(InsecureRequestWarning)
            LOG.warning("[kubernetes] ssl_verify_server_crt is off: anyone can pose as %s", settings.api_root)
        self._rest = RESTClientObject(_configuration(settings))

    def get(self, resource: Resource[T], key: Key, *, timeout: float | None = None) -> T:
        """The object; ``timeout`` in seconds where the usual patience is too much."""
        path = resource.path(key.namespace, key.name)
        data = self._call("GET", f"get {resource.plural}", path, timeout=timeout)
        return decoding.one(resource, data)

    def list(
        self,
        resource: Resource[T],
        *,
        namespace: str = "",
        label_selector: str = "",
        field_selector: str = "",
        limit: int = 500,
        resource_version: str | None = None,
    ) -> ListResult[T]:
        """All objects, read in pages of ``limit`` that are one consistent snapshot.

        :param resource_version: "0" allows any that the server has in its cache; None is the latest.
        """
        query = _selectors(label_selector, field_selector) | {"limit": str(limit)}
        if resource_version is not None:
            query["resourceVersion"] = resource_version
        operation, path = f"list {resource.plural}", resource.path(namespace)
        items: list[T] = []
        while True:
            try:
                page = decoding.page(resource, self._call("GET", operation, path, query=query))
            except Gone:
                if "continue" not in query:
                    raise
                # The snapshot went away between two pages: once more, in one piece.
                items.clear()
                del query["continue"], query["limit"]
                continue
            items += page.items
            if not page.continue_token:
                return ListResult(items=items, resource_version=page.resource_version)
            query["continue"] = page.continue_token
            query.pop("resourceVersion", None)

    def create(
        self,
        resource: Resource[T],
        namespace: str,
        body: Body,
        *,
        fenced: bool = True,
        timeout: float | None = None,
    ) -> T:
        """Create the object that ``body`` describes (apiVersion and kind may be left out).

        :param fenced: False for what must be written without the Lease (the Lease itself).
        """
        operation = f"create {resource.plural}"
        path = resource.path(namespace)
        return self._write("POST", operation, path, resource, body, fenced=fenced, timeout=timeout)

    def merge_patch(
        self,
        resource: Resource[T],
        key: Key,
        patch: Body,
        *,
        subresource: str = "",
        fenced: bool = True,
        timeout: float | None = None,
    ) -> T:
        """Apply a JSON merge patch; ``metadata.resourceVersion`` in it makes a later change a Conflict."""
        return self._write(
            "PATCH",
            f"patch {_with(resource, subresource)}",
            resource.path(key.namespace, key.name, subresource),
            resource,
            patch,
            content_type=MERGE_PATCH,
            fenced=fenced,
            timeout=timeout,
        )

    def apply(
        self,
        resource: Resource[T],
        key: Key,
        body: Body,
        *,
        field_manager: str,
        force: bool = False,
        subresource: str = "",
    ) -> T:
        """Server-side apply: ``body`` holds all fields that ``field_manager`` wants to own, and no others."""
        query = {"fieldManager": field_manager} | ({"force": "true"} if force else {})
        return self._write(
            "PATCH",
            f"apply {_with(resource, subresource)}",
            resource.path(key.namespace, key.name, subresource),
            resource,
            body,
            query=query,
            content_type=APPLY_PATCH,
        )

    def replace(self, resource: Resource[T], key: Key, body: Body) -> T:
        """Replace the whole object. A decoded object lacks fields: never pass one as ``body``."""
        path = resource.path(key.namespace, key.name)
        return self._write("PUT", f"replace {resource.plural}", path, resource, body)

    def delete(
        self,
        resource: Resource[T],
        key: Key,
        *,
        uid: str | None = None,
        grace_period_seconds: int | None = None,
    ) -> None:
        """Delete the object; with ``uid`` only that one, else Conflict."""
        options: dict[str, Any] = {"apiVersion": "v1", "kind": "DeleteOptions"}
        if uid is not None:
            options["preconditions"] = {"uid": uid}
        if grace_period_seconds is not None:
            options["gracePeriodSeconds"] = grace_period_seconds
        self._check_fence()
        path = resource.path(key.namespace, key.name)
        self._call("DELETE", f"delete {resource.plural}", path, body=options)

    def watch(
        self,
        resource: Resource[T],
        *,
        resource_version: str,
        namespace: str = "",
        label_selector: str = "",
        field_selector: str = "",
        timeout_seconds: int = 300,
    ) -> WatchStream[T]:
        """Changes after ``resource_version`` and bookmarks, until the server ends it (``timeout_seconds``).

        The stream is an iterator that any thread may ``close()``; it raises Unavailable where the connection
        breaks or is silent for ``settings.watch_silence``, and Gone where the resourceVersion is too old.
        """
        query = _selectors(label_selector, field_selector) | {
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": resource_version,
            "timeoutSeconds": str(timeout_seconds),
        }
        operation = f"watch {resource.plural}"
        response = self._open(
            "GET", operation, resource.path(namespace), query=query, timeout=self.settings.watch_silence
        )
        return WatchStream(response, resource, operation)

    def server_version(self) -> str:
        """The API server's version, such as ``v1.34.4``."""
        return decoder(_Version).decode(self._call("GET", "get version", "/version")).git_version

    def served(self, group: str, version: str) -> frozenset[str]:
        """What the API serves of a group: plurals, and plurals with subresources such as ``kuryrports/status``."""
        operation = "discover a group"
        try:
            data = self._call("GET", operation, f"/apis/{group}/{version}")
        except NotFound:
            return frozenset()
        return frozenset(found.name for found in msgspec.json.decode(data, type=_Discovered).resources)

    def access_review(
        self, verb: str, resource: Resource[T], namespace: str = "", *, name: str = "", subresource: str = ""
    ) -> bool:
        """Whether these credentials may do ``verb`` (in all namespaces where none is given)."""
        attributes = {
            "verb": verb,
            "group": resource.group,
            "version": resource.version,
            "resource": resource.plural,
            "subresource": subresource,
            "namespace": namespace,
            "name": name,
        }
        body = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectAccessReview",
            "spec": {"resourceAttributes": {field: value for field, value in attributes.items() if value}},
        }
        path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
        data = self._call("POST", "create selfsubjectaccessreviews", path, body=body)
        return decoder(_AccessReview).decode(data).status.allowed

    def close(self) -> None:
        """Close the connections that are idle."""
        self._rest.close()

    def _check_fence(self) -> None:
        if self.fence is not None:
            self.fence()

    def _write(
        self,
        method: str,
        operation: str,
        path: str,
        resource: Resource[T],
        body: Body,
        *,
        query: Query | None = None,
        content_type: str = JSON,
        fenced: bool = True,
        timeout: float | None = None,
    ) -> T:
        plain: dict[str, Any] = msgspec.to_builtins(body)
        if content_type != MERGE_PATCH:
            plain = {**plain, "apiVersion": resource.api_version, "kind": resource.kind}
        if fenced:
            self._check_fence()
        data = self._call(
            method, operation, path, query=query, body=plain, content_type=content_type, timeout=timeout
        )
        return decoding.one(resource, data)

    def _call(
        self,
        method: str,
        operation: str,
        path: str,
        *,
        query: Query | None = None,
        body: Mapping[str, Any] | None = None,
        content_type: str = JSON,
        timeout: float | None = None,
    ) -> bytes:
        response = self._open(
            method,
            operation,
            path,
            query=query,
            body=body,
            content_type=content_type,
            timeout=timeout or self.settings.read_timeout,
        )
        try:
            return bytes(response.data)
        except HTTPError as error:
            response.close()
            raise Unavailable(operation, _said(error)) from error

    def _open(
        self,
        method: str,
        operation: str,
        path: str,
        *,
        timeout: float,
        query: Query | None = None,
        body: Mapping[str, Any] | None = None,
        content_type: str = JSON,
    ) -> urllib3.HTTPResponse:
        """Send the request; the response with its body unread."""
        url = self.settings.api_root + quote(path) + (f"?{urlencode(query)}" if query else "")
        fresh_token = False
        stale_connection = False
        while True:
            started = time.monotonic()
            try:
                response = self._send(method, url, body, content_type, timeout, force_token=fresh_token)
            except ProtocolError as error:
                self._observe(operation, "error", time.monotonic() - started)
                # The server may have closed an idle connection just as we took it from the pool.
                if method == "GET" and not stale_connection:
                    stale_connection = True
                    continue
                raise Unavailable(operation, _said(error)) from error
            except (HTTPError, ApiException) as error:
                self._observe(operation, "error", time.monotonic() - started)
                raise self._no_answer(operation, error) from error
            self._observe(operation, str(response.status), time.monotonic() - started)
            if response.status < 300:
                return response
            failure = self._failure(operation, response)
            if response.status == 401 and self._token is not None and not fresh_token:
                fresh_token = True
                continue
            raise failure

    def _send(
        self,
        method: str,
        url: str,
        body: Mapping[str, Any] | None,
        content_type: str,
        timeout: float,
        *,
        force_token: bool,
    ) -> urllib3.HTTPResponse:
        headers = {"Accept": JSON, "User-Agent": "kuryr"}
        if body is not None:
            headers["Content-Type"] = content_type
        if self._token is not None:
            headers["Authorization"] = f"Bearer {self._token.current(force=force_token)}"
        answer = self._rest.request(
            method,
            url,
            headers=headers,
            body=body,
            _request_timeout=(min(self.settings.connect_timeout, timeout), timeout),
        )
        response: urllib3.HTTPResponse = answer.response
        return response

    def _failure(self, operation: str, response: urllib3.HTTPResponse) -> ApiError:
        try:
            body = bytes(response.data)
        except HTTPError:
            response.close()
            body = b""
        return from_response(operation, response.status, response.headers, body)

    def _no_answer(self, operation: str, error: Exception) -> ApiError:
        root = self.settings.api_root
        cause = error.__context__ if isinstance(error, ApiException) else error
        if isinstance(cause, SSLError):
            trust = self.settings.ca_file or "the system's CAs (ssl_ca_crt_file is not set or not there)"
            message = f"TLS with {root} failed, [kubernetes] ssl_ca_crt_file = {trust}: {_said(cause)}"
            return Unavailable(operation, message, reason="TLSError")
        return Unavailable(operation, f"{root}: {_said(error)}")


class _Version(msgspec.Struct, rename="camel"):
    git_version: str = ""


class _DiscoveredResource(msgspec.Struct):
    name: str


class _Discovered(msgspec.Struct):
    resources: list[_DiscoveredResource]


class _AccessReviewStatus(msgspec.Struct):
    allowed: bool = False


class _AccessReview(msgspec.Struct):
    status: _AccessReviewStatus


def _configuration(settings: ApiSettings) -> Configuration:
    configuration = Configuration(host=settings.api_root)
    configuration.verify_ssl = settings.verify
    configuration.ssl_ca_cert = settings.ca_file or None
    configuration.cert_file = settings.client_cert_file or None
    configuration.key_file = settings.client_key_file or None
    configuration.connection_pool_maxsize = POOL_SIZE
    # Nothing is sent twice behind our back: retries belong to the callers' queues.
    configuration.retries = False
    configuration.keep_alive = True
    return configuration


def _selectors(label_selector: str, field_selector: str) -> Query:
    query = {"labelSelector": label_selector, "fieldSelector": field_selector}
    return {name: value for name, value in query.items() if value}


def _with(resource: Resource[Any], subresource: str) -> str:
    return f"{resource.plural}/{subresource}" if subresource else resource.plural


def _said(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__
