# SPDX-License-Identifier: Apache-2.0
"""kuryr-daemon's parts, put together from its configuration."""

from __future__ import annotations

import logging
import os
import socket
import sys
import threading
import time
from collections import defaultdict

from oslo_config import cfg

from kuryr.cni import attachments, parked
from kuryr.cni.activity import Activity
from kuryr.cni.attachments import Attachment
from kuryr.cni.binding import loading
from kuryr.cni.binding.base import Node
from kuryr.cni.dispatch import Dispatcher
from kuryr.cni.health import Failures, HealthServer
from kuryr.cni.kuryrports import KuryrPorts
from kuryr.cni.locks import KeyedLocks
from kuryr.cni.metrics import Metrics
from kuryr.cni.node_port import NodePort
from kuryr.cni.parking import Parking
from kuryr.cni.plugin import Plugin, Settings
from kuryr.cni.protocol import CniError, Code
from kuryr.cni.reports import Reporter
from kuryr.cni.server import Server
from kuryr.errors import KuryrError
from kuryr.k8s.client import Client
from kuryr.k8s.events import EventRecorder
from kuryr.k8s.informer import Informer
from kuryr.k8s.settings import settings_from_conf
from kuryr.net.switch import Switch
from kuryr.objects.kuryrport import NODE_LABEL, VIF_IDS, used_vif_ids
from kuryr.objects.meta import Key
from kuryr.objects.resources import KURYRPORTS, PODS

LOG = logging.getLogger(__name__)

SWITCH_INTERVAL = 0.0005
"""Seconds that a busy thread keeps the interpreter from another (Python's default is ten times as long)."""

SILENCE = 120.0
"""Seconds without a word of the API after which the daemon says that it is cut off."""


def node_name(environment: dict[str, str] | None = None) -> str:
    """This node's name in Kubernetes: KUBERNETES_NODE_NAME, else the host name in lower case."""
    named = (environment if environment is not None else os.environ).get("KUBERNETES_NODE_NAME")
    return named or socket.gethostname().lower()


def netns_path(conf: cfg.ConfigOpts, path: str) -> str:
    """Where this process sees a network namespace that the runtime names (docker_mode, netns_proc_dir)."""
    group = conf.cni_daemon
    if group.docker_mode and group.netns_proc_dir and path.startswith("/proc/"):
        return os.path.join(group.netns_proc_dir, path.removeprefix("/proc/"))
    return path


