# SPDX-License-Identifier: Apache-2.0
"""The demo's pods and the VM: brought up, looked at, scaled."""

import json
import time

from devcloud import kubernetes, vm
from devcloud.demo.probes import Check, Endpoint
from devcloud.demo.watch import Stopwatch
from devcloud.demo.workloads import DEPLOYMENT, NAMESPACE, deployment, pod
from devcloud.kubernetes import kubectl
from devcloud.kubernetes.cluster import NODES
from devcloud.neutron import Neutron
from devcloud.openstack import facts
from devcloud.shell import CommandError, wait_until

SCALE = 10
PODS = {
    f"{subnet}-{node.name}": pod(f"{subnet}-{node.name}", node.name, second_subnet=subnet == "second")
    for subnet in ("first", "second")
    for node in NODES
}
_READY_WITHIN = 120


class NotReady(Exception):
    """Pods did not become Ready; the message holds what Kubernetes says about them."""


def clear() -> None:
    """Make the demo's namespace anew."""
    kubectl("delete", "namespace", NAMESPACE, "--ignore-not-found", "--wait=true", "--timeout=120s")
    kubectl("create", "namespace", NAMESPACE)
    kubectl("wait", "--for=create", "--timeout=30s", "--namespace", NAMESPACE, "serviceaccount/default")


def create_pods() -> None:
    """Create the pods of both nodes and both subnets, and wait until all are Ready.

    :raises NotReady: when one does not become Ready in time.
    """
    for manifest in PODS.values():
        kubectl("create", "-f", "-", input=json.dumps(manifest))
    names = [f"pod/{name}" for name in PODS]
    try:
        kubectl("wait", "--for=condition=Ready", f"--timeout={_READY_WITHIN}s", "-n", NAMESPACE, *names)
    except CommandError as error:
        told = [kubectl("describe", "-n", NAMESPACE, name, check=False)[-2500:] for name in names]
        raise NotReady("\n".join([str(error), *told])) from error


def endpoints(neutron: Neutron) -> dict[str, Endpoint]:
    """Every pod and the VM, by name."""
    guest = vm.current()
    machine = Endpoint("vm", "node1", "pods", guest.addresses, guest.port, is_vm=True)
    return {**{name: _endpoint(neutron, name) for name in PODS}, machine.name: machine}


def bring_up(neutron: Neutron) -> dict[str, Endpoint]:
    """Clear, create and give every endpoint."""
    clear()
    create_pods()
    return endpoints(neutron)


def placed(endpoint: Endpoint) -> Check:
    """Whether a pod has the addresses of its own port, on the subnet that it asked for."""
    status = kubernetes.get("pod", "-n", NAMESPACE, endpoint.name)["status"]
    addresses = {entry["ip"] for entry in status["podIPs"]}
    wanted = "pods2" if endpoint.name.startswith("second") else "pods"
    well = addresses == set(endpoint.addresses) and endpoint.subnet == wanted
    detail = "" if well else f"podIPs {sorted(addresses)}, port {endpoint.addresses} on {endpoint.subnet}"
    return Check(f"{endpoint.name} on {wanted} with its port's addresses", well, detail)


def scale(neutron: Neutron, stopwatch: Stopwatch) -> list[Check]:
    """A Deployment to SCALE pods, each with one port, and back to none, with no port left."""
    kubectl("create", "-f", "-", input=json.dumps(deployment()))
    begin = time.monotonic()
    kubectl("scale", "-n", NAMESPACE, f"deployment/{DEPLOYMENT}", f"--replicas={SCALE}")
    kubectl("rollout", "status", "-n", NAMESPACE, f"deployment/{DEPLOYMENT}", "--timeout=180s")
    seconds = time.monotonic() - begin
    selector = ("-n", NAMESPACE, "-l", f"app={DEPLOYMENT}")
    pods = kubernetes.get("pods", *selector)["items"]
    uids = [item["metadata"]["uid"] for item in pods]
    ports = len(neutron.ports(device_id=uids))
    ready = sorted(stopwatch.stages(item["metadata"]["name"]).get("Ready", seconds) for item in pods)
    detail = f"{seconds:.1f} s, pods Ready after {ready[0]:.1f} to {ready[-1]:.1f} s" if ready else ""
    checks = [Check(f"{SCALE} pods, {ports} ports", len(uids) == ports == SCALE, detail)]
    begin = time.monotonic()
    kubectl("scale", "-n", NAMESPACE, f"deployment/{DEPLOYMENT}", "--replicas=0")
    kubectl("wait", "--for=delete", "pod", *selector, "--timeout=120s")
    gone = time.monotonic() - begin
    try:
        wait_until(lambda: not neutron.ports(device_id=uids), "the ports are gone", timeout=60, interval=0.5)
    except TimeoutError:
        left = [port["id"] for port in neutron.ports(device_id=uids)]
        return [*checks, Check("no port left", False, f"still there: {left}")]
    detail = f"pods gone after {gone:.1f} s, ports after {time.monotonic() - begin:.1f} s"
    return [*checks, Check("back to no pod, no port left", True, detail)]


def _endpoint(neutron: Neutron, name: str) -> Endpoint:
    found = kubernetes.get("pod", "-n", NAMESPACE, name)
    ports = neutron.ports(device_id=found["metadata"]["uid"])
    if len(ports) != 1:
        raise LookupError(f"pod {name} should have one Neutron port, it has {[port['id'] for port in ports]}")
    by_subnet = {ip["subnet_id"]: ip["ip_address"] for ip in ports[0]["fixed_ips"]}
    for subnet, families in facts.read()["subnets"].items():
        if set(by_subnet) == set(families.values()) and len(families) == 2:
            addresses = (by_subnet[families["4"]], by_subnet[families["6"]])
            return Endpoint(name, found["spec"]["nodeName"], subnet, addresses, ports[0]["id"])
    raise LookupError(
        f"the port of pod {name} has the addresses {by_subnet}, not one of each family of a subnet"
    )
