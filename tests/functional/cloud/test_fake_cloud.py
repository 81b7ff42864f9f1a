# SPDX-License-Identifier: Apache-2.0
"""The fake cloud's knobs, and the fake cloud as a program."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from concurrent.futures import wait
from pathlib import Path

import pytest

from kuryr import errors
from kuryr.cloud.ports import PortRequest, Ports
from kuryr.cloud.session import Cloud
from kuryr.testing.fake_cloud import FakeCloud

from .conftest import configure


@pytest.fixture
def request_(fake: FakeCloud) -> PortRequest:
    return PortRequest(network_id=fake.items("networks")[0]["id"])


def test_latency_and_rate(cloud: Cloud, fake: FakeCloud, request_: PortRequest) -> None:
    ports = Ports(cloud)
    ports.create(request_).result()
    fake.knobs.latency("create port", 0.2)
    fake.knobs.capacity("create port", per_second=50)
    began = time.monotonic()
    wait([ports.create(request_) for _ in range(20)])
    # 20 at 50 a second; the first ones also wait for the latency, the others for their turn.
    assert time.monotonic() - began >= 0.4
    assert all(call.seconds >= 0.2 for call in fake.journal.calls("create port")[1:])


def test_calls_in_flight(cloud: Cloud, fake: FakeCloud, request_: PortRequest) -> None:
    fake.knobs.latency("create port", 0.02)
    fake.knobs.capacity("create port", in_flight=1)
    ports = Ports(cloud)
    began = time.monotonic()
    wait([ports.create(request_) for _ in range(10)])
    assert time.monotonic() - began >= 10 * 0.02


def test_pause_and_resume(cloud: Cloud, fake: FakeCloud, request_: PortRequest) -> None:
    cloud.project().authenticate()
    fake.knobs.pause()
    call = Ports(cloud).create(request_)
    assert not wait([call], 0.1).done
    fake.knobs.resume()
    assert call.result(10).id


@pytest.mark.parametrize(("kind", "made"), [("drop_before", 0), ("drop_after", 1)])
def test_cut_connections(cloud: Cloud, fake: FakeCloud, request_: PortRequest, kind: str, made: int) -> None:
    fake.knobs.fail("create port", kind=kind)  # type: ignore[arg-type]
    with pytest.raises(errors.CloudUnavailable):
        Ports(cloud).create(request_).result()
    assert len(fake.ports) == made
    assert [call.status for call in fake.journal.calls("create port")] == [0]
    Ports(cloud).create(request_).result()


def test_a_fault_until_it_is_taken_back(cloud: Cloud, fake: FakeCloud, request_: PortRequest) -> None:
    body = {"NeutronError": {"type": "Strange", "message": "something strange", "detail": ""}}
    fake.knobs.fail("create port", times=-1, status=409, body=body)
    for _ in range(3):
        with pytest.raises(errors.CloudConflict, match="something strange"):
            Ports(cloud).create(request_).result()
    fake.knobs.heal("create port")
    Ports(cloud).create(request_).result()


def test_a_status_is_said_by_hand(cloud: Cloud, fake: FakeCloud, request_: PortRequest) -> None:
    ports = Ports(cloud)
    port = ports.create(request_).result()
    fake.set_status(port.id, "ACTIVE")
    assert ports.get(port.id).result().status == "ACTIVE"


def test_things_are_made_and_removed_beside_the_api(cloud: Cloud, fake: FakeCloud) -> None:
    network = fake.make("networks", name="mine")
    port = fake.make("ports", network_id=network["id"])
    assert Ports(cloud).get(port["id"]).result().network_id == network["id"]
    fake.remove("ports", port["id"])
    fake.remove("networks", network["id"])
    assert "create network" not in fake.journal.counts
    assert fake.ports == []


def test_subnets_come_from_a_pool(cloud: Cloud, fake: FakeCloud) -> None:
    cidrs = []
    for _ in range(3):
        network = fake.make("networks")
        pool = fake.subnet_pools[4]
        subnet = fake.make("subnets", network_id=network["id"], ip_version=4, subnetpool_id=pool)
        cidrs.append(subnet["cidr"])
    assert cidrs == ["10.128.0.0/24", "10.128.1.0/24", "10.128.2.0/24"]


def test_the_program_writes_a_configuration_that_works(tmp_path: Path) -> None:
    path = tmp_path / "kuryr.conf"
    command = [sys.executable, "-m", "kuryr.testing.fake_cloud", "--write-conf", str(path), "--rate", "100"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("Keystone: http://127.0.0.1:")
        conf = configure(path, path.read_text())
        cloud = Cloud(conf)
        try:
            assert cloud.project().project_id == conf.neutron_defaults.project
        finally:
            cloud.close(1)
            process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0
