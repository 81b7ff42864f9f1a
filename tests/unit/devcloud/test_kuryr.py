# SPDX-License-Identifier: Apache-2.0
import configparser
from typing import Any

import pytest

from devcloud import kuryr
from devcloud.kubernetes.cluster import NODES

KNOWN: dict[str, Any] = {
    "auth_url": "http://h:5000/v3",
    "region": "R",
    "user_domain_name": "D",
    "project_domain_name": "D",
    "users": {"kuryr": {"username": "kuryr", "password": "secret", "project": "k8s"}},
    "projects": {"k8s": "p1"},
    "subnets": {
        "pods": {"4": "s4", "6": "s6"},
        "pods2": {"4": "t4", "6": "t6"},
        "services": {"4": "v4", "6": "v6"},
    },
    "security_groups": {"k8s-pods": "g1"},
}


def parsed(sections: kuryr.Sections) -> configparser.RawConfigParser:
    parser = configparser.RawConfigParser()
    parser.read_string(kuryr.render(sections))
    return parser


def test_controller_gets_one_subnet_per_family() -> None:
    parser = parsed(kuryr.controller_configuration(KNOWN, example_plugins=False))
    assert parser["neutron_defaults"]["pod_subnet"] == "s4,s6"
    assert parser["neutron_defaults"]["service_subnet"] == "v4,v6"


@pytest.mark.parametrize(("plugins", "driver"), [(True, "labelled_example"), (False, "default")])
def test_example_driver_is_used_where_its_plugins_are(plugins: bool, driver: str) -> None:
    parser = parsed(kuryr.controller_configuration(KNOWN, example_plugins=plugins))
    assert parser["kubernetes"]["pod_subnets_driver"] == driver


def test_daemons_know_nothing_of_openstack() -> None:
    parser = parsed(kuryr.daemon_configuration(NODES[0]))
    assert "neutron" not in parser
    assert "secret" not in kuryr.render(kuryr.daemon_configuration(NODES[0]))


def test_daemons_share_no_socket() -> None:
    first, second = (parsed(kuryr.daemon_configuration(node)) for node in NODES)
    assert first["cni_daemon"]["socket_path"] != second["cni_daemon"]["socket_path"]
    assert first["os_vif_ovs"]["ovsdb_connection"] != second["os_vif_ovs"]["ovsdb_connection"]
