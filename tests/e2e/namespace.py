# SPDX-License-Identifier: Apache-2.0
"""A Kubernetes namespace that a test works in, and what Neutron has for it."""

import json
from collections.abc import Callable, Iterable
from typing import Any

from devcloud import kubernetes
from devcloud.kubernetes import kubectl
from devcloud.kubernetes.images import AGNHOST
from devcloud.neutron import Neutron
from devcloud.shell import wait_until

Manifest = dict[str, Any]

DEVICE_OWNER = "compute:kuryr"
PATIENCE = 120
"""Seconds until a test gives up on what should come about by itself."""


def pod(name: str, **spec: Any) -> Manifest:
    """A Pod that answers HTTP on 8080 and is Ready once the kubelet sees that; SPEC overrides its spec."""
    container = {
        "name": "agnhost",
        "image": AGNHOST,
        "command": ["/agnhost", "netexec", "--http-port=8080", "--udp-port=-1"],
        "readinessProbe": {"httpGet": {"path": "/", "port": 8080}, "periodSeconds": 1},
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": {"app": "e2e"}},
        "spec": {
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "terminationGracePeriodSeconds": 1,
            "containers": [container],
            **spec,
        },
    }


def on(node: str) -> dict[str, str]:
    """A nodeSelector for NODE."""
    return {"kubernetes.io/hostname": node}


class Namespace:
    """A namespace and the shortest words for what tests do in it."""

    def __init__(self, name: str, neutron: Neutron) -> None:
        self.name = name
        self.neutron = neutron

    def kubectl(self, *arguments: str, input: str | None = None, check: bool = True) -> str:
        """Run kubectl in this namespace."""
        return kubectl("--namespace", self.name, *arguments, input=input, check=check)

    def create(self, *manifests: Manifest) -> None:
        """Create objects, one after the other."""
        self.kubectl("create", "-f", "-", input="\n---\n".join(map(json.dumps, manifests)))

    def get(self, *arguments: str) -> Any:
        """What `kubectl get` finds, decoded."""
        return kubernetes.get("--namespace", self.name, *arguments)

    def uid(self, name: str) -> str:
        """The UID of a pod."""
        found: str = self.get("pod", name)["metadata"]["uid"]
        return found

    def address(self, name: str, family: int = 4) -> str:
        """A pod's address of a family."""
        addresses: list[str] = [entry["ip"] for entry in self.get("pod", name)["status"]["podIPs"]]
        return next(address for address in addresses if (":" in address) == (family == 6))

    def wait_ready(self, *names: str, seconds: int = PATIENCE) -> None:
        """Wait until the pods are Ready; what they say instead is in the error."""
        pods = [f"pod/{name}" for name in names]
        try:
            self.kubectl("wait", "--for=condition=Ready", f"--timeout={seconds}s", *pods)
        except Exception as error:
            error.add_note(self.kubectl("get", "pods", "-o", "wide", check=False))
            error.add_note(self.kubectl("events", check=False)[-3000:])
            raise

    def delete(self, *arguments: str, seconds: int = PATIENCE) -> None:
        """Delete objects and wait until they are gone."""
        self.kubectl("delete", *arguments, "--wait=true", f"--timeout={seconds}s")

    def exec(self, name: str, script: str) -> str:
        """Run a shell script in a pod."""
        return self.kubectl("exec", name, "--", "sh", "-c", script)

    def events(self, name: str) -> str:
        """The messages of a pod's Events, with their reasons."""
        found = self.get("events", "--field-selector", f"involvedObject.name={name}")["items"]
        return "\n".join(f"{event['reason']}: {event['message']}" for event in found)

    def ports(self, uids: str | Iterable[str]) -> list[Manifest]:
        """The Neutron ports of pods, by their UIDs."""
        wanted = [uids] if isinstance(uids, str) else list(uids)
        return self.neutron.ports(device_id=wanted) if wanted else []

    def wait_no_ports(self, uids: str | Iterable[str]) -> None:
        """Wait until Neutron has no port for these pods."""
        wanted = [uids] if isinstance(uids, str) else list(uids)
        eventually(lambda: not self.ports(wanted), f"no port is left for {wanted}")


def eventually(predicate: Callable[[], object], what: str, seconds: float = PATIENCE) -> None:
    """Wait for something that comes about by itself."""
    wait_until(predicate, what, timeout=seconds, interval=0.3)


def orphans(neutron: Neutron) -> list[str]:
    """The ids of pods' ports whose pod is not there, or has ended."""
    pods = kubernetes.get("pods", "--all-namespaces")["items"]
    living = {p["metadata"]["uid"] for p in pods if p["status"].get("phase") not in ("Succeeded", "Failed")}
    # A static pod has the UID that its kubelet gave it; the API knows that as an annotation.
    living |= {p["metadata"].get("annotations", {}).get("kubernetes.io/config.hash", "") for p in pods}
    return [
        port["id"] for port in neutron.ports(device_owner=DEVICE_OWNER) if port["device_id"] not in living
    ]
