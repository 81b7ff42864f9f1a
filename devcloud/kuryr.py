# SPDX-License-Identifier: Apache-2.0
"""Kuryr on the development cloud: this checkout, installed and run as an operator would."""

import hashlib
import http.client
import os
import signal
import sys
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from devcloud import paths, processes
from devcloud.kubernetes import certificates, cluster, kubectl, nodes
from devcloud.kubernetes.cluster import NODES, Node
from devcloud.openstack import facts
from devcloud.shell import run, wait_until
from devcloud.steps import Step

CONTROLLER = "kuryr-controller"
HEALTH_PORT = 8082
DAEMON_HEALTH_PORT = 8090
HANDLERS = ("vif", "kuryrport")
ACCOUNTS = ("kuryr-controller", "kuryr-daemon")

_CRDS = paths.SOURCE / "kubernetes_crds"
_ACCOUNTS = paths.SOURCE / "etc" / "kubernetes"
_PLUGINS = paths.SOURCE / "plugins-example"
_REQUIREMENTS = paths.SOURCE / "requirements" / "run.txt"
_TOKEN_LIFETIME = "8760h"

Sections = Mapping[str, Mapping[str, str]]


def steps() -> list[Step]:
    """What installs and starts Kuryr; the nodes become Ready at the end of it."""
    todo = [
        Step("kuryr environment", make_environment),
        Step("kuryr accounts", apply_manifests, after=("kube-controllers",)),
        Step("kuryr configuration", write_configuration, after=("kuryr accounts", "openstack")),
        Step(CONTROLLER, start_controller, after=("kuryr environment", "kuryr configuration")),
    ]
    for node in NODES:
        daemon, cni = f"{node.name} kuryr-daemon", f"{node.name} kuryr-cni"
        before = ("kuryr environment", "kuryr configuration", f"{node.name} ovs")
        todo += [
            Step(daemon, partial(start_daemon, node), after=before),
            Step(cni, partial(install_cni, node), after=(daemon, CONTROLLER, f"{node.name} kubelet")),
        ]
    return todo


def stop() -> None:
    """Stop the controller and the daemons; pods that run keep their network."""
    stop_controller()
    for node in NODES:
        processes.stop(daemon_name(node))


def status() -> list[tuple[str, bool, str]]:
    """Each part's name, whether it is well, and a remark."""
    rows = [(CONTROLLER, controller_ready(), str(processes.log_file(CONTROLLER)))]
    for node in NODES:
        name = daemon_name(node)
        rows.append((name, daemon_ready(node), str(processes.log_file(name))))
    return rows


def daemon_name(node: Node) -> str:
    """Name of a node's daemon among the processes."""
    return f"{node.name}-kuryr-daemon"


def environment() -> Path:
    """The virtual environment in use: it holds this checkout, editable."""
    return paths.STATE / "kuryr-venv"


def make_environment() -> None:
    """Bring the environment up to the checkout's present requirements and entry points."""
    directory = _cached_environment()
    pip = [str(directory / "bin" / "pip"), "--disable-pip-version-check", "--quiet", "install"]
    complete = directory / "complete"
    if not complete.exists():
        run([sys.executable, "-m", "venv", "--clear", str(directory)])
        run([*pip, "--require-hashes", "-r", str(_REQUIREMENTS)], timeout=900)
        complete.touch()
    # An editable installation follows the code, but not the entry points.
    installed = directory / "installed"
    if not installed.exists() or installed.read_text() != _entry_points():
        projects = [paths.SOURCE, *([_PLUGINS] if _has_plugins() else [])]
        run([*pip, "--no-deps", *(f"--editable={project}" for project in projects)])
        installed.write_text(_entry_points())
    link = environment()
    if not (link.is_symlink() and link.readlink() == directory):
        temporary = link.with_name(link.name + ".new")
        temporary.unlink(missing_ok=True)
        temporary.symlink_to(directory)
        temporary.rename(link)


def apply_manifests() -> None:
    """Apply the CRDs and the ServiceAccounts with their rights; fetch a token for each account."""
    for what in (_CRDS, *(_ACCOUNTS / f"{account}.yaml" for account in ACCOUNTS)):
        kubectl("apply", "--server-side", "--force-conflicts", "-f", str(what))
    kubectl("wait", "--for=condition=Established", "--timeout=30s", "crd", "--all")
    for account in ACCOUNTS:
        token = kubectl(
            "create", "token", account, "--namespace=kube-system", f"--duration={_TOKEN_LIFETIME}"
        )
        _write_secret(token_file(account), token.strip())


