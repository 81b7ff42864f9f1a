# SPDX-License-Identifier: Apache-2.0
"""A real etcd and kube-apiserver for tests: started in seconds, stopped and started again at will."""

import base64
import ipaddress
import json
import os
import secrets
import shutil
import socket
import ssl
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Callable
from contextlib import ExitStack, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Self

import msgspec
import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from kuryr.k8s.client import Client
from kuryr.k8s.errors import Conflict
from kuryr.k8s.settings import ApiSettings
from kuryr.objects.meta import Condition, Key, KubernetesObject
from kuryr.objects.resources import Resource

CRDS = Path(__file__).resolve().parents[2] / "kubernetes_crds"
PATIENCE = 60.0


_SERVICE_ACCOUNTS = Resource("", "v1", "serviceaccounts", "ServiceAccount", KubernetesObject)


DIE_WITH_US = ("setpriv", "--pdeathsig", "KILL")
"""In front of a command: the process does not outlive a test run that was killed."""


class MissingProgramError(Exception):
    """A program of Kubernetes is nowhere to be found."""


class _CrdStatus(msgspec.Struct):
    conditions: list[Condition] = []


class _Crd(KubernetesObject, kw_only=True):
    status: _CrdStatus = msgspec.field(default_factory=_CrdStatus)


_CRDS = Resource(
    "apiextensions.k8s.io",
    "v1",
    "customresourcedefinitions",
    "CustomResourceDefinition",
    _Crd,
    namespaced=False,
)


def program(name: str) -> str:
    """The program's path: KURYR_DEVCLOUD_BIN, the development cloud's cache, or PATH, in this order.

    :raises MissingProgramError: naming where it was looked for.
    """
    cache = Path(os.environ.get("KURYR_DEVCLOUD_CACHE", "/var/cache/kuryr-devcloud")) / "bin"
    places = [*sorted(cache.glob("kubernetes-*"), reverse=True), *sorted(cache.glob("etcd-*"), reverse=True)]
    if named := os.environ.get("KURYR_DEVCLOUD_BIN"):
        places.insert(0, Path(named))
    for place in places:
        if os.access(place / name, os.X_OK):
            return str(place / name)
    if found := shutil.which(name):
        return found
    raise MissingProgramError(
        f"{name} is neither in {cache} nor in PATH; `make up` builds it, or set KURYR_DEVCLOUD_BIN"
    )


def free_ports(number: int) -> list[int]:
    """TCP ports of 127.0.0.1 on which nobody listens now.

    Below those that the kernel gives to outgoing connections, one of which could take a stopped server's port.
    """
    ports: list[int] = []
    with ExitStack() as stack:
        while len(ports) < number:
            candidate = stack.enter_context(socket.socket())
            port = secrets.randbelow(10000) + 20000
            with suppress(OSError):
                candidate.bind(("127.0.0.1", port))
                ports.append(port)
    return ports


def wait_until(condition: Callable[[], bool], what: str, timeout: float = PATIENCE) -> None:
    """Wait for something that a test has no event for.

    :raises TimeoutError: saying what did not come.
    """
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {timeout:.0f} s: {what}")
        time.sleep(0.02)


