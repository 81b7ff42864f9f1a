# SPDX-License-Identifier: Apache-2.0
"""The learnt limits against a Neutron that asks for fewer calls, fails, or has them collide."""

from __future__ import annotations

from concurrent.futures import wait

import pytest

from kuryr import errors
from kuryr.cloud.ports import FixedIP, Port, PortRequest, Ports
from kuryr.cloud.session import Cloud
from kuryr.testing.fake_cloud import FakeCloud

CONFLICT = {
    "NeutronError": {"type": "RetryRequest", "message": "concurrent transactions", "detail": ""},
}


def limit(cloud: Cloud) -> int:
    return cloud.limiter.limit("create port")


def make(cloud: Cloud, fake: FakeCloud, number: int) -> tuple[list[Port], list[BaseException]]:
    """Ports made at once, and what failed."""
    ports = Ports(cloud)
    network = next(network["id"] for network in fake.items("networks") if network["name"] == "pods")
    request = PortRequest(
        network_id=network, project_id=fake.project_id, fixed_ips=(FixedIP(fake.subnets["pods"][4]),)
    )
    calls = [ports.create(request) for _ in range(number)]
    wait(calls)
    failed = [error for call in calls if (error := call.exception()) is not None]
    return [call.result() for call in calls if call.exception() is None], failed


def test_throttling_halves_the_limit_and_retry_after_is_kept(cloud: Cloud, fake: FakeCloud) -> None:
    before = limit(cloud)
    fake.knobs.fail("create port", status=429, headers={"Retry-After": "1"})
    _, failed = make(cloud, fake, 1)
    assert [type(error) for error in failed] == [errors.CloudThrottled]
    assert limit(cloud) == before // 2
    made, failed = make(cloud, fake, 20)
    assert (len(made), failed) == (20, [])
    refused, *others = sorted(fake.journal.calls("create port"), key=lambda call: call.began)
    assert refused.status == 429
    assert others[0].began - refused.began >= 1, "none began before it was asked for"


@pytest.mark.parametrize("status", [500, 503])
def test_a_neutron_that_fails_is_asked_one_by_one_and_then_more_again(
    cloud: Cloud, fake: FakeCloud, status: int
) -> None:
    fake.knobs.fail("create port", times=40, status=status)
    _, failed = make(cloud, fake, 40)
    assert {type(error) for error in failed} == {errors.CloudUnavailable}
    assert limit(cloud) == 1
    fake.knobs.latency("create port", 0.01)
    _, failed = make(cloud, fake, 200)
    assert failed == []
    assert limit(cloud) > 1


def test_calls_in_each_others_way_lower_the_limit(cloud: Cloud, fake: FakeCloud) -> None:
    fake.knobs.latency("create port", 0.01)
    fake.knobs.fail("create port", times=60, status=409, body=CONFLICT)
    _, failed = make(cloud, fake, 60)
    assert {type(error) for error in failed} == {errors.CloudConflict}
    assert limit(cloud) == 1


def test_what_is_refused_for_one_port_alone_does_not(cloud: Cloud, fake: FakeCloud) -> None:
    fake.set_quota(fake.project_id, port=0)
    before = limit(cloud)
    _, failed = make(cloud, fake, 40)
    assert {type(error) for error in failed} == {errors.QuotaExceeded}
    assert limit(cloud) >= before
