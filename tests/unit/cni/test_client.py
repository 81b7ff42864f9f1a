# SPDX-License-Identifier: Apache-2.0
"""kuryr-cni as an executable: what it imports, where it finds the daemon, what it says without one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kuryr.cni import client, install
from kuryr.cni.server import Reply, Server


@pytest.fixture
def executable(tmp_path: Path) -> Path:
    path = tmp_path / "bin"
    assert install.main([f"--bin-dir={path}", f"--conf-dir={tmp_path / 'net.d'}"]) == 0
    return path / "kuryr-cni"


def run(
    executable: Path, command: str, netconf: bytes = b"{}", **environment: str
) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [executable],
        input=netconf,
        env={"CNI_COMMAND": command, **environment},
        capture_output=True,
        timeout=30,
        check=False,
    )


def test_the_fast_path_imports_nothing_that_is_not_built_in(executable: Path) -> None:
    code = (
        "import sys; before = set(sys.modules); sys.argv = ['kuryr-cni']\n"
        f"exec(compile(open({str(executable)!r}).read(), 'kuryr-cni', 'exec'), {{'__name__': 'imported'}})\n"
        "print(sorted(set(sys.modules) - before))"
    )
    done = subprocess.run(["/usr/bin/python3", "-IS", "-c", code], capture_output=True, text=True, check=True)
    assert set(eval(done.stdout)) <= {"_socket"}


def test_it_is_isolated(executable: Path) -> None:
    assert executable.read_text().splitlines()[0].endswith(" -IS")
    assert os.access(executable, os.X_OK)


def test_the_console_script_and_a_link_to_it_work(tmp_path: Path) -> None:
    script = Path(sys.executable).parent / "kuryr-cni"
    link = tmp_path / "kuryr-cni"
    link.symlink_to(script)
    for program in (script, link):
        done = run(program, "VERSION", b'{"cniVersion": "0.3.0"}')
        assert json.loads(done.stdout)["cniVersion"] == "0.3.0"
    code = "import sys, kuryr.cmd.cni; print([m for m in sys.modules if m.startswith('kuryr')])"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert set(eval(loaded)) == {"kuryr", "kuryr.cmd", "kuryr.cmd.cni", "kuryr.cni", "kuryr.cni.client"}


def test_version_needs_no_daemon(executable: Path) -> None:
    done = run(executable, "VERSION", b'{"cniVersion": "0.4.0", "name": "x"}')
    assert done.returncode == 0
    assert json.loads(done.stdout) == {
        "cniVersion": "0.4.0",
        "supportedVersions": ["0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"],
    }


@pytest.mark.parametrize(
    ("command", "code"), [("ADD", 11), ("DEL", 11), ("CHECK", 11), ("GC", 11), ("STATUS", 50)]
)
def test_without_a_daemon_it_says_what_to_do(
    executable: Path, tmp_path: Path, command: str, code: int
) -> None:
    netconf = json.dumps({"cniVersion": "1.1.0", "socket": f"{tmp_path}/none.sock"}).encode()
    done = run(executable, command, netconf)
    assert done.returncode == 1
    document = json.loads(done.stdout)
    assert document["code"] == code
    assert document["cniVersion"] == "1.1.0"
    assert (
        document["msg"]
        == f"kuryr-daemon does not answer on {tmp_path}/none.sock: start kuryr-daemon on this node"
    )


class Listener:
    """Answers as a daemon would, and keeps what it was asked."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.asked: list[tuple[dict[str, str], bytes]] = []
        self.reply = Reply(0, b'{"ips": []}\n', b"told\n")
        self.server = Server(str(path), self.handle)

    def handle(self, environment: Mapping[str, str], netconf: bytes, connected: object) -> Reply:
        self.asked.append((dict(environment), netconf))
        return self.reply


@pytest.fixture
def listener(tmp_path: Path) -> Iterator[Listener]:
    made = Listener(tmp_path / "run" / "daemon.sock")
    made.server.start()
    yield made
    made.server.close()
    made.server.drain(5)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may ask the daemon")
