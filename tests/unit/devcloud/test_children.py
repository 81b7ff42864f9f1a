# SPDX-License-Identifier: Apache-2.0
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from devcloud import children, processes, shell

PROGRAM = """
import signal
import sys
from pathlib import Path
from devcloud import cli, paths, processes, shell
from devcloud.steps import Step, run_steps

# As in a terminal: tests that a script runs in the background inherit that it is ignored.
signal.signal(signal.SIGINT, signal.default_int_handler)
directory = Path(sys.argv.pop())
paths.CACHE, paths.RUN, paths.LOGS = directory, directory / "run", directory / "logs"
command = f"sleep 600 & echo $$ $! > {directory}/written; mv {directory}/written {directory}/pids; wait"
outlives = lambda: processes.start("outlives", ["sleep", "600"])
cli.preflight.root = lambda: None
cli._bring_up = lambda **options: run_steps([
    Step("outlives", outlives),
    Step("runs a command", lambda: shell.run(["sh", "-c", command]), after=("outlives",)),
    Step("waits", lambda: shell.wait_until(lambda: False, "something", 600), after=("outlives",)),
    Step("comes after", lambda: (directory / "after").touch(), after=("runs a command",)),
])
cli.program()
"""


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_ends_up_with_what_it_runs(tmp_path: Path, number: int, code: int) -> None:
    argv = [sys.executable, "-c", PROGRAM, "up", "--no-demo", str(tmp_path)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as program:
        shell.wait_until((tmp_path / "pids").exists, "the command runs", 60)
        program.send_signal(number)
        _, said = program.communicate(timeout=60)
    assert program.returncode == code
    assert "interrupted; `make up` goes on from here" in said
    assert "Traceback" not in said
    for pid in (tmp_path / "pids").read_text().split():
        shell.wait_until(lambda pid=pid: _ended(int(pid)), "the command has ended with its group", 60)
    assert not (tmp_path / "after").exists()
    # What the cloud consists of goes on.
    recorded = processes.parse_pid_file((tmp_path / "run" / "outlives.pid").read_text())
    assert recorded is not None
    assert not _ended(recorded.pid)
    os.kill(recorded.pid, signal.SIGKILL)


def _ended(pid: int) -> bool:
    stat = processes._stat(pid)
    return stat is None or stat.state in "ZX"


def test_a_command_that_takes_too_long_ends_with_its_group(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    with pytest.raises(shell.CommandError, match="did not end within 1 s"):
        shell.run(["sh", "-c", f"sleep 600 & echo $! > {pids}; wait"], timeout=1)
    shell.wait_until(lambda: _ended(int(pids.read_text())), "it has ended", 60)


def test_what_a_command_is_given_and_says() -> None:
    assert shell.run(["cat"], input="a line\n") == "a line\n"
    assert not children._running