class Daemon:
    """All of a node. Make it in the process that runs it, after any fork.

    :raises ConfigurationError: for what cannot work.
    """

    def __init__(self, conf: cfg.ConfigOpts) -> None:
        if conf.cni_daemon.bind_address is not None:
            LOG.warning(
                "[cni_daemon] bind_address has no effect: requests come on the socket %s",
                conf.cni_daemon.socket_path,
            )
        self._conf = conf
        self.node_name = node_name()
        self._metrics = Metrics()
        self._client = Client(settings_from_conf(conf), observe=self._metrics.call)
        self._informer = Informer(self._client, KURYRPORTS, label_selector=f"{NODE_LABEL}={self.node_name}")
        self._informer.store.add_index(VIF_IDS, used_vif_ids)
        self._kuryrports = KuryrPorts(self._informer.store)
        self._informer.add_listener(self._kuryrports.changed)
        self._events = (
            EventRecorder(self._client, "kuryr-daemon", self.node_name)
            if conf.kubernetes.use_events
            else None
        )
        activity = Activity()
        self._reporter = Reporter(self._client, self._events, self._informer.store.get, activity)
        self._switch = Switch(conf.os_vif_ovs.ovsdb_connection)
        self._metrics.attachments.set_function(lambda: len(attachments.all_of(self._switch.state)))
        self._metrics.parked.set_function(lambda: len(parked.all_of(self._switch.state)))
        node = Node(
            switch=self._switch,
            ovs_bridge=conf.neutron_defaults.ovs_bridge,
            link_iface=conf.binding.link_iface,
            vhostuser_mount_point=conf.vhostuser.mount_point,
            ovs_vhu_path=conf.vhostuser.ovs_vhu_path,
        )
        drivers, ports = loading.load(node), KeyedLocks()
        self._plugin = Plugin(
            node,
            drivers,
            self._kuryrports,
            self._reporter,
            Settings(
                timeout=lambda: float(conf.cni_daemon.vif_annotation_timeout),
                workers=conf.cni_daemon.worker_num,
                netns_path=lambda path: netns_path(conf, path),
            ),
            pod_uid=self._pod_uid,
            serving=self._serving,
            ports=ports,
            activity=activity,
        )
        self._parking = Parking(
            self._switch,
            drivers,
            ports,
            activity,
            self._informer.store.values,
            lambda port: bool(self._informer.store.by_index(VIF_IDS, port)),
            self._reporter.parked,
        )
        self._informer.add_listener(self._parking.kuryrport_changed)
        self._node_port = NodePort(
            self._switch,
            conf.node_port.interface,
            self.node_name,
            self._informer.store.values,
            self._reporter.attached,
        )
        self._informer.add_listener(self._node_port.kuryrport_changed)
        self._failures = Failures(conf.cni_daemon.cni_failures_count)
        self._server = Server(
            conf.cni_daemon.socket_path, Dispatcher(self._plugin, self._metrics, self._failures)
        )
        health = conf.cni_health_server
        self._health = HealthServer(health.bind_address, health.port, self._failures.probe, self._unready)
        self._stopped = threading.Event()

    def start(self) -> None:
        """Serve, in the background.

        :raises ConfigurationError: where the socket cannot be had.
        """
        # A request gives up the interpreter at every netlink message; it must not wait long for it while the copy of
        # the switch's database is being brought up to date, which is plain Python.
        sys.setswitchinterval(SWITCH_INTERVAL)
        self._switch.start()
        self._informer.start()
        self._reporter.start()
        exporter = self._conf.prometheus_exporter
        self._metrics.serve(exporter.bind_address, exporter.cni_exporter_port)
        self._health.start()
        self._server.start()
        threading.Thread(target=self._begin_when_synced, name="synced", daemon=True).start()
        LOG.info("kuryr-daemon of node %s answers on %s", self.node_name, self._conf.cni_daemon.socket_path)

    def stop(self, grace: float = 3.0) -> None:
        """Take no more requests, end those under way; nothing that is plugged changes.

        :param grace: seconds after which an ADD that still waits for its port is ended.
        """
        self._stopped.set()
        self._server.close()
        if not self._server.drain(grace):
            self._plugin.give_up_waiting()
            self._server.drain(grace)
        self._node_port.stop()
        self._parking.stop()
        self._health.stop()
        self._reporter.stop()
        if self._events is not None:
            self._events.stop()
        self._informer.stop()
        self._switch.stop()

    def _pod_uid(self, key: Key) -> str:
        return self._client.get(PODS, key).metadata.uid

    def _serving(self) -> None:
        if problem := self._api_problem():
            raise CniError(Code.NOT_AVAILABLE, problem)

    def _api_problem(self) -> str:
        if not self._informer.synced:
            return "the KuryrPorts of this node could not be read from the Kubernetes API yet"
        silence = time.monotonic() - self._informer.last_contact
        if silence > SILENCE:
            return f"the Kubernetes API has been silent for {silence:.0f} s"
        return ""

    def _unready(self) -> str:
        if self._switch.expected and not self._switch.connected:
            return f"Open vSwitch's database {self._switch.remote} does not answer"
        return self._api_problem()

    def _begin_when_synced(self) -> None:
        """Begin what needs to know all KuryrPorts of the node."""
        while not self._informer.wait_synced(5.0):
            if self._stopped.is_set():
                return
        self._node_port.start()
        self._parking.start()
        self._catch_up()

    def _catch_up(self) -> None:
        """Report attachments that were made, but not reported, before a restart."""
        if not self._switch.expected:
            return
        try:
            state = self._switch.require()
        except KuryrError as error:
            LOG.warning("Attachments from before the start are not looked at: %s", error)
            return
        wired: dict[str, list[Attachment]] = defaultdict(list)
        for attachment in attachments.all_of(state):
            if state.wired(attachment.device):
                wired[attachment.pod].append(attachment)
        self._reporter.catch_up(wired)
