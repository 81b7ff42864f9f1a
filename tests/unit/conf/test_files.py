# SPDX-License-Identifier: Apache-2.0
"""Configuration files: what is read, and what is refused and how."""

from pathlib import Path

import pytest
from oslo_config import cfg

from kuryr.conf import controller, node
from kuryr.conf.opts import list_opts
from kuryr.errors import ConfigurationError


def load(tmp_path: Path, text: str, program: object = controller) -> cfg.ConfigOpts:
    path = tmp_path / "kuryr.conf"
    path.write_text(text)
    return program.load(["--config-file", str(path)])  # type: ignore[attr-defined]


def test_defaults(tmp_path: Path) -> None:
    conf = load(tmp_path, "")
    assert conf.kubernetes.enabled_handlers == ["vif", "kuryrport"]
    assert conf.kubernetes.ssl_verify_server_crt is True
    assert conf.neutron_defaults.pod_subnet == []
    assert conf.node_port.enabled is True


def test_one_subnet_per_family(tmp_path: Path) -> None:
    conf = load(tmp_path, "[neutron_defaults]\npod_subnet = four, six\nservice_subnet = one\n")
    assert conf.neutron_defaults.pod_subnet == ["four", "six"]
    assert conf.neutron_defaults.service_subnet == ["one"]


def test_one_file_serves_both_programs(tmp_path: Path) -> None:
    text = (
        "[kubernetes]\napi_root = http://192.0.2.1\nenabled_handlers = vif\n"
        "[neutron]\nauth_type = password\n[cni_daemon]\nworker_num = 3\n[something_of_a_plugin]\nx = y\n"
    )
    assert load(tmp_path, text).kubernetes.enabled_handlers == ["vif"]
    assert load(tmp_path, text, node).cni_daemon.worker_num == 3


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[kubernetes]\nworkers = many\n", "workers"),
        ("[kubernetes]\nworkers = 0\n", "workers"),
        ("[kubernetes]\nreconcile_threads = 1000\n", "reconcile_threads"),
        ("[kubernetes]\nssl_verify_server_crt = perhaps\n", "ssl_verify_server_crt"),
        ("[neutron]\nendpoint_type = secret\n", "endpoint_type"),
        ("[health_server]\nport = 70000\n", "port"),
        ("[node_port]\ninterface = longer-than-linux-allows\n", "interface"),
        ("[cloud_limits]\nmax_in_flight = 0\n", "max_in_flight"),
        ("this is no configuration\n", "kuryr.conf"),
        ("[kubernetes\napi_root = x\n", "kuryr.conf"),
        ("[kubernetes]\napi_root = $nothing\n", "[kubernetes] api_root"),
        ("[neutron]\nregion_name = One$Two\n", "write $$ for a dollar sign"),
    ],
)
def test_what_is_refused_is_named(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(ConfigurationError) as raised:
        load(tmp_path, text)
    assert said in str(raised.value)


def test_a_dollar_sign_in_a_secret_is_told_without_the_secret(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError) as raised:
        load(tmp_path, "[neutron]\nregion_name = very$secret\n")
    assert "[neutron] region_name" in str(raised.value)
    assert "secret" not in str(raised.value)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"missing\.conf"):
        controller.load(["--config-file", str(tmp_path / "missing.conf")])


def test_a_file_that_is_not_text(tmp_path: Path) -> None:
    path = tmp_path / "kuryr.conf"
    path.write_bytes(b"\xff\xfe\x00[kubernetes]\n")
    with pytest.raises(ConfigurationError, match=r"kuryr\.conf"):
        controller.load(["--config-file", str(path)])


def test_mutable_options_change_without_a_restart_and_others_do_not(tmp_path: Path) -> None:
    conf = load(tmp_path, "[kubernetes]\naudit_period = 300\nworkers = 1\n")
    told: list[object] = []
    conf.register_mutate_hook(lambda conf, fresh: told.append(fresh))
    (tmp_path / "kuryr.conf").write_text("[kubernetes]\naudit_period = 7\nworkers = 2\n")
    conf.mutate_config_files()
    assert conf.kubernetes.audit_period == 7
    assert conf.kubernetes.workers == 1
    assert told == [{("kubernetes", "audit_period"): ("300", "7")}]


def test_every_option_says_what_it_is_for() -> None:
    for group, options in list_opts():
        for option in options:
            assert option.help, f"[{group.name}] {option.name}"


def test_no_option_stands_twice() -> None:
    names = [(group.name, option.dest) for group, options in list_opts() for option in options]
    assert len(names) == len(set(names))


def test_secrets_are_marked() -> None:
    secret = {option.name for _, options in list_opts() for option in options if option.secret}
    assert "password" in secret
