# SPDX-License-Identifier: Apache-2.0
import json
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from kuryr.cloud.ports import Port
from kuryr.controller import adoption
from kuryr.controller.verdicts import Code
from kuryr.drivers.types import Allocation
from kuryr.handlers.adoption import AdoptionHandler, adopted
from kuryr.handlers.decision import DECIDED, LEASE, is_decided, undecided
from kuryr.handlers.vif import needs_port
from kuryr.k8s.lease import LEASES, Lease
from kuryr.k8s.store import Store
from kuryr.objects.core import Pod
from kuryr.objects.kuryrport import UP, KuryrPort
from kuryr.objects.meta import Key, ObjectMeta
from kuryr.objects.original import POD_FINALIZER, unadopted_interfaces
from kuryr.objects.resources import KURYRPORTS
from kuryr.objects.resources import PODS as POD_KIND
from kuryr.objects.vif import decode

RECORDED = Path(__file__).parents[2] / "functional" / "adoption" / "recorded"
ITEMS = json.loads((RECORDED / "kubernetes.json").read_text())["items"]
PORTS = {
    port["id"]: msgspec.convert(port, Port)
    for port in json.loads((RECORDED / "neutron.json").read_text())["ports"]
    if port["device_owner"] == "compute:kuryr"
}


def recorded(kind: str, of: type[Any]) -> list[Any]:
    return [msgspec.convert(item, of) for item in ITEMS if item["kind"] == kind]


PODS: list[Pod] = recorded("Pod", Pod)
KURYRPORTS_THERE: list[KuryrPort] = recorded("KuryrPort", KuryrPort)


def test_a_survey_of_the_recorded_cluster() -> None:
    found = adoption.survey(PODS, KURYRPORTS_THERE, nodes=["spike1", "spike2"], lease_namespace="kube-system")
    assert len(found.interfaces) == 13
    assert {interface.port_id for interface in found.interfaces} == set(PORTS)
    assert len(found.held) == 12
    assert Key("shop", "done") not in found.held
    assert found.nodes == ("spike1", "spike2")
    assert (found.unreadable, found.ownerless, found.annotated) == ((), (), ())
    assert adoption.ports(found, PORTS).code is Code.SUCCESS
    assert adoption.objects(found).code is Code.SUCCESS
    assert adoption.state(found).code is Code.WARNING
    assert "13 Neutron ports of 12 pods" in adoption.explanation(found)[0]


def test_what_is_in_the_way_is_told() -> None:
    first, *rest = KURYRPORTS_THERE
    broken = msgspec.structs.replace(
        first, status=msgspec.convert({"vifs": {"eth0": {"vif": {}}}}, type(first.status))
    )
    old = Pod(
        metadata=ObjectMeta(name="old", namespace="shop", annotations={"openstack.org/kuryr-vif": "{}"}),
        spec=msgspec.structs.replace(PODS[0].spec),
    )
    gone = PODS.index(next(pod for pod in PODS if pod.metadata.name == "two-nics"))
    found = adoption.survey([*PODS[:gone], *PODS[gone + 1 :], old], [broken, *rest])
    assert found.ownerless == (Key("shop", "two-nics"),)
    assert found.annotated == (Key("shop", "old"),)
    verdict = adoption.objects(found)
    assert len(verdict.failures) == 2
    assert str(first.key) in verdict.failures[0]


def test_ports_that_are_gone_or_nobody_s_are_told() -> None:
    found = adoption.survey(PODS, KURYRPORTS_THERE)
    some = dict(list(PORTS.items())[1:])
    stranger = msgspec.structs.replace(PORTS[next(iter(PORTS))], id="stranger", device_id="another-cluster-s")
    ours = msgspec.structs.replace(stranger, id="ours", description="kuryr:c:pod:u:eth0")
    verdict = adoption.ports(found, {**some, "stranger": stranger, "ours": ours})
    assert verdict.code is Code.WARNING
    gone, lost = verdict.warnings
    assert next(iter(PORTS)) in gone
    assert lost.endswith("stranger.")


@pytest.mark.parametrize("groups", [("a", "b"), ("c",)])
def test_groups_of_a_policy_stay_unknown(groups: tuple[str, ...]) -> None:
    entry = KURYRPORTS_THERE[0].status.vifs["eth0"]
    found = Allocation(
        vif=decode(entry.vif), project_id="p", security_groups=groups, subnet_ids=("s",), reason=""
    )
    result = adopted(entry, found, ["a", "b"], now=datetime.now(UTC))
    assert result.vif == entry.vif
    assert (result.project_id, result.subnet_ids) == ("p", ["s"])
    assert result.security_groups == (["a", "b"] if groups == ("a", "b") else None)
    assert [condition.type for condition in result.conditions] == [UP]
    assert not unadopted_interfaces(
        msgspec.structs.replace(
            KURYRPORTS_THERE[0],
            status=msgspec.structs.replace(KURYRPORTS_THERE[0].status, vifs={"eth0": result}),
        )
    )