def token_file(account: str) -> Path:
    """Where the token of a ServiceAccount is kept."""
    return paths.ETC / f"{account}.token"


def controller_configuration_file() -> Path:
    """The controller's kuryr.conf."""
    return paths.ETC / "kuryr-controller.conf"


def daemon_configuration_file(node: Node) -> Path:
    """The kuryr.conf of NODE's daemon."""
    return paths.ETC / f"kuryr-{node.name}.conf"


def daemon_socket(node: Node) -> Path:
    """The socket on which NODE's daemon answers kuryr-cni."""
    return paths.node_run(node.name) / "kuryr-daemon.sock"


def write_configuration() -> None:
    """Write every kuryr.conf from the facts of this cloud."""
    known = facts.read()
    _write_secret(controller_configuration_file(), render(controller_configuration(known, _has_plugins())))
    for node in NODES:
        _write_secret(daemon_configuration_file(node), render(daemon_configuration(node)))


def controller_configuration(known: Mapping[str, Any], example_plugins: bool) -> Sections:
    """The controller's options. KNOWN are the facts of openstack.json."""
    user = known["users"]["kuryr"]
    return {
        "DEFAULT": {"use_stderr": "true"},
        "kubernetes": {
            **_api_server("kuryr-controller"),
            "enabled_handlers": ",".join(HANDLERS),
            "pod_subnets_driver": "labelled_example" if example_plugins else "default",
        },
        "neutron": {
            "auth_type": "password",
            "auth_url": known["auth_url"],
            "region_name": known["region"],
            "username": user["username"],
            "password": user["password"],
            "project_name": user["project"],
            "user_domain_name": known["user_domain_name"],
            "project_domain_name": known["project_domain_name"],
        },
        "neutron_defaults": {
            "project": known["projects"]["k8s"],
            "pod_subnet": _families(known["subnets"]["pods"]),
            "service_subnet": _families(known["subnets"]["services"]),
            "pod_security_groups": known["security_groups"]["k8s-pods"],
            "ovs_bridge": "br-int",
        },
        "health_server": {"port": str(HEALTH_PORT)},
        **({"labelled_example": _example_options(known)} if example_plugins else {}),
    }


def daemon_configuration(node: Node) -> Sections:
    """The options of NODE's daemon."""
    return {
        "DEFAULT": {"use_stderr": "true"},
        "kubernetes": _api_server("kuryr-daemon"),
        "neutron_defaults": {"ovs_bridge": "br-int"},
        "cni_daemon": {"socket_path": str(daemon_socket(node))},
        "os_vif_ovs": {"ovsdb_connection": f"unix:{paths.ovsdb_socket(node.name)}"},
    }


def render(sections: Sections) -> str:
    """SECTIONS as an oslo.config file."""
    blocks = []
    for name, options in sections.items():
        blocks.append("\n".join([f"[{name}]", *(f"{key} = {value}" for key, value in options.items())]))
    return "\n\n".join(blocks) + "\n"


def start_controller() -> None:
    """Start the controller, anew where its configuration has changed, and wait until it is ready."""
    program = environment() / "bin" / "kuryr-k8s-controller"
    configuration = controller_configuration_file()
    _stop_if_outdated(CONTROLLER, configuration)
    processes.start(CONTROLLER, [str(program), "--config-file", str(configuration)])
    _wait_alive(CONTROLLER, controller_ready, "the controller is ready")


def stop_controller() -> None:
    """Stop the controller, as at a roll-out: it finishes what it is at."""
    processes.stop(CONTROLLER, timeout=60)


def reload_controller() -> None:
    """Have the controller read its mutable options again; it goes on running."""
    pid = processes.pid(CONTROLLER)
    if pid is None:
        raise ChildProcessError(f"{CONTROLLER} does not run")
    os.kill(pid, signal.SIGHUP)
    _record_start(CONTROLLER, controller_configuration_file())


