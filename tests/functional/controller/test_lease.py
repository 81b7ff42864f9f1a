# SPDX-License-Identifier: Apache-2.0
"""Who does the work: hand-over, crash, partition, signals, and an API that goes and comes back."""

import os
import signal
from contextlib import ExitStack

from tests.functional.controller.harness import World
from tests.functional.controller.process import Process, holder, wait_holder
from tests.functional.kubernetes import wait_until
from tests.functional.proxy import Proxy

AUDITED = {"kubernetes": {"audit_period": 1, "audit_grace": 1}}


def test_of_two_controllers_one_works(world: World) -> None:
    with world.controller() as first:
        first.wait_holding()
        with world.controller() as second:
            for number in range(20):
                world.create_pod(f"a{number}")
            for number in range(20):
                world.wait_filled(f"a{number}")
            assert not second.holding
            assert second.reconciles("kuryrport") == 0
            assert world.count("create port") == 20
            first.stop()
            second.wait_holding()
            world.create_pod("b")
            world.wait_filled("b")
            assert len(world.ports()) == 21


def test_a_holder_that_is_killed_is_replaced(world: World) -> None:
    with Process(world.configuration()) as first:
        killed = wait_holder(world)
        with Process(world.configuration()) as standby:
            standby.wait_ready()
            world.create_pod("a")
            world.wait_filled("a")
            first.kill()
            world.create_pod("b")
            wait_holder(world, other_than=killed)
            world.wait_filled("b")
            assert len(world.ports()) == 2
            assert world.count("create port") == 2


def test_of_two_workers_one_stands_by(world: World) -> None:
    """One is killed: the other takes over, and a new one stands by for it."""
    with Process(world.configuration({"kubernetes": {"workers": 2}})) as running:
        running.wait_ready()
        world.create_pod("a")
        world.wait_filled("a")
        first = wait_holder(world)
        os.kill(int(first.split("_")[-2]), signal.SIGKILL)
        second = wait_holder(world, other_than=first)
        world.create_pod("b")
        world.wait_filled("b")
        os.kill(int(second.split("_")[-2]), signal.SIGKILL)
        wait_holder(world, other_than=second)
        world.delete_pod("a")
        world.wait_gone("a")
        assert len(world.ports()) == 1
        running.signal(signal.SIGTERM)
        assert running.wait() == 0
        assert holder(world) == ""


def test_a_holder_that_is_cut_off_stops_writing(world: World) -> None:
    """It still reaches Neutron, and has a long queue of ports to make; another takes over meanwhile."""
    many = 40
    with Proxy(world.api.port) as proxy:
        first = world.controller(AUDITED, api_root=f"https://127.0.0.1:{proxy.port}")
        with first, world.gate("create port") as gate:
            first.wait_holding()
            for number in range(many):
                world.create_pod(f"a{number}")
            wait_until(lambda: gate.arrived > 0, "ports are being made")
            wait_until(
                lambda: (
                    first.metric("kuryr_reconcile_seconds_count", handler="kuryrport", result="waiting")
                    >= many
                ),
                "all others wait",
            )
            in_flight = gate.arrived
            before = holder(world)
            proxy.hang(new=True)
            with world.controller(AUDITED) as second:
                wait_holder(world, other_than=before)
                second.wait_holding()
                gate.open()
                for number in range(many):
                    world.wait_filled(f"a{number}")
                # Those in flight could not be called back; of those that were queued none went.
                world.wait_ports(many)
                assert world.count("create port") <= in_flight + many
                proxy.flow()
                wait_until(lambda: not first.holding, "the first knows that it is not the holder any more")
                world.create_pod("last")
                world.wait_filled("last")
                assert len(world.ports()) == many + 1


