# SPDX-License-Identifier: Apache-2.0
"""The commands of the development cloud."""

import argparse
import contextlib
import fcntl
import importlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from types import FrameType, ModuleType
from typing import NoReturn

from devcloud import (
    children,
    network,
    openstack,
    packages,
    paths,
    preflight,
    processes,
    shell,
    steps,
    teardown,
    wrappers,
)

PARTS = ("devcloud.kubernetes", "devcloud.kuryr", "devcloud.vm")
"""What stands on OpenStack. Each part has steps(), stop() and status()."""

_INTERRUPTED, _TERMINATED = 128 + signal.SIGINT, 128 + signal.SIGTERM


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; the return value is the process's exit code."""
    arguments = _parser().parse_args(argv)
    try:
        code: int = arguments.command(arguments)
        return code
    except preflight.MissingError as missing:
        print(f"cannot start:\n{missing}", file=sys.stderr)
        return 2
    except BrokenPipeError:
        # Whoever read the output has gone: `make logs | head`.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (steps.StepError, teardown.TeardownError, shell.CommandError, OSError) as error:
        print(f"failed: {error}\nlogs: {paths.LOGS}", file=sys.stderr)
        return 1
    except KeyboardInterrupt as interrupt:
        children.stop()
        print("interrupted; `make up` goes on from here, `make down` clears up", file=sys.stderr)
        return _TERMINATED if isinstance(interrupt, children.Terminated) else _INTERRUPTED


def program() -> None:
    """Run the command line's command and exit; SIGINT and SIGTERM end it with the commands that it runs."""
    signal.signal(signal.SIGTERM, _terminate)
    code = main()
    if code in (_INTERRUPTED, _TERMINATED):
        sys.stdout.flush()
        # A step that goes on all the same is not waited for.
        os._exit(code)
    sys.exit(code)


def _terminate(number: int, frame: FrameType | None) -> NoReturn:
    raise children.Terminated


def parts() -> list[ModuleType]:
    """The parts' modules, in the order in which they come up."""
    return [importlib.import_module(name) for name in PARTS]


@contextlib.contextmanager
def _alone(*, wait: bool = False) -> Iterator[None]:
    """Only one `up` or `down` at a time; the second is refused, or waits for the first."""
    paths.CACHE.mkdir(parents=True, exist_ok=True)
    with (paths.CACHE / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            raise preflight.MissingError("- another `make up` or `make down` is under way") from None
        yield


def _up(arguments: argparse.Namespace) -> int:
    preflight.root()
    with _alone():
        _bring_up(openstack_only=arguments.openstack_only)
    code = 0
    if not (arguments.no_demo or arguments.openstack_only):
        code = _demo(arguments)
    print(wrappers.what_to_try())
    return code


def _bring_up(*, openstack_only: bool) -> None:
    preflight.check()
    paths.make_directories()
    todo = [*packages.steps(), *network.steps(), *openstack.steps()]
    if not openstack_only:
        for part in parts():
            todo += part.steps()
    steps.run_steps(todo)
    wrappers.write_clients()


def _fetch(arguments: argparse.Namespace) -> int:
    preflight.root()
    with _alone(wait=True):
        paths.make_directories()
        steps.run_steps(packages.steps())
    return 0


def _down(arguments: argparse.Namespace) -> int:
    preflight.root()
    with _alone():
        teardown.down([part.stop for part in reversed(parts())])
    return 0


def _status(arguments: argparse.Namespace) -> int:
    preflight.root()
    rows = [*network.status(), *openstack.status()]
    for part in parts():
        rows += part.status()
    width = max(len(name) for name, _, _ in rows)
    for name, well, detail in rows:
        print(f"{name.ljust(width)}  {'up' if well else 'DOWN':4}  {detail}")
    return 0 if all(well for _, well, _ in rows) else 1


def _logs(arguments: argparse.Namespace) -> int:
    if not arguments.names:
        for file in sorted(paths.LOGS.rglob("*.log")):
            print(f"{file.stat().st_size:>12}  {file}")
        return 0
    files = [str(processes.log_file(name)) for name in arguments.names]
    tail = ["tail", "-n", str(arguments.lines), *(["-F"] if arguments.follow else []), *files]
    return subprocess.run(tail).returncode


def _demo(arguments: argparse.Namespace) -> int:
    code: int = importlib.import_module("devcloud.demo").run()
    return code


def _env(arguments: argparse.Namespace) -> int:
    print(wrappers.environment())
    return 0


def _kuryr(arguments: argparse.Namespace) -> int:
    kuryr = importlib.import_module("devcloud.kuryr")
    if arguments.action in ("stop", "restart"):
        kuryr.stop()
    if arguments.action in ("start", "restart"):
        steps.run_steps(_by_themselves(kuryr.steps()))
    return 0


def _by_themselves(some: Sequence[steps.Step]) -> list[steps.Step]:
    """Steps without what they come after in other parts, which is up already."""
    names = {step.name for step in some}
    return [
        steps.Step(step.name, step.run, tuple(name for name in step.after if name in names), step.done)
        for step in some
    ]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="devcloud", description="OpenStack, Kubernetes and Kuryr on one machine"
    )
    commands = parser.add_subparsers(required=True)

    up = commands.add_parser("up", help="bring everything up; go on where an earlier run stopped")
    up.add_argument("--no-demo", action="store_true", default=os.environ.get("DEMO") == "no")
    up.add_argument("--openstack-only", action="store_true", help="nothing of Kubernetes and Kuryr")
    up.set_defaults(command=_up)

    for name, command, text in (
        ("fetch", _fetch, "fill the cache (packages, builds) and start nothing"),
        ("down", _down, "stop everything and leave nothing behind but the cache"),
        ("status", _status, "what is up and what is not"),
        ("demo", _demo, "pods on both nodes, two subnets and a VM talk to each other"),
        ("env", _env, 'shell commands for eval "$(…)": PATH, KUBECONFIG, OS_CLOUD'),
    ):
        commands.add_parser(name, help=text).set_defaults(command=command)

    logs = commands.add_parser("logs", help="the logs, or the end of those named")
    logs.add_argument("names", nargs="*", metavar="NAME")
    logs.add_argument("-f", "--follow", action="store_true")
    logs.add_argument("-n", "--lines", type=int, default=50)
    logs.set_defaults(command=_logs)

    kuryr = commands.add_parser("kuryr", help="start, stop or restart Kuryr's own processes")
    kuryr.add_argument("action", choices=("start", "stop", "restart"))
    kuryr.set_defaults(command=_kuryr)
    return parser
