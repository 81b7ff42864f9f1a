# SPDX-License-Identifier: Apache-2.0
"""The controller: what is composed of what, and who does it when."""

from __future__ import annotations

import logging
import os
import socket
import threading
import uuid
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import cotyledon
from oslo_config import cfg

from kuryr import serving
from kuryr.cloud.networks import Subnets
from kuryr.cloud.ports import Ports
from kuryr.cloud.security_groups import SecurityGroups
from kuryr.cloud.session import Cloud
from kuryr.conf.loading import read_again
from kuryr.controller import startup
from kuryr.controller.audit import Audit
from kuryr.controller.auditors import PortAuditor
from kuryr.controller.capacity import Capacity
from kuryr.controller.findings import Finding
from kuryr.controller.metrics import Metrics
from kuryr.controller.pipeline import Pipeline
from kuryr.controller.pools_socket import PoolManager, PoolsSocket
from kuryr.drivers.inventory import PortInventory, Snapshot
from kuryr.drivers.loading import Drivers
from kuryr.drivers.types import DriverContext, Stores
from kuryr.errors import Retry
from kuryr.handlers.base import Context
from kuryr.handlers.decision import LEASE as DECISION
from kuryr.k8s.client import Client
from kuryr.k8s.errors import ApiError
from kuryr.k8s.events import EventRecorder
from kuryr.k8s.informer import Informer
from kuryr.k8s.lease import LEASES, LeaseElector
from kuryr.k8s.settings import settings_from_conf
from kuryr.k8s.store import Store
from kuryr.objects.kuryrport import VIF_IDS, used_vif_ids
from kuryr.objects.meta import Key
from kuryr.objects.resources import KURYRPORTS, NAMESPACES, NODES, PODS, Resource

LOG = logging.getLogger(__name__)

COMPONENT = "kuryr-controller"
SHARD = "kuryr-controller-0"
PAUSE = 2.0
"""Seconds between two tries to reach the API server at start."""
RECHECK = 5.0
"""Seconds between two checks of what was found wrong at start."""