def test_sigterm_ends_what_is_in_flight_first(world: World) -> None:
    """Exit code 0, the Lease given back, and what was being made is found by the next."""
    options = {"kubernetes": {"graceful_timeout": 60}}
    with Process(world.configuration(options)) as first:
        wait_holder(world)
        first.wait_ready()
        with world.gate("create port") as gate:
            world.create_pod("a")
            wait_until(lambda: gate.arrived == 1, "the port is being made")
            first.signal(signal.SIGTERM)
            wait_until(lambda: "SIGTERM" in first.said, "it begins to stop")
            gate.open()
        assert first.wait() == 0
        assert holder(world) == ""
    assert "Traceback" not in first.said
    assert len(world.ports()) == 1
    with world.controller() as second:
        second.wait_holding()
        world.wait_filled("a")
        assert world.count("create port") == 1


def test_sigterm_abandons_what_takes_too_long(world: World) -> None:
    options = {"kubernetes": {"graceful_timeout": 3}}
    with Process(world.configuration(options)) as first:
        wait_holder(world)
        first.wait_ready()
        with world.gate("create port") as gate:
            world.create_pod("a")
            wait_until(lambda: gate.arrived == 1, "the port is being made")
            first.signal(signal.SIGTERM)
            assert first.wait() == 0
            assert holder(world) == ""


def test_sighup_reads_mutable_options_and_restarts_nothing(world: World) -> None:
    path = world.configuration({"kubernetes": {"audit_period": 3600}})
    with Process(path) as running:
        before = wait_holder(world)
        world.create_pod("a")
        world.wait_filled("a")
        world.cloud.journal.clear()
        path.write_text(path.read_text().replace("audit_period = 3600", "audit_period = 1"))
        running.signal(signal.SIGHUP)
        wait_until(lambda: world.count("list ports") >= 2, "audits are made at the new period")
        assert holder(world) == before, "the same process holds the Lease"
        assert "audit_period" in running.said
        world.create_pod("b")
        world.wait_filled("b")


def test_a_worker_that_takes_another_s_place_has_the_options_of_now(world: World) -> None:
    path = world.configuration({"kubernetes": {"audit_period": 3600}})
    with Process(path) as running:
        before = wait_holder(world)
        path.write_text(path.read_text().replace("audit_period = 3600", "audit_period = 1"))
        running.signal(signal.SIGHUP)
        wait_until(lambda: world.count("list ports") >= 2, "audits are made at the new period")
        os.kill(int(before.split("_")[-2]), signal.SIGKILL)
        wait_holder(world, other_than=before)
        world.cloud.journal.clear()
        wait_until(lambda: world.count("list ports") >= 3, "its successor makes them at that period too")


def test_sighup_with_a_file_that_cannot_be_read_changes_nothing(world: World) -> None:
    path = world.configuration()
    with Process(path) as running:
        before = wait_holder(world)
        path.write_text(path.read_text() + "\n[kubernetes\n")
        running.signal(signal.SIGHUP)
        wait_until(lambda: "cannot be read again" in running.said, "it says so")
        world.create_pod("a")
        world.wait_filled("a")
        assert holder(world) == before, "the same process holds the Lease"


def test_the_api_goes_and_comes_back(world: World) -> None:
    with world.controller() as running:
        running.wait_ready()
        world.create_pod("a")
        first = world.wait_filled("a")
        world.api.restart()
        world.create_pod("b")
        world.wait_filled("b")
        world.delete_pod("a")
        world.wait_gone("a", uid=first.metadata.uid)
        assert len(world.ports()) == 1


def test_the_api_is_away_longer_than_the_lease_lasts(world: World) -> None:
    """The only holder stops, and takes the work up again; nothing is made twice."""
    with ExitStack() as stack:
        proxy = stack.enter_context(Proxy(world.api.port))
        running = stack.enter_context(world.controller(api_root=f"https://127.0.0.1:{proxy.port}"))
        running.wait_ready()
        world.create_pod("a")
        world.wait_filled("a")
        proxy.refuse()
        proxy.drop()
        wait_until(lambda: not running.holding, "it no longer holds the Lease")
        world.create_pod("b")
        world.delete_pod("a")
        proxy.refuse(False)
        world.wait_filled("b")
        world.wait_gone("a")
        assert len(world.ports()) == 1
        assert world.count("create port") == 2
