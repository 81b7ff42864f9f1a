# SPDX-License-Identifier: Apache-2.0
"""The control plane: etcd, kube-apiserver, kube-controller-manager and kube-scheduler on the host."""

import json
import ssl
import urllib.error
import urllib.request
from collections.abc import Sequence
from typing import Any

from devcloud import paths, processes
from devcloud.kubernetes import certificates, cluster
from devcloud.kubernetes.certificates import certificate, key
from devcloud.shell import run, wait_until

ETCD_URL = "http://127.0.0.1:2379"
PORTS = (2379, 2380, cluster.API_PORT, 10257, 10259)
"""Every TCP port that the control plane listens on."""
PROGRAMS = ("kube-scheduler", "kube-controller-manager", "kube-apiserver", "etcd")
"""In the order in which they are stopped."""


def start_etcd() -> None:
    """Start etcd and wait until it is healthy."""
    if not processes.running("etcd"):
        peer = "http://127.0.0.1:2380"
        argv = [str(paths.program("etcd")), "--name=devcloud"]
        argv += [f"--data-dir={cluster.DIRECTORY / 'etcd'}"]
        argv += [f"--listen-client-urls={ETCD_URL}", f"--advertise-client-urls={ETCD_URL}"]
        argv += [f"--listen-peer-urls={peer}", f"--initial-advertise-peer-urls={peer}"]
        # A development cloud may lose its last second; it must not wait for the disk.
        argv += [f"--initial-cluster=devcloud={peer}", "--unsafe-no-fsync"]
        processes.start("etcd", argv)
    wait_until(etcd_healthy, "etcd is healthy", timeout=60)


def start_api_server() -> None:
    """Start the API server and wait until it is ready."""
    if not processes.running("kube-apiserver"):
        processes.start("kube-apiserver", [str(paths.program("kube-apiserver")), *_api_server_flags()])
    wait_until(api_server_ready, "the API server is ready", timeout=180)


def start_controllers() -> None:
    """Start the controller manager and the scheduler, and wait for the first of their work."""
    for component, flags in (
        ("kube-controller-manager", _controller_manager_flags()),
        ("kube-scheduler", []),
    ):
        if processes.running(component):
            continue
        kubeconfig = certificates.component_kubeconfig(component)
        argv = [str(paths.program(component)), "--bind-address=127.0.0.1", "--leader-elect=false"]
        argv += [f"--{use}kubeconfig={kubeconfig}" for use in ("", "authentication-", "authorization-")]
        processes.start(component, [*argv, *flags])
    # Without it no pod is admitted.
    wait_until(
        lambda: kubectl("get", "serviceaccount", "default", "--ignore-not-found", "-o", "name") != "",
        "the default ServiceAccount exists",
        timeout=60,
        interval=0.3,
    )


def etcd_healthy() -> bool:
    """Whether etcd answers and says that it is healthy."""
    try:
        with urllib.request.urlopen(f"{ETCD_URL}/health", timeout=2) as answer:
            return bool(json.load(answer)["health"] == "true")
    except OSError:
        return False


def api_server_ready() -> bool:
    """Whether the API server answers on its readiness path."""
    try:
        context = ssl.create_default_context(cafile=str(certificates.AUTHORITY))
        context.load_cert_chain(certificate("admin"), key("admin"))
        url = cluster.api_url("127.0.0.1") + "/readyz"
        with urllib.request.urlopen(url, timeout=2, context=context) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def kubectl(*arguments: str, input: str | None = None, check: bool = True) -> str:
    """Run kubectl as the cluster's administrator; gives its output.

    :raises devcloud.shell.CommandError: when it fails and CHECK is true.
    """
    program = str(paths.program("kubectl"))
    return run([program, f"--kubeconfig={cluster.ADMIN_KUBECONFIG}", *arguments], input=input, check=check)


def get(*arguments: str) -> Any:
    """What `kubectl get ARGUMENTS` finds, as decoded JSON."""
    return json.loads(kubectl("get", *arguments, "-o", "json"))


def stop() -> None:
    """Stop the control plane."""
    for program in PROGRAMS:
        processes.stop(program)


def _api_server_flags() -> Sequence[str]:
    issuer = "https://kubernetes.default.svc.cluster.local"
    return (
        f"--etcd-servers={ETCD_URL}",
        "--bind-address=0.0.0.0",
        f"--advertise-address={cluster.API_HOST_ADDRESS}",
        f"--secure-port={cluster.API_PORT}",
        f"--tls-cert-file={certificate('kube-apiserver')}",
        f"--tls-private-key-file={key('kube-apiserver')}",
        f"--client-ca-file={certificates.AUTHORITY}",
        "--authorization-mode=Node,RBAC",
        "--enable-admission-plugins=NodeRestriction",
        "--allow-privileged=true",
        f"--service-cluster-ip-range={','.join(cluster.SERVICE_CIDRS)}",
        f"--service-account-key-file={certificates.SERVICE_ACCOUNT_PUBLIC_KEY}",
        f"--service-account-signing-key-file={certificates.SERVICE_ACCOUNT_KEY}",
        f"--service-account-issuer={issuer}",
        f"--kubelet-client-certificate={certificate('kubelet-client')}",
        f"--kubelet-client-key={key('kubelet-client')}",
        f"--kubelet-certificate-authority={certificates.AUTHORITY}",
        "--kubelet-preferred-address-types=InternalIP",
        "--profiling=false",
        "--v=1",
    )


def _controller_manager_flags() -> Sequence[str]:
    return (
        f"--service-account-private-key-file={certificates.SERVICE_ACCOUNT_KEY}",
        f"--root-ca-file={certificates.AUTHORITY}",
        f"--cluster-signing-cert-file={certificates.AUTHORITY}",
        f"--cluster-signing-key-file={key('ca')}",
        "--use-service-account-credentials=true",
        "--allocate-node-cidrs=false",
        f"--service-cluster-ip-range={','.join(cluster.SERVICE_CIDRS)}",
        "--kube-api-qps=300",
        "--kube-api-burst=600",
    )
