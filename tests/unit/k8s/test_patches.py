# SPDX-License-Identifier: Apache-2.0
from datetime import UTC, datetime

from kuryr.k8s.apply import add_finalizer, remove_finalizer
from kuryr.k8s.conditions import find_condition, set_condition
from kuryr.objects.core import Pod
from kuryr.objects.meta import Condition, ObjectMeta

NOW = datetime(2026, 11, 22, 12, 0, 0, tzinfo=UTC)
LATER = datetime(2026, 11, 22, 13, 0, 0, tzinfo=UTC)


def test_a_condition_keeps_its_time_while_its_status_is_the_same() -> None:
    first = set_condition([], Condition(type="Up", status="False", reason="Waiting"), now=NOW)
    assert first[0].last_transition_time == "2026-11-22T12:00:00Z"
    second = set_condition(first, Condition(type="Up", status="False", reason="StillWaiting"), now=LATER)
    assert second[0].last_transition_time == first[0].last_transition_time
    assert second[0].reason == "StillWaiting"
    third = set_condition(second, Condition(type="Up", status="True"), now=LATER)
    assert third[0].last_transition_time == "2026-11-22T13:00:00Z"
    assert first[0].reason == "Waiting"


def test_an_equal_condition_gives_an_equal_list() -> None:
    conditions = [
        Condition(type="A", status="True", last_transition_time="t"),
        Condition(type="B", status="False"),
    ]
    assert set_condition(conditions, Condition(type="A", status="True"), now=NOW) == conditions
    assert find_condition(conditions, "B") == conditions[1]
    assert find_condition(conditions, "C") is None


def test_finalizer_patches_are_bound_to_the_version_read() -> None:
    pod = Pod(metadata=ObjectMeta(name="a", resource_version="5", finalizers=["other"]))
    assert add_finalizer(pod, "ours") == {
        "metadata": {"resourceVersion": "5", "finalizers": ["other", "ours"]}
    }
    assert add_finalizer(pod, "other") is None
    assert remove_finalizer(pod, "other") == {"metadata": {"resourceVersion": "5", "finalizers": None}}
    assert remove_finalizer(pod, "ours") is None
