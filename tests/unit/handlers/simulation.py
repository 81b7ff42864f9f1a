# SPDX-License-Identifier: Apache-2.0
"""A Kubernetes API, a Neutron and a controller in one thread, in which everything happens when a test says so.

The handlers, the chooser and the driver ``neutron-vif`` are the real ones. Watches deliver one event at a time and each kind
by itself, calls to Neutron complete one by one in any order and with any outcome, answers of the API get lost, and the
controller is killed and started again.
"""

import itertools
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future
from types import SimpleNamespace
from typing import Any

import msgspec

from kuryr.cloud import identity
from kuryr.cloud.networks import NetworkInfo, SubnetInfo
from kuryr.cloud.ports import FixedIP, Port, PortRequest
from kuryr.controller.findings import orphans
from kuryr.drivers.inventory import Snapshot
from kuryr.drivers.pod_vif.neutron_vif import NeutronVIF
from kuryr.drivers.types import AdditionalVIF, Choice
from kuryr.drivers.types import FixedIP as WantedIP
from kuryr.drivers.vif_pool.noop import NoopPool
from kuryr.errors import CloudUnavailable, KuryrError, SubnetFull, WaitFor
from kuryr.handlers.kuryrport import KuryrPortHandler
from kuryr.handlers.vif import VIFHandler, needs_port
from kuryr.k8s.errors import Conflict, NotFound, Unavailable
from kuryr.k8s.informer import Change
from kuryr.k8s.lease import LEASES
from kuryr.k8s.store import Store
from kuryr.objects.core import Pod, PodSpec
from kuryr.objects.kuryrport import KuryrPort
from kuryr.objects.meta import Key, KubernetesObject, ObjectMeta
from kuryr.objects.resources import KURYRPORTS, NODES, PODS

CLUSTER = "c"
Outcome = str
OUTCOMES = ("done", "done", "done", "lost", "refused", "full")
NETWORK = NetworkInfo(id="net", name="pods", mtu=1442)


def merged(target: Any, change: Any) -> Any:
    """JSON merge patch."""
    if not isinstance(change, dict):
        return change
    result = dict(target) if isinstance(target, dict) else {}
    for name, value in change.items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = merged(result.get(name), value)
    return result


Event = tuple[Any, Key, KubernetesObject | None]


class Api:
    """What etcd holds; ``log`` has every change, by kind."""

    def __init__(self) -> None:
        self.pods: dict[Key, Pod] = {}
        self.kuryrports: dict[Key, KuryrPort] = {}
        self.log: dict[str, list[Event]] = {"pods": [], "kuryrports": []}
        self._numbers = itertools.count(1)

    def number(self) -> str:
        return str(next(self._numbers))

    def put(self, obj: Any) -> None:
        resource, objects = (PODS, self.pods) if isinstance(obj, Pod) else (KURYRPORTS, self.kuryrports)
        obj.metadata.resource_version = self.number()
        objects[obj.key] = obj  # type: ignore[index]
        self._tell(resource, obj.key, obj)

    def remove(self, resource: Any, key: Key) -> None:
        (self.pods if resource is PODS else self.kuryrports).pop(key)  # type: ignore[attr-defined]
        self._tell(resource, key, None)

    def _tell(self, resource: Any, key: Key, obj: KubernetesObject | None) -> None:
        self.log[resource.plural].append((resource, key, obj))

    def delete_kuryrport(self, key: Key) -> None:
        port = self.kuryrports[key]
        if not port.metadata.finalizers:
            self.remove(KURYRPORTS, key)
        elif not port.deleting:
            metadata = msgspec.structs.replace(port.metadata, deletion_timestamp="now")
            self.put(msgspec.structs.replace(port, metadata=metadata))


