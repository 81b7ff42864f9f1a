# SPDX-License-Identifier: Apache-2.0
"""The proof: pods on two nodes and two subnets, and a VM, talk to each other over Neutron."""

import json
import time
from collections.abc import Iterable, Sequence

from devcloud import kubernetes, vm
from devcloud.demo import report
from devcloud.demo.probes import Check, Endpoint, blocked, guarded, reach, transfer
from devcloud.demo.watch import Stopwatch
from devcloud.demo.workloads import DEPLOYMENT, NAMESPACE, deployment, pod
from devcloud.kubernetes import kubectl
from devcloud.kubernetes.cluster import NODES
from devcloud.neutron import Neutron
from devcloud.openstack import facts
from devcloud.shell import CommandError, wait_until

SCALE = 10
_READY_WITHIN = 120


def run() -> int:
    """Run the demo on the running cloud and print what happened; 0 when everything worked."""
    begin = time.monotonic()
    cloud = Neutron()
    _clear()
    with Stopwatch(NAMESPACE) as stopwatch:
        names = _create_pods()
        checks = _wait_ready(names)
        if not all(check.passed for check in checks):
            print(report.checks(checks))
            print(_why(names))
            return 1
        pods = [_endpoint(cloud, name) for name in names]
        machine = _machine()
        stages = {name: stopwatch.stages(name) for name in names}
        print(report.endpoints([*pods, machine], stages), end="\n\n")

        everyone = [*pods, machine]
        reached = [r for source in everyone for r in reach(source, [e for e in everyone if e is not source])]
        print(report.matrix(reached), end="\n\n")
        passed = sum(r.passed for r in reached)
        checks.append(Check(f"ping and TCP, {passed} of {len(reached)} ways", passed == len(reached)))

        checks += _placement(pods)
        first, last = pods[0], pods[-1]
        for source, target in ((first, last), (last, first), (first, machine), (machine, last)):
            for family in (4, 6):
                name = f"5 MB {target.name} -> {source.name} IPv{family}"
                checks += guarded(name, lambda s=source, t=target, f=family: [transfer(s, t, f)])  # type: ignore[misc]
        checks += guarded("blocked port", lambda: blocked([first, last], machine))
        checks += guarded("scaling", lambda: _scale(cloud, stopwatch))
    print(report.checks(checks))
    failed = [check for check in checks if not check.passed]
    seconds = time.monotonic() - begin
    print(f"\n{len(checks) - len(failed)} of {len(checks)} checks passed in {seconds:.0f} s")
    for check in failed:
        print(f"FAILED: {check.name} {check.detail}")
    if not failed:
        print(f"The pods stay in namespace {NAMESPACE}: `kubectl -n {NAMESPACE} exec -it {first.name} -- sh`")
    return 1 if failed else 0


def _clear() -> None:
    """Take away what an earlier run left."""
    kubectl("delete", "namespace", NAMESPACE, "--ignore-not-found", "--wait=true", "--timeout=120s")
    kubectl("create", "namespace", NAMESPACE)
    kubectl("wait", "--for=create", "--timeout=30s", "--namespace", NAMESPACE, "serviceaccount/default")


def _create_pods() -> list[str]:
    wanted = {
        f"{subnet}-{node.name}": pod(f"{subnet}-{node.name}", node.name, second_subnet=subnet == "second")
        for subnet in ("first", "second")
        for node in NODES
    }
    for manifest in wanted.values():
        kubectl("create", "-f", "-", input=json.dumps(manifest))
    return list(wanted)


def _wait_ready(names: Iterable[str]) -> list[Check]:
    pods = [f"pod/{name}" for name in names]
    try:
        kubectl("wait", "--for=condition=Ready", f"--timeout={_READY_WITHIN}s", "-n", NAMESPACE, *pods)
    except CommandError as error:
        return [Check("pods become Ready (readiness by httpGet)", False, str(error))]
    return [Check("pods become Ready (readiness by httpGet)", True)]


def _why(names: Iterable[str]) -> str:
    """What Kubernetes has to say about pods that did not become Ready."""
    return "\n".join(kubectl("describe", "pod", "-n", NAMESPACE, name, check=False)[-2500:] for name in names)


def _endpoint(cloud: Neutron, name: str) -> Endpoint:
    found = kubernetes.get("pod", "-n", NAMESPACE, name)
    ports = cloud.ports(device_id=found["metadata"]["uid"])
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


def _machine() -> Endpoint:
    guest = vm.current()
    return Endpoint("vm", "node1", "pods", guest.addresses, guest.port, is_vm=True)


def _placement(pods: Sequence[Endpoint]) -> list[Check]:
    """Each pod has the addresses of its own port, on the subnet that it asked for."""
    checks = []
    for endpoint in pods:
        status = kubernetes.get("pod", "-n", NAMESPACE, endpoint.name)["status"]
        addresses = {entry["ip"] for entry in status["podIPs"]}
        wanted = "pods2" if endpoint.name.startswith("second") else "pods"
        well = addresses == set(endpoint.addresses) and endpoint.subnet == wanted
        detail = "" if well else f"podIPs {sorted(addresses)}, port {endpoint.addresses} on {endpoint.subnet}"
        checks.append(Check(f"{endpoint.name} on {wanted} with its port's addresses", well, detail))
    return checks


def _scale(cloud: Neutron, stopwatch: Stopwatch) -> list[Check]:
    """A Deployment to SCALE pods, each with one port, and back to none, with no port left."""
    kubectl("create", "-f", "-", input=json.dumps(deployment()))
    begin = time.monotonic()
    kubectl("scale", "-n", NAMESPACE, f"deployment/{DEPLOYMENT}", f"--replicas={SCALE}")
    kubectl("rollout", "status", "-n", NAMESPACE, f"deployment/{DEPLOYMENT}", "--timeout=180s")
    seconds = time.monotonic() - begin
    selector = ("-n", NAMESPACE, "-l", f"app={DEPLOYMENT}")
    pods = kubernetes.get("pods", *selector)["items"]
    uids = [item["metadata"]["uid"] for item in pods]
    ports = len(cloud.ports(device_id=uids))
    ready = sorted(stopwatch.stages(item["metadata"]["name"]).get("Ready", seconds) for item in pods)
    detail = f"{seconds:.1f} s, pods Ready after {ready[0]:.1f} to {ready[-1]:.1f} s" if ready else ""
    checks = [Check(f"{SCALE} pods, {ports} ports", len(uids) == ports == SCALE, detail)]
    begin = time.monotonic()
    kubectl("scale", "-n", NAMESPACE, f"deployment/{DEPLOYMENT}", "--replicas=0")
    kubectl("wait", "--for=delete", "pod", *selector, "--timeout=120s")
    gone = time.monotonic() - begin
    try:
        wait_until(lambda: not cloud.ports(device_id=uids), "the ports are gone", timeout=60, interval=0.5)
    except TimeoutError:
        left = [port["id"] for port in cloud.ports(device_id=uids)]
        return [*checks, Check("no port left", False, f"still there: {left}")]
    detail = f"pods gone after {gone:.1f} s, ports after {time.monotonic() - begin:.1f} s"
    return [*checks, Check(f"back to 0 pods, {len(cloud.ports(device_id=uids))} ports", True, detail)]
