# SPDX-License-Identifier: Apache-2.0
"""kuryr-pools, and the original's clients, against a controller."""

import http.client
import json
import socket
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kuryr.cmd import pools as command
from kuryr.objects.resources import NODES
from tests.functional.controller.harness import NODE
from tests.functional.kubernetes import wait_until
from tests.functional.pools.conftest import Pools

ADDRESS = "192.0.2.7"


@pytest.fixture
def socket_path(tmp_path: Path) -> Path:
    return tmp_path / "run" / "manage.sock"


@pytest.fixture
def managed(pools: Pools, socket_path: Path) -> Iterator[Pools]:
    node = pools.world.client.list(NODES).items[0]
    addresses = [{"type": "InternalIP", "address": ADDRESS}]
    pools.world.client.merge_patch(
        NODES, node.key, {"status": {"addresses": addresses}}, subresource="status"
    )
    options = pools.options()
    options["kubernetes"]["enable_manager"] = "true"
    options["pool_manager"] = {"sock_file": socket_path}
    with pools.world.controller(options) as running:
        running.wait_holding()
        pools.wait_ready(3)
        wait_until(lambda: len(pools.ports()) == len(pools.ready()), "nothing is being made")
        wait_until(socket_path.exists, "the socket is there")
        yield pools
    assert not socket_path.exists()


def run(capsys: pytest.CaptureFixture[str], *args: str) -> tuple[int, str, str]:
    """Exit code and output of kuryr-pools."""
    code = 0
    try:
        command.main(args)
    except SystemExit as end:
        code = int(end.code or 0)
    out, err = capsys.readouterr()
    return code, out, err


def ask(path: Path, method: str, url: str, body: Any) -> tuple[int, str]:
    """As the original's client does."""
    connection = http.client.HTTPConnection("localhost", timeout=30)
    connection.sock = socket.socket(socket.AF_UNIX)
    connection.sock.connect(str(path))
    connection.request(method, url, json.dumps(body))
    response = connection.getresponse()
    text = response.read().decode()
    connection.close()
    return response.status, text


def test_only_root_can_open_the_socket(managed: Pools, socket_path: Path) -> None:
    mode = socket_path.stat()
    assert stat.S_IMODE(mode.st_mode) == 0o600
    assert [entry.name for entry in socket_path.parent.iterdir()] == [socket_path.name]


def test_list_and_show(managed: Pools, socket_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ready = len(managed.ready())
    code, out, _ = run(capsys, "--socket", str(socket_path), "list")
    assert code == 0
    header, row = out.splitlines()
    assert header.split()[:3] == ["NODE", "READY", "WIRED"]
    assert row.split()[:3] == [NODE, str(ready), "0"]
    code, out, _ = run(capsys, "--socket", str(socket_path), "--json", "show", NODE)
    assert code == 0
    (pool,) = json.loads(out)
    assert pool["ready"] == ready
    assert pool["shape"]["project_id"] == managed.world.cloud.project_id
    code, _, err = run(capsys, "--socket", str(socket_path), "show", "nowhere")
    assert code == 1
    assert "nowhere" in err


def test_populate_and_free(managed: Pools, socket_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = len(managed.ready())
    code, _, _ = run(capsys, "--socket", str(socket_path), "populate", NODE, "4")
    assert code == 0
    managed.wait_ready(before + 4)
    code, _, err = run(capsys, "--socket", str(socket_path), "populate", "nowhere", "4")
    assert (code, "no node 'nowhere'" in err) == (1, True)
    code, _, err = run(capsys, "--socket", str(socket_path), "populate", NODE, "0")
    assert (code, "expected 1 to" in err) == (1, True)
    code, _, _ = run(capsys, "--socket", str(socket_path), "free", "--all")
    assert code == 0
    wait_until(lambda: managed.ports() == [] and managed.ready() == set(), "all are removed")
    # Until one is wanted.
    managed.world.create_pod("a")
    managed.vif_id("a")
    managed.wait_ready(3)


def test_wrong_usage_and_nobody_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, "--socket", "x", "free")[0] == 2
    assert run(capsys, "--config-file", str(tmp_path / "missing"), "list")[0] == 2
    code, _, err = run(capsys, "--socket", str(tmp_path / "none.sock"), "list")
    assert (code, "enable_manager" in err) == (3, True)


def test_the_original_s_protocol(managed: Pools, socket_path: Path) -> None:
    ready = len(managed.ready())
    cloud = managed.world.cloud
    status, text = ask(socket_path, "GET", "/listPools", {})
    assert status == 200
    assert NODE in text
    key = [ADDRESS, cloud.project_id, [cloud.security_group_id]]
    status, text = ask(socket_path, "GET", "/showPool", {"pool_key": key})
    assert (status, f"{ready} ports" in text) == (200, True)
    status, text = ask(socket_path, "POST", "/populatePool", {"trunks": [ADDRESS], "num_ports": 3})
    assert status == 200
    managed.wait_ready(ready + 3)
    status, text = ask(socket_path, "POST", "/freePool", {"trunks": [ADDRESS]})
    assert status == 200
    wait_until(lambda: managed.ports() == [], "all are removed")
    assert ask(socket_path, "POST", "/freePool", {"trunks": ["nowhere"]})[0] == 404
    assert ask(socket_path, "GET", "/nothing", {})[0] == 404
    assert ask(socket_path, "POST", "/populatePool", {"trunks": 3})[0] == 400
