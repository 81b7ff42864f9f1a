# SPDX-License-Identifier: Apache-2.0
"""What kuryr-daemon does for each CNI command."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

import msgspec

from kuryr.cni import adoption, attachments, verification
from kuryr.cni.activity import Activity
from kuryr.cni.addressing import Plan, plan
from kuryr.cni.attachments import Attachment
from kuryr.cni.binding import container
from kuryr.cni.binding.base import BindingDriver, BindingError, Node
from kuryr.cni.kuryrports import KuryrPorts, allocated, diagnose, give_up_at, reported_up
from kuryr.cni.locks import KeyedLocks
from kuryr.cni.pending import Addition, Additions
from kuryr.cni.protocol import IP, CniError, Code, Interface, Request, Result, Route
from kuryr.cni.stages import KURYRPORT, UP, Stages
from kuryr.errors import KuryrError, Retry
from kuryr.net.errors import SwitchUnavailable
from kuryr.objects.kuryrport import BY_CONTROLLER, KuryrPort
from kuryr.objects.meta import Key
from kuryr.objects.vif import VIF


class Observer(Protocol):
    """Hears what became of pods, off their path: nothing here may block or raise."""

    def attached(self, kuryrport: KuryrPort, interfaces: list[str], stages: Stages) -> None:
        """The pod's interfaces are up; those named are for this node to report."""

    def failed(self, pod: Key, pod_uid: str, error: CniError) -> None:
        """ADD failed."""


@dataclass(frozen=True, slots=True)
class Bound:
    """A VIF in its sandbox."""

    name: str
    vif: VIF
    attachment: Attachment
    plan: Plan
    driver: BindingDriver
    interfaces: tuple[Interface, ...] = ()


@dataclass(frozen=True, slots=True)
class Settings:
    """``timeout``: seconds for each of the two waits of ADD, as [cni_daemon] vif_annotation_timeout gives it now; for the
    KuryrPort since one of the node was filled last.

    ``deadline``: seconds for a whole ADD. The kubelet gives up after 240 and then names no cause.
    ``workers``: how many requests plug or unplug at a time; those that wait do not count.
    """

    timeout: Callable[[], float]
    deadline: float = 200.0
    workers: int = 30
    netns_path: Callable[[str], str] = field(default=lambda path: path)


