# SPDX-License-Identifier: Apache-2.0
"""What a KuryrPort means for a waiting ADD, and what the daemon writes back."""

from __future__ import annotations

import math
import threading
import time

import pytest

from kuryr.cni.kuryrports import KuryrPorts, allocated, diagnose, give_up_at, reported_up
from kuryr.cni.reports import up_patch
from kuryr.k8s.informer import Change
from kuryr.k8s.store import Store
from kuryr.objects.kuryrport import ALLOCATED, UP, KuryrPort, KuryrPortSpec, KuryrPortStatus, VIFStatus
from kuryr.objects.meta import Condition, Key, ObjectMeta
from kuryr.objects.vif import Network, VIFOpenVSwitch, encode

VIF = VIFOpenVSwitch(id="p", address="fa:16:3e:00:00:01", network=Network(id="n"), vif_name="tapp")


def kuryrport(
    *, uid: str = "u", vifs: bool = True, deleting: bool = False, static: bool = False
) -> KuryrPort:
    return KuryrPort(
        metadata=ObjectMeta(
            name="web", namespace="default", uid="kp", deletion_timestamp="now" if deleting else None
        ),
        spec=KuryrPortSpec(pod_uid=uid, pod_static=static),
        status=KuryrPortStatus(vifs={"eth0": VIFStatus(vif=encode(VIF), default=True)} if vifs else {}),
    )


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (None, False),
        (kuryrport(), True),
        (kuryrport(vifs=False), False),
        (kuryrport(uid="older"), False),
        (kuryrport(deleting=True), False),
        (kuryrport(uid="mirror", static=True), True),
        (kuryrport(uid="mirror", static=True, deleting=True), False),
    ],
)
def test_which_kuryrport_is_the_pods(found: KuryrPort | None, expected: bool) -> None:
    assert allocated(found, "u") is expected


def test_the_cause_is_named() -> None:
    assert "kuryr-k8s-controller seems to be down" in diagnose(None, "u")
    assert "an earlier pod of this name (UID older) is still there" in diagnose(kuryrport(uid="older"), "u")
    assert "still being deleted" in diagnose(kuryrport(uid="older", deleting=True), "u")
    silent = kuryrport(vifs=False)
    assert "kuryr-k8s-controller seems to be down or busy" in diagnose(silent, "u")
    silent.status.conditions = [
        Condition(type=ALLOCATED, status="False", reason="QuotaExceeded", message="ports: 10")
    ]
    assert diagnose(silent, "u") == "the port could not be had: QuotaExceeded: ports: 10"


@pytest.mark.parametrize(
    ("last_filled", "timeout", "known", "expected"),
    [
        pytest.param(-math.inf, 60, False, 1060, id="nothing comes"),
        pytest.param(900, 60, False, 1060, id="others came before"),
        pytest.param(1050, 60, False, 1110, id="others come"),
        pytest.param(1050, 60, True, 1060, id="others come, but it is known what is wrong"),
        pytest.param(1100, 60, False, 1140, id="time is left for the interface"),
        pytest.param(1100, 150, False, 1150, id="never less than the option says"),
        pytest.param(1100, 300, False, 1200, id="never longer than the whole ADD may take"),
    ],
)
def test_how_long_a_kuryrport_is_waited_for(
    last_filled: float, timeout: float, known: bool, expected: float
) -> None:
    found = kuryrport(vifs=False)
    if known:
        found.status.conditions = [Condition(type=ALLOCATED, status="False", reason="QuotaExceeded")]
    told = give_up_at(found, began=1000, last_filled=last_filled, timeout=timeout, last=1200)
    assert told == expected


def test_it_is_known_when_a_port_came_last() -> None:
    ports = KuryrPorts(Store())
    assert ports.last_filled == -math.inf
    ports.changed(Change(None, kuryrport(vifs=False)))
    assert ports.last_filled == -math.inf
    ports.changed(Change(kuryrport(vifs=False), kuryrport()))
    came = ports.last_filled
    assert came > 0
    ports.changed(Change(kuryrport(), kuryrport(deleting=True)))
    ports.changed(Change(kuryrport(deleting=True), None))
    assert ports.last_filled == came


def test_waiting_ends_at_the_deadline_and_when_cancelled() -> None:
    store: Store[KuryrPort] = Store()
    ports = KuryrPorts(store)
    never = lambda: False  # noqa: E731
    key = Key("default", "web")
    assert ports.wait_for(key, lambda k: k is not None, lambda _: time.monotonic(), never) is None
    assert ports.wait_for(key, lambda k: k is not None, lambda _: time.monotonic() + 60, lambda: True) is None
    store.upsert(kuryrport())
    assert ports.wait_for(key, lambda k: k is not None, lambda _: time.monotonic(), never) is not None


def test_whoever_waits_is_woken_by_its_own_pods_changes_alone() -> None:
    store: Store[KuryrPort] = Store()
    ports = KuryrPorts(store)
    looked: list[str] = []
    waiting = {name: threading.Event() for name in ("web", "other")}

    def wait(name: str) -> None:
        def there(found: KuryrPort | None) -> bool:
            looked.append(name)
            waiting[name].set()
            return found is not None

        key, deadline = Key("default", name), time.monotonic() + 60
        assert ports.wait_for(key, there, lambda _: deadline, lambda: False) is not None

    threads = [threading.Thread(target=wait, args=(name,)) for name in waiting]
    for thread in threads:
        thread.start()
    for event in waiting.values():
        assert event.wait(60)
    for name, thread in zip(("web", "other"), threads, strict=True):
        found = kuryrport()
        found.metadata.name = name
        store.upsert(found)
        ports.changed(Change(None, found))
        thread.join(60)
        assert not thread.is_alive()
        if name == "web":
            assert looked.count("other") == 1
    assert looked.count("web") == 2


def test_up_is_written_once() -> None:
    port = kuryrport()
    assert not reported_up(port, "eth0")
    patch = up_patch(port, ["eth0"], "netlink=0.01s")
    assert patch is not None
    assert patch["metadata"] == {"uid": "kp"}
    entry = patch["status"]["vifs"]["eth0"]
    assert entry["vif"] == {"versioned_object.data": {"active": True}}
    assert entry["conditions"][0]["type"] == UP
    assert entry["conditions"][0]["status"] == "True"
    assert entry["conditions"][0]["message"] == "netlink=0.01s"
    port.status.vifs["eth0"].conditions = [Condition(type=UP, status="True")]
    assert up_patch(port, ["eth0", "gone"], "") is None
    port.status.vifs["eth0"].conditions = [Condition(type=UP, status="False", reason="X")]
    assert up_patch(port, ["eth0"], "") is not None


def test_the_originals_vifs_say_by_their_field_that_they_are_up() -> None:
    port = kuryrport()
    port.status.vifs["eth0"].vif["versioned_object.data"]["active"] = True
    assert reported_up(port, "eth0")
    assert not reported_up(port, "eth1")
