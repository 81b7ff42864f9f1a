# SPDX-License-Identifier: Apache-2.0
"""Ports of a pool in one call, where that pays, and one by one where such a call is refused."""

from tests.functional.kubernetes import wait_until
from tests.functional.pools.conftest import Pools


def test_more_ports_a_call_where_a_call_takes_its_time_whatever_it_makes(pools: Pools) -> None:
    world = pools.world
    world.cloud.knobs.latency("create port", 0.3)
    world.cloud.knobs.latency("create ports", 0.3)
    with pools.controller(ports_pool_min=60, ports_pool_batch=60) as running:
        running.wait_holding()
        pools.wait_ready(60)
        made = world.count("create port")
        together = [len(call.body["ports"]) for call in world.cloud.journal.calls("create ports")]
        assert max(together) >= 4
        assert made + sum(together) == len(pools.ports()) == 60


def test_what_is_refused_together_is_made_one_by_one(pools: Pools) -> None:
    world = pools.world
    world.cloud.knobs.latency("create port", 0.3)
    world.cloud.knobs.fail("create ports", -1, status=409)
    with pools.controller(ports_pool_min=20, ports_pool_batch=20) as running:
        running.wait_holding()
        pools.wait_ready(20)
        wait_until(lambda: len(pools.ports()) == 20, "each was made once")
        assert world.count("create ports") > 0
        assert running.metric("kuryr_pool_events_total", event="failed") == 0
