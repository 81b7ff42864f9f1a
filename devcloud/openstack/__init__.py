# SPDX-License-Identifier: Apache-2.0
"""OpenStack: MariaDB, Keystone, Neutron and Octavia with OVN, the nodes' Open vSwitch, the objects."""

import os

from devcloud import processes, wrappers
from devcloud.network import NODES, Node
from devcloud.openstack import configuration, database, facts, identity, objects, ovn, services
from devcloud.steps import Step

__all__ = ["status", "steps", "stop"]

TAGS_VARIABLE = "KURYR_DEVCLOUD_PORT_TAGS"
"""Set to 1: Neutron keeps the tags of a port's creating call (ML2's tag_ports_during_bulk_creation)."""


def steps() -> list[Step]:
    """What brings OpenStack up; the last step is `openstack`."""
    services_need = ("identity", "node network", "ovn databases")
    return [
        Step("configuration", _configure),
        Step("mariadb", database.start, after=("debian packages",)),
        Step(
            "migrations",
            database.migrate,
            after=("mariadb", "openstack programs", "configuration"),
            done=database.migrated,
        ),
        Step("keystone", services.start_keystone, after=("migrations", "node network")),
        Step("identity", _identity, after=("keystone",), done=database.identity_made),
        # The template brings OVN's northbound database along.
        Step("ovn databases", ovn.start_central, after=("mariadb",)),
        *(_node_step(node) for node in NODES),
        Step("neutron", services.start_neutron, after=services_need),
        Step("octavia driver agent", services.start_octavia_driver_agent, after=services_need),
        Step("octavia", services.start_octavia, after=("octavia driver agent",)),
        Step("networks", _objects, after=("neutron", *(f"{node.name} ovs" for node in NODES))),
        Step("template", database.keep_template, after=("networks", "octavia"), done=database.template_kept),
        Step("openstack", facts.write_clouds, after=("template",)),
    ]


def stop() -> None:
    """Stop the services, OVN and the nodes' Open vSwitch, and the database."""
    services.stop()
    ovn.stop()
    processes.stop("mariadb", timeout=30)


def status() -> list[tuple[str, bool, str]]:
    """Each process's name, whether it is well, and its URL."""
    return [("mariadb", processes.running("mariadb"), ""), *ovn.status(), *services.status()]


def _configure() -> None:
    wrappers.write_debian()
    configuration.write_all(tag_ports_on_creation=os.environ.get(TAGS_VARIABLE) == "1")


def _node_step(node: Node) -> Step:
    return Step(f"{node.name} ovs", lambda: ovn.start_node(node), after=("node network", "ovn databases"))


def _identity() -> None:
    identity.make()
    database.mark_identity_made()


def _objects() -> None:
    facts.write(objects.make())
