# SPDX-License-Identifier: Apache-2.0
"""The configuration files of OpenStack's services."""

from devcloud import packages, paths
from devcloud.openstack.facts import AUTH_URL, DOMAIN, LOAD_BALANCER_URL, PASSWORD, REGION

SECTION = dict[str, str | int | bool]

EXTENSION_DRIVERS = ("port_security", "qos")
TAGS_DRIVER = "tag_ports_during_bulk_creation"

MYSQL_SOCKET = paths.RUN / "mysql.sock"
NB_SOCKET = paths.RUN / "ovn" / "nb.sock"
SB_SOCKET = paths.RUN / "ovn" / "sb.sock"
OCTAVIA_RUN = paths.RUN / "octavia"
KEYS = paths.DATA / "keystone"

KEYSTONE_CONF = paths.ETC / "keystone.conf"
NEUTRON_CONF = paths.ETC / "neutron.conf"
ML2_CONF = paths.ETC / "ml2_conf.ini"
OCTAVIA_CONF = paths.ETC / "octavia.conf"
_NO_POLICY = paths.ETC / "policy.yaml"

_OVN: SECTION = {"ovn_nb_connection": f"unix:{NB_SOCKET}", "ovn_sb_connection": f"unix:{SB_SOCKET}"}


def render(sections: dict[str, SECTION]) -> str:
    """The text of an oslo.config file."""
    blocks = []
    for name, options in sections.items():
        lines = [f"{option} = {value}" for option, value in options.items()]
        blocks.append("\n".join([f"[{name}]", *lines]))
    return "\n\n".join(blocks) + "\n"


def write_all(tag_ports_on_creation: bool) -> None:
    """Write every file anew; `tag_ports_on_creation`: whether Neutron keeps the tags of a port's POST."""
    # A changed time of change would make each service load its policy again, in the middle of requests.
    if not _NO_POLICY.exists():
        _NO_POLICY.touch()
    (paths.RUN / "neutron").mkdir(exist_ok=True)
    (paths.RUN / "lock").mkdir(exist_ok=True)
    drivers = (*EXTENSION_DRIVERS, *((TAGS_DRIVER,) if tag_ports_on_creation else ()))
    for file, sections in (
        (KEYSTONE_CONF, _keystone()),
        (NEUTRON_CONF, _neutron()),
        (ML2_CONF, _ml2(drivers)),
        (OCTAVIA_CONF, _octavia()),
    ):
        file.touch(mode=0o600)
        file.write_text(render(sections))


def _database(name: str) -> SECTION:
    return {"connection": f"mysql+pymysql://root@localhost/{name}?unix_socket={MYSQL_SOCKET}&charset=utf8"}


def _service_user(name: str) -> SECTION:
    return {
        "auth_url": AUTH_URL,
        "auth_type": "password",
        "project_name": "service",
        "project_domain_name": DOMAIN,
        "user_domain_name": DOMAIN,
        "username": name,
        "password": PASSWORD,
    }


def _token_check(name: str) -> SECTION:
    return {
        "www_authenticate_uri": AUTH_URL,
        **_service_user(name),
        "service_token_roles_required": False,
    }


def _keystone() -> dict[str, SECTION]:
    return {
        "DEFAULT": {"log_file": str(paths.LOGS / "keystone-service.log")},
        "database": _database("keystone"),
        "token": {"provider": "fernet", "expiration": 86400},
        "fernet_tokens": {"key_repository": str(KEYS / "fernet")},
        "credential": {"key_repository": str(KEYS / "credential")},
        "cache": {"enabled": True, "backend": "dogpile.cache.memory"},
        "oslo_policy": {"policy_file": str(_NO_POLICY)},
    }


def _neutron() -> dict[str, SECTION]:
    unlimited = ("network", "subnet", "port", "router", "floatingip", "subnetpool", "trunk")
    quotas = (*unlimited, "security_group", "security_group_rule", "address_group", "rbac_policy")
    return {
        "DEFAULT": {
            "state_path": str(paths.RUN / "neutron"),
            "log_file": str(paths.LOGS / "neutron-service.log"),
            "auth_strategy": "keystone",
            "core_plugin": "ml2",
            "service_plugins": "ovn-router,trunk,segments,port_forwarding,qos",
            "api_paste_config": str(packages.openstack_venv() / "etc/neutron/api-paste.ini"),
            # No agents: nothing is said over a message bus.
            "transport_url": "fake:/",
            "rpc_workers": 0,
            "rpc_state_report_workers": 0,
            "notify_nova_on_port_status_changes": False,
            "notify_nova_on_port_data_changes": False,
            "dhcp_agent_notification": False,
            "max_allowed_address_pair": 100,
        },
        "oslo_messaging_notifications": {"driver": "noop"},
        "database": _database("neutron"),
        "oslo_concurrency": {"lock_path": str(paths.RUN / "lock")},
        "oslo_policy": {"policy_file": str(_NO_POLICY)},
        "keystone_authtoken": _token_check("neutron"),
        "quotas": {"default_quota": -1, **{f"quota_{name}": -1 for name in quotas}},
    }


def _ml2(extension_drivers: tuple[str, ...]) -> dict[str, SECTION]:
    return {
        "ml2": {
            "mechanism_drivers": "ovn",
            "type_drivers": "geneve,flat,vlan,local",
            "tenant_network_types": "geneve",
            "extension_drivers": ",".join(extension_drivers),
            "overlay_ip_version": 4,
        },
        "ml2_type_geneve": {"vni_ranges": "1:65536", "max_header_size": 38},
        "ml2_type_flat": {"flat_networks": "*"},
        "ml2_type_vlan": {"network_vlan_ranges": "physnet1"},
        "securitygroup": {"enable_security_group": True},
        "ovn": {
            **_OVN,
            "ovn_l3_scheduler": "leastloaded",
            "ovn_metadata_enabled": False,
            "enable_distributed_floating_ip": True,
            "vhost_sock_dir": str(paths.RUN / "vhost"),
        },
    }


def _octavia() -> dict[str, SECTION]:
    return {
        "DEFAULT": {"log_file": str(paths.LOGS / "octavia-service.log"), "transport_url": "fake:/"},
        "api_settings": {
            "bind_host": "127.0.0.1",
            "bind_port": 9876,
            "auth_strategy": "keystone",
            "api_base_uri": LOAD_BALANCER_URL,
            "enabled_provider_drivers": "ovn:OVN provider driver",
            "default_provider_driver": "ovn",
            "healthcheck_enabled": True,
        },
        "database": _database("octavia"),
        "oslo_messaging": {"topic": "octavia_prov"},
        "oslo_policy": {"policy_file": str(_NO_POLICY)},
        "driver_agent": {
            "status_socket_path": str(OCTAVIA_RUN / "status.sock"),
            "stats_socket_path": str(OCTAVIA_RUN / "stats.sock"),
            "get_socket_path": str(OCTAVIA_RUN / "get.sock"),
            "enabled_provider_agents": "ovn",
        },
        "ovn": _OVN,
        "service_auth": _service_user("octavia"),
        "keystone_authtoken": _token_check("octavia"),
        "neutron": {"region_name": REGION, "valid_interfaces": "public"},
        # The VIP's port is Neutron's own: there is no amphora to plug.
        "controller_worker": {"network_driver": "allowed_address_pairs_driver"},
        "networking": {"allow_vip_network_id": True},
    }