class Plugin:
    """The CNI plugin of this node.

    :param drivers: binding drivers by class of VIF.
    :param pod_uid: asks the API for a pod's UID, for runtimes that do not pass it.
    :param serving: raises :class:`CniError` where an ADD could not be served, other than for the switch.
    :param ports: the locks of ports, by id, where others work on ports too.
    :param activity: told of what is done for requests.
    """

    def __init__(
        self,
        node: Node,
        drivers: Mapping[str, BindingDriver],
        kuryrports: KuryrPorts,
        observer: Observer,
        settings: Settings,
        *,
        pod_uid: Callable[[Key], str],
        serving: Callable[[], None],
        ports: KeyedLocks | None = None,
        activity: Activity | None = None,
    ) -> None:
        self._node = node
        self._drivers = drivers
        self._kuryrports = kuryrports
        self._observer = observer
        self._settings = settings
        self._pod_uid = pod_uid
        self._serving = serving
        self._ports = ports if ports is not None else KeyedLocks()
        self._activity = activity if activity is not None else Activity()
        self._containers = KeyedLocks()
        self._workers = threading.Semaphore(settings.workers)
        self._additions = Additions(self._wake)

    def _wake(self) -> None:
        self._kuryrports.wake()
        self._node.switch.wake()

    def give_up_waiting(self) -> None:
        """End the ADDs that wait, because the daemon stops; the kubelet makes them again."""
        self._additions.cancel("kuryr-daemon is stopping")

    def add(self, request: Request, stages: Stages, connected: Callable[[], bool]) -> Result:
        """Give the sandbox its pod's interfaces.

        :raises CniError: with nothing plugged.
        """
        pod = _pod(request)
        uid = request.args.get("K8S_POD_UID") or self._pod_uid(pod)
        try:
            with self._additions.running(request.container_id, str(pod), connected) as addition:
                return self._add(request, pod, uid, stages, addition)
        except CniError as error:
            self._observer.failed(pod, uid, error)
            raise

    def _add(self, request: Request, pod: Key, uid: str, stages: Stages, addition: Addition) -> Result:
        began = time.monotonic()
        last = began + self._settings.deadline
        with stages.measure(KURYRPORT):
            kuryrport = self._kuryrports.wait_for(
                pod,
                lambda found: allocated(found, uid),
                lambda found: give_up_at(
                    found,
                    began=began,
                    last_filled=self._kuryrports.last_filled,
                    timeout=self._settings.timeout(),
                    last=last,
                ),
                addition.cancelled,
            )
        if kuryrport is None:
            _raise_if_cancelled(addition)
            raise CniError(
                Code.TRY_AGAIN,
                f"pod {pod}: no Neutron port within {time.monotonic() - began:.0f} s: "
                f"{diagnose(self._kuryrports.get(pod), uid)}",
                reason="CNITimeoutKuryrPortRegistry",
            )
        bound = self._prepare(request, pod, uid, kuryrport)
        try:
            for i, entry in enumerate(bound):
                with (
                    self._activity.working(),
                    self._containers.held(request.container_id),
                    self._ports.held(entry.vif.id),
                    self._workers,
                ):
                    _raise_if_cancelled(addition)
                    made = entry.driver.connect(entry.vif, entry.attachment, entry.plan, stages)
                    bound[i] = Bound(entry.name, entry.vif, entry.attachment, entry.plan, entry.driver, made)
            with stages.measure(UP):
                self._wait_up(pod, uid, kuryrport, bound, last, addition)
        except Exception as error:
            self._roll_back(bound, error)
            raise
        own = [name for name, entry in kuryrport.status.vifs.items() if entry.reported_by != BY_CONTROLLER]
        self._observer.attached(kuryrport, own, stages)
        result = _result(bound)
        return result.after(request.previous) if request.previous is not None else result

    def _prepare(self, request: Request, pod: Key, uid: str, kuryrport: KuryrPort) -> list[Bound]:
        """Everything that can be refused before anything is touched, default interface first."""
        vifs = kuryrport.decoded_vifs()
        default = kuryrport.default_interface
        bound = []
        for name in sorted(vifs, key=lambda name: (name != default, name)):
            vif = vifs[name]
            driver = self._drivers.get(vif.kind)
            if driver is None:
                raise CniError(
                    Code.INVALID_VIF,
                    f"pod {pod}, interface {name}: no binding driver for {vif.kind}, "
                    f"there are {', '.join(sorted(self._drivers))}",
                )
            driver.validate(vif)
            attachment = Attachment(
                container=request.container_id,
                attachment=request.ifname,
                ifname=request.ifname if name == default else name,
                netns=self._settings.netns_path(request.netns),
                network=request.network,
                port=vif.id,
                pod=str(pod),
                pod_uid=uid,
                vif=vif.kind,
                device=driver.device(vif),
                mac=vif.address,
                pool=kuryrport.status.vifs[name].pool,
            )
            bound.append(Bound(name, vif, attachment, plan(vif, default=name == default), driver))
        return bound

    def _wait_up(
        self, pod: Key, uid: str, kuryrport: KuryrPort, bound: list[Bound], last: float, addition: Addition
    ) -> None:
        timeout = self._settings.timeout()
        deadline = min(last, time.monotonic() + timeout)
        for entry in bound:
            name = entry.name
            if kuryrport.status.vifs[name].reported_by == BY_CONTROLLER:
                up = self._controller_says_up(pod, uid, name, deadline, addition)
                who = "kuryr-k8s-controller does not report it as up"
            else:
                up = entry.driver.wait_up(entry.attachment, deadline, addition.cancelled)
                who = "" if up else entry.driver.why_down(entry.attachment)
            if not up:
                _raise_if_cancelled(addition)
                raise CniError(
                    Code.TRY_AGAIN,
                    f"pod {pod}, interface {name} (Neutron port {entry.vif.id}) is not up within {timeout:.0f} s: {who}",
                    reason="CNITimedOutWaitingForActiveVIFs",
                )

    def _controller_says_up(self, pod: Key, uid: str, name: str, deadline: float, addition: Addition) -> bool:
        found = self._kuryrports.wait_for(
            pod,
            lambda kuryrport: (
                allocated(kuryrport, uid) and kuryrport is not None and reported_up(kuryrport, name)
            ),
            lambda _: deadline,
            addition.cancelled,
        )
        return found is not None

    def _roll_back(self, bound: list[Bound], cause: Exception) -> None:
        """Leave nothing of an ADD that failed; what cannot be taken away now is told, and DEL takes it away."""
        for entry in bound:
            try:
                # What failed is not given back to a pool as it is: it is made anew.
                self._detach(msgspec.structs.replace(entry.attachment, pool=""))
            except Exception as error:
                cause.add_note(f"and {entry.attachment.device} is still plugged: {error!r}")

    def _detach(self, attachment: Attachment) -> None:
        driver = self._drivers.get(attachment.vif)
        if driver is None:
            raise BindingError(f"no binding driver for {attachment.vif}, which plugged {attachment.device}")
        with self._containers.held(attachment.container), self._ports.held(attachment.port), self._workers:
            driver.disconnect(attachment)

    def delete(self, request: Request) -> None:
        """Take away what ADD made for this sandbox; fine where nothing is."""
        self._additions.cancel("the sandbox is being removed", container=request.container_id)
        # An ADD that is just plugging is let through, so that what it plugs is seen here.
        with self._containers.held(request.container_id):
            found = self._found(request) or self._adopt(request)
        with self._activity.working():
            for attachment in found:
                self._detach(attachment)
        if not found:
            # Interfaces that no switch carries, and one made by a daemon that was killed before the switch knew of it.
            container.remove(
                self._settings.netns_path(request.netns) if request.netns else "",
                request.ifname,
                attachments.ALIAS + request.container_id,
            )

    def _found(self, request: Request) -> list[Attachment]:
        if not self._node.switch.expected:
            return []
        state = self._node.switch.require()
        return attachments.of_container(state, request.container_id, request.ifname)

    def _adopt(self, request: Request) -> list[Attachment]:
        """Make the ports that the original's daemon plugged for this sandbox ours."""
        if not self._node.switch.expected:
            return []
        netns_path = self._settings.netns_path(request.netns) if request.netns else ""
        namespace, name = request.args.get("K8S_POD_NAMESPACE", ""), request.args.get("K8S_POD_NAME", "")
        uid = request.args.get("K8S_POD_UID", "")
        kuryrport = self._kuryrports.get(Key(namespace, name))
        ports = set()
        if kuryrport is not None and uid and kuryrport.spec.pod_uid == uid:
            ports = {vif.id for vif in kuryrport.decoded_vifs().values()}
        mac = container.mac(netns_path, request.ifname)
        found = []
        for port in adoption.unowned(self._node.switch.state, mac, ports):
            attachment = adoption.adopted(
                port,
                container=request.container_id,
                ifname=request.ifname,
                netns=netns_path,
                network=request.network,
                pod=f"{namespace}/{name}",
                uid=uid,
            )
            self._node.switch.set_external_ids(port.name, attachment.external_ids())
            found.append(attachment)
        return found

    def check(self, request: Request) -> None:
        """Look whether what ADD made is all there.

        :raises CniError: naming what is not.
        """
        if request.previous is None:
            raise CniError(Code.INVALID_CONFIG, "CHECK needs prevResult in the network configuration")
        found = self._found(request)
        if not found and self._switched(request):
            raise CniError(
                Code.CHECK_FAILED,
                f"container {request.container_id} has no port for {request.ifname} on this node's switch",
            )
        try:
            for attachment in found:
                self._drivers[attachment.vif].check(attachment)
            verification.verify(
                self._settings.netns_path(request.netns),
                request.netns,
                request.previous,
                request.ifname,
                found,
            )
        except KuryrError as error:
            raise CniError(Code.CHECK_FAILED, str(error)) from error

    def _switched(self, request: Request) -> bool:
        """Whether a switch should carry the request's interface: its result has a side on the host."""
        previous = request.previous
        return previous is not None and any(not interface.sandbox for interface in previous.interfaces)

    def collect_garbage(self, request: Request) -> None:
        """Take away all attachments of the CNI network that the runtime does not list.

        :raises CniError: after trying all, with those that could not be taken away.
        """
        if not self._node.switch.expected:
            return  # the others went with their network namespaces
        if request.attachments is None:
            return
        failures = []
        state = self._node.switch.require()
        for attachment in attachments.stale(state, request.network, request.attachments):
            try:
                self._detach(attachment)
            except KuryrError as error:
                failures.append(f"{attachment.device} of {attachment.container}: {error}")
        if failures:
            raise CniError(Code.GC_FAILED, f"{len(failures)} attachments are left", "; ".join(failures))

    def status(self, request: Request) -> None:
        """Look whether an ADD could be served.

        :raises CniError: where not.
        """
        if self._node.switch.expected and not self._node.switch.connected:
            raise CniError(
                Code.LIMITED_CONNECTIVITY,
                f"Open vSwitch's database {self._node.switch.remote} does not answer",
            )
        self._serving()


