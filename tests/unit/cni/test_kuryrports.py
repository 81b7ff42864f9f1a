# SPDX-License-Identifier: Apache-2.0
"""What a KuryrPort means for a waiting ADD, and what the daemon writes back."""

from __future__ import annotations

import threading
import time

import pytest

from kuryr.cni.kuryrports import KuryrPorts, allocated, diagnose, reported_up
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


def test_waiting_ends_at_the_deadline_and_when_cancelled() -> None:
    store: Store[KuryrPort] = Store()
    ports = KuryrPorts(store)
    never = lambda: False  # noqa: E731
    key = Key("default", "web")
    assert ports.wait_for(key, lambda k: k is not None, time.monotonic(), never) is None
    assert ports.wait_for(key, lambda k: k is not None, time.monotonic() + 60, lambda: True) is None
    store.upsert(kuryrport())
    assert ports.wait_for(key, lambda k: k is not None, time.monotonic(), never) is not None


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

        assert ports.wait_for(Key("default", name), there, time.monotonic() + 60, lambda: False) is not None

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