class Client:
    """One controller's way to the API. ``faults`` says what happens to its next writes."""

    def __init__(self, api: Api, faults: list[str]) -> None:
        self._api = api
        self._faults = faults

    def _write(self, change: Callable[[], Any]) -> Any:
        fault = self._faults.pop(0) if self._faults else ""
        if fault == "refused":
            raise Unavailable("write", "not carried out")
        result = change()
        if fault == "lost":
            raise Unavailable("write", "carried out, but the answer is lost")
        return result

    def get(self, resource: Any, key: Key) -> Any:
        found = (self._api.pods if resource is PODS else self._api.kuryrports).get(key)
        if found is None:
            raise NotFound("get", "not found", status=404)
        return found

    def create(self, resource: Any, namespace: str, body: Any) -> KuryrPort:
        def change() -> KuryrPort:
            port = msgspec.convert(body, KuryrPort)
            if port.key in self._api.kuryrports:
                raise Conflict("create", "exists", status=409, reason="AlreadyExists")
            port.metadata.uid = f"kp-{self._api.number()}"
            self._api.put(port)
            return port

        return self._write(change)  # type: ignore[no-any-return]

    def merge_patch(self, resource: Any, key: Key, patch: Any, *, subresource: str = "") -> KuryrPort:
        def change() -> KuryrPort:
            port = self._api.kuryrports.get(key)
            if port is None:
                raise NotFound("patch", "not found", status=404)
            wanted = patch["metadata"]
            if (wanted["uid"], wanted["resourceVersion"]) != (
                port.metadata.uid,
                port.metadata.resource_version,
            ):
                raise Conflict("patch", "changed", status=409)
            part = (
                {"status": patch["status"]}
                if subresource
                else {"metadata": {"finalizers": wanted["finalizers"]}}
            )
            new = msgspec.convert(merged(msgspec.to_builtins(port), part), KuryrPort)
            if new.deleting and not new.metadata.finalizers:
                self._api.remove(KURYRPORTS, key)
            elif new != port:
                self._api.put(new)
            return new

        return self._write(change)  # type: ignore[no-any-return]

    def delete(self, resource: Any, key: Key, *, uid: str) -> None:
        def change() -> None:
            port = self._api.kuryrports.get(key)
            if port is None:
                raise NotFound("delete", "not found", status=404)
            if port.metadata.uid != uid:
                raise Conflict("delete", "another", status=409)
            self._api.delete_kuryrport(key)

        self._write(change)


class Call(msgspec.Struct, eq=False):
    """A call to Neutron that is under way."""

    kind: str
    carry_out: Callable[[], Any]
    future: Future[Any]


class Cloud:
    """The ports that there are, and the calls that are under way."""

    def __init__(self) -> None:
        self.ports: dict[str, Port] = {}
        self.calls: list[Call] = []
        self._numbers = itertools.count(1)

    def complete(self, call: Call, outcome: Outcome) -> None:
        """Let a call end: done, lost (carried out without an answer), refused, or full."""
        self.calls.remove(call)
        if outcome == "full" and call.kind == "create":
            call.future.set_exception(SubnetFull("no address is left"))
        elif outcome in ("refused", "full"):
            call.future.set_exception(CloudUnavailable("not carried out"))
        else:
            result = call.carry_out()
            if outcome == "lost":
                call.future.set_exception(CloudUnavailable("carried out, but the answer is lost"))
            else:
                call.future.set_result(result)

    def make(self, request: PortRequest) -> Port:
        port_id = f"port-{next(self._numbers)}"
        self.ports[port_id] = Port(
            id=port_id,
            network_id=request.network_id,
            mac_address="fa:16:3e:00:00:01",
            fixed_ips=tuple(FixedIP(ip.subnet_id, "10.0.0.9") for ip in request.fixed_ips),
            security_groups=tuple(request.security_groups or ()),
            device_id=request.device_id,
            device_owner=request.device_owner,
            description=request.description,
            host_id=request.host_id,
            vif_type="ovs",
            vif_details={},
        )
        return self.ports[port_id]

    def snapshot(self) -> Snapshot:
        found = {}
        for port in self.ports.values():
            who = identity.parse(port.description or "")
            assert who is not None
            found[port.id] = (port, who)
        return Snapshot(0.0, found)


class Ports:
    """One controller's way to Neutron; after its death nothing is asked any more."""

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud
        self.dead = False

    def _start(self, kind: str, carry_out: Callable[[], Any]) -> Future[Any]:
        call = Call(kind, carry_out, Future())
        if not self.dead:
            self._cloud.calls.append(call)
        return call.future

    def create(self, request: PortRequest) -> Future[Port]:
        return self._start("create", lambda: self._cloud.make(request))

    def delete(self, port_id: str, share: str = "", *, project_id: str | None = None) -> Future[None]:
        return self._start("delete", lambda: self._cloud.ports.pop(port_id, None) and None)

    def find(self, project_id: str | None = None, *, device_id: str, share: str = "") -> Future[list[Port]]:
        return self._start(
            "find", lambda: [port for port in self._cloud.ports.values() if port.device_id == device_id]
        )


class Inventory:
    """As kuryr.drivers.inventory, but listed at once."""

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud
        self._found: list[tuple[Port, identity.Identity]] = []

    def begin(self) -> None:
        self._found = list(self._cloud.snapshot().ports.values())

    def _take(self, wanted: Callable[[identity.Identity], bool]) -> list[Port]:
        taken = [port for port, who in self._found if wanted(who)]
        self._found = [(port, who) for port, who in self._found if port not in taken]
        return taken

    def take(self, uid: str, detail: str) -> list[Port]:
        return self._take(lambda who: (who.uid, who.detail) == (uid, detail))

    def take_unmarked(self, uid: str, wanted: Callable[[Port], bool]) -> Port | None:
        return None

    def take_all(self, uid: str) -> list[Port]:
        return self._take(lambda who: who.uid == uid)

    def forget(self, uid: str, port_id: str) -> None:
        self._found = [(port, who) for port, who in self._found if port.id != port_id]


