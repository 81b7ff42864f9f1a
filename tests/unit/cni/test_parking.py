# SPDX-License-Identifier: Apache-2.0
"""What is to be plugged ahead, unplugged and reported; the records of ports that wait."""

from __future__ import annotations

import threading
from collections.abc import Collection, Sequence

import pytest

from kuryr.cni import attachments, parked
from kuryr.cni.activity import Activity
from kuryr.cni.adoption import unowned
from kuryr.cni.attachments import Attachment
from kuryr.cni.binding.base import BindingError, Node
from kuryr.cni.binding.ovs import OpenVSwitchBinding
from kuryr.cni.locks import KeyedLocks
from kuryr.cni.parked import Parked
from kuryr.cni.parking import Steps, Wanted, plan, wired
from kuryr.cni.reports import parked_patch
from kuryr.net.switch import SwitchPort, SwitchState
from kuryr.objects.kuryrport import KuryrPort, KuryrPortSpec, KuryrPortStatus, VIFStatus
from kuryr.objects.meta import ObjectMeta
from kuryr.objects.vif import Network, VIFOpenVSwitch, vif_name

A = "aaaaaaaa-1111-2222-3333-444444444444"
B = "bbbbbbbb-1111-2222-3333-444444444444"
POOL = "kuryr-pool.node1"
NOW = 1000.0
GRACE = 60.0

DRIVER = OpenVSwitchBinding(Node(switch=None))  # type: ignore[arg-type]


def waiting(port: str = A, *, mtu: int = 1442) -> Parked:
    vif = VIFOpenVSwitch(
        id=port, address="fa:16:3e:00:00:07", network=Network(id="n", mtu=mtu), vif_name=vif_name("tap", port)
    )
    return parked.parked(vif, pool=POOL, bridge="br-int", device=vif.vif_name or "")


def attachment(port: str = A, *, pool: str = POOL) -> Attachment:
    return Attachment(
        container="c1",
        attachment="eth0",
        ifname="eth0",
        netns="/run/netns/x",
        network="kuryr",
        port=port,
        pod="default/web",
        pod_uid="uid-1",
        vif="VIFOpenVSwitch",
        device=vif_name("tap", port),
        mac="fa:16:3e:00:00:07",
        pool=pool,
    )


def kuryrport(names: Collection[str] = ()) -> KuryrPort:
    return KuryrPort(
        metadata=ObjectMeta(name=POOL, namespace="kuryr", uid="pool", resource_version="5"),
        spec=KuryrPortSpec(owner_kind="Pool"),
        status=KuryrPortStatus(vifs={name: VIFStatus() for name in names}),
    )


def wanted(*ports: Parked) -> dict[str, Wanted]:
    pool = kuryrport([port.device for port in ports])
    return {port.port: Wanted(pool, port.device, port, DRIVER) for port in ports}


def state(*records: Parked | SwitchPort, installed: bool = False) -> SwitchState:
    more = {"ovn-installed": "true"} if installed else {}
    ports = {}
    for record in records:
        if isinstance(record, Parked):
            record = SwitchPort(record.device, {**record.external_ids(), **more})
        ports[record.name] = record
    return SwitchState(ports=ports, external_ids={"ovn-remote": "x"})


def steps(
    listed: dict[str, Wanted],
    switch: SwitchState,
    here: Sequence[Parked] = (),
    *,
    in_use: Collection[str] = (),
    unlisted: dict[str, float] | None = None,
) -> Steps:
    names = {name for port in here for name in (port.device, port.inner)}
    return plan(listed, lambda port: port in in_use, switch, names, unlisted or {}, NOW, GRACE)


def test_what_is_listed_is_plugged_once() -> None:
    a, b = waiting(A), waiting(B)
    found = steps(wanted(a, b), state(a), [a])
    assert [entry.parked for entry in found.plug] == [b]
    assert (found.unplug, found.strays, found.unlisted) == ([], [], {})


@pytest.mark.parametrize("there", [waiting(mtu=9000), waiting()])
def test_what_is_not_as_it_should_be_is_plugged_anew(there: Parked) -> None:
    here = [there] if there.mtu == 9000 else []
    assert [entry.parked for entry in steps(wanted(waiting()), state(there), here).plug] == [waiting()]


def test_what_a_pod_has_is_left_alone() -> None:
    assert steps(wanted(waiting()), state(), in_use=[A]) == Steps()
    assert steps({}, state(waiting()), [waiting()], in_use=[A]) == Steps()
    sandbox = SwitchPort(waiting().device, attachment().external_ids())
    assert steps(wanted(waiting()), state(sandbox)) == Steps(), "an old sandbox's, until ADD takes it"
    assert steps({}, state(sandbox)) == Steps()


