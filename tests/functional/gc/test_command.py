# SPDX-License-Identifier: Apache-2.0
"""kuryr-gc against a real API and the fake cloud."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from kuryr.cmd import gc as command
from kuryr.objects.resources import KURYRPORTS
from tests.functional.controller.harness import NODE, World

GONE = "00000000-0000-4000-8000-000000000001"


def orphan(world: World, *, cluster: str = "", kind: str = "pod", owner: str = "compute:kuryr") -> str:
    """A port of a pod that is gone; its id."""
    network = next(network for network in world.cloud.items("networks") if network["name"] == "pods")
    made = world.cloud.make(
        "ports",
        network_id=network["id"],
        device_owner=owner,
        device_id=GONE,
        description=f"kuryr:{cluster or world.cluster}:{kind}:{GONE}:eth0",
    )
    return str(made["id"])


class Command:
    """kuryr-gc with a configuration."""

    def __init__(self, world: World, capsys: pytest.CaptureFixture[str]) -> None:
        self.world = world
        self.configuration = world.configuration()
        self._capsys = capsys

    def __call__(self, *arguments: str, configuration: Path | None = None) -> tuple[int, str, str]:
        """Exit code, output, errors."""
        with pytest.raises(SystemExit) as ended:
            command.main(["--config-file", str(configuration or self.configuration), *arguments])
        captured = self._capsys.readouterr()
        return int(ended.value.code or 0), captured.out, captured.err

    def json(self, *arguments: str) -> tuple[int, dict[str, Any]]:
        code, out, _ = self(*arguments, "--json")
        return code, json.loads(out)


@pytest.fixture
def gc(world: World, capsys: pytest.CaptureFixture[str]) -> Command:
    """The command, with a pod whose port is as it should be."""
    with world.controller() as running:
        running.wait_ready()
        world.create_pod("a")
        world.wait_filled("a")
    return Command(world, capsys)


def test_nothing_is_found_where_all_is_well(gc: Command, world: World) -> None:
    for what in ("--dry-run", "--apply"):
        code, out, _ = gc(what)
        assert code == 0
        assert "Nothing" in out
    assert gc.json("--dry-run") == (0, {"cluster": world.cluster, "applied": False, "findings": []})


def test_a_dry_run_says_what_it_finds_and_touches_nothing(gc: Command, world: World) -> None:
    port_id = orphan(world)
    writes = world.cloud.journal.writes
    code, report = gc.json("--dry-run")
    assert code == 1
    (row,) = report["findings"]
    assert (row["verdict"], row["id"], row["state"]) == ("Orphan", port_id, "found")
    code, out, _ = gc("--dry-run")
    assert code == 1
    assert port_id in out
    assert world.cloud.journal.writes == writes


def test_what_has_no_owner_is_deleted_and_all_else_stays(gc: Command, world: World) -> None:
    mine, theirs = orphan(world), orphan(world, cluster="other")
    foreign = orphan(world, owner="compute:nova")
    before = {port["id"] for port in world.cloud.ports}
    code, report = gc.json("--apply", "--grace", "1")
    assert code == 1
    assert [(row["id"], row["state"]) for row in report["findings"]] == [(mine, "done")]
    assert {port["id"] for port in world.cloud.ports} == before - {mine}
    assert {theirs, foreign} < before
    assert gc("--apply")[0] == 0


def test_two_clusters_in_one_project_clean_up_their_own(gc: Command, world: World) -> None:
    mine, theirs = orphan(world), orphan(world, cluster="other")
    other = world.configuration({"kubernetes": {"cluster_name": "other"}})
    code, out, _ = gc("--apply", "--grace", "0", configuration=other)
    assert code == 1
    assert theirs in out
    assert mine not in out
    left = {port["id"] for port in world.cloud.ports}
    assert theirs not in left
    assert mine in left


def test_what_was_changed_is_put_back(gc: Command, world: World) -> None:
    (port,) = world.ports()
    with world.cloud.neutron.state.lock:
        world.cloud.neutron.ports.items[port["id"]]["security_groups"] = []
    code, report = gc.json("--apply", "--grace", "1")
    assert code == 1
    assert [(row["verdict"], row["state"]) for row in report["findings"]] == [("Changed", "done")]
    assert world.ports()[0]["security_groups"] == port["security_groups"]


def test_ports_of_pools_are_nobodys_only_without_a_pool(gc: Command, world: World) -> None:
    port_id = orphan(world, kind="pool")
    with_pool = world.configuration({"kubernetes": {"vif_pool_driver": "neutron"}})
    assert gc("--dry-run", configuration=with_pool)[0] == 0
    code, out, _ = gc("--dry-run")
    assert code == 1
    assert port_id in out


def test_a_pool_that_this_configuration_does_not_know_of_is_left_alone(gc: Command, world: World) -> None:
    """The pool's KuryrPort says that there is one, whatever the file at hand says."""
    orphan(world, kind="pool")
    spec = {"podUid": "node-uid", "podNodeName": NODE, "ownerKind": "Pool"}
    body = {"metadata": {"name": f"kuryr-pool.{NODE}"}, "spec": spec}
    world.client.create(KURYRPORTS, "kube-system", body)
    assert gc("--apply", "--grace", "0")[0] == 0


def test_ports_of_pools_are_left_to_a_controller_that_works(gc: Command, world: World) -> None:
    orphan(world, kind="pool")
    with world.controller({"kubernetes": {"audit_period": 600}}) as running:
        running.wait_ready()
        assert gc("--apply", "--grace", "0")[0] == 0
    assert gc("--dry-run")[0] == 1, "nobody holds the Lease"


def test_only_what_is_named_is_dealt_with(gc: Command, world: World) -> None:
    wanted, other = orphan(world), orphan(world)
    code, report = gc.json("--apply", "--grace", "0", "--id", wanted)
    assert code == 1
    assert [row["id"] for row in report["findings"]] == [wanted]
    assert other in {port["id"] for port in world.cloud.ports}


def test_an_api_that_lost_its_kuryrports_empties_nothing(gc: Command, world: World) -> None:
    orphan(world)
    for port in world.client.list(KURYRPORTS).items:
        world.client.merge_patch(KURYRPORTS, port.key, {"metadata": {"finalizers": None}})
        world.client.delete(KURYRPORTS, port.key)
    code, out, err = gc("--apply", "--grace", "0")
    assert (code, out) == (2, "")
    assert "there are no KuryrPorts, but 1 pods" in err
    assert len(world.ports()) == 2
    assert gc("--dry-run")[0] == 1


def test_what_cannot_be_dealt_with_is_an_error(gc: Command, world: World) -> None:
    orphan(world)
    world.cloud.knobs.fail("delete port", times=-1, status=409)
    code, report = gc.json("--apply", "--grace", "0")
    assert code == 2
    assert [row["state"] for row in report["findings"]] == ["failed"]


def test_an_api_that_does_not_answer_is_an_error(gc: Command, world: World) -> None:
    world.cloud.close()
    code, out, err = gc("--dry-run")
    assert (code, out) == (2, "")
    assert "CloudUnavailable" in err


def test_wrong_usage_is_an_error(gc: Command) -> None:
    assert gc()[0] == 2
    assert gc("--dry-run", "--apply")[0] == 2
    assert gc("--dry-run", configuration=Path("/nonexistent.conf"))[0] == 2
