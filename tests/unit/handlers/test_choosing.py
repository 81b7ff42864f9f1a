# SPDX-License-Identifier: Apache-2.0
"""Candidates in order, over several reconciles."""

from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

import pytest

from kuryr.drivers.types import Allocation, Choice, FixedIP, Owner, VIFRequest
from kuryr.errors import (
    AddressInUse,
    CloudNotFound,
    CloudUnavailable,
    KuryrError,
    QuotaExceeded,
    Retry,
    SubnetFull,
    WaitFor,
)
from kuryr.handlers.choosing import Chooser
from kuryr.objects.meta import Key
from kuryr.objects.vif import Network, VIFOpenVSwitch

OWNER = Owner(kind="Pod", key=Key("ns", "a"), uid="uid", node="node")


def choice(name: str) -> Choice:
    return Choice(fixed_ips=(FixedIP(name),), reason=f"because of {name}")


def request(*names: str) -> VIFRequest:
    return VIFRequest(
        owner=OWNER,
        ifname="eth0",
        project_id="project",
        choices=tuple(choice(name) for name in names),
        security_groups=(),
    )


class Driver:
    """Answers by the subnet of the choice; remembers what it was asked."""

    def __init__(self, **answers: KuryrError) -> None:
        self.answers = answers
        self.asked: list[str] = []

    def request_vif(self, request: VIFRequest, choice: Choice) -> Allocation:
        (subnet,) = choice.subnet_ids
        self.asked.append(subnet)
        if subnet in self.answers:
            raise self.answers[subnet]
        vif = VIFOpenVSwitch(id=f"port-{subnet}", address="", network=Network(id="n"), vif_name="tap")
        return Allocation(
            vif=vif,
            project_id="project",
            security_groups=("sg",),
            subnet_ids=choice.subnet_ids,
            reason=choice.reason,
        )


def allocate(chooser: Chooser, request: VIFRequest, driver: Any) -> Allocation:
    return chooser.allocate(request, driver)


def test_the_first_that_works() -> None:
    driver = Driver()
    allocation = allocate(Chooser(), request("a", "b"), driver)
    assert allocation.subnet_ids == ("a",)
    assert allocation.reason == "because of a"
    assert driver.asked == ["a"]


@pytest.mark.parametrize("error", [SubnetFull, AddressInUse, QuotaExceeded])
def test_what_is_passed_over(error: type[KuryrError]) -> None:
    driver = Driver(a=error("no more"))
    allocation = allocate(Chooser(), request("a", "b"), driver)
    assert allocation.subnet_ids == ("b",)
    assert allocation.reason == "because of b (passed over because of a: no more)"
    assert (allocation.vif.id, allocation.security_groups) == ("port-b", ("sg",))


@pytest.mark.parametrize("error", [CloudUnavailable("down"), CloudNotFound("gone"), Retry("later")])
def test_any_other_error_is_no_reason_to_go_on(error: KuryrError) -> None:
    driver = Driver(a=error)
    with pytest.raises(type(error)):
        allocate(Chooser(), request("a", "b"), driver)
    assert driver.asked == ["a"]


def test_a_candidate_that_failed_is_not_asked_again_while_another_is_under_way() -> None:
    chooser = Chooser()
    call: Future[None] = Future()
    driver = Driver(a=SubnetFull("full"), b=WaitFor([call]))
    for _ in range(3):
        with pytest.raises(WaitFor):
            allocate(chooser, request("a", "b", "c"), driver)
    assert driver.asked == ["a", "b", "b", "b"]
    del driver.answers["b"]
    assert allocate(chooser, request("a", "b", "c"), driver).subnet_ids == ("b",)
    assert driver.asked[-1] == "b"


def test_when_all_failed_all_are_named_and_tried_again() -> None:
    chooser = Chooser()
    driver = Driver(a=SubnetFull("full"), b=AddressInUse("taken"))
    for _ in range(2):
        driver.asked.clear()
        with pytest.raises(AddressInUse, match="because of a: full; because of b: taken"):
            allocate(chooser, request("a", "b"), driver)
        assert driver.asked == ["a", "b"]


def test_the_only_candidate_s_own_error_is_raised() -> None:
    error = SubnetFull("full", reason="SubnetFull", retry_after=7)
    with pytest.raises(SubnetFull) as raised:
        allocate(Chooser(), request("a"), Driver(a=error))
    assert raised.value is error


def test_no_candidate_at_all() -> None:
    with pytest.raises(Retry, match="no candidate for interface eth0"):
        allocate(Chooser(), request(), Driver())


@pytest.mark.parametrize(
    "forget", [lambda chooser: chooser.forget("uid", "eth0"), lambda chooser: chooser.forget_all("uid")]
)
def test_what_is_forgotten_is_tried_from_the_beginning(forget: Callable[[Chooser], None]) -> None:
    chooser = Chooser()
    driver = Driver(a=SubnetFull("full"), b=WaitFor([Future()]))
    with pytest.raises(WaitFor):
        allocate(chooser, request("a", "b"), driver)
    forget(chooser)
    driver.answers.clear()
    assert allocate(chooser, request("a", "b"), driver).subnet_ids == ("a",)


def test_owners_are_told_apart() -> None:
    chooser = Chooser()
    driver = Driver(a=SubnetFull("full"), b=WaitFor([Future()]))
    with pytest.raises(WaitFor):
        allocate(chooser, request("a", "b"), driver)
    other = Owner(kind="Pod", key=Key("ns", "b"), uid="other", node="node")
    driver.answers.clear()
    found = allocate(
        chooser,
        VIFRequest(
            owner=other,
            ifname="eth0",
            project_id="p",
            choices=(choice("a"), choice("b")),
            security_groups=(),
        ),
        driver,
    )
    assert found.subnet_ids == ("a",)
