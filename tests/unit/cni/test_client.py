# SPDX-License-Identifier: Apache-2.0
"""kuryr-cni as an executable: what it imports, where it finds the daemon, what it says without one."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kuryr.cni import client, install
from kuryr.cni.server import Reply, Server

SOURCE = Path(client.__file__).with_name("client.c")
# What it allocates goes with the process, which ends at once.
SANITIZER = {"ASAN_OPTIONS": "detect_leaks=0"}


def installed(directory: Path, *how: str) -> Path:
    assert install.main([f"--bin-dir={directory}", f"--conf-dir={directory / 'net.d'}", *how]) == 0
    return directory / "kuryr-cni"


@pytest.fixture(scope="module")
def script(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return installed(tmp_path_factory.mktemp("script"), "--python=/usr/bin/python3")


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return installed(tmp_path_factory.mktemp("compiled"), "--cc=cc")


@pytest.fixture(scope="module")
def checked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Compiled so that a wrong access to memory, or what C leaves undefined, ends it with a message on stderr."""
    path = tmp_path_factory.mktemp("checked") / "kuryr-cni"
    strict = ["-Wall", "-Wextra", "-Wpedantic", "-Wshadow", "-Werror", "-O1", "-g"]
    sanitized = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
    subprocess.run(["cc", "-std=c11", *strict, *sanitized, "-o", path, SOURCE], check=True)
    return path


@pytest.fixture(params=["script", "compiled", "checked"])
def executable(request: pytest.FixtureRequest) -> Path:
    return cast(Path, request.getfixturevalue(request.param))


def run(
    executable: Path, command: str, netconf: bytes = b"{}", **environment: str
) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [executable],
        input=netconf,
        env={"CNI_COMMAND": command, **SANITIZER, **environment},
        capture_output=True,
        timeout=30,
        check=False,
    )


def test_the_fast_path_imports_nothing_that_is_not_built_in(script: Path) -> None:
    code = (
        "import sys; before = set(sys.modules); sys.argv = ['kuryr-cni']\n"
        f"exec(compile(open({str(script)!r}).read(), 'kuryr-cni', 'exec'), {{'__name__': 'imported'}})\n"
        "print(sorted(set(sys.modules) - before))"
    )
    done = subprocess.run(["/usr/bin/python3", "-IS", "-c", code], capture_output=True, text=True, check=True)
    assert set(eval(done.stdout)) <= {"_socket"}


def test_the_script_is_isolated(script: Path) -> None:
    assert script.read_text().splitlines()[0] == "#!/usr/bin/python3 -IS"
    assert os.access(script, os.X_OK)


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


WHOLE = b"\x01\x00" + b"\x00\x00\x00\x03out" + b"\x00\x00\x00\x00"


@pytest.mark.parametrize(
    ("reply", "details"),
    [
        (b"", "without a whole answer"),
        *((WHOLE[:size], "without a whole answer") for size in (1, 6, 8, 9, len(WHOLE) - 1)),
        (WHOLE + b"more", "without a whole answer"),
        (b"\x01\x00\xff\xff\xff\xff" + bytes(8), "without a whole answer"),
        (b"\x02" + WHOLE[1:], "version 2 of the protocol, this executable 1"),
    ],
)
def test_half_an_answer_is_none(executable: Path, tmp_path: Path, reply: bytes, details: str) -> None:
    path = tmp_path / "daemon.sock"
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))
        listening.listen()

        def answer() -> None:
            connection, _ = listening.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(reply)

        thread = threading.Thread(target=answer)
        thread.start()
        done = run(executable, "ADD", json.dumps({"socket": str(path)}).encode())
        thread.join()
    document = json.loads(done.stdout)
    assert (done.returncode, document["code"]) == (1, 11)
    assert details in document["details"]


def test_a_path_that_no_socket_can_have_is_named(executable: Path) -> None:
    path = "/" + "long" * 40
    document = json.loads(run(executable, "ADD", json.dumps({"socket": path}).encode()).stdout)
    assert (document["code"], path in document["msg"], "too long" in document["details"]) == (11, True, True)


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

    def test_the_environment_may_be_empty(self, executable: Path, listener: Listener) -> None:
        netconf = json.dumps({"socket": str(listener.path)}).encode()
        done = subprocess.run(
            [executable],
            input=netconf,
            env=SANITIZER,
            capture_output=True,
            check=False,
        )
        assert (done.returncode, done.stdout) == (0, b'{"ips": []}\n')
        assert listener.asked == [({}, netconf)]

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


def version(executable: Path, document: bytes) -> object:
    done = run(executable, "VERSION", document)
    assert (done.returncode, done.stderr) == (0, b"")
    return json.loads(done.stdout.decode(errors="replace"))["cniVersion"]


@settings(deadline=None)
@given(
    st.dictionaries(st.sampled_from(["cniVersion", "name", "cniVersions", 'cni"Version', "\\"]), json_values)
)
def test_the_compiled_scan_finds_what_json_finds(checked: Path, document: dict[str, object]) -> None:
    expected = document.get("cniVersion")
    if not isinstance(expected, str) or not expected:
        expected = "1.1.0"
    for ascii_only in (True, False):
        text = json.dumps(document, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass")
        if "\0" not in expected:
            assert version(checked, text) == expected


@settings(deadline=None)
@given(st.binary() | st.text(alphabet='\\u"{}[]:,0dD8cC ', max_size=40).map(str.encode))
def test_the_compiled_scan_survives_anything(checked: Path, text: bytes) -> None:
    version(checked, b'{"cniVersion":"' + text)
