# SPDX-License-Identifier: Apache-2.0
"""When the stages of a pod's life were seen, by one observer's clock.

Kubernetes stamps to the second; a watch sees each change within milliseconds of its commit.
"""

import http.client
import json
import ssl
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any

from devcloud.kubernetes import certificates, cluster

STAGES = ("created", "KuryrPort", "port", "wired", "Ready")
"""Created; its KuryrPort created; that filled with a Neutron port; plugged and up; Ready."""


@dataclass(frozen=True)
class Kind:
    """A kind to watch, and the stage that an object of it has reached."""

    path: str
    stage: Callable[[Mapping[str, Any]], list[str]]


def pod_stages(pod: Mapping[str, Any]) -> list[str]:
    """Which stages a Pod shows."""
    ready = any(c["type"] == "Ready" and c["status"] == "True" for c in pod["status"].get("conditions", []))
    return ["created", "Ready"] if ready else ["created"]


def kuryrport_stages(port: Mapping[str, Any]) -> list[str]:
    """Which stages a KuryrPort shows."""
    vifs = port.get("status", {}).get("vifs", {})
    if not vifs:
        return ["KuryrPort"]
    conditions = [condition for vif in vifs.values() for condition in vif.get("conditions", [])]
    up = any(c["type"] == "Up" and c["status"] == "True" for c in conditions)
    return ["KuryrPort", "port", "wired"] if up else ["KuryrPort", "port"]


KINDS = (
    Kind("/api/v1/namespaces/{namespace}/pods", pod_stages),
    Kind("/apis/openstack.org/v1/namespaces/{namespace}/kuryrports", kuryrport_stages),
)


class Stopwatch:
    """Watches the pods and KuryrPorts of a namespace for as long as it is entered."""

    def __init__(self, namespace: str) -> None:
        self._namespace = namespace
        self._seen: dict[str, dict[str, float]] = {}
        self._lock = threading.Lock()
        self._connections: list[http.client.HTTPSConnection] = []
        self._threads: list[threading.Thread] = []

    def __enter__(self) -> "Stopwatch":
        for kind in KINDS:
            context = ssl.create_default_context(cafile=str(certificates.AUTHORITY))
            context.load_cert_chain(certificates.certificate("admin"), certificates.key("admin"))
            connection = http.client.HTTPSConnection("127.0.0.1", cluster.API_PORT, context=context)
            connection.request("GET", kind.path.format(namespace=self._namespace) + "?watch=1")
            answer = connection.getresponse()
            if answer.status != 200:
                raise ConnectionError(f"watching {kind.path}: {answer.status} {answer.read(500)!r}")
            thread = threading.Thread(target=self._follow, args=(kind, answer), daemon=True)
            thread.start()
            self._connections.append(connection)
            self._threads.append(thread)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for connection in self._connections:
            if connection.sock is not None:
                connection.sock.close()

    def stages(self, pod: str) -> dict[str, float]:
        """Stage → seconds since the pod was created, for the stages that were seen."""
        with self._lock:
            seen = dict(self._seen.get(pod, {}))
        if "created" not in seen:
            return {}
        # Two watches are not in step to the millisecond.
        return {stage: max(0.0, seen[stage] - seen["created"]) for stage in STAGES if stage in seen}

    def _follow(self, kind: Kind, answer: http.client.HTTPResponse) -> None:
        try:
            for line in answer:
                now = time.monotonic()
                event = json.loads(line)
                if event["type"] in ("ADDED", "MODIFIED"):
                    self._note(event["object"]["metadata"]["name"], kind.stage(event["object"]), now)
        except (OSError, ValueError, http.client.HTTPException):
            # The connection was closed under it: that is how it ends.
            return

    def _note(self, name: str, stages: list[str], now: float) -> None:
        with self._lock:
            seen = self._seen.setdefault(name, {})
            for stage in stages:
                seen.setdefault(stage, now)