class Controller:
    """One process's controller: stands by with warm stores, and reconciles while it holds the shard."""

    def __init__(self, conf: cfg.ConfigOpts, metrics: Metrics | None = None) -> None:
        self._conf = conf
        self._stopping = threading.Event()
        self._changed = threading.Condition()
        self._wanted = False
        self._active = False
        self._problems: list[str] = ["starting"]
        self._informers: dict[Resource[Any], Informer[Any]] = {}
        self._pools_socket: PoolsSocket | None = None
        self._capacity: Capacity | None = None
        self.metrics = metrics or Metrics()

    def run(self) -> None:
        """Work until :meth:`stop`."""
        conf = self._conf
        services = self._serve()
        client = Client(settings_from_conf(conf), observe=self.metrics.kubernetes_call)
        cluster = conf.kubernetes.cluster_name or self._cluster(client)
        if cluster is None:
            return
        identity = f"{socket.gethostname()}_{os.getpid()}_{uuid.uuid4().hex[:8]}"
        recorder = EventRecorder(client, COMPONENT, identity)
        cloud = Cloud(conf, observe=self.metrics.cloud_call)
        stores: dict[Resource[Any], Store[Any]] = {}
        inventory = PortInventory(Ports(cloud), cluster, lambda: drivers.pod_project.projects())
        subnets = Subnets(cloud)
        classes = startup.handler_classes(conf)
        drivers = Drivers(
            DriverContext(
                conf=conf,
                cloud=cloud,
                ports=Ports(cloud),
                subnets=subnets,
                security_groups=SecurityGroups(cloud),
                inventory=inventory,
                stores=stores,
                cluster=cluster,
                read_kuryrports=lambda: client.list(KURYRPORTS).items,
            ),
            startup.kinds_used(classes),
        )
        context = Context(
            conf=conf,
            client=client,
            stores=stores,
            recorder=recorder,
            drivers=drivers,
            subnets=subnets,
            observe_stage=self.metrics.pod_stage,
        )
        handlers = {name: cls(context) for name, cls in classes.items()}
        resources = {KURYRPORTS, *(handler.resource for handler in handlers.values())}
        for handler in handlers.values():
            resources |= set(handler.watches())
        # Of the Leases only one is looked at, and only where Leases may be read.
        resources.discard(LEASES)
        informers: dict[Resource[Any], Informer[Any]] = {
            resource: Informer(client, resource) for resource in resources
        }
        informers[LEASES] = Informer(
            client,
            LEASES,
            namespace=conf.kubernetes.lease_namespace,
            field_selector=f"metadata.name={DECISION}",
        )
        stores.update({resource: informer.store for resource, informer in informers.items()})
        stores[KURYRPORTS].add_index(VIF_IDS, used_vif_ids)
        self._informers = informers
        pipeline = Pipeline(handlers, self._informers, self.metrics, conf.kubernetes.reconcile_threads)
        for informer in self._informers.values():
            informer.start()
        checks = partial(startup.check_all, conf, client, cloud, drivers, subnets, resources)
        threading.Thread(target=self._check, args=(checks,), name="startup-checks", daemon=True).start()
        elector = LeaseElector(
            client,
            conf.kubernetes.lease_namespace,
            SHARD,
            identity,
            on_acquired=lambda: self._want(True),
            on_lost=lambda: self._want(False),
        )
        client.fence = cloud.fence = elector.may_write
        capacity = self._capacity = Capacity(
            conf,
            cloud,
            drivers,
            subnets,
            inventory,
            self.metrics,
            partial(_tell_operator, conf, client, recorder),
        )

        def take_in(snapshot: Snapshot) -> None:
            drivers.vif_pool.audit(snapshot)
            capacity.count(snapshot)

        ports = PortAuditor(
            inventory,
            Ports(cloud),
            drivers,
            client,
            partial(_tell_owner, conf, stores, recorder),
            drivers.vif_pool.known_ports,
            take_in,
        )
        audit = Audit(
            conf,
            [ports],
            known=lambda resource: stores[resource].values(),
            read=lambda resource: client.list(resource).items,
            may_write=elector.may_write,
            metrics=self.metrics,
            begin=capacity.begin,
            before=capacity.before_audit,
        )
        self.metrics.watch_pool(drivers.vif_pool)
        self.metrics.watch_limiter(cloud.limiter)
        conf.register_mutate_hook(lambda conf, fresh: audit.wake())
        if conf.kubernetes.enable_manager:
            manager = PoolManager(drivers.vif_pool, stores[NODES])
            self._pools_socket = PoolsSocket(Path(conf.pool_manager.sock_file), manager)
        if self._synced():
            elector.start()
            self._hold_and_let_go(pipeline, drivers, audit)
        # What is in flight ends while the Lease is still ours, so that the next holder's listing shows it.
        if abandoned := cloud.close(self._grace):
            LOG.warning(
                "%d calls to OpenStack were abandoned; the next holder finds what they made.", abandoned
            )
        recorder.flush(2)
        elector.stop()
        recorder.stop()
        for informer in self._informers.values():
            informer.stop()
        for service in services:
            service.stop()

    def _hold_and_let_go(self, pipeline: Pipeline, drivers: Drivers, audit: Audit) -> None:
        while not self._stopping.is_set():
            with self._changed:
                self._changed.wait_for(lambda: self._stopping.is_set() or self._wanted != self._active)
                wanted = self._wanted and not self._stopping.is_set()
            if wanted and not self._active:
                self._begin(pipeline, drivers, audit)
            elif not wanted and self._active:
                self._end(pipeline, drivers, audit)
        if self._active:
            self._end(pipeline, drivers, audit)

    def _begin(self, pipeline: Pipeline, drivers: Drivers, audit: Audit) -> None:
        for driver in drivers.all():
            driver.start()
        pipeline.start()
        audit.start()
        if self._pools_socket is not None:
            self._pools_socket.start()
        self._active = True
        self.metrics.holding.labels(SHARD).set(1)

    def _end(self, pipeline: Pipeline, drivers: Drivers, audit: Audit) -> None:
        """Let what is in work finish while the Lease is still ours; then another may begin."""
        if self._pools_socket is not None:
            self._pools_socket.stop()
        audit.stop()
        if not pipeline.stop(self._grace):
            LOG.warning("Work in flight was abandoned; the next holder finds and completes it.")
        for driver in drivers.all():
            driver.stop()
        self._active = False
        self.metrics.holding.labels(SHARD).set(0)

    @property
    def _grace(self) -> float:
        """Seconds for work in flight, and again for calls in flight."""
        return float(self._conf.kubernetes.graceful_timeout) * 0.4

    def _want(self, holding: bool) -> None:
        with self._changed:
            self._wanted = holding
            self._changed.notify_all()

    def stop(self) -> None:
        """End gracefully; :meth:`run` returns when all is given back."""
        self._stopping.set()
        with self._changed:
            self._changed.notify_all()

    def _cluster(self, client: Client) -> str | None:
        """The UID of kube-system, which is as old as the cluster; None where told to stop before the API answers."""
        while not self._stopping.is_set():
            try:
                return client.get(NAMESPACES, Key("", "kube-system")).metadata.uid
            except Retry as error:
                self._problems = [str(error)]
                LOG.warning("Waiting for the Kubernetes API: %s", error)
                self._stopping.wait(PAUSE)
        return None

    def _synced(self) -> bool:
        while not self._stopping.is_set():
            if all(informer.wait_synced(0.5) for informer in self._informers.values()):
                return True
        return False

    def _check(self, find_problems: Callable[[], list[str]]) -> None:
        """Check until nothing is wrong; each problem is logged when it is found and when it is gone."""
        known: list[str] = []
        while not self._stopping.is_set():
            found = find_problems()
            for problem in found:
                if problem not in known:
                    LOG.error("%s", problem)
            for problem in known:
                if problem not in found:
                    LOG.info("No longer: %s", problem)
            self._problems = known = found
            if not found:
                return
            self._stopping.wait(RECHECK)

    # Health

    def _serve(self) -> list[serving.HTTPService]:
        conf = self._conf
        live, ready = serving.health(self._not_live), serving.health(self._not_ready)
        services = [
            serving.HTTPService(
                "health",
                conf.health_server.bind_address,
                conf.health_server.port,
                {"/livez": live, "/alive": live, "/readyz": ready, "/ready": ready},
            ),
            serving.HTTPService(
                "metrics",
                conf.prometheus_exporter.bind_address,
                conf.prometheus_exporter.controller_exporter_port,
                {"/metrics": serving.metrics(self.metrics.registry)},
            ),
        ]
        for service in services:
            service.start()
        return services

    def _not_live(self) -> list[str]:
        # Trouble outside, or with one object, is no reason to be restarted.
        return []

    def _not_ready(self) -> list[str]:
        unsynced = sorted(
            resource.plural for resource, informer in self._informers.items() if not informer.synced
        )
        full = self._capacity.problems() if self._capacity is not None else []
        return [*self._problems, *full, *(f"the {plural} are not listed yet" for plural in unsynced)]


