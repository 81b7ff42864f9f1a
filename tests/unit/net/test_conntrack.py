# SPDX-License-Identifier: Apache-2.0
"""The call to ovs-vswitchd's control socket."""

from __future__ import annotations

import json
import socket
import threading
from pathlib import Path
from typing import Any

import pytest

from kuryr.net.conntrack import flush
from kuryr.net.errors import SwitchError


class Vswitchd:
    """Answers one call, in two parts."""

    def __init__(self, path: Path, answer: dict[str, Any] | None) -> None:
        self.request: dict[str, Any] = {}
        self._answer = answer
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen()
        self.thread = threading.Thread(target=self._serve)
        self.thread.start()

    def _serve(self) -> None:
        with self._listener:
            connection, _ = self._listener.accept()
            with connection:
                self.request = json.loads(connection.recv(4096))
                if self._answer is not None:
                    data = json.dumps(self._answer).encode()
                    connection.sendall(data[:5])
                    connection.sendall(data[5:])


def test_a_zone_is_flushed_by_the_one_that_lives(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(tmp_path / "ovs-vswitchd.1.ctl"))
    server = Vswitchd(tmp_path / "ovs-vswitchd.2.ctl", {"id": 0, "result": "", "error": None})
    flush(f"unix:{tmp_path}/db.sock", 7)
    server.thread.join(5)
    assert server.request == {"method": "dpctl/flush-conntrack", "params": ["zone=7"], "id": 0}


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ({"id": 0, "result": None, "error": "two datapaths\n"}, "zone 7 are not forgotten: .*two datapaths$"),
        (None, "no answer to dpctl/flush-conntrack"),
    ],
)
def test_a_refusal_is_told(tmp_path: Path, answer: dict[str, Any] | None, words: str) -> None:
    server = Vswitchd(tmp_path / "vswitchd.ctl", answer)
    with pytest.raises(SwitchError, match=words):
        flush(f"unix:{tmp_path}/db.sock", 7)
    server.thread.join(5)


def test_no_control_socket(tmp_path: Path) -> None:
    with pytest.raises(SwitchError, match="no control socket"):
        flush(f"unix:{tmp_path}/db.sock", 7)
    with pytest.raises(SwitchError, match="no control socket"):
        flush("tcp:127.0.0.1:6640", 7)
