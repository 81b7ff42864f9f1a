# SPDX-License-Identifier: Apache-2.0
"""When an audit touches what an auditor found."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import CancelledError
from typing import Any

import pytest
from oslo_config import cfg
from prometheus_client import CollectorRegistry

from kuryr.conf import kubernetes
from kuryr.controller.audit import Audit
from kuryr.controller.auditors import Auditor, Objects
from kuryr.controller.findings import CHANGED, ORPHAN, Finding
from kuryr.controller.metrics import Metrics
from kuryr.errors import CloudUnavailable, Retry
from kuryr.objects.resources import KURYRPORTS, Resource


def finding(name: str, verdict: str = ORPHAN) -> Finding:
    return Finding(resource="thing", id=name, verdict=verdict, owner="nobody", message=f"{name} is amiss")


class Things(Auditor):
    """Finds what is ``amiss`` and not among the objects."""

    resource = "thing"

    def __init__(self, *amiss: Finding) -> None:
        self.amiss = list(amiss)
        self.listings = 0
        self.mended: list[str] = []
        self.failing: set[str] = set()

    def list(self) -> None:
        self.listings += 1

    def judge(self, objects: Objects) -> Sequence[Finding]:
        owned = set(objects(KURYRPORTS))
        return [one for one in self.amiss if one.id not in owned]

    def mend(self, finding: Finding) -> str:
        if finding.id in self.failing:
            raise CloudUnavailable("no answer")
        self.mended.append(finding.id)
        return "mended"


class World:
    """An audit with a clock, what the stores know and what the API says."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *auditors: Auditor) -> None:
        self.now = 100.0
        monkeypatch.setattr("kuryr.controller.audit.time.monotonic", lambda: self.now)
        self.known: list[str] = []
        self.read: list[str] = []
        self.reads = 0
        self.may_write: Callable[[], None] = lambda: None
        conf = cfg.ConfigOpts()
        kubernetes.register_controller(conf)
        conf([])
        self.metrics = Metrics(CollectorRegistry())
        self.audit = Audit(
            conf,
            auditors,
            known=lambda resource: self.known,
            read=self._read,
            may_write=lambda: self.may_write(),
            metrics=self.metrics,
        )

    def _read(self, resource: Resource[Any]) -> Iterable[str]:
        self.reads += 1
        return self.read

    def run(self, after: float = 0.0) -> list[str]:
        self.now += after
        return [one.id for one in self.audit.run_once()]


def test_nothing_is_touched_at_first_sight_or_too_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    things = Things(finding("a"))
    world = World(monkeypatch, things)
    assert world.run() == []
    assert world.run(after=100) == []
    assert world.run(after=100) == ["a"]
    assert things.mended == ["a"]
    assert things.listings == 3


def test_what_the_api_knows_better_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    things = Things(finding("a"), finding("b"))
    world = World(monkeypatch, things)
    world.run()
    world.read = ["a"]
    assert world.run(after=200) == ["b"]
    assert things.mended == ["b"]


def test_the_api_is_asked_only_before_something_is_touched_and_once(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(monkeypatch, Things(finding("a")), Things(finding("b")))
    world.run()
    assert world.reads == 0
    assert world.run(after=200) == ["a", "b"]
    assert world.reads == 1


def test_what_was_gone_in_between_is_new(monkeypatch: pytest.MonkeyPatch) -> None:
    things = Things(finding("a"))
    world = World(monkeypatch, things)
    world.run()
    world.known = ["a"]
    world.run(after=100)
    world.known = []
    assert world.run(after=100) == []


def test_one_that_cannot_be_mended_keeps_no_other_from_it(monkeypatch: pytest.MonkeyPatch) -> None:
    things = Things(finding("a"), finding("b", CHANGED))
    things.failing = {"a"}
    world = World(monkeypatch, things)
    world.run()
    world.run(after=200)
    assert things.mended == ["b"]
    samples = world.metrics.registry.get_sample_value
    assert samples("kuryr_audit_repaired_total", {"verdict": "Changed"}) == 1
    assert samples("kuryr_audit_deleted_total") == 0
    assert samples("kuryr_audit_findings", {"verdict": "Orphan"}) == 1


def test_a_process_that_lost_its_lease_touches_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    things = Things(finding("a"))
    world = World(monkeypatch, things)
    world.run()

    def refuse() -> None:
        raise Retry("not the holder")

    world.may_write = refuse
    with pytest.raises(Retry):
        world.run(after=200)
    assert things.mended == []


def test_a_call_that_is_cancelled_when_the_controller_stops_is_no_bug(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def cancelled() -> None:
        raise CancelledError

    with caplog.at_level(logging.INFO, "kuryr.controller.audit"):
        World(monkeypatch).audit._try(cancelled)
    assert [(record.levelname, record.exc_info) for record in caplog.records] == [("INFO", None)]