class Subnets:
    def get(self, subnet_id: str, **_: Any) -> Future[SubnetInfo]:
        found: Future[SubnetInfo] = Future()
        found.set_result(SubnetInfo(id=subnet_id, network=NETWORK, cidr="10.0.0.0/16", ip_version=4))
        return found


def choice(subnet_id: str) -> Choice:
    return Choice(fixed_ips=(WantedIP(subnet_id),), reason=subnet_id)


class Controller:
    """Handlers over stores; ``pending`` are the keys to be reconciled."""

    def __init__(self, api: Api, cloud: Cloud, faults: list[str], behind: Mapping[str, int] = {}) -> None:
        self._api = api
        self.stores: dict[Any, Store[Any]] = {kind: Store() for kind in (PODS, KURYRPORTS, NODES, LEASES)}
        # How much of each log was delivered: all, or all but the last few.
        self._delivered = {name: max(0, len(log) - behind.get(name, 0)) for name, log in api.log.items()}
        for name, log in api.log.items():
            for resource, key, obj in log[: self._delivered[name]]:
                self._store(resource, key, obj)
        self.pending: list[tuple[str, Key]] = []
        self._ports = Ports(cloud)
        conf = SimpleNamespace(
            kubernetes=SimpleNamespace(
                lease_namespace="kube-system",
                pod_vif_driver="neutron-vif",
                additional_ifname_prefix="eth",
                use_events=False,
                port_debug=False,
            ),
            neutron_defaults=SimpleNamespace(ovs_bridge="br-int", network_device_mtu=0, resource_tags=[]),
            node_port=SimpleNamespace(enabled=False),
        )
        context: Any = SimpleNamespace(
            conf=conf,
            ports=self._ports,
            subnets=Subnets(),
            inventory=Inventory(cloud),
            cluster=CLUSTER,
            stores=self.stores,
        )
        driver = NeutronVIF(context)
        pool = NoopPool(context, driver)
        drivers = SimpleNamespace(
            pod_project=SimpleNamespace(project=lambda pod: "project"),
            pod_subnets=SimpleNamespace(choices=lambda pod, project: (choice("s1"), choice("s2"))),
            pod_security_groups=SimpleNamespace(security_groups=lambda pod, project: ("sg",)),
            multi_vif=[
                SimpleNamespace(
                    additional_vifs=lambda pod, project: (AdditionalVIF(choices=(choice("s3"),)),)
                )
            ],
            vif_pool=pool,
            vif_driver=lambda name="": pool,
            vif_drivers=lambda: [pool],
            all=list,
        )
        client = Client(api, faults)
        handled: Any = SimpleNamespace(
            conf=conf,
            client=client,
            stores=self.stores,
            drivers=drivers,
            subnets=Subnets(),
            observe_stage=lambda stage, seconds: None,
        )
        self.handlers: dict[str, Any] = {"vif": VIFHandler(handled), "kuryrport": KuryrPortHandler(handled)}
        driver.start()
        for resource in (PODS, KURYRPORTS):
            for key in self.stores[resource].keys():  # noqa: SIM118 - not a dict
                self._add("vif", key)
                self._add("kuryrport", key)

    def kill(self) -> None:
        """It does nothing any more; what it asked for may still be carried out."""
        self._ports.dead = True
        self.pending.clear()

    def _store(self, resource: Any, key: Key, obj: Any) -> Change[Any]:
        store = self.stores[resource]
        return Change(store.remove(key) if obj is None else store.upsert(obj), obj)

    def late(self, plural: str) -> int:
        """How many events of a kind are yet to be delivered."""
        return len(self._api.log[plural]) - self._delivered[plural]

    def _add(self, name: str, key: Key) -> None:
        if (name, key) not in self.pending:
            self.pending.append((name, key))

    def deliver(self, plural: str) -> None:
        """The next event of a kind."""
        resource, key, obj = self._api.log[plural][self._delivered[plural]]
        self._delivered[plural] += 1
        change = self._store(resource, key, obj)
        for name, handler in self.handlers.items():
            if handler.resource is not resource or handler.concerns(change):
                self._add(name, key)

    def run(self, position: int) -> None:
        """Reconcile one of the pending keys."""
        name, key = self.pending.pop(position)
        handler = self.handlers[name]
        try:
            again = handler.reconcile(key)
        except WaitFor as wait:
            for call in wait.calls:
                call.add_done_callback(lambda _: self._add(name, key))
        except KuryrError as error:
            handler.report(key, error)
            self._add(name, key)
        else:
            # Later, in a world where time passes as soon as nothing else happens.
            if again is not None:
                self._add(name, key)


