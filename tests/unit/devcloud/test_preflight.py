# SPDX-License-Identifier: Apache-2.0
import socket

import pytest

from devcloud import preflight, processes
from devcloud.preflight import MissingError

_DEB822 = "Types: deb\nURIs: http://mirror.example/debian/\nSuites: bookworm\n"
_ONE_LINE = (
    "deb https://packages.example/apt x main\ndeb [signed-by=/k] http://deb.debian.org/debian bookworm main\n"
)


def test_who_is_not_root_is_told(monkeypatch):
    monkeypatch.setattr(preflight.os, "geteuid", lambda: 1000)
    with pytest.raises(MissingError, match="not root"):
        preflight.check()


def test_a_missing_program_is_named_with_its_package():
    found = preflight.missing_tools({"ip": "iproute2", "cc": "gcc"}, {"cc": "/usr/bin/cc"}.get)
    assert found == ["program 'ip' not found: apt-get install iproute2"]


@pytest.mark.parametrize(("kib", "lines"), [(7 * 2**20, 1), (9 * 2**20, 0)])
def test_too_little_memory_is_told(kib, lines):
    assert len(preflight.lack_of_memory(f"MemTotal: 1 kB\nMemAvailable:   {kib} kB\n")) == lines


def test_a_port_in_use_is_named(monkeypatch):
    monkeypatch.setattr(processes, "running", lambda name: False)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        monkeypatch.setattr(preflight, "API_PORTS", {"neutron": port})
        (line,) = preflight.ports_in_use()
    assert f"127.0.0.1:{port} (neutron)" in line


def test_our_own_port_is_not_in_use_by_another(monkeypatch):
    monkeypatch.setattr(processes, "running", lambda name: True)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        monkeypatch.setattr(preflight, "API_PORTS", {"neutron": taken.getsockname()[1]})
        assert preflight.ports_in_use() == []


@pytest.mark.parametrize(
    ("sources", "url"),
    [
        (_DEB822, "http://mirror.example/debian"),
        (_ONE_LINE, "http://deb.debian.org/debian"),
        ("# deb http://deb.debian.org/debian x main\n", ""),
    ],
)
def test_the_archive_in_apts_sources(sources, url):
    assert preflight.first_archive(sources) == url


def test_a_registry_that_is_not_reachable_is_named():
    with socket.create_server(("127.0.0.1", 0)) as gone:
        port = gone.getsockname()[1]
    (line,) = preflight.unreachable("the Python package index", f"http://127.0.0.1:{port}/simple")
    assert line.startswith("the Python package index (127.0.0.1) is not reachable")


def test_versions_of_go_are_compared_as_numbers():
    assert preflight.go_version("go1.9.2") < preflight.go_version("go1.26.8") == (1, 26, 8)
