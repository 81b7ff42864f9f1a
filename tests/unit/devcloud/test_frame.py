# SPDX-License-Identifier: Apache-2.0
import subprocess
import sys

import pytest

from devcloud import cli, paths, shell, teardown, wrappers
from devcloud.openstack import configuration, identity, objects


def test_a_failed_command_shows_what_it_said():
    with pytest.raises(shell.CommandError, match="ended with code 3: no such bridge"):
        shell.run(["sh", "-c", "echo no such bridge >&2; exit 3"])


def test_a_command_in_a_namespace_gets_its_libraries_behind_nsenter():
    command = shell.in_netns("kdev-node1", ["ovs-vsctl", "show"], {"LD_LIBRARY_PATH": "/x"})
    assert command == [
        "nsenter",
        "--net=/run/netns/kdev-node1",
        "env",
        "LD_LIBRARY_PATH=/x",
        "ovs-vsctl",
        "show",
    ]


def test_the_users_programs_take_precedence(tmp_path, monkeypatch):
    program = tmp_path / "kubectl"
    program.touch(mode=0o755)
    monkeypatch.setenv("KURYR_DEVCLOUD_BIN", str(tmp_path))
    assert paths.program("kubectl") == program


def test_a_program_that_is_nowhere_is_named():
    with pytest.raises(FileNotFoundError, match="'no-such-program'"):
        paths.program("no-such-program")


def test_a_socket_that_nobody_listens_on(tmp_path):
    assert not shell.listens(tmp_path / "gone.sock")


def test_mounts_are_taken_away_from_the_inside(tmp_path):
    mounts = f"a {tmp_path}/n1 x rw 0 0\nb {tmp_path}/n1/pods/x\\040y x rw 0 0\nc {tmp_path} x rw 0 0\nd / x rw 0 0\n"
    assert teardown.mounts_under(tmp_path, mounts) == [f"{tmp_path}/n1/pods/x y", f"{tmp_path}/n1"]


def test_down_goes_on_after_a_failure(monkeypatch, tmp_path):
    stopped = []
    monkeypatch.setattr(paths, "STATE", tmp_path / "state")
    monkeypatch.setattr(teardown.openstack, "stop", lambda: stopped.append("openstack"))
    monkeypatch.setattr(teardown.processes, "stop_all", lambda timeout: stopped.append("rest"))
    monkeypatch.setattr(teardown.network, "down", lambda: stopped.append("network"))

    def fail() -> None:
        raise OSError("device busy")

    with pytest.raises(teardown.TeardownError, match="device busy"):
        teardown.down([fail])
    assert stopped == ["openstack", "rest", "network"]


def test_a_wrapper_lets_the_callers_variables_be(tmp_path):
    file = tmp_path / "show"
    file.write_text(wrappers.script(tmp_path / "program", {"OS_CLOUD": "k8s"}))
    (tmp_path / "program").write_text("#!/bin/sh\necho $OS_CLOUD $1\n")
    for each in (file, tmp_path / "program"):
        each.chmod(0o755)
    assert subprocess.check_output([file, "x"], env={}, text=True) == "k8s x\n"
    assert subprocess.check_output([file, "x"], env={"OS_CLOUD": "mine"}, text=True) == "mine x\n"


def test_a_configuration_file():
    assert configuration.render({"a": {"x": 1}, "b": {"y": "z"}}) == "[a]\nx = 1\n\n[b]\ny = z\n"


def test_kuryrs_user_has_rights_in_one_project_alone():
    held = {project: roles for (user, project), roles in identity.ROLES.items() if user == "kuryr"}
    assert held == {"k8s": ("member", "service")}


def test_neutron_never_gives_out_an_address_of_kubernetes_services():
    import ipaddress

    for subnet in objects.SUBNETS:
        if subnet.network == "services":
            lower, upper = ipaddress.ip_network(subnet.cidr).subnets()
            assert subnet.pool
            for address in (subnet.gateway, *subnet.pool):
                assert ipaddress.ip_address(address) in upper
                assert ipaddress.ip_address(address) not in lower


def test_only_one_up_or_down_at_a_time(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(paths, "CACHE", tmp_path)
    monkeypatch.setattr(cli.preflight, "root", lambda: None)
    holder = (
        "import fcntl, sys; lock = open(sys.argv[1], 'w'); fcntl.flock(lock, fcntl.LOCK_EX);"
        "print('held', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", holder, tmp_path / "lock"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdout is not None
        other.stdout.readline()
        assert cli.main(["down"]) == 2
        other.communicate()
    assert "another `make up` or `make down`" in capsys.readouterr().err