class Simulation:
    """All of it, with what must hold at any time and in the end."""

    def __init__(self) -> None:
        self.api = Api()
        self.cloud = Cloud()
        self.faults: list[str] = []
        self.controller = Controller(self.api, self.cloud, self.faults)
        self.orderly = True
        self._suspects: set[str] = set()
        self._filled: dict[tuple[str, str], str] = {}

    def create_pod(self, name: str) -> None:
        metadata = ObjectMeta(name=name, namespace="ns", uid=f"pod-{self.api.number()}")
        self.api.put(Pod(metadata=metadata, spec=PodSpec(node_name="node")))

    def complete_pod(self, key: Key) -> None:
        pod = self.api.pods[key]
        self.api.put(
            msgspec.structs.replace(pod, status=msgspec.structs.replace(pod.status, phase="Succeeded"))
        )

    def delete_kuryrport(self, key: Key) -> None:
        """As a user does: the pod gets other ports."""
        uid = self.api.kuryrports[key].spec.pod_uid
        self._filled = {(pod, name): vif for (pod, name), vif in self._filled.items() if pod != uid}
        self.api.delete_kuryrport(key)

    def end_call(self, number: int, outcome: Outcome) -> None:
        """One of the calls ends."""
        self.orderly &= outcome != "lost"
        self.cloud.complete(self.cloud.calls[number % len(self.cloud.calls)], outcome)

    def trouble(self, fault: str) -> None:
        """The API's next write goes wrong."""
        self.orderly &= not fault
        self.faults.append(fault)

    def restart(self, **behind: int) -> None:
        """Kill the controller; the next one's stores are so many events behind."""
        self.orderly = False
        self.controller.kill()
        self._suspects.clear()
        self.controller = Controller(self.api, self.cloud, self.faults, behind)

    def audit(self) -> None:
        """What is found twice is deleted, unless the API knows better."""
        snapshot = self.cloud.snapshot()
        found = orphans(snapshot, self.controller.stores[KURYRPORTS].values())
        for port_id in found & self._suspects & orphans(snapshot, self.api.kuryrports.values()):
            del self.cloud.ports[port_id]
        self._suspects = found

    def living(self) -> Iterable[tuple[Pod, KuryrPort]]:
        """Pods that use their network, with their filled KuryrPorts."""
        for key, port in self.api.kuryrports.items():
            pod = self.api.pods.get(key)
            if pod is None or pod.metadata.uid != port.spec.pod_uid or not needs_port(pod) or port.deleting:
                continue
            if port.status.vifs:
                yield pod, port

    def check(self) -> None:
        """At any time: who has a port keeps it, and nobody else has it."""
        named: list[str] = []
        for pod, port in self.living():
            for name, vif in port.decoded_vifs().items():
                known = self._filled.setdefault((pod.metadata.uid, name), vif.id)
                assert known == vif.id, f"{port.key} {name}: {vif.id} took the place of {known}"
                assert vif.id in self.cloud.ports, f"{port.key} {name}: {vif.id} was deleted in use"
                named.append(vif.id)
        assert len(named) == len(set(named)), "a port has two users"

    def settle(self) -> None:
        """Let everything happen that has to, without further trouble."""
        self.faults.clear()
        for _ in range(10_000):
            controller = self.controller
            plural = next((name for name in self.api.log if controller.late(name)), None)
            if plural is not None:
                controller.deliver(plural)
            elif self.cloud.calls:
                self.cloud.complete(self.cloud.calls[0], "done")
            elif controller.pending:
                controller.run(0)
            else:
                break
            self.check()
        else:
            raise AssertionError("it never comes to rest")

    def check_settled(self) -> None:
        """In the end: each pod has a port for each VIF, and there is nothing else."""
        self.settle()
        # As long as nobody was killed and no answer was lost, there is nothing for an audit to find.
        for _ in range(0 if self.orderly else 3):
            self.audit()
            self.settle()
        wanted = {key: pod for key, pod in self.api.pods.items() if needs_port(pod)}
        assert set(self.api.kuryrports) == set(wanted)
        in_use: list[str] = []
        for key, pod in wanted.items():
            port = self.api.kuryrports[key]
            assert port.spec.pod_uid == pod.metadata.uid
            assert sorted(port.status.vifs) == ["eth0", "eth1"], f"{key} is not filled"
            in_use += [vif.id for vif in port.decoded_vifs().values()]
        assert sorted(self.cloud.ports) == sorted(in_use)
