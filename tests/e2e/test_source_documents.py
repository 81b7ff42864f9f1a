# SPDX-License-Identifier: Apache-2.0
"""What installation guides for kuryr-kubernetes tell to do, done on this cloud beside what runs there.

The controllers of these tests stand by: the cloud's own holds the Lease. Their configuration names the same project
and subnets, so that nothing is lost should one of them come to hold it.
"""

import base64
import http.client
import os
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from devcloud import kuryr, paths
from devcloud.kubernetes import certificates, cluster, get, kubectl
from devcloud.openstack import facts
from devcloud.openstack.rest import Session
from kuryr.controller.service import SHARD
from tests.e2e.namespace import eventually
from tests.functional.kubernetes import free_ports

TOKENS = paths.SOURCE / "etc" / "kubernetes" / "tokens" / "secrets.yaml"


@pytest.fixture(scope="module")
def known() -> Any:
    return facts.read()


@contextmanager
def plain_http() -> Iterator[str]:
    """The API without TLS and credentials, as an insecure port served it."""
    command = [str(paths.program("kubectl")), f"--kubeconfig={cluster.ADMIN_KUBECONFIG}", "proxy", "--port=0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as proxy:
        try:
            assert proxy.stdout is not None
            # "Starting to serve on 127.0.0.1:43211"
            yield f"http://{proxy.stdout.readline().split()[-1]}"
        finally:
            proxy.terminate()


def answer(url: str) -> tuple[int, str]:
    """Status and text; 0 where nobody answers."""
    try:
        with urllib.request.urlopen(url, timeout=10) as found:
            return found.status, found.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()
    except (OSError, http.client.HTTPException) as error:
        return 0, str(error)


def becomes_ready(configuration: str, directory: Path) -> None:
    """Start a controller with that configuration, wait until all that it checks at start is well, stop it."""
    health, metrics = free_ports(2)
    guide, elsewhere = directory / "kuryr.conf", directory / "elsewhere.conf"
    guide.write_text(configuration)
    elsewhere.write_text(
        f"[health_server]\nport = {health}\n[prometheus_exporter]\ncontroller_exporter_port = {metrics}\n"
    )
    program = str(kuryr.environment() / "bin" / "kuryr-k8s-controller")
    log = directory / "controller.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [program, f"--config-file={guide}", f"--config-file={elsewhere}"],
            env={name: value for name, value in os.environ.items() if not name.startswith("OS_")},
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    url = f"http://127.0.0.1:{health}/readyz"
    try:
        eventually(lambda: process.poll() is not None or answer(url)[0] == 200, f"{url} answers 200")
        assert answer(url) == (200, "ok\n"), log.read_text()
    except TimeoutError as error:
        error.add_note(answer(url)[1] + log.read_text()[-3000:])
        raise
    finally:
        process.terminate()
        process.wait(60)


def holder() -> str:
    found: str = get("--namespace=kube-system", "lease", SHARD)["spec"]["holderIdentity"]
    return found


def neutron_section(known: Any) -> str:
    user = known["users"]["kuryr"]
    return f"""\
[neutron]
auth_url = {known["auth_url"].removesuffix("/v3")}
username = {user["username"]}
user_domain_name = Default
password = {user["password"]}
project_name = {user["project"]}
project_domain_name = Default
auth_type = password

[neutron_defaults]
ovs_bridge = br-int
pod_security_groups = {known["security_groups"]["k8s-pods"]}
pod_subnet = {known["subnets"]["pods"]["4"]}
project = {known["projects"]["k8s"]}
service_subnet = {known["subnets"]["services"]["4"]}
"""


def test_the_guides_configuration_over_http(known: Any, tmp_path: Path) -> None:
    held = holder()
    with plain_http() as api_root:
        text = f"""\
[DEFAULT]
use_stderr = true
bindir = /usr/local/libexec/kuryr

[kubernetes]
api_root = {api_root}

"""
        becomes_ready(text + neutron_section(known), tmp_path)
    assert holder() == held


def test_a_token_from_a_secret_over_https(known: Any, tmp_path: Path) -> None:
    kubectl("apply", "--filename", str(TOKENS))
    try:
        secrets: dict[str, str] = {}

        def filled() -> bool:
            secrets.update(get("--namespace=kube-system", "secret", "kuryr-controller").get("data", {}))
            return "token" in secrets

        eventually(filled, "Kubernetes fills in the token")
        token, ca = tmp_path / "token", tmp_path / "ca.crt"
        token.write_bytes(base64.b64decode(secrets["token"]))
        ca.write_bytes(base64.b64decode(secrets["ca.crt"]))
        assert ca.read_text().strip() == certificates.AUTHORITY.read_text().strip()
        text = f"""\
[kubernetes]
api_root = {cluster.api_url()}
ssl_ca_crt_file = {ca}
token_file = {token}

"""
        becomes_ready(text + neutron_section(known), tmp_path)
    finally:
        kubectl("delete", "--ignore-not-found", "--filename", str(TOKENS))


def test_the_crds_are_there() -> None:
    names = {crd["metadata"]["name"] for crd in get("customresourcedefinitions")["items"]}
    assert {
        "kuryrloadbalancers.openstack.org",
        "kuryrnetworkpolicies.openstack.org",
        "kuryrnetworks.openstack.org",
        "kuryrports.openstack.org",
        "network-attachment-definitions.k8s.cni.cncf.io",
    } <= names


def test_keystone_lists_the_service() -> None:
    services = Session("admin", "admin").call("GET", f"{facts.AUTH_URL}/services")["services"]
    assert "kuryr-kubernetes" in {service["name"] for service in services}