def start_daemon(node: Node) -> None:
    """Start NODE's daemon in its namespace, anew where its configuration has changed; wait until it is ready."""
    name = daemon_name(node)
    program = environment() / "bin" / "kuryr-daemon"
    configuration = daemon_configuration_file(node)
    _stop_if_outdated(name, configuration)
    processes.start(
        name,
        [str(program), "--config-file", str(configuration)],
        netns=node.netns,
        env={"KUBERNETES_NODE_NAME": node.name},
    )
    _wait_alive(name, partial(daemon_ready, node), f"the daemon of {node.name} is ready")


def install_cni(node: Node) -> None:
    """Install kuryr-cni on NODE, its configuration last, and wait until the node is Ready."""
    run(
        [str(environment() / "bin" / "python"), "-m", "kuryr.cni.install"]
        + [f"--bin-dir={node.cni_bin}", f"--conf-dir={node.cni_conf}"]
        + [f"--kuryr-conf={daemon_configuration_file(node)}", f"--socket={daemon_socket(node)}"]
        # What the runtime's libcni understands at most.
        + ["--cni-version=1.0.0"]
    )
    wait_until(partial(nodes.ready, node), f"node {node.name} is Ready", timeout=60, interval=0.3)


def controller_ready() -> bool:
    """Whether the controller says that it is ready."""
    return _answers_ready("127.0.0.1", HEALTH_PORT)


def daemon_ready(node: Node) -> bool:
    """Whether NODE's daemon says that it is ready."""
    return _answers_ready(node.addresses[0], DAEMON_HEALTH_PORT)


def _stop_if_outdated(name: str, configuration: Path) -> None:
    """Stop a process that was started by another environment or configuration than the present."""
    record = _start_record(name)
    if processes.running(name) and (not record.exists() or record.read_text() != _identity(configuration)):
        processes.stop(name, timeout=60)
    _record_start(name, configuration)


def _record_start(name: str, configuration: Path) -> None:
    _start_record(name).write_text(_identity(configuration))


def _start_record(name: str) -> Path:
    return paths.RUN / f"{name}.started-by"


def _identity(configuration: Path) -> str:
    installed = (environment() / "installed").read_text()
    parts = (str(environment().resolve()), installed, configuration.read_text())
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def _answers_ready(host: str, port: int) -> bool:
    connection = http.client.HTTPConnection(host, port, timeout=5)
    try:
        connection.request("GET", "/readyz")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _wait_alive(name: str, predicate: Callable[[], bool], what: str) -> None:
    def well() -> bool:
        if not processes.running(name):
            raise ChildProcessError(f"{name} ended; {_last_words(name)}")
        return predicate()

    try:
        wait_until(well, what, timeout=60)
    except TimeoutError as error:
        raise TimeoutError(f"{error}; {_last_words(name)}") from error


def _last_words(name: str) -> str:
    log = processes.log_file(name)
    return f"the last that it said ({log}):\n{log.read_text(errors='replace')[-2000:]}"


def _has_plugins() -> bool:
    return (_PLUGINS / "setup.cfg").exists()


def _cached_environment() -> Path:
    parts = (str(paths.SOURCE), sys.version, _REQUIREMENTS.read_text())
    return paths.CACHE / f"kuryr-venv-{hashlib.sha256(chr(0).join(parts).encode()).hexdigest()[:12]}"


def _entry_points() -> str:
    files = (paths.SOURCE / "setup.cfg", _PLUGINS / "setup.cfg")
    return hashlib.sha256(b"\0".join(file.read_bytes() for file in files if file.exists())).hexdigest()


def _api_server(account: str) -> Mapping[str, str]:
    return {
        "api_root": cluster.api_url(),
        "ssl_ca_crt_file": str(certificates.AUTHORITY),
        "ssl_verify_server_crt": "true",
        "token_file": str(token_file(account)),
    }


def _families(subnets: Mapping[str, str]) -> str:
    return f"{subnets['4']},{subnets['6']}"


def _example_options(known: Mapping[str, Any]) -> Mapping[str, str]:
    return {"subnets": f"second:{known['subnets']['pods2']['4']}+{known['subnets']['pods2']['6']}"}


def _write_secret(path: Path, text: str) -> None:
    temporary = path.with_name(path.name + ".new")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
    temporary.rename(path)
