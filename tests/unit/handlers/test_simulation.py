# SPDX-License-Identifier: Apache-2.0
"""Pods come and go while events are late, calls fail, answers get lost and the controller is killed."""

from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from kuryr.handlers import vif
from kuryr.objects.meta import Key
from kuryr.objects.resources import PODS
from tests.unit.handlers.simulation import OUTCOMES, Simulation


@pytest.fixture(autouse=True, scope="module")
def no_waiting() -> Iterator[None]:
    """What is given time by the clock has had it: here things happen in any order, and no time passes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(vif, "TOLD_WITHIN", 0.0, raising=False)
        yield


NAMES = st.sampled_from(["a", "b"])
NUMBERS = st.integers(0, 1000)


class Life(RuleBasedStateMachine):
    """Every rule is something that can happen at any time."""

    def __init__(self) -> None:
        super().__init__()
        self.world = Simulation()

    @rule(name=NAMES)
    def a_pod_is_created(self, name: str) -> None:
        if Key("ns", name) not in self.world.api.pods:
            self.world.create_pod(name)

    @rule(name=NAMES)
    def a_pod_is_deleted(self, name: str) -> None:
        if Key("ns", name) in self.world.api.pods:
            self.world.api.remove(PODS, Key("ns", name))

    @rule(name=NAMES)
    def a_pod_completes(self, name: str) -> None:
        if Key("ns", name) in self.world.api.pods:
            self.world.complete_pod(Key("ns", name))

    @rule(name=NAMES)
    def somebody_deletes_a_kuryrport(self, name: str) -> None:
        if Key("ns", name) in self.world.api.kuryrports:
            self.world.delete_kuryrport(Key("ns", name))

    @rule(plural=st.sampled_from(["pods", "kuryrports"]), times=st.integers(1, 5))
    def events_arrive(self, plural: str, times: int) -> None:
        for _ in range(times):
            if self.world.controller.late(plural):
                self.world.controller.deliver(plural)

    @precondition(lambda self: self.world.controller.pending)
    @rule(number=NUMBERS)
    def a_key_is_reconciled(self, number: int) -> None:
        self.world.controller.run(number % len(self.world.controller.pending))

    @precondition(lambda self: self.world.cloud.calls)
    @rule(number=NUMBERS, outcome=st.sampled_from(OUTCOMES))
    def a_call_ends(self, number: int, outcome: str) -> None:
        self.world.end_call(number, outcome)

    @rule(fault=st.sampled_from(["", "lost", "refused"]))
    def the_api_is_in_trouble(self, fault: str) -> None:
        self.world.trouble(fault)

    @rule(pods=st.integers(0, 4), kuryrports=st.integers(0, 4))
    def another_takes_over(self, pods: int, kuryrports: int) -> None:
        self.world.restart(pods=pods, kuryrports=kuryrports)

    @rule()
    def time_passes(self) -> None:
        self.world.settle()

    @invariant()
    def who_has_a_port_keeps_it(self) -> None:
        self.world.check()

    def teardown(self) -> None:
        self.world.check_settled()


TestLife = Life.TestCase
TestLife.settings = settings(
    max_examples=300, stateful_step_count=60, deadline=None, suppress_health_check=list(HealthCheck)
)


A = Key("ns", "a")


def until_call(world: Simulation, kind: str) -> None:
    """Let things happen until a call of that kind is under way."""
    while not any(call.kind == kind for call in world.cloud.calls):
        controller = world.controller
        plural = next((name for name in world.api.log if controller.late(name)), None)
        if plural is not None:
            controller.deliver(plural)
        else:
            assert controller.pending, f"nothing leads to a call to {kind}"
            controller.run(0)


def test_a_watch_of_pods_that_is_behind_costs_no_pod_its_port() -> None:
    """Another takes over and knows of the KuryrPort before it knows of its pod."""
    world = Simulation()
    world.create_pod("a")
    world.settle()
    world.restart(pods=1)
    for _ in range(10):
        if world.controller.pending:
            world.controller.run(0)
    world.check_settled()


def test_a_watch_of_kuryrports_that_is_behind_costs_no_pod_its_port() -> None:
    """Another takes over and sees an earlier KuryrPort of the same pod on its way out."""
    world = Simulation()
    world.create_pod("a")
    world.settle()
    world.delete_kuryrport(A)
    world.settle()
    for behind in range(5):
        world.restart(kuryrports=behind)
        for _ in range(10):
            if world.controller.pending:
                world.controller.run(0)
        world.settle()
    world.check_settled()


def test_a_pod_deleted_while_its_ports_are_made_leaves_none() -> None:
    """And no audit is needed for that."""
    world = Simulation()
    world.create_pod("a")
    until_call(world, "create")
    world.api.remove(PODS, A)
    assert world.orderly
    world.check_settled()
    assert world.cloud.ports == {}


def test_what_a_killed_controller_made_is_taken_over() -> None:
    """Without an audit: there is never a third port."""
    world = Simulation()
    world.create_pod("a")
    until_call(world, "create")
    while world.cloud.calls:
        world.end_call(0, "done")
    assert len(world.cloud.ports) == 2
    world.restart()
    world.settle()
    assert len(world.cloud.ports) == 2
    world.check_settled()


def test_a_port_whose_answer_was_lost_is_found_again() -> None:
    world = Simulation()
    world.create_pod("a")
    until_call(world, "create")
    while any(call.kind == "create" for call in world.cloud.calls):
        world.end_call(0, "lost")
    world.settle()
    assert len(world.cloud.ports) == 2
    world.check_settled()
