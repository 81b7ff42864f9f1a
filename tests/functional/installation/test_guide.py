# SPDX-License-Identifier: Apache-2.0
"""Installation guides for kuryr-kubernetes: what they tell to write works as it stands."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from kuryr.testing.fake_cloud import FakeCloud
from kuryr.testing.fake_cloud.cloud import PASSWORD
from tests.functional.controller.harness import World, clean, get
from tests.functional.kubernetes import KubernetesApi, free_ports, program, wait_until

ROOT = Path(__file__).resolve().parents[3]
PROGRAMS = Path(sys.executable).parent

CONTROLLER = """\
[DEFAULT]
use_stderr = true
bindir = /usr/local/libexec/kuryr

[kubernetes]
api_root = {api_root}

[neutron]
auth_url = {auth_url}
username = admin
user_domain_name = Default
password = {password}
project_name = {project_name}
project_domain_name = Default
auth_type = password

[neutron_defaults]
ovs_bridge = br-int
pod_security_groups = {id_of_security_group_for_pods}
pod_subnet = {id_of_subnet_for_pods}
project = {id_of_project}
service_subnet = {id_of_subnet_for_k8s_services}
"""

NODE = """\
[DEFAULT]
use_stderr = true
bindir = /usr/local/libexec/kuryr
[kubernetes]
api_root = {api_root}
"""


@contextmanager
def plain_http(api: KubernetesApi) -> Iterator[str]:
    """The API without TLS and credentials, as an insecure port served it."""
    command = [program("kubectl"), f"--kubeconfig={api.kubeconfig()}", "proxy", "--port=0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as proxy:
        try:
            assert proxy.stdout is not None
            # "Starting to serve on 127.0.0.1:43211"
            yield f"http://{proxy.stdout.readline().split()[-1]}"
        finally:
            proxy.terminate()


@contextmanager
def running(name: str, *files: Path, log: Path, **environment: str) -> Iterator[None]:
    """One of the two programs, with these configuration files."""
    command = [str(PROGRAMS / name), *(f"--config-file={file}" for file in files)]
    with log.open("ab") as output:
        process = subprocess.Popen(
            command, stdout=output, stderr=output, env={**os.environ, **environment}, start_new_session=True
        )
    try:
        yield
    finally:
        process.terminate()
        process.wait(60)


@pytest.fixture
def cloud() -> Iterator[FakeCloud]:
    with FakeCloud() as cloud:
        yield cloud


@pytest.fixture
def world(kubernetes_api: KubernetesApi, cloud: FakeCloud, namespace: str, tmp_path: Path) -> Iterator[World]:
    client = kubernetes_api.client()
    clean(client)
    yield World(kubernetes_api, client, cloud, namespace, tmp_path)
    clean(client)
    client.close()


def test_the_controllers_configuration_gives_pods_their_ports(world: World, tmp_path: Path) -> None:
    health, metrics = free_ports(2)
    # This machine may be full of controllers: what the guide leaves at its default.
    elsewhere = tmp_path / "elsewhere.conf"
    elsewhere.write_text(
        f"[kubernetes]\ncluster_name = {world.cluster}\n"
        f"[health_server]\nport = {health}\n[prometheus_exporter]\ncontroller_exporter_port = {metrics}\n"
    )
    guide = tmp_path / "kuryr.conf"
    with plain_http(world.api) as api_root:
        guide.write_text(
            CONTROLLER.format(
                api_root=api_root,
                auth_url=world.cloud.auth_url.removesuffix("/v3"),
                password=PASSWORD,
                project_name="admin",
                id_of_security_group_for_pods=world.cloud.security_group_id,
                id_of_subnet_for_pods=world.cloud.subnets["pods"][4],
                id_of_project=world.cloud.project_id,
                id_of_subnet_for_k8s_services=world.cloud.subnets["services"][4],
            )
        )
        log = tmp_path / "controller.log"
        with running("kuryr-k8s-controller", guide, elsewhere, log=log):
            url = f"http://127.0.0.1:{health}/readyz"
            wait_until(lambda: get(url)[0] == 200, f"the controller is ready; {get(url)}, {log.read_text()}")
            pod = world.create_pod("web")
            port = world.wait_filled("web")
        (vif,) = port.decoded_vifs().values()
        assert [found["id"] for found in world.ports(pod.metadata.uid)] == [vif.id]
        assert world.ports(pod.metadata.uid)[0]["project_id"] == world.cloud.project_id


def test_the_nodes_configuration_needs_no_openstack(kubernetes_api: KubernetesApi, tmp_path: Path) -> None:
    health, metrics = free_ports(2)
    elsewhere = tmp_path / "elsewhere.conf"
    elsewhere.write_text(
        f"[cni_daemon]\nsocket_path = {tmp_path}/daemon.sock\n"
        f"[os_vif_ovs]\novsdb_connection = unix:{tmp_path}/db.sock\n"
        f"[cni_health_server]\nport = {health}\n[prometheus_exporter]\ncni_exporter_port = {metrics}\n"
    )
    guide = tmp_path / "kuryr.conf"
    log = tmp_path / "daemon.log"
    with plain_http(kubernetes_api) as api_root:
        guide.write_text(NODE.format(api_root=api_root))
        with running("kuryr-daemon", guide, elsewhere, log=log, KUBERNETES_NODE_NAME="guide"):
            wait_until(lambda: get(f"http://127.0.0.1:{health}/livez")[0] == 200, "the daemon lives")
            answer = plugin(tmp_path, "VERSION", socket=tmp_path / "daemon.sock")
            assert answer["cniVersion"] == "0.3.0"
            failure = plugin(tmp_path, "ADD", socket=tmp_path / "daemon.sock")
            assert failure["cniVersion"] == "0.3.0"
            assert failure["code"] == 4
            assert "K8S_POD_NAMESPACE" in failure["msg"]
            ready = f"http://127.0.0.1:{health}/readyz"
            wait_until(lambda: get(ready)[0] == 200, f"the daemon is ready; {get(ready)}")
    assert "Traceback" not in log.read_text()


def plugin(directory: Path, command: str, *, socket: Path) -> dict[str, object]:
    """What the linked console script answers with etc/cni/net.d/10-kuryr.conf on stdin."""
    bin_directory = directory / "opt" / "cni" / "bin"
    bin_directory.mkdir(parents=True, exist_ok=True)
    link = bin_directory / "kuryr-cni"
    if not link.is_symlink():
        link.symlink_to(PROGRAMS / "kuryr-cni")
    done = subprocess.run(
        [link],
        input=(ROOT / "etc" / "cni" / "net.d" / "10-kuryr.conf").read_bytes(),
        env={
            "CNI_COMMAND": command,
            "CNI_CONTAINERID": "c1",
            "CNI_NETNS": "/var/run/netns/none",
            "CNI_IFNAME": "eth0",
            "CNI_PATH": str(bin_directory),
            "CNI_ARGS": "IgnoreUnknown=1",
            "KURYR_DAEMON_SOCKET": str(socket),
        },
        capture_output=True,
        timeout=60,
        check=False,
    )
    found: dict[str, object] = json.loads(done.stdout)
    return found


def test_without_a_daemon_the_plugin_says_what_to_start(tmp_path: Path) -> None:
    failure = plugin(tmp_path, "ADD", socket=tmp_path / "nobody.sock")
    assert failure["code"] == 11
    assert (
        failure["msg"]
        == f"kuryr-daemon does not answer on {tmp_path}/nobody.sock: start kuryr-daemon on this node"
    )


def test_the_shipped_network_configuration_is_the_guides() -> None:
    shipped = json.loads((ROOT / "etc" / "cni" / "net.d" / "10-kuryr.conf").read_text())
    assert shipped == {
        "cniVersion": "0.3.0",
        "name": "kuryr",
        "type": "kuryr-cni",
        "kuryr_conf": "/etc/kuryr/kuryr.conf",
        "debug": True,
    }


@pytest.mark.timeout(900)
def test_pip_install_needs_no_other_step(tmp_path: Path) -> None:
    """A clean environment, a copy of the tree, one command; the sample is then made by the documented script."""
    tree = tmp_path / "kuryr-kubernetes"
    shutil.copytree(
        ROOT,
        tree,
        ignore=shutil.ignore_patterns(".*", "__pycache__", "*.egg-info", "build", "results", "tests"),
    )
    environment = tmp_path / "venv"
    subprocess.run([sys.executable, "-m", "venv", str(environment)], check=True)
    pip = [str(environment / "bin" / "pip"), "--disable-pip-version-check", "--quiet"]
    subprocess.run([*pip, "install", str(tree)], check=True, timeout=900)
    subprocess.run([*pip, "check"], check=True)
    for name in ("kuryr-k8s-controller", "kuryr-daemon"):
        shown = subprocess.run(
            [environment / "bin" / name, "--help"], capture_output=True, text=True, check=True
        )
        assert "--config-file" in shown.stdout
    answered = subprocess.run(
        [environment / "bin" / "kuryr-cni"],
        input=b'{"cniVersion": "0.3.0"}',
        env={"CNI_COMMAND": "VERSION"},
        capture_output=True,
        check=True,
    )
    assert "0.3.0" in json.loads(answered.stdout)["supportedVersions"]
    sample = tree / "etc" / "kuryr.conf.sample"
    sample.unlink()
    path = f"{environment / 'bin'}:{os.environ['PATH']}"
    subprocess.run(
        ["./tools/generate_config_file_samples.sh"], cwd=tree, env={**os.environ, "PATH": path}, check=True
    )
    groups = [line for line in sample.read_text().splitlines() if line.startswith("[")]
    assert {"[kubernetes]", "[neutron]", "[neutron_defaults]", "[cni_daemon]"} <= set(groups)