def _tell_owner(
    conf: cfg.ConfigOpts, stores: Stores, recorder: EventRecorder, finding: Finding, reason: str, message: str
) -> None:
    """An Event on the pod or node of a finding."""
    port = stores[KURYRPORTS].get(finding.kuryrport) if finding.kuryrport is not None else None
    if port is None or not conf.kubernetes.use_events:
        return
    if port.spec.owner_kind == "Node":
        subject = stores[NODES].get(Key("", port.spec.pod_node_name))
    else:
        subject = stores[PODS].get(port.key)
    recorder.event(subject or port, reason, message)


def _tell_operator(
    conf: cfg.ConfigOpts, client: Client, recorder: EventRecorder, reason: str, message: str, warning: bool
) -> None:
    """An Event on the shard's Lease."""
    if not conf.kubernetes.use_events:
        return
    try:
        lease = client.get(LEASES, Key(conf.kubernetes.lease_namespace, SHARD))
    except ApiError as error:
        LOG.warning("No Event could be made of it: %s", error)
        return
    recorder.event(lease, reason, message, type="Warning" if warning else "Normal")


class ControllerService(cotyledon.Service):  # type: ignore[misc]
    """A worker process under cotyledon."""

    name = "kuryr-k8s-controller"

    def __init__(self, worker_id: int, conf: cfg.ConfigOpts) -> None:
        super().__init__(worker_id)
        read_again(conf)
        self._conf = conf
        self._controller = Controller(conf)
        self._ended = threading.Event()

    def run(self) -> None:
        """Run the controller (cotyledon calls it in a thread of the worker process)."""
        try:
            self._controller.run()
        finally:
            self._ended.set()

    def terminate(self) -> None:
        """Stop, in flight work first (cotyledon calls it at SIGTERM)."""
        self._controller.stop()
        self._ended.wait(self._conf.kubernetes.graceful_timeout)

    def reload(self) -> None:
        """Read mutable options again (cotyledon calls it at SIGHUP)."""
        read_again(self._conf)