def explain(error: Exception) -> CniError:
    """The error of CNI for what went wrong in a request."""
    match error:
        case CniError():
            return error
        case SwitchUnavailable():
            return CniError(Code.TRY_AGAIN, str(error), _notes(error))
        case KuryrError() if error.reason == "InvalidVIF":
            return CniError(Code.INVALID_VIF, str(error), _notes(error))
        case Retry():
            return CniError(Code.TRY_AGAIN, str(error), _notes(error))
        case KuryrError():
            return CniError(Code.BINDING, str(error), _notes(error))
        case _:
            return CniError(
                Code.INTERNAL,
                f"{type(error).__name__}: {error}; the log of kuryr-daemon has more",
                _notes(error),
            )


def _notes(error: Exception) -> str:
    return "; ".join(getattr(error, "__notes__", ()))


def _raise_if_cancelled(addition: Addition) -> None:
    if addition.cancelled():
        raise CniError(Code.TRY_AGAIN, f"ADD was given up: {addition.reason}")


def _pod(request: Request) -> Key:
    namespace = request.args.get("K8S_POD_NAMESPACE", "")
    name = request.args.get("K8S_POD_NAME", "")
    if not namespace or not name:
        raise CniError(
            Code.INVALID_ENVIRONMENT,
            "CNI_ARGS must have K8S_POD_NAMESPACE and K8S_POD_NAME: Kuryr wires Kubernetes pods only",
        )
    return Key(namespace, name)


def _result(bound: list[Bound]) -> Result:
    interfaces: list[Interface] = []
    ips: list[IP] = []
    routes: list[Route] = []
    nameservers: list[str] = []
    for entry in bound:
        interfaces += entry.interfaces
        index = len(interfaces) - 1
        ips += [IP(address.cidr, address.gateway, index) for address in entry.plan.addresses]
        routes += [Route(route.destination, route.gateway) for route in entry.plan.routes]
        nameservers += entry.plan.nameservers
    return Result(tuple(interfaces), tuple(ips), tuple(routes), tuple(dict.fromkeys(nameservers)))
