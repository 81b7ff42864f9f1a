# SPDX-License-Identifier: Apache-2.0
"""What was there at take-over: listed once, handed out once."""

import threading
from collections.abc import Iterator
from typing import Any

import pytest

from kuryr.cloud.ports import Port
from kuryr.drivers.inventory import PortInventory
from kuryr.errors import CloudUnavailable, WaitFor


def port(port_id: str, description: str | None) -> Port:
    return Port(id=port_id, network_id="n", description=description)


class Ports:
    """A Neutron of a few pages by project; waits for ``go`` where that is not set."""

    def __init__(self, **pages: list[list[Port]]) -> None:
        self.pages = pages
        self.listed: list[str | None] = []
        self.failures: list[Exception] = []
        self.go = threading.Event()
        self.go.set()

    def list_pages(self, project_id: str | None, *, device_owner: Any) -> Iterator[list[Port]]:
        assert set(device_owner) == {"compute:kuryr", "compute:kuryr-node", "trunk:subport"}
        self.listed.append(project_id)
        assert self.go.wait(60)
        if self.failures:
            raise self.failures.pop(0)
        yield from self.pages.get(project_id or "default", [])


MINE = port("p1", "kuryr:c:pod:u1:eth0")
SECOND = port("p2", "kuryr:c:pod:u1:eth1")
TWIN = port("p3", "kuryr:c:pod:u1:eth0")
FOREIGN = [port("f1", "kuryr:other:pod:u1:eth0"), port("f2", "by hand"), port("f3", None), port("f4", "")]


def inventory(ports: Any, projects: tuple[str, ...] = ("default",)) -> PortInventory:
    return PortInventory(ports, "c", lambda: projects)


def wait_ready(found: PortInventory) -> None:
    while True:
        try:
            found.ready()
        except WaitFor as wait:
            wait.calls[0].exception(60)
        else:
            return


def ids(ports: list[Port]) -> list[str]:
    return sorted(each.id for each in ports)


def test_only_this_cluster_s_of_all_pages_and_projects() -> None:
    ports = Ports(default=[[MINE, *FOREIGN], [SECOND]], tenant=[[TWIN]])
    snapshot = inventory(ports, ("default", "tenant")).refresh()
    assert sorted(snapshot.ports) == ["p1", "p2", "p3"]
    assert snapshot.ports["p2"][1].detail == "eth1"
    assert ports.listed == ["default", "tenant"]


def test_each_is_handed_out_once() -> None:
    found = inventory(Ports(default=[[MINE, SECOND, TWIN]]))
    wait_ready(found)
    assert ids(found.take("u1", "eth0")) == ["p1", "p3"]
    assert found.take("u1", "eth0") == []
    assert ids(found.take("u1", "eth1")) == ["p2"]
    assert found.take("u2", "eth0") == []


def test_it_is_waited_for() -> None:
    ports = Ports(default=[[MINE]])
    ports.go.clear()
    found = inventory(ports)
    found.begin()
    with pytest.raises(WaitFor) as first:
        found.take("u1", "eth0")
    with pytest.raises(WaitFor) as second:
        found.take("u1", "eth0")
    assert first.value.calls == second.value.calls, "one listing for all that wait"
    assert found.take_all("u1") == [], "nothing is known yet, and nobody waits"
    ports.go.set()
    first.value.calls[0].result(60)
    assert ids(found.take("u1", "eth0")) == ["p1"]
    assert len(ports.listed) == 1


def test_a_listing_that_failed_is_made_anew() -> None:
    ports = Ports(default=[[MINE]])
    ports.failures = [CloudUnavailable("down")]
    ports.go.clear()
    found = inventory(ports)
    with pytest.raises(WaitFor) as wait:
        found.ready()
    ports.go.set()
    assert isinstance(wait.value.calls[0].exception(60), CloudUnavailable)
    with pytest.raises(CloudUnavailable):
        found.ready()
    wait_ready(found)
    assert ids(found.take("u1", "eth0")) == ["p1"]
    assert len(ports.listed) == 2


def test_all_of_an_owner_that_is_gone() -> None:
    found = inventory(Ports(default=[[MINE, SECOND, TWIN, port("p4", "kuryr:c:pod:u2:eth0")]]))
    wait_ready(found)
    assert ids(found.take_all("u1")) == ["p1", "p2", "p3"]
    assert found.take_all("u1") == []
    assert ids(found.take("u2", "eth0")) == ["p4"]


def test_what_is_dealt_with_is_not_handed_out() -> None:
    found = inventory(Ports(default=[[MINE, SECOND, TWIN]]))
    wait_ready(found)
    found.forget("u1", "p1")
    assert ids(found.take_all("u1")) == ["p2", "p3"]


def test_the_next_turn_begins_anew() -> None:
    ports = Ports(default=[[MINE]])
    found = inventory(ports)
    wait_ready(found)
    ports.pages["default"] = [[SECOND]]
    found.begin()
    wait_ready(found)
    assert found.take("u1", "eth0") == []
    assert ids(found.take("u1", "eth1")) == ["p2"]
