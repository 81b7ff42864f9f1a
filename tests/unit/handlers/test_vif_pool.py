# SPDX-License-Identifier: Apache-2.0
"""What of a pool's KuryrPort is to be written."""

from concurrent.futures import Future
from types import SimpleNamespace
from typing import Any

import msgspec

from kuryr.drivers.types import Allocation, Stock
from kuryr.handlers.statuses import vif_status
from kuryr.handlers.vif_pool import MOST_SHOWN, VIFPoolHandler, changes
from kuryr.k8s.errors import Conflict
from kuryr.k8s.store import Store
from kuryr.objects.core import Node
from kuryr.objects.kuryrport import KuryrPort, KuryrPortSpec, VIFStatus
from kuryr.objects.meta import Condition, Key, ObjectMeta
from kuryr.objects.resources import KURYRPORTS, NODES
from kuryr.objects.vif import Network, VIFOpenVSwitch

UP = Condition("Up", "True", "Wired")


def allocation(vif_id: str, groups: tuple[str, ...] = ("g",)) -> Allocation:
    vif = VIFOpenVSwitch(
        id=vif_id, address="fa:16:3e:00:00:01", network=Network(id="n"), vif_name=f"tap{vif_id}"
    )
    return Allocation(
        vif=vif, project_id="p", security_groups=groups, subnet_ids=("s",), reason="r", pool="kuryr-pool.n1"
    )


def entry(vif_id: str, groups: tuple[str, ...] = ("g",), *, up: bool = False) -> VIFStatus:
    made = vif_status(allocation(vif_id, groups), default=False, driver="d")
    return msgspec.structs.replace(made, conditions=[UP]) if up else made


def written(shown: dict[str, VIFStatus], stock: Stock) -> dict[str, Any]:
    return changes(shown, stock, "d")


def test_what_is_ready_is_shown_and_what_is_not_is_taken_away() -> None:
    patch = written({"tapa": entry("a")}, Stock(ready=(allocation("b"),)))
    assert patch == {"tapa": None, "tapb": msgspec.to_builtins(entry("b"))}


def test_nothing_is_written_where_nothing_changed() -> None:
    shown = {"tapa": entry("a", up=True), "tapb": entry("b")}
    assert written(shown, Stock(ready=(allocation("b"), allocation("a")))) == {}


def test_what_was_handed_out_stays_until_its_kuryrport_was_seen() -> None:
    shown = {"tapa": entry("a", up=True)}
    assert written(shown, Stock(handed_out=frozenset({"a"}))) == {}
    assert written({}, Stock(handed_out=frozenset({"a"}))) == {}
    assert written(shown, Stock()) == {"tapa": None}


def test_a_vif_that_cannot_be_understood_is_its_ports_all_the_same() -> None:
    """Written by a later release, say."""
    strange = entry("a")
    assert strange.vif is not None
    strange.vif["versioned_object.name"] = "VIFOfTomorrow"
    assert written({"tapa": strange}, Stock(handed_out=frozenset({"a"}))) == {}
    assert written({"tapa": strange}, Stock()) == {"tapa": None}
    assert written({"tapa": strange}, Stock(ready=(allocation("a"),))) == {
        "tapa": msgspec.to_builtins(entry("a"))
    }


def test_other_groups_are_written() -> None:
    patch = written({"tapa": entry("a", up=True)}, Stock(ready=(allocation("a", ("g2",)),)))
    assert patch == {"tapa": msgspec.to_builtins(entry("a", ("g2",)))}


def test_what_a_late_report_left_is_taken_away() -> None:
    """A daemon's condition on an entry that was just taken away makes one without a VIF."""
    assert written({"tapa": VIFStatus(conditions=[UP])}, Stock()) == {"tapa": None}


def test_no_more_than_a_kuryrport_may_have_and_those_shown_first() -> None:
    ready = tuple(allocation(f"{number:03}") for number in range(100))
    first = written({}, Stock(ready=ready))
    assert len(first) == MOST_SHOWN
    last = {f"tap{number:03}": entry(f"{number:03}") for number in range(100 - MOST_SHOWN, 100)}
    assert written(last, Stock(ready=ready)) == {}


class RefusingClient:
    """An API that answers 409 where many write at once."""

    def __init__(self) -> None:
        self.asked = 0

    def merge_patch(self, *arguments: Any, **options: Any) -> None:
        self.asked += 1
        raise Conflict(
            "patch kuryrports/status", "please apply your changes to the latest version", status=409
        )


def handler(*, eased: float) -> tuple[VIFPoolHandler, RefusingClient]:
    """Of a node with a VIF that its pool's KuryrPort does not show yet."""
    node = Node(metadata=ObjectMeta(name="node", uid="uid"))
    shown = KuryrPort(
        metadata=ObjectMeta(name="kuryr-pool.node", namespace="kube-system", uid="port"),
        spec=KuryrPortSpec(pod_uid="uid", pod_node_name="node", owner_kind="Pool"),
    )
    stores: dict[Any, Store[Any]] = {NODES: Store(), KURYRPORTS: Store()}
    stores[NODES].upsert(node)
    stores[KURYRPORTS].upsert(shown)
    pool = SimpleNamespace(
        keeps_vifs=True,
        change=lambda name: Future(),
        eased=lambda name: eased,
        stock=lambda name: Stock(ready=(allocation("a"),)),
        vif_driver_name=lambda name: "",
    )
    client = RefusingClient()
    conf = SimpleNamespace(kubernetes=SimpleNamespace(lease_namespace="kube-system"))
    context: Any = SimpleNamespace(
        conf=conf, client=client, stores=stores, drivers=SimpleNamespace(vif_pool=pool)
    )
    return VIFPoolHandler(context), client


def test_what_could_not_be_written_is_written_later() -> None:
    """Nothing else may change for long: the node would be shown what is not ready any more."""
    refused, client = handler(eased=0.0)
    again = refused.reconcile(Key("", "node"))
    assert client.asked == 1
    assert again is not None


def test_nothing_is_written_in_a_burst_but_soon_after() -> None:
    eased, client = handler(eased=7.5)
    assert eased.reconcile(Key("", "node")) == 7.5
    assert client.asked == 0