def test_what_nobody_names_goes_after_a_while() -> None:
    a = waiting()
    assert steps({}, state(a), [a]) == Steps(unlisted={A: NOW})
    assert steps({}, state(a), [a], unlisted={A: NOW - 1}) == Steps(unlisted={A: NOW - 1})
    assert steps({}, state(a), [a], unlisted={A: NOW - GRACE}) == Steps(unplug=[a])
    assert steps({}, state(a), []) == Steps(unplug=[a]), "its interface is gone"
    assert steps(wanted(a), state(a), [a], unlisted={A: NOW - GRACE}) == Steps()


def test_a_pair_that_never_came_on_the_switch_is_a_stray() -> None:
    assert steps({}, state(), [waiting()]).strays == [waiting().inner]
    assert steps(wanted(waiting()), state(), [waiting()]).strays == [], "it is made anew"


def test_what_waits_and_is_wired_is_up() -> None:
    listed = wanted(waiting())
    assert wired(listed.values(), state(waiting())) == []
    assert wired(listed.values(), state(waiting(), installed=True)) == list(listed.values())
    other = waiting(mtu=9000)
    assert wired(listed.values(), state(other, installed=True)) == [], "it is another's by its record"
    patch = parked_patch(listed[A].kuryrport, [waiting().device])
    assert patch["metadata"] == {"uid": "pool", "resourceVersion": "5"}
    (condition,) = patch["status"]["vifs"][waiting().device]["conditions"]
    assert (condition["type"], condition["status"]) == ("Up", "True")


def test_the_record_tells_who_has_the_port() -> None:
    own = waiting()
    record = SwitchPort(own.device, own.external_ids())
    assert parked.read(record) == own
    assert attachments.read(record) is None
    assert unowned(state(record), own.mac, [own.port]) == [], "it is not one that the original left"
    taken = SwitchPort(own.device, {**record.external_ids, **attachment().external_ids()})
    assert parked.read(taken) is None
    assert attachments.read(taken) == attachment()
    assert parked.of_attachment(attachment(), taken) == own
    plain = attachment(pool="")
    assert parked.of_attachment(plain, SwitchPort(own.device, plain.external_ids())) is None
    assert parked.of_attachment(attachment(), SwitchPort(own.device, attachment().external_ids())) is None


def test_zones_of_connections() -> None:
    switch = SwitchState(bridge_ids={"br-int": {f"ct-zone-{A}": "12", f"ct-zone-{B}": "x"}, "br-ex": {}})
    assert switch.conntrack_zone(A) == 12
    assert switch.conntrack_zone(B) is None


def test_a_trunks_bridge_is_made_with_the_pod() -> None:
    class Live:
        def require(self) -> SwitchState:
            return SwitchState(bridges={"br-int": "netdev"})

    driver = OpenVSwitchBinding(Node(switch=Live()))  # type: ignore[arg-type]
    network = Network(id="n", mtu=1442)
    vif = VIFOpenVSwitch(id=A, address="fa:16:3e:00:00:07", network=network, vif_name="")
    assert driver.parked(vif, POOL) == waiting()
    trunk = VIFOpenVSwitch(id=A, address="x", network=network, vif_name="", bridge_name="tbr-1")
    with pytest.raises(BindingError, match="before its pod"):
        driver.parked(trunk, POOL)


def test_only_locks_that_are_free_are_taken() -> None:
    locks = KeyedLocks()
    with locks.held("a"), locks.held_if_free(["a", "b"]) as taken:
        assert taken == {"b"}
        with locks.held_if_free(["b"]) as none:
            assert none == frozenset()
        inside = threading.Event()

        def other() -> None:
            with locks.held("b"):
                inside.set()

        thread = threading.Thread(target=other)
        thread.start()
        assert not inside.is_set()
    assert inside.wait(5)
    thread.join()
    assert locks._locks == {}


def _never() -> bool:
    return False


def _at_once() -> bool:
    return True


def test_work_that_can_wait_does() -> None:
    activity = Activity()
    assert activity.wait_quiet(0, 60, _never)
    with activity.working(), activity.working():
        assert not activity.wait_quiet(0, 0.01, _never)
    assert not activity.wait_quiet(60, 0.01, _never)
    assert not activity.wait_quiet(60, 60, _at_once)
    assert activity.wait_quiet(0.01, 60, _never)