class Authority:
    """A certificate authority that lives as long as the test run; writes PEM files into ``directory``."""

    def __init__(self, directory: Path, name: str = "test-ca") -> None:
        self.directory = directory
        self.file = directory / f"{name}.crt"
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        certificate = (
            self._builder(self._name, self._key.public_key())
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .sign(self._key, hashes.SHA256())
        )
        self.file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))

    def issue(self, name: str, *, organisation: str = "") -> tuple[Path, Path]:
        """Files of a certificate for 127.0.0.1 and localhost, for servers and clients, and of its key."""
        key = ec.generate_private_key(ec.SECP256R1())
        attributes = [x509.NameAttribute(NameOID.COMMON_NAME, name)]
        if organisation:
            attributes.append(x509.NameAttribute(NameOID.ORGANIZATION_NAME, organisation))
        names = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
        usages = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
        certificate = (
            self._builder(x509.Name(attributes), key.public_key())
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
            .sign(self._key, hashes.SHA256())
        )
        crt_file, key_file = self.directory / f"{name}.crt", self.directory / f"{name}.key"
        crt_file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        key_file.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.TraditionalOpenSSL,
                serialization.NoEncryption(),
            )
        )
        return crt_file, key_file

    def _builder(self, subject: x509.Name, public_key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
        now = datetime.now(UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(public_key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(hours=1))
            .not_valid_after(now + timedelta(days=2))
        )


class KubernetesApi:
    """A context manager: the API as ``api_root``, with ``ca_file`` and ``token_file`` of an administrator.

    There are no controllers, no scheduler, no kubelet: nothing runs pods, and deleted namespaces stay
    Terminating. Pods need no ServiceAccount. ``users`` maps further user names to their groups; each has a
    token.
    """

    def __init__(self, *, users: dict[str, str] | None = None) -> None:
        self.directory = Path()
        self.api_root = ""
        self.port = 0
        self.ca_file = Path()
        self.token_file = Path()
        self.tokens = {"admin": secrets.token_hex(16)} | {user: secrets.token_hex(16) for user in users or {}}
        self._groups = {"admin": "system:masters"} | (users or {})
        self._stack = ExitStack()
        self._etcd_port = 0
        self._flags: list[str] = []
        self._server: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self.directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="kuryr-test-api-")))
            stack.callback(self.stop)
            self._start_etcd(stack)
            self._prepare()
            self.start()
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *exc: object) -> None:
        self._stack.close()

    def settings(self, user: str = "admin", **changes: Any) -> ApiSettings:
        """How to reach the API as that user."""
        settings = ApiSettings(
            api_root=self.api_root, ca_file=str(self.ca_file), token_file=str(self.token_file_of(user))
        )
        return msgspec.structs.replace(settings, **changes)

    def client(self, user: str = "admin", **changes: Any) -> Client:
        """A client of that user."""
        return Client(self.settings(user, **changes))

    def service_account_client(self, namespace: str, name: str) -> Client:
        """A client with the token of a ServiceAccount, which is made if need be; it has no rights by itself."""
        admin = self.client()
        with suppress(Conflict):
            admin.create(_SERVICE_ACCOUNTS, namespace, {"metadata": {"name": name}})
        admin.close()
        request = {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenRequest",
            "spec": {"audiences": [], "expirationSeconds": 3600},
        }
        path = _SERVICE_ACCOUNTS.path(namespace, name, "token")
        token = json.loads(self._call(path, request))["status"]["token"]
        file = self.directory / f"{namespace}.{name}.token"
        file.write_text(token)
        return self.client(token_file=str(file))

    def token_file_of(self, user: str) -> Path:
        """File with the user's token."""
        return self.directory / f"{user}.token"

    def kubeconfig(self, user: str = "admin") -> Path:
        """A kubeconfig file for kubectl and other programs."""
        path = self.directory / f"{user}.kubeconfig"
        cluster = {"server": self.api_root, "certificate-authority": str(self.ca_file)}
        document = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "test",
            "clusters": [{"name": "test", "cluster": cluster}],
            "users": [{"name": user, "user": {"token": self.tokens[user]}}],
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": user}}],
        }
        path.write_text(yaml.safe_dump(document))
        return path

    def start(self) -> None:
        """Start the API server (again) and wait until it is ready."""
        log = (self.directory / "kube-apiserver.log").open("ab")
        with log:
            self._server = subprocess.Popen(
                [*DIE_WITH_US, program("kube-apiserver"), *self._flags],
                stdout=log,
                stderr=log,
                cwd=self.directory,
            )
        wait_until(self._ready, "the API server is ready")

    def stop(self, *, kill: bool = False) -> None:
        """Stop the API server, by SIGKILL where so asked; etcd goes on."""
        if self._server is None:
            return
        if kill:
            self._server.kill()
        else:
            self._server.terminate()
        try:
            self._server.wait(20)
        except subprocess.TimeoutExpired:
            self._server.kill()
            self._server.wait()
        self._server = None

    def restart(self, *, kill: bool = True) -> None:
        """Stop and start the API server on the same port."""
        self.stop(kill=kill)
        self.start()

    def compact(self) -> None:
        """Have etcd forget all history but the present state."""
        found = self._etcd("kv/range", {"key": base64.b64encode(b"/").decode()})
        self._etcd("kv/compaction", {"revision": found["header"]["revision"], "physical": True})

    def apply_crds(self, directory: Path = CRDS) -> None:
        """Apply the CRDs of a directory's YAML files, and wait until they are served."""
        client = self.client()
        keys = []
        for file in sorted(directory.glob("*.yaml")):
            for document in yaml.safe_load_all(file.read_text()):
                if document and document["kind"] == _CRDS.kind:
                    key = Key("", document["metadata"]["name"])
                    client.apply(_CRDS, key, document, field_manager="tests", force=True)
                    keys.append(key)
        for key in keys:
            wait_until(
                lambda key=key: any(
                    condition.type == "Established" and condition.status == "True"
                    for condition in client.get(_CRDS, key).status.conditions
                ),
                f"{key} is established",
            )
        client.close()

    def _ready(self) -> bool:
        if self._server is not None and self._server.poll() is not None:
            log = (self.directory / "kube-apiserver.log").read_text(errors="replace").splitlines()
            raise RuntimeError("the API server ended:\n" + "\n".join(log[-20:]))
        try:
            return self._call("/readyz") == b"ok"
        except OSError:
            return False

    def _call(self, path: str, body: dict[str, Any] | None = None) -> bytes:
        headers = {"Authorization": f"Bearer {self.tokens['admin']}", "Content-Type": "application/json"}
        data = json.dumps(body).encode() if body is not None else None
        request = urllib.request.Request(self.api_root + path, data, headers)
        context = ssl.create_default_context(cafile=str(self.ca_file))
        with urllib.request.urlopen(request, timeout=5, context=context) as answer:
            return bytes(answer.read())

    def _start_etcd(self, stack: ExitStack) -> None:
        self._etcd_port, peer = free_ports(2)
        client_url, peer_url = f"http://127.0.0.1:{self._etcd_port}", f"http://127.0.0.1:{peer}"
        log = stack.enter_context((self.directory / "etcd.log").open("wb"))
        process = subprocess.Popen(
            [
                *DIE_WITH_US,
                program("etcd"),
                f"--data-dir={self.directory / 'etcd'}",
                f"--listen-client-urls={client_url}",
                f"--advertise-client-urls={client_url}",
                f"--listen-peer-urls={peer_url}",
                f"--initial-advertise-peer-urls={peer_url}",
                f"--initial-cluster=default={peer_url}",
                "--unsafe-no-fsync",
            ],
            stdout=log,
            stderr=log,
            cwd=self.directory,
        )
        # Callbacks run in reverse: the API server, registered before, must not outlive its etcd.
        stack.callback(_end, process)
        stack.callback(self.stop)

    def _prepare(self) -> None:
        """Write certificates, keys and tokens, and settle the API server's flags."""
        (self.port,) = free_ports(1)
        self.api_root = f"https://127.0.0.1:{self.port}"
        authority = self.authority = Authority(self.directory)
        self.ca_file = authority.file
        crt, key = authority.issue("kube-apiserver")
        for user, token in self.tokens.items():
            self.token_file_of(user).write_text(token)
        self.token_file = self.token_file_of("admin")
        tokens = self.directory / "tokens.csv"
        tokens.write_text(
            "".join(f'{token},{user},{user},"{self._groups[user]}"\n' for user, token in self.tokens.items())
        )
        self._flags = [
            f"--etcd-servers=http://127.0.0.1:{self._etcd_port}",
            "--bind-address=127.0.0.1",
            f"--secure-port={self.port}",
            f"--tls-cert-file={crt}",
            f"--tls-private-key-file={key}",
            f"--client-ca-file={authority.file}",
            f"--token-auth-file={tokens}",
            "--authorization-mode=RBAC",
            "--disable-admission-plugins=ServiceAccount",
            "--service-cluster-ip-range=10.96.0.0/16",
            "--service-account-issuer=https://kubernetes.default.svc",
            f"--service-account-key-file={key}",
            f"--service-account-signing-key-file={key}",
            "--endpoint-reconciler-type=none",
            "--watch-cache=true",
            "--shutdown-delay-duration=0s",
            "--profiling=false",
        ]

    def _etcd(self, call: str, body: dict[str, Any]) -> Any:
        request = urllib.request.Request(
            f"http://127.0.0.1:{self._etcd_port}/v3/{call}", json.dumps(body).encode(), method="POST"
        )
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.load(answer)


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
