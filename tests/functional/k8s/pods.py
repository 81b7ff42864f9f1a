# SPDX-License-Identifier: Apache-2.0
"""Pods that nobody runs."""

from typing import Any

from kuryr.k8s.client import Client
from kuryr.objects.core import Pod
from kuryr.objects.meta import Key
from kuryr.objects.resources import PODS


def pod_body(name: str, **metadata: Any) -> dict[str, Any]:
    return {"metadata": {"name": name, **metadata}, "spec": {"containers": [{"name": "c", "image": "none"}]}}


def create_pod(client: Client, namespace: str, name: str, **metadata: Any) -> Pod:
    return client.create(PODS, namespace, pod_body(name, **metadata))


def delete_pod(client: Client, namespace: str, name: str) -> None:
    client.delete(PODS, Key(namespace, name), grace_period_seconds=0)
