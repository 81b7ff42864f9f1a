# SPDX-License-Identifier: Apache-2.0
"""The daemon's Prometheus metrics."""

from __future__ import annotations

from collections.abc import Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, start_http_server

from kuryr.cni.stages import TOTAL

_BUCKETS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30, 60, 120, 180)


class Metrics:
    """One registry for each daemon."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._requests = Histogram(
            "kuryr_cni_request_duration_seconds",
            "The duration of CNI requests",
            labelnames=("command", "error"),
            buckets=_BUCKETS,
            registry=self.registry,
        )
        self._stages = Histogram(
            "kuryr_cni_stage_duration_seconds",
            "The stages of successful ADDs: waiting for the KuryrPort, netlink, OVS commit, waiting for the port to be up",
            labelnames=("stage",),
            buckets=_BUCKETS,
            registry=self.registry,
        )
        self._calls = Histogram(
            "kuryr_kubernetes_request_duration_seconds",
            "Calls to the Kubernetes API by operation and result",
            labelnames=("operation", "result"),
            buckets=_BUCKETS,
            registry=self.registry,
        )
        self._errors = Counter(
            "kuryr_cni_errors",
            "CNI requests that ended with an error, by CNI error code",
            labelnames=("command", "code"),
            registry=self.registry,
        )
        self.attachments = Gauge(
            "kuryr_cni_attachments", "Interfaces of pods on this node's switch", registry=self.registry
        )
        self.parked = Gauge(
            "kuryr_cni_parked_ports",
            "Ports of the node's pool that wait on its switch",
            registry=self.registry,
        )

    def request(self, command: str, code: int, seconds: float) -> None:
        """A request ended; ``code`` is 0 where it succeeded."""
        self._requests.labels(command, str(code != 0)).observe(seconds)
        if code:
            self._errors.labels(command, str(code)).inc()

    def stages(self, seconds: Mapping[str, float]) -> None:
        """An ADD succeeded, with these stages."""
        for stage, value in seconds.items():
            if stage != TOTAL:
                self._stages.labels(stage).observe(value)

    def call(self, operation: str, result: str, seconds: float) -> None:
        """A call to the Kubernetes API ended."""
        self._calls.labels(operation, result).observe(seconds)

    def serve(self, address: str, port: int) -> None:
        """Answer /metrics in the background."""
        start_http_server(port, addr=address, registry=self.registry)
