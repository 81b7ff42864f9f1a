# SPDX-License-Identifier: Apache-2.0
"""From the bytes of a request to those of its answer."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping

from kuryr.cni import protocol
from kuryr.cni.client import SUPPORTED_VERSIONS
from kuryr.cni.health import Failures
from kuryr.cni.metrics import Metrics
from kuryr.cni.plugin import Plugin, explain
from kuryr.cni.protocol import CniError, Code, Request
from kuryr.cni.server import Reply
from kuryr.cni.stages import Stages

LOG = logging.getLogger(__name__)

OURS = (Code.INTERNAL, Code.BINDING)
"""Failures that may mean that the daemon, rather than anything around it, is broken."""


class Dispatcher:
    """Answers requests with a plugin, counting and logging them."""

    def __init__(self, plugin: Plugin, metrics: Metrics, failures: Failures) -> None:
        self._plugin = plugin
        self._metrics = metrics
        self._failures = failures

    def __call__(
        self, environment: Mapping[str, str], netconf: bytes, connected: Callable[[], bool]
    ) -> Reply:
        """The answer to one request; every error becomes one of CNI."""
        stages = Stages()
        request: Request | None = None
        error: CniError | None = None
        stdout = b""
        try:
            request = protocol.parse(environment, netconf)
            stdout = self._answer(request, stages, connected)
        except Exception as cause:
            error = explain(cause)
            if error.code is Code.INTERNAL:
                LOG.exception("%s failed", environment.get("CNI_COMMAND"))
        command = request.command if request is not None else "INVALID"
        seconds = stages.finish()
        code = int(error.code) if error is not None else 0
        self._metrics.request(command, code, seconds)
        self._count(command, error)
        subject = _subject(request)
        if error is not None:
            version = request.version if request is not None else protocol.requested_version(netconf)
            stdout = error.document(version)
            LOG.warning(
                "%s %s failed with code %d: %s %s", command, subject, code, error.message, error.details
            )
        elif command == "ADD":
            self._metrics.stages(stages.seconds)
            LOG.info("ADD %s: %s", subject, stages)
        else:
            LOG.log(
                logging.INFO if command == "DEL" else logging.DEBUG, "%s %s: %s", command, subject, stages
            )
        stderr = b""
        if request is not None and request.timings:
            stderr = json.dumps({"kuryr_timings": stages.seconds, "command": command}).encode() + b"\n"
        return Reply(1 if error is not None else 0, stdout, stderr)

    def _count(self, command: str, error: CniError | None) -> None:
        if error is None:
            if command in ("ADD", "DEL"):
                self._failures.succeeded()
        elif error.code in OURS:
            self._failures.failed(error.message)

    def _answer(self, request: Request, stages: Stages, connected: Callable[[], bool]) -> bytes:
        match request.command:
            case "ADD":
                return protocol.encode(self._plugin.add(request, stages, connected), request.version)
            case "DEL":
                self._plugin.delete(request)
            case "CHECK":
                self._plugin.check(request)
            case "GC":
                self._plugin.collect_garbage(request)
            case "STATUS":
                self._plugin.status(request)
            case _:
                supported = list(SUPPORTED_VERSIONS)
                document = {"cniVersion": request.version, "supportedVersions": supported}
                return json.dumps(document).encode() + b"\n"
        return b""


def _subject(request: Request | None) -> str:
    """Whose request it is, for the log: the pod and the beginning of the container's id, as crictl shows it."""
    if request is None:
        return ""
    namespace, name = request.args.get("K8S_POD_NAMESPACE", ""), request.args.get("K8S_POD_NAME", "")
    return f"{namespace}/{name} ({request.container_id[:13]})"
