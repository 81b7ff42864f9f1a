# SPDX-License-Identifier: Apache-2.0
"""What is said at start, and what is waited for."""

import uuid
from pathlib import Path

import pytest

from tests.functional.controller import process
from tests.functional.controller.harness import World, get
from tests.functional.kubernetes import wait_until
from tests.functional.proxy import Proxy


def readyz(world: World, running: object) -> str:
    port = running.conf.health_server.port  # type: ignore[attr-defined]
    return get(f"http://127.0.0.1:{port}/readyz")[1]


def test_unknown_names_are_all_told_and_the_exit_code_is_2(world: World) -> None:
    path = world.configuration(
        {
            "kubernetes": {
                "enabled_handlers": "vif,kuryrport,nonsense,vif",
                "pod_subnets_driver": "nowhere",
                "vif_pool_driver": "puddle",
                "multi_vif_drivers": "noop,many",
            }
        }
    )
    code, said = process.run(path)
    assert code == 2
    for text in (
        "enabled_handlers: 'nonsense' is not known",
        "enabled_handlers: 'vif' stands more than once",
        "pod_subnets_driver: 'nowhere' is not known. Valid names:",
        "vif_pool_driver: 'puddle' is not known. Valid names:",
        "multi_vif_drivers: 'many' is not known. Valid names: ",
        "kuryrport",
        "default",
        "noop",
    ):
        assert text in said, text
    assert "Traceback" not in said


@pytest.mark.parametrize(
    ("group", "option", "value", "said"),
    [
        ("neutron", "auth_type", "", "[neutron] auth_type"),
        ("neutron", "auth_type", "magic", "magic"),
        ("kubernetes", "token_file", "/nonexistent/token", "token_file"),
        ("kubernetes", "ssl_ca_crt_file", "/nonexistent/ca.crt", "ssl_ca_crt_file"),
        ("kubernetes", "api_root", "ftp://example.org", "api_root"),
        ("kubernetes", "workers", "many", "workers"),
        ("kubernetes", "audit_period", "0", "audit_period"),
        ("node_port", "interface", "a-name-that-is-too-long", "interface"),
    ],
)
def test_values_that_cannot_work(world: World, group: str, option: str, value: str, said: str) -> None:
    code, text = process.run(world.configuration({group: {option: value}}))
    assert code == 2
    assert said in text
    assert "Traceback" not in text


def test_a_missing_file(tmp_path: Path) -> None:
    code, said = process.run(tmp_path / "missing.conf")
    assert code == 2
    assert "missing.conf" in said
    assert "Traceback" not in said


def test_ids_that_do_not_exist(world: World) -> None:
    missing = {
        name: str(uuid.uuid4()) for name in ("pod_subnet", "service_subnet", "pod_security_groups", "node")
    }
    options = {
        "neutron_defaults": {name: value for name, value in missing.items() if name != "node"},
        "node_port": {"enabled": "true", "security_groups": missing["node"]},
    }
    with world.controller(options) as running:
        wait_until(
            lambda: all(value in readyz(world, running) for value in missing.values()),
            f"/readyz names all that is missing; it says {readyz(world, running)}",
        )
        said = readyz(world, running)
        for option in (
            "[neutron_defaults] pod_subnet",
            "[neutron_defaults] service_subnet",
            "[neutron_defaults] pod_security_groups",
            "[node_port] security_groups",
        ):
            assert option in said


def test_options_that_are_not_set(world: World) -> None:
    options = {"neutron_defaults": {"pod_subnet": "", "pod_security_groups": ""}}
    with world.controller(options) as running:
        wait_until(
            lambda: all(
                f"[neutron_defaults] {name}: not set" in readyz(world, running)
                for name in ("pod_subnet", "pod_security_groups")
            ),
            "/readyz names what is not set",
        )


def test_subnets_that_do_not_go_together(world: World) -> None:
    subnets = world.cloud.subnets
    options = {"neutron_defaults": {"pod_subnet": f"{subnets['pods'][4]},{subnets['pods2'][4]}"}}
    with world.controller(options) as running:
        wait_until(lambda: "same IP family" in readyz(world, running), "/readyz says so")


def test_an_extension_that_is_missing(world: World) -> None:
    world.cloud.knobs.fail("get extensions", -1, status=200, body={"extensions": [{"alias": "binding"}]})
    with world.controller() as running:
        wait_until(lambda: "'security-group' is missing" in readyz(world, running), "/readyz says so")


def test_wrong_credentials(world: World) -> None:
    with world.controller({"neutron": {"password": "not the right one"}}) as running:
        wait_until(
            lambda: "refuses the credentials of [neutron]" in readyz(world, running), "/readyz says so"
        )
        assert "not the right one" not in readyz(world, running)


def test_rights_that_are_missing_in_kubernetes(world: World) -> None:
    """A ServiceAccount without any: every verb that is needed is named."""
    world.api.service_account_client(world.namespace, "nobody").close()
    token = world.api.directory / f"{world.namespace}.nobody.token"
    with world.controller({"kubernetes": {"token_file": token, "cluster_name": "named"}}) as running:
        wait_until(lambda: "may not" in readyz(world, running), "/readyz says so")
        said = readyz(world, running)
        for right in (
            "list pods",
            "watch nodes",
            "create kuryrports",
            "patch kuryrports/status",
            "create events",
            "patch leases in namespace kube-system",
        ):
            assert f"may not {right}" in said, right


def test_neutron_down_at_start(world: World) -> None:
    """It waits, with the Lease and the reason, and goes on by itself."""
    world.cloud.knobs.fail("*", -1, kind="drop_before")
    with world.controller() as running:
        running.wait_holding()
        world.create_pod("a")
        wait_until(
            lambda: (condition := world.allocated("a")) is not None and condition.status == "False",
            "the pod's KuryrPort says why it waits",
        )
        wait_until(lambda: "OpenStack could not be checked yet" in readyz(world, running), "/readyz says so")
        assert get(f"http://127.0.0.1:{running.conf.health_server.port}/livez") == (200, "ok\n")
        world.cloud.knobs.heal()
        world.wait_filled("a")
        running.wait_ready()
        assert len(world.ports()) == 1


def test_the_api_down_at_start(world: World) -> None:
    with Proxy(world.api.port) as proxy:
        proxy.refuse()
        root = f"https://127.0.0.1:{proxy.port}"
        with world.controller({"kubernetes": {"cluster_name": ""}}, api_root=root) as running:
            world.create_pod("a")
            wait_until(lambda: "get namespaces" in readyz(world, running), "/readyz says what it waits for")
            proxy.refuse(False)
            world.wait_filled("a")
            running.wait_ready()


def test_a_subnet_that_comes_makes_it_ready(world: World) -> None:
    """What is wrong at start is looked at again."""
    world.cloud.knobs.fail("list security groups", 1, status=200, body={"security_groups": []})
    with world.controller() as running:
        wait_until(lambda: "security group" in readyz(world, running), "/readyz says so")
        running.wait_ready()
