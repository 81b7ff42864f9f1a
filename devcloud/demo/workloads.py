# SPDX-License-Identifier: Apache-2.0
"""What the demo runs in the cluster."""

from collections.abc import Mapping
from typing import Any

from devcloud.kubernetes.images import AGNHOST

NAMESPACE = "demo"
PORT = 8080
BLOB_PORT = 8082
BLOB_SIZE = 5 * 1024 * 1024
SUBNETS_LABEL = "example.kuryr.openstack.org/subnets"
DEPLOYMENT = "crowd"

# busybox serves the blob on a port of its own, agnhost answers HTTP on the other.
_SERVE = (
    f"dd if=/dev/urandom of=/tmp/blob bs=65536 count={BLOB_SIZE // 65536} 2> /dev/null; "
    f"nc -ll -p {BLOB_PORT} -e cat /tmp/blob & exec /agnhost netexec --http-port={PORT} --udp-port=-1"
)


def pod(name: str, node: str, second_subnet: bool) -> Mapping[str, Any]:
    """A Pod on NODE, on the second pod subnet where asked; Ready once the kubelet reaches it by HTTP."""
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name,
            "namespace": NAMESPACE,
            "labels": {"app": "demo", **({SUBNETS_LABEL: "second"} if second_subnet else {})},
        },
        "spec": {**_pod_spec(), "nodeSelector": {"kubernetes.io/hostname": node}},
    }


def deployment() -> Mapping[str, Any]:
    """A Deployment of no replicas, to be scaled."""
    labels = {"app": DEPLOYMENT}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": DEPLOYMENT, "namespace": NAMESPACE},
        "spec": {
            "replicas": 0,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": _pod_spec()},
        },
    }


def _pod_spec() -> Mapping[str, Any]:
    return {
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": 1,
        "containers": [
            {
                "name": "agnhost",
                "image": AGNHOST,
                "imagePullPolicy": "IfNotPresent",
                "command": ["/bin/sh", "-c", _SERVE],
                "readinessProbe": {"httpGet": {"path": "/", "port": PORT}, "periodSeconds": 1},
            }
        ],
    }
