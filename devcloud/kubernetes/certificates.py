# SPDX-License-Identifier: Apache-2.0
"""The cluster's certificate authority, certificates and kubeconfig files, made with openssl."""

import json
from collections.abc import Sequence
from pathlib import Path

from devcloud.kubernetes import cluster
from devcloud.shell import run

DAYS = "3650"
_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
_API_SERVER_NAMES = (
    "DNS:localhost",
    "DNS:kubernetes",
    "DNS:kubernetes.default",
    "DNS:kubernetes.default.svc",
    "DNS:kubernetes.default.svc.cluster.local",
    "IP:127.0.0.1",
    "IP:10.96.0.1",
    "IP:fd00:10:96::1",
    f"IP:{cluster.API_HOST_ADDRESS}",
    f"IP:{cluster.API_HOST_ADDRESS_V6}",
)

AUTHORITY = cluster.CERTIFICATES / "ca.crt"
SERVICE_ACCOUNT_KEY = cluster.CERTIFICATES / "sa.key"
SERVICE_ACCOUNT_PUBLIC_KEY = cluster.CERTIFICATES / "sa.pub"


def certificate(name: str) -> Path:
    """File of the certificate called NAME."""
    return cluster.CERTIFICATES / f"{name}.crt"


def key(name: str) -> Path:
    """File of the private key called NAME."""
    return cluster.CERTIFICATES / f"{name}.key"


def extensions(names: Sequence[str]) -> str:
    """The x509v3 extensions of a certificate with these subject alternative names, as openssl reads them."""
    lines = [
        "basicConstraints=CA:FALSE",
        "keyUsage=digitalSignature",
        "extendedKeyUsage=serverAuth,clientAuth",
    ]
    if names:
        lines.append("subjectAltName=" + ",".join(names))
    return "\n".join(lines) + "\n"


def kubeconfig(server: str, user: str) -> str:
    """A kubeconfig (JSON) that reaches SERVER with USER's client certificate."""
    return json.dumps(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "devcloud",
            "clusters": [
                {"name": "devcloud", "cluster": {"server": server, "certificate-authority": str(AUTHORITY)}}
            ],
            "users": [
                {
                    "name": user,
                    "user": {"client-certificate": str(certificate(user)), "client-key": str(key(user))},
                }
            ],
            "contexts": [{"name": "devcloud", "context": {"cluster": "devcloud", "user": user}}],
        },
        indent=1,
    )


def make() -> None:
    """Make everything that is missing; what exists stays valid and is left alone."""
    cluster.CERTIFICATES.mkdir(parents=True, exist_ok=True, mode=0o700)
    _authority()
    _issue("kube-apiserver", "/CN=kube-apiserver", _API_SERVER_NAMES)
    _issue("kubelet-client", "/O=system:masters/CN=apiserver-kubelet-client")
    _issue("admin", "/O=system:masters/CN=admin")
    _issue("kube-controller-manager", "/CN=system:kube-controller-manager")
    _issue("kube-scheduler", "/CN=system:kube-scheduler")
    local = cluster.api_url("127.0.0.1")
    _write(cluster.ADMIN_KUBECONFIG, kubeconfig(local, "admin"))
    for component in ("kube-controller-manager", "kube-scheduler"):
        _write(component_kubeconfig(component), kubeconfig(local, component))
    for node in cluster.NODES:
        names = [f"DNS:{node.name}", *(f"IP:{address}" for address in node.addresses)]
        _issue(node.name, f"/O=system:nodes/CN=system:node:{node.name}", names)
        node.directory.mkdir(parents=True, exist_ok=True)
        _write(node.kubeconfig, kubeconfig(cluster.api_url(), node.name))


def component_kubeconfig(component: str) -> Path:
    """Kubeconfig of a control plane component, named as its certificate."""
    return cluster.DIRECTORY / f"{component}.kubeconfig"


def _authority() -> None:
    if not AUTHORITY.exists():
        temporary = AUTHORITY.with_suffix(".new")
        run(
            ["openssl", "req", "-x509", *_KEY, "-days", DAYS, "-subj", "/CN=devcloud"]
            + ["-keyout", str(key("ca")), "-out", str(temporary)]
            + ["-addext", "basicConstraints=critical,CA:TRUE"]
            + ["-addext", "keyUsage=critical,keyCertSign,cRLSign,digitalSignature"]
        )
        temporary.rename(AUTHORITY)
    if not SERVICE_ACCOUNT_PUBLIC_KEY.exists():
        run(["openssl", "genrsa", "-out", str(SERVICE_ACCOUNT_KEY), "2048"])
        temporary = SERVICE_ACCOUNT_PUBLIC_KEY.with_suffix(".new")
        run(["openssl", "rsa", "-in", str(SERVICE_ACCOUNT_KEY), "-pubout", "-out", str(temporary)])
        temporary.rename(SERVICE_ACCOUNT_PUBLIC_KEY)


def _issue(name: str, subject: str, names: Sequence[str] = ()) -> None:
    if certificate(name).exists():
        return
    request = cluster.CERTIFICATES / f"{name}.csr"
    extension_file = cluster.CERTIFICATES / f"{name}.ext"
    extension_file.write_text(extensions(names))
    run(["openssl", "req", "-new", *_KEY, "-subj", subject, "-keyout", str(key(name)), "-out", str(request)])
    # Written under another name first: an interrupted run must not leave half a certificate behind.
    temporary = certificate(name).with_suffix(".new")
    run(
        ["openssl", "x509", "-req", "-in", str(request), "-CA", str(AUTHORITY), "-CAkey", str(key("ca"))]
        + ["-CAcreateserial", "-days", DAYS, "-extfile", str(extension_file), "-out", str(temporary)]
    )
    temporary.rename(certificate(name))
    request.unlink()
    extension_file.unlink()


def _write(path: Path, text: str) -> None:
    path.write_text(text)
    path.chmod(0o600)