def test_undecided_until_the_lease_says_so() -> None:
    kuryrports: Store[KuryrPort] = Store()
    leases: Store[Lease] = Store()
    stores = {KURYRPORTS: kuryrports, LEASES: leases}
    assert not undecided(stores, "kube-system")
    kuryrports.upsert(KURYRPORTS_THERE[0])
    assert undecided(stores, "kube-system")
    assert undecided({KURYRPORTS: kuryrports}, "kube-system")
    lease = Lease(metadata=ObjectMeta(name=LEASE, namespace="kube-system"))
    leases.upsert(lease)
    assert not is_decided(lease)
    assert undecided(stores, "kube-system")
    lease = Lease(metadata=ObjectMeta(name=LEASE, namespace="kube-system", annotations={DECIDED: "now"}))
    leases.upsert(lease)
    assert not undecided(stores, "kube-system")


@pytest.mark.parametrize(
    ("finalizers", "grace", "deleted", "needed"),
    [
        ([POD_FINALIZER], None, None, True),
        ([POD_FINALIZER], 30, "2026-01-01T00:00:00Z", True),
        ([POD_FINALIZER], 0, "2026-01-01T00:00:00Z", False),
        ([], 0, "2026-01-01T00:00:00Z", True),  # gone in a moment: one look is enough
    ],
)
def test_a_pod_that_only_finalizers_keep_needs_no_port(
    finalizers: list[str], grace: int | None, deleted: str | None, needed: bool
) -> None:
    metadata = ObjectMeta(
        name="a", finalizers=finalizers, deletion_grace_period_seconds=grace, deletion_timestamp=deleted
    )
    assert needs_port(Pod(metadata=metadata, spec=PODS[0].spec)) is needed


def test_ports_are_marked_once_though_the_store_is_behind() -> None:
    key = Key("shop", "two-nics")
    (pod,) = [pod for pod in PODS if pod.key == key]
    (port,) = [port for port in KURYRPORTS_THERE if port.key == key]
    marked: list[str] = []
    written: list[Any] = []

    class Driver:
        def adopt(self, owner: Any, ifname: str, vif: Any, project_id: str) -> Allocation:
            marked.append(ifname)
            return Allocation(
                vif=vif,
                project_id=project_id,
                security_groups=("open",),
                subnet_ids=("pods",),
                reason="recorded",
            )

    class Client:
        def merge_patch(self, kind: Any, key: Key, patch: Any, *, subresource: str = "") -> None:
            written.append((kind.plural, patch))

    lease = Lease(
        metadata=ObjectMeta(
            name=LEASE, namespace="kube-system", annotations={DECIDED: "2026-01-01T00:00:00Z"}
        )
    )
    stores: dict[Any, Store[Any]] = {kind: Store() for kind in (POD_KIND, KURYRPORTS, LEASES)}
    for kind, obj in ((POD_KIND, pod), (KURYRPORTS, port), (LEASES, lease)):
        stores[kind].upsert(obj)
    context: Any = SimpleNamespace(
        conf=SimpleNamespace(kubernetes=SimpleNamespace(lease_namespace="kube-system")),
        client=Client(),
        stores=stores,
        drivers=SimpleNamespace(
            pod_project=SimpleNamespace(project=lambda pod: "project"),
            pod_security_groups=SimpleNamespace(security_groups=lambda pod, project: ["open"]),
            vif_driver=lambda name: Driver(),
        ),
    )
    handler = AdoptionHandler(context)
    handler.reconcile(key)
    handler.reconcile(key)
    assert sorted(marked) == ["eth0", "eth1"]
    (kind, patch), again = written
    assert kind == "kuryrports"
    assert again[1]["status"]["vifs"].keys() == patch["status"]["vifs"].keys() == {"eth0", "eth1"}
    # Once it is shown, only the finalizer is left, and the ports are looked at anew another time.
    shown = {
        name: msgspec.convert(vif, type(port.status.vifs[name]))
        for name, vif in patch["status"]["vifs"].items()
    }
    status = msgspec.structs.replace(port.status, vifs=shown)
    stores[KURYRPORTS].upsert(msgspec.structs.replace(port, status=status))
    handler.reconcile(key)
    assert len(marked) == 2
    assert written[-1][0] == "pods"
