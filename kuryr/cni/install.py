# SPDX-License-Identifier: Apache-2.0
"""Installs kuryr-cni on a node: ``python -m kuryr.cni.install --bin-dir /opt/cni/bin --conf-dir /etc/cni/net.d``.

The executable first, the configuration last, each by renaming: a container runtime never finds one without the other,
nor half of one, and a running kuryr-cni is not disturbed.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from kuryr.cni import client, executable
from kuryr.cni.executable import Executable
from kuryr.errors import ConfigurationError

FORMATS = ("conflist", "conf")
_BASENAME = "10-kuryr"


def network_configuration(
    *, name: str, version: str, form: str, kuryr_conf: str = "", socket: str = ""
) -> dict[str, Any]:
    """The network configuration, as a single plugin (``conf``) or a list of one (``conflist``)."""
    plugin: dict[str, Any] = {"type": executable.NAME}
    if kuryr_conf:
        plugin["kuryr_conf"] = kuryr_conf
    if socket:
        plugin["socket"] = socket
    head: dict[str, Any] = {"cniVersion": version, "name": name}
    return head | plugin if form == "conf" else head | {"plugins": [plugin]}


def _replace(path: Path, content: bytes, mode: int) -> None:
    """Put a file in place in one step."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        temporary.write_bytes(content)
        temporary.chmod(mode)
        temporary.rename(path)
    finally:
        temporary.unlink(missing_ok=True)


def install(
    bin_dir: Path,
    conf_dir: Path,
    program: Executable,
    *,
    name: str,
    version: str,
    form: str,
    kuryr_conf: str = "",
    socket: str = "",
) -> None:
    """Put the executable and its configuration in place."""
    bin_dir.mkdir(parents=True, exist_ok=True)
    conf_dir.mkdir(parents=True, exist_ok=True)
    _replace(bin_dir / executable.NAME, program.content, 0o755)
    document = network_configuration(
        name=name, version=version, form=form, kuryr_conf=kuryr_conf, socket=socket
    )
    _replace(conf_dir / f"{_BASENAME}.{form}", json.dumps(document, indent=2).encode() + b"\n", 0o644)
    for other in FORMATS:
        if other != form:
            # The runtime takes the first file by name: an earlier one of ours would win.
            (conf_dir / f"{_BASENAME}.{other}").unlink(missing_ok=True)


def _program(compiler: str | None, interpreter: str | None) -> Executable:
    if compiler:
        return executable.compiled(compiler)
    return executable.script([interpreter]) if interpreter else executable.best()


def main(arguments: Sequence[str] | None = None) -> int:
    """Install as the command line says; the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m kuryr.cni.install", description="Install kuryr-cni on a node."
    )
    parser.add_argument("--bin-dir", type=Path, default=Path("/opt/cni/bin"), help="where CNI plugins are")
    parser.add_argument(
        "--conf-dir", type=Path, default=Path("/etc/cni/net.d"), help="where CNI configurations are"
    )
    parser.add_argument("--kuryr-conf", default="", help="kuryr.conf of the daemon, which names its socket")
    parser.add_argument(
        "--socket", default="", help="socket of the daemon, where kuryr.conf should not be read"
    )
    parser.add_argument("--cni-version", default="1.0.0", choices=client.SUPPORTED_VERSIONS)
    parser.add_argument("--format", default=FORMATS[0], choices=FORMATS)
    parser.add_argument("--name", default="kuryr", help="name of the CNI network")
    kind = parser.add_mutually_exclusive_group()
    kind.add_argument(
        "--cc", help=f"C compiler for the executable (default: {executable.COMPILER}, where it works)"
    )
    kind.add_argument(
        "--python",
        help="interpreter for the executable as a script (default without a compiler: the system's)",
    )
    options = parser.parse_args(arguments)
    try:
        program = _program(options.cc, options.python)
        install(
            options.bin_dir,
            options.conf_dir,
            program,
            name=options.name,
            version=options.cni_version,
            form=options.format,
            kuryr_conf=options.kuryr_conf,
            socket=options.socket,
        )
    except (ConfigurationError, OSError) as error:
        print(f"kuryr.cni.install: {error}", file=sys.stderr)  # noqa: T201
        return 1
    print(f"{options.bin_dir / executable.NAME}: {program.made_by}")  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main())
