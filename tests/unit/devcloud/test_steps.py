# SPDX-License-Identifier: Apache-2.0
import threading

import pytest

from devcloud import steps
from devcloud.steps import Step


def test_a_step_runs_after_those_that_it_names():
    done = []
    steps.run_steps(
        [
            Step("c", lambda: done.append("c"), after=("a", "b")),
            Step("b", lambda: done.append("b"), after=("a",)),
            Step("a", lambda: done.append("a")),
        ]
    )
    assert done == ["a", "b", "c"]


def test_steps_without_an_order_run_side_by_side():
    meeting = threading.Barrier(2, timeout=10)
    steps.run_steps([Step("a", meeting.wait), Step("b", meeting.wait)])


def test_what_is_done_is_not_run_again(capsys):
    def never() -> None:
        raise AssertionError

    steps.run_steps([Step("a", never, done=lambda: True)])
    assert "a .................................. there already" in capsys.readouterr().out


def test_nothing_new_is_started_after_a_failure():
    done = []

    def fail() -> None:
        raise ValueError("no disk")

    with pytest.raises(steps.StepError, match="a: no disk"):
        steps.run_steps([Step("a", fail), Step("b", lambda: done.append("b"), after=("a",))])
    assert done == []


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ([Step("a", print, after=("nowhere",))], "'a' comes after .*nowhere"),
        ([Step("a", print, after=("b",)), Step("b", print, after=("a",))], "wait for each other"),
        ([Step("a", print), Step("a", print)], "two steps"),
    ],
)
def test_an_impossible_order_is_refused(wanted, message):
    with pytest.raises(ValueError, match=message):
        steps.order(wanted)


def test_a_note_names_its_step(capsys):
    steps.run_steps([Step("build", lambda: steps.note("half"))])
    assert "build: half" in capsys.readouterr().out
