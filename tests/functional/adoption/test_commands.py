# SPDX-License-Identifier: Apache-2.0
"""kuryr-k8s-status and kuryr-k8s-sanity against the recorded cluster."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kuryr.cmd import sanity, status
from kuryr.handlers import decision
from kuryr.objects.resources import KURYRPORTS
from tests.functional.adoption.conftest import ORIGINAL_CRDS
from tests.functional.adoption.recording import OPTIONS, Recording, pods, versions
from tests.functional.adoption.test_take_over import writes
from tests.functional.controller.harness import World
from tests.functional.kubernetes import KubernetesApi, wait_until

Command = Callable[..., tuple[int, str]]


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str]) -> Command:
    """Run a command as its console script does; exit code and what it printed."""

    def run(main: Callable[[list[str]], None], *arguments: str) -> tuple[int, str]:
        with pytest.raises(SystemExit) as ended:
            main(list(arguments))
        printed = capsys.readouterr()
        return int(ended.value.code or 0), printed.out + printed.err

    return run


def results(printed: str) -> dict[str, tuple[int, str]]:
    return {
        check["check"]: (check["result"], check["details"] or "") for check in json.loads(printed)["checks"]
    }


def configuration(world: World, **options: dict[str, Any]) -> str:
    return str(world.configuration({**OPTIONS, **options}))


def test_check_dry_run_adopt_and_undo(world: World, recorded: Recording, command: Command) -> None:
    config = ("--config-file", configuration(world))
    before = versions(world.client)
    code, printed = command(status.main, *config, "upgrade", "check", "--json")
    assert code == 1
    found = results(printed)
    assert {check: result for check, (result, _) in found.items() if result} == {
        "Adoption": 1,
        "Services, policies and namespaces": 1,
    }
    assert "13 interfaces and 12 pods" in found["Adoption"][1]
    assert "1 KuryrLoadBalancer" in found["Services, policies and namespaces"][1]

    code, printed = command(status.main, *config, "adopt", "--dry-run")
    assert code == 0
    assert "13 Neutron ports of 12 pods" in printed
    assert "12 pods lose the finalizer" in printed
    assert not decision.read(world.client, "kube-system")
    assert versions(world.client) == before
    assert not writes(world.cloud)

    code, printed = command(status.main, *config, "adopt")
    assert code == 0
    assert decision.read(world.client, "kube-system")
    code, printed = command(status.main, *config, "adopt", "--undo")
    assert code == 0
    assert not decision.read(world.client, "kube-system")
    assert versions(world.client) == before

    command(status.main, *config, "adopt")
    with world.controller(OPTIONS):
        wait_until(
            lambda: not any(pod.metadata.finalizers for pod in pods(world.client).values()), "all is adopted"
        )
    code, printed = command(status.main, *config, "upgrade", "check")
    assert "Check: Adoption" in printed
    assert "nothing of kuryr-kubernetes is left" in printed
    code, printed = command(status.main, *config, "adopt")
    assert "nothing of kuryr-kubernetes to adopt" in printed


def test_the_original_s_crds_are_in_the_way(
    world: World, recorded: Recording, original_api: KubernetesApi, command: Command
) -> None:
    original_api.apply_crds(ORIGINAL_CRDS)
    wait_until(
        lambda: "kuryrports/status" not in world.client.served("openstack.org", "v1"), "the CRDs are old"
    )
    config = ("--config-file", configuration(world))
    code, printed = command(status.main, *config, "upgrade", "check", "--json")
    assert code == 2
    assert "apply kubernetes_crds/" in results(printed)["Kubernetes"][1]
    code, printed = command(status.main, *config, "adopt")
    assert code == 2
    assert "in the way" in printed
    assert not decision.read(world.client, "kube-system")


def test_upgrade_check_tells_what_is_wrong(world: World, recorded: Recording, command: Command) -> None:
    (gone,) = recorded.port_ids("db-0")
    world.cloud.remove("ports", gone)
    stranger = {**recorded.neutron["ports"][0], "id": "5a3a9ad2-6f2e-4f0b-8b59-7e5a3e9d1b11"}
    stranger |= {
        "device_id": "",
        "name": "kuryr-pool-port",
        "fixed_ips": [],
        "mac_address": "fa:16:3e:00:00:01",
    }
    world.cloud.restore("ports", [stranger])
    names = {"kubernetes": {"pod_subnets_driver": "nowhere"}}
    code, printed = command(status.main, "--config-file", configuration(world), "upgrade", "check", "--json")
    assert code == 1
    assert gone in results(printed)["Neutron ports"][1]
    assert stranger["id"] in results(printed)["Neutron ports"][1]
    code, printed = command(
        status.main, "--config-file", configuration(world, **names), "upgrade", "check", "--json"
    )
    assert code == 2
    assert "'nowhere' is not known" in results(printed)["Configuration"][1]


def test_what_has_nothing_to_check(tmp_path: Path, command: Command) -> None:
    for step in ("update-annotations", "downgrade-annotations"):
        code, printed = command(status.main, "upgrade", step)
        assert (code, "Nothing to do" in printed) == (0, True)
    assert command(status.main, "version")[0] == 0
    assert command(status.main, "--config-file", str(tmp_path / "none"), "upgrade", "check")[0] == 255


def test_sanity(world: World, recorded: Recording, command: Command) -> None:
    config = ("--config-file", configuration(world))
    code, printed = command(sanity.main, *config, "--json")
    assert code == 0, printed
    assert {"Configuration", "Kubernetes", "OpenStack", "Quotas", "MTU"} <= results(printed).keys()
    assert "1442" in results(printed)["MTU"][1] or "pods on subnet" in results(printed)["MTU"][1]

    world.cloud.set_quota(world.cloud.project_id, port=len(world.cloud.ports))
    code, printed = command(sanity.main, *config, "--json")
    assert code == 1
    assert results(printed)["Quotas"][0] == 2

    wrong = {
        "neutron_defaults": {
            **OPTIONS["neutron_defaults"],
            "pod_subnet": "6a4c1fd7-0000-0000-0000-000000000000",
        }
    }
    code, printed = command(sanity.main, "--config-file", configuration(world, **wrong), "--json")
    assert code == 1
    assert "[neutron_defaults] pod_subnet" in results(printed)["OpenStack"][1]
    assert world.client.list(KURYRPORTS).items
    assert not writes(world.cloud)


def test_sanity_of_pools_asks_nobody(tmp_path: Path, command: Command) -> None:
    file = tmp_path / "kuryr.conf"
    file.write_text("[vif_pool]\nports_pool_min = 20\nports_pool_max = 10\n")
    config = ("--config-file", str(file))
    assert command(sanity.main, *config, "--vif_pool_max_batch")[0] == 0
    code, printed = command(sanity.main, *config, "--vif_pool_min_max", "--vif_pool_min_batch")
    assert code == 1
    assert printed.count("Failure") == 2
    code, printed = command(
        sanity.main, *config, "--vif_pool_min_max", "--vif_pool_min_batch", "--sanity_check_error"
    )
    assert code == 1
    assert printed.count("Failure") == 1
