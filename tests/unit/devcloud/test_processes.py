# SPDX-License-Identifier: Apache-2.0
import os
import signal
import sys

import pytest

from devcloud import paths, processes, shell

_SLEEP = [sys.executable, "-c", "import time; time.sleep(600)"]


@pytest.fixture(autouse=True)
def _state(tmp_path, monkeypatch):
    for name, directory in (("STATE", ""), ("RUN", "run"), ("LOGS", "logs")):
        monkeypatch.setattr(paths, name, tmp_path / directory)
    yield
    processes.stop_all(timeout=1)
    for child in processes._children:
        child.wait(10)


def test_a_process_is_known_by_its_name():
    pid = processes.start("sleeper", _SLEEP)
    assert processes.start("sleeper", _SLEEP) == pid == processes.pid("sleeper")
    assert processes.names() == ["sleeper"]
    processes.stop("sleeper")
    assert not processes.running("sleeper")
    assert processes.names() == []


def test_a_process_that_ended_and_was_not_reaped_does_not_run():
    pid = processes.start("sleeper", _SLEEP)
    os.kill(pid, signal.SIGKILL)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    assert not processes.running("sleeper")


def test_a_reused_pid_is_not_touched():
    pid = processes.start("sleeper", _SLEEP)
    (paths.RUN / "other.pid").write_text(f"{pid} 1\n")
    assert not processes.running("other")
    processes.stop("other")
    assert processes.running("sleeper")


def test_the_children_of_a_killed_process_are_ended():
    code = "import os, time; child = os.fork(); print(child, flush=True) if child else None; time.sleep(600)"
    pid = processes.start("parent", [sys.executable, "-c", code])
    shell.wait_until(lambda: processes.log_file("parent").read_text().strip(), "the child is there", 20)
    child = int(processes.log_file("parent").read_text())
    os.kill(pid, signal.SIGKILL)
    shell.wait_until(lambda: not processes.running("parent"), "the parent is gone", 20)
    assert child in processes.marked()
    processes.stop("parent")
    assert child not in processes.marked()


def test_waiting_for_a_process_that_ends_tells_its_last_words():
    processes.start("short", [sys.executable, "-c", "print('no such option')"])
    with pytest.raises(processes.EndedError, match="no such option"):
        processes.wait_until("short", lambda: False, "it listens", 60)


@pytest.mark.parametrize("text", ["", "12", "12 x", "12 34 56"])
def test_a_pid_file_that_was_not_written_to_its_end_names_nobody(text):
    assert processes.parse_pid_file(text) is None


def test_a_command_may_have_parentheses_in_its_name():
    fields = ["S", "1", "42", *("0" for _ in range(16)), "777", "0"]
    assert processes.parse_stat(f"42 (a) (b c) {' '.join(fields)}") == processes.Stat("S", 42, 777)