class TestWithDaemon:
    def test_bytes_go_through_as_they_are(self, executable: Path, listener: Listener) -> None:
        netconf = json.dumps({"socket": str(listener.path), "name": "ü" * 100_000}).encode()
        listener.reply = Reply(7, b"x" * 300_000, b"told\n")
        done = run(executable, "ADD", netconf, CNI_ARGS="A=ü;B=2", OTHER="no")
        assert (done.returncode, done.stdout, done.stderr) == (7, b"x" * 300_000, b"told\n")
        environment, received = listener.asked[0]
        assert received == netconf
        assert environment == {"CNI_COMMAND": "ADD", "CNI_ARGS": "A=ü;B=2"}

    def test_the_socket_is_found_in_this_order(
        self, executable: Path, listener: Listener, tmp_path: Path
    ) -> None:
        conf = tmp_path / "kuryr.conf"
        conf.write_text(
            "[DEFAULT]\nsocket_path = /wrong\n[cni_daemon]\n# socket_path = /no\n"
            f" socket_path =  {listener.path} \n[other]\nsocket_path = /wrong\n"
        )
        by_conf = json.dumps({"kuryr_conf": str(conf)}).encode()
        assert run(executable, "DEL", by_conf).returncode == 0
        assert run(executable, "DEL", b"{}", KURYR_DAEMON_SOCKET=str(listener.path)).returncode == 0
        by_key = json.dumps({"kuryr_conf": "/nowhere", "socket": str(listener.path)}).encode()
        assert run(executable, "DEL", by_key, KURYR_DAEMON_SOCKET="/nowhere").returncode == 0
        assert len(listener.asked) == 3

    def test_a_second_daemon_does_not_take_the_socket(self, listener: Listener) -> None:
        from kuryr.errors import ConfigurationError

        with pytest.raises(ConfigurationError, match="another kuryr-daemon answers there"):
            Server(str(listener.path), listener.handle).start()

    def test_only_root_gets_in(self, listener: Listener) -> None:
        assert listener.path.stat().st_mode & 0o777 == 0o600
        assert listener.path.parent.stat().st_mode & 0o777 == 0o700
        listener.path.parent.chmod(0o755)
        listener.path.parent.parent.chmod(0o755)
        listener.path.chmod(0o666)
        code = (
            "import os, socket, sys; os.setuid(65534); s = socket.socket(socket.AF_UNIX)\n"
            "try:\n"
            f"    s.connect({str(listener.path)!r}); s.sendall(b'\\x01' + bytes(8)); print(len(s.recv(10)))\n"
            "except OSError as e:\n"
            "    print(0)\n"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert done.stdout.strip() == "0"
        assert listener.asked == []

    def test_nonsense_on_the_wire_ends_the_connection(self, listener: Listener) -> None:
        import socket

        for request in (b"\x09", b"\x01\xff\xff\xff\xff", b"\x01\x00\x00\x00\x05ab", b""):
            with socket.socket(socket.AF_UNIX) as connection:
                connection.connect(str(listener.path))
                connection.sendall(request)
                connection.shutdown(socket.SHUT_WR)
                assert connection.recv(10) == b""
        assert listener.asked == []


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=10,
)


@given(st.dictionaries(st.sampled_from(["socket", "name", "socketPath", 'so"cket', "\\"]), json_values))
def test_the_scan_finds_what_json_finds(document: dict[str, object]) -> None:
    expected = document.get("socket")
    for ascii_only in (True, False):
        text = json.dumps(document, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass")
        found = client.top_level_string(text, b"socket")
        if isinstance(expected, str) and expected.isprintable():
            assert found == expected
        elif not isinstance(expected, str):
            assert found == ""


@given(st.binary())
def test_the_scan_survives_anything(text: bytes) -> None:
    client.top_level_string(b'{"socket":' + text, b"socket")
