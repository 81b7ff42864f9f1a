# SPDX-License-Identifier: Apache-2.0
"""The API processes: Keystone, Neutron and Octavia under uwsgi, and Octavia's driver agent."""

import os
import socket
import urllib.error
import urllib.request
from pathlib import Path

from devcloud import packages, paths, processes, shell
from devcloud.network import HOST_IPV4
from devcloud.openstack import configuration
from devcloud.openstack.configuration import OCTAVIA_RUN

SYSTEM_OCTAVIA_RUN = Path("/var/run/octavia")
"""Octavia's driver library looks here for the agent's sockets, whatever is configured."""

PORTS = {"keystone": 5000, "neutron": 9696, "octavia": 9876}
_ALL = ("octavia", "neutron", "keystone", "octavia-driver-agent")
_ANSWER_TIMEOUT = 180
_NEUTRON_APPLICATION = Path(__file__).with_name("neutron_wsgi.py")


def start_keystone() -> None:
    """Keystone's API."""
    _serve(
        "keystone",
        "keystone.wsgi.api:application",
        env={
            "OS_KEYSTONE_CONFIG_DIR": str(configuration.KEYSTONE_CONF.parent),
            "OS_KEYSTONE_CONFIG_FILES": str(configuration.KEYSTONE_CONF),
        },
    )


def start_neutron() -> None:
    """Neutron's API, with the OVN mechanism driver."""
    files = f"{configuration.NEUTRON_CONF};{configuration.ML2_CONF}"
    environment = {
        "OS_NEUTRON_CONFIG_DIR": str(configuration.NEUTRON_CONF.parent),
        "OS_NEUTRON_CONFIG_FILES": files,
    }
    _serve("neutron", _NEUTRON_APPLICATION, env=environment, workers=2)


def start_octavia_driver_agent() -> None:
    """To be started once its user exists and before the API, which would wait for it in vain; anew with each new API."""
    name = "octavia-driver-agent"
    if not processes.running("octavia"):
        # An API that ended leaves it clients that say nothing, on which it spins.
        processes.stop(name, timeout=3)
    OCTAVIA_RUN.mkdir(parents=True, exist_ok=True)
    if SYSTEM_OCTAVIA_RUN.is_symlink() or not SYSTEM_OCTAVIA_RUN.exists():
        SYSTEM_OCTAVIA_RUN.unlink(missing_ok=True)
        SYSTEM_OCTAVIA_RUN.symlink_to(OCTAVIA_RUN)
    processes.end_orphans(name)
    listener = OCTAVIA_RUN / "get.sock"
    if not processes.running(name):
        listener.unlink(missing_ok=True)
    agent: list[shell.Argument] = [packages.openstack_venv() / "bin" / name]
    processes.start(name, [*agent, "--config-file", configuration.OCTAVIA_CONF], env=_environment())
    # Not by connecting: a client that says nothing makes the listener spin for ever.
    processes.wait_until(name, listener.exists, "its sockets are there", 60)


def start_octavia() -> None:
    """Octavia's API, with OVN as its provider."""
    _serve(
        "octavia",
        "octavia.wsgi.api:application",
        extra=["--pyargv", f"--config-file {configuration.OCTAVIA_CONF}"],
    )


def stop() -> None:
    """Stop the processes and take away Octavia's link; what they hold is in the databases."""
    for name in _ALL:
        processes.stop(name, timeout=3)
        processes.end_orphans(name)
    if SYSTEM_OCTAVIA_RUN.is_symlink() and Path(os.readlink(SYSTEM_OCTAVIA_RUN)) == OCTAVIA_RUN:
        SYSTEM_OCTAVIA_RUN.unlink()


def status() -> list[tuple[str, bool, str]]:
    """Each process's name, whether it runs and its API answers, and its URL."""
    rows = []
    for name in reversed(_ALL):
        port = PORTS.get(name)
        well = processes.running(name) and (port is None or answers(port, timeout=5))
        rows.append((name, well, f"http://{HOST_IPV4}:{port}" if port else ""))
    return rows


def answers(port: int, timeout: float) -> bool:
    """Whether an API answers within the time; uwsgi holds requests while it loads."""
    try:
        urllib.request.urlopen(f"http://{HOST_IPV4}:{port}/", timeout=timeout).close()
    except urllib.error.HTTPError as error:
        return error.code < 500
    except OSError:
        return False
    return True


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _environment() -> dict[str, str]:
    # ovsdbapp calls ovsdb-client.
    return {"PYTHONWARNINGS": "ignore", "PATH": f"{paths.COMMANDS}:{os.environ.get('PATH', os.defpath)}"}


def _serve(
    name: str,
    application: str | Path,
    *,
    env: dict[str, str] | None = None,
    workers: int = 1,
    extra: list[str] | None = None,
) -> None:
    port = PORTS[name]
    processes.end_orphans(name)
    uwsgi = packages.openstack_venv() / "bin/uwsgi"
    argv = [str(uwsgi), "--master", "--die-on-term", "--no-orphans", "--need-app", "--lazy-apps"]
    argv += ["--enable-threads", "--thunder-lock", "--buffer-size", "65535"]
    argv += ["--disable-logging", "--log-5xx", "--worker-reload-mercy", "2"]
    # Without it clients that keep their connection are reset: --http-socket does not.
    argv += ["--add-header", "Connection:close"]
    for address in ("127.0.0.1", HOST_IPV4):
        argv += ["--http-socket", f"{address}:{port}"]
    argv += ["--wsgi-file" if isinstance(application, Path) else "--module", str(application)]
    argv += ["--processes", str(workers), "--threads", "4"]
    if not processes.running(name):
        # One that was killed may hold it for a moment longer than its process is seen.
        shell.wait_until(lambda: _is_free(port), f"port {port} is free for {name}", 10)
    processes.start(name, [*argv, *(extra or [])], env={**_environment(), **(env or {})})
    processes.wait_until(name, lambda: answers(port, _ANSWER_TIMEOUT), "its API answers", _ANSWER_TIMEOUT)
