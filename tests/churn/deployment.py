# SPDX-License-Identifier: Apache-2.0
"""What a user does to pods on the development cloud, and whether they reach each other."""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from typing import Any

from devcloud.kubernetes import get, kubectl
from devcloud.shell import CommandError
from tests.bench.running import RunningPod
from tests.churn.run import Life
from tests.e2e.namespace import pod as pod_manifest

NAME = "churn"
MOST = 10
"""Pods of the Deployment at most; as many at most are made one by one."""


class Workload:
    """A Deployment that is scaled, and pods that are made one by one.

    :ivar created: how many of these there were.
    """

    def __init__(self, namespace: str, life: Life) -> None:
        self._namespace = namespace
        self._random = life.random
        self._numbers = itertools.count(1)
        self._single: list[str] = []
        self._replicas = 4
        self.created = 0
        template = pod_manifest(NAME)
        labels = {"app": NAME}
        deployment = {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": NAME},
            "spec": {
                "replicas": self._replicas,
                "selector": {"matchLabels": labels},
                "template": {"metadata": {"labels": labels}, "spec": template["spec"]},
            },
        }
        self._create(deployment)
        for name, weight, step in (
            ("Deployment scaled", 4, self.scale),
            ("pod created", 4, self.create_one),
            ("pods deleted", 4, self.delete),
            ("pods force-deleted", 3, self.force_delete),
            ("pod recreated", 2, self.recreate),
        ):
            life.add(name, weight, step)

    @property
    def wanted(self) -> int:
        """How many pods there must be."""
        return self._replicas + len(self._single)

    def scale(self) -> None:
        self._replicas = self._random.randint(0, MOST)
        self._kubectl("scale", f"deployment/{NAME}", f"--replicas={self._replicas}")

    def create_one(self) -> None:
        if len(self._single) < MOST:
            self._single.append(f"single-{next(self._numbers)}")
            self._create(pod_manifest(self._single[-1]))
            self.created += 1

    def delete(self) -> None:
        self._delete("--grace-period=1")

    def force_delete(self) -> None:
        self._delete("--force", "--grace-period=0")

    def recreate(self) -> None:
        """At once, under its name."""
        if self._single:
            name = self._random.choice(self._single)
            self._kubectl("delete", "pod", name, "--force", "--grace-period=0", "--ignore-not-found")
            self._create(pod_manifest(name))
            self.created += 1

    def end(self) -> None:
        """Enough to look at, on both nodes."""
        self._replicas = max(self._replicas, 4)
        self._kubectl("scale", f"deployment/{NAME}", f"--replicas={self._replicas}")

    def _delete(self, *how: str) -> None:
        found = get("pods", "--namespace", self._namespace)["items"]
        names = [each["metadata"]["name"] for each in found if "deletionTimestamp" not in each["metadata"]]
        if not names:
            return
        chosen = self._random.sample(sorted(names), self._random.randint(1, min(5, len(names))))
        self._single = [name for name in self._single if name not in chosen]
        self._kubectl("delete", "pod", *chosen, *how, "--wait=false", "--ignore-not-found")

    def _create(self, manifest: dict[str, Any]) -> None:
        self._kubectl("create", "-f", "-", input=json.dumps(manifest))

    def _kubectl(self, *arguments: str, input: str | None = None) -> None:
        kubectl("--namespace", self._namespace, *arguments, input=input)


def unreachable(pods: Sequence[RunningPod]) -> list[str]:
    """Which pods do not reach which, a sentence each: each pings the addresses of all."""
    names = {entry.ip: pod.key for pod in pods for entry in pod.status.pod_ips}
    pings = " ".join(f"(ping -c 1 -W 3 {ip} > /dev/null 2>&1 || echo {ip}) &" for ip in names)
    found: list[str] = []
    for pod in pods:
        arguments = (
            "--namespace",
            pod.metadata.namespace,
            pod.metadata.name,
            "--",
            "sh",
            "-c",
            f"{pings} wait",
        )
        try:
            lost = kubectl("exec", *arguments)
        except CommandError as error:
            found.append(f"pod {pod.key} cannot be entered: {error}")
            continue
        found += [f"pod {pod.key} does not reach {names[ip]} at {ip}" for ip in lost.split()]
    return found
