# SPDX-License-Identifier: Apache-2.0
"""An Open vSwitch of one's own, in a network namespace of one's own."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.functional.kubernetes import DIE_WITH_US

DEBROOT = Path(os.environ.get("KURYR_DEVCLOUD_CACHE", "/var/cache/kuryr-devcloud")) / "debroot"
_PLACES = ("usr/bin", "usr/sbin", "usr/lib/openvswitch-switch")


def program(name: str) -> str:
    """An Open vSwitch program: the system's, or the development cloud's."""
    if found := shutil.which(name):
        return found
    for place in _PLACES:
        if (path := DEBROOT / place / name).exists():
            return str(path)
    raise RuntimeError(
        f"{name} is neither in PATH nor in {DEBROOT}: install openvswitch-switch or run `make up`"
    )


class OpenVSwitch:
    """ovsdb-server and ovs-vswitchd with the userspace datapath and a bridge br-int."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.socket = directory / "db.sock"
        schema = Path("usr/share/openvswitch")
        packaged = (
            DEBROOT if (DEBROOT / schema).exists() and not shutil.which("ovs-vswitchd") else Path("/")
        ) / schema
        self.environment = {
            **os.environ,
            "OVS_RUNDIR": str(directory),
            "OVS_LOGDIR": str(directory),
            "OVS_DBDIR": str(directory),
            "OVS_SYSCONFDIR": str(directory),
            "OVS_PKGDATADIR": str(packaged),
            "LD_LIBRARY_PATH": str(DEBROOT / "usr/lib/x86_64-linux-gnu"),
        }
        self._schema = packaged / "vswitch.ovsschema"
        self._processes: dict[str, subprocess.Popen[bytes]] = {}

    @property
    def remote(self) -> str:
        """For an OVSDB client."""
        return f"unix:{self.socket}"

    def start(self) -> None:
        """Start both, with br-int."""
        database = self.directory / "conf.db"
        if not database.exists():
            self._run("ovsdb-tool", "create", str(database), str(self._schema))
        self.start_database()
        self.vsctl("--no-wait", "init")
        self.start_vswitchd()
        self.vsctl("--may-exist", "add-br", "br-int", "--", "set", "bridge", "br-int", "datapath_type=netdev")

    def start_database(self) -> None:
        """Start ovsdb-server."""
        self._start("ovsdb-server", str(self.directory / "conf.db"), f"--remote=punix:{self.socket}")
        deadline = time.monotonic() + 10
        while not self.socket.exists():
            if time.monotonic() > deadline:
                raise RuntimeError(f"ovsdb-server does not start, see {self.directory}")
            time.sleep(0.02)

    def start_vswitchd(self) -> None:
        """Start ovs-vswitchd."""
        self._start("ovs-vswitchd", self.remote, "--disable-system")

    def _start(self, name: str, *arguments: str) -> None:
        log = (self.directory / f"{name}.log").open("ab")
        with log:
            self._processes[name] = subprocess.Popen(
                [*DIE_WITH_US, program(name), *arguments, f"--pidfile={self.directory}/{name}.pid"],
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def kill(self, name: str) -> None:
        """End one of the two at once."""
        process = self._processes.pop(name)
        process.send_signal(signal.SIGKILL)
        process.wait()
        if name == "ovsdb-server":
            self.socket.unlink(missing_ok=True)

    def stop(self) -> None:
        """End both."""
        for name in ("ovs-vswitchd", "ovsdb-server"):
            if name in self._processes:
                self._processes[name].terminate()
                try:
                    self._processes.pop(name).wait(10)
                except subprocess.TimeoutExpired:
                    self.kill(name)

    def vsctl(self, *arguments: str) -> str:
        """What ovs-vsctl answers."""
        return self._run("ovs-vsctl", f"--db={self.remote}", "--timeout=15", *arguments).strip()

    def _run(self, name: str, *arguments: str) -> str:
        done = subprocess.run(
            [program(name), *arguments], env=self.environment, capture_output=True, text=True, timeout=30
        )
        if done.returncode:
            raise RuntimeError(f"{name} {' '.join(arguments)}: {done.stderr}")
        return done.stdout

    def ports(self) -> set[str]:
        """Names of br-int's ports."""
        return set(self.vsctl("list-ports", "br-int").split())

    def external_ids(self, port: str) -> dict[str, str]:
        """external_ids of the port's interface."""
        text = self.vsctl("--if-exists", "get", "interface", port, "external_ids").strip("{}")
        pairs = (entry.partition("=") for entry in text.split(", ") if entry)
        return {name.strip('"'): value.strip('"') for name, _, value in pairs}

    def be_ovn(self) -> None:
        """Look like a node with ovn-controller."""
        self.vsctl("set", "open_vswitch", ".", "external_ids:ovn-remote=unix:/nowhere")

    def install(self, port: str) -> None:
        """What ovn-controller does when it has wired a port."""
        self.vsctl("set", "interface", port, "external_ids:ovn-installed=true")

    def tag(self, port: str, vlan: int) -> None:
        """What the Open vSwitch agent does when it has wired a port."""
        self.vsctl("set", "port", port, f"tag={vlan}")


@contextmanager
def open_vswitch(directory: Path) -> Iterator[OpenVSwitch]:
    """A running Open vSwitch in this thread's network namespace."""
    switch = OpenVSwitch(directory)
    try:
        switch.start()
        yield switch
    finally:
        switch.stop()
