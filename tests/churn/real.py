# SPDX-License-Identifier: Apache-2.0
"""Churn on the development cloud: a Deployment and pods of their own live, while processes of the cloud are killed."""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from devcloud import kuryr
from devcloud.kubernetes import control_plane
from devcloud.kubernetes.cluster import NODES
from devcloud.neutron import Neutron
from kuryr.cloud import identity
from kuryr.k8s.client import Client
from kuryr.objects import resources
from kuryr.objects.meta import Key
from tests.bench import pods as bench_pods
from tests.bench.running import PODS, RunningPod
from tests.churn import checks
from tests.churn.deployment import Workload, unreachable
from tests.churn.disturbances import Disturbances, leftovers
from tests.churn.run import Life, Log, Report, say, settle

PATIENCE = 300.0
PAUSE = 1.0


def run(seed: int, seconds: float, logs: Path) -> Report:
    """Live, let it settle, look. The cloud is up, and audits are prompt (see :func:`prompt_audits`)."""
    began = time.monotonic()
    client = bench_pods.client()
    log = Log(logs / "steps.log")
    life = Life(seed, log)
    name = f"churn-{secrets.token_hex(3)}"
    control_plane.kubectl("create", "namespace", name)
    control_plane.kubectl(
        "wait", "--for=create", "--timeout=60s", "--namespace", name, "serviceaccount/default"
    )
    try:
        workload = Workload(name, life)
        disturbances = Disturbances(life)
        try:
            life.live(seconds, PAUSE)
        finally:
            say("no more trouble: waiting until all has settled")
            disturbances.end()
        workload.end()
        lived = time.monotonic()
        found = _settled(lambda: _violations(client, name, workload), log)
        found = found or _settled(lambda: unreachable(_pods(client, name)), log)
        served = len(_pods(client, name))
        settled = time.monotonic() - lived
    finally:
        control_plane.kubectl("delete", "namespace", name, "--wait=true", "--timeout=180s")
    found = found or [
        f"after the namespace was deleted: {each}"
        for each in _settled(lambda: _violations(client, "", None), log)
    ]
    client.close()
    figures = {
        "settled after": f"{settled:.0f} s",
        "pods": f"{served} at the end, {workload.created} made one by one",
    }
    return Report(
        title="churn on the development cloud",
        seed=seed,
        seconds=time.monotonic() - began,
        steps=life.taken,
        figures=figures,
        violations=found,
        logs=logs,
    )


@contextmanager
def prompt_audits() -> Iterator[None]:
    """The controller looks every few seconds for ports that have no owner; it reads its options again for that."""
    file = kuryr.controller_configuration_file()
    before = file.read_text()
    options = "[kubernetes]\naudit_period = 5\naudit_grace = 20\n"
    file.write_text(before.replace("[kubernetes]\n", options))
    kuryr.reload_controller()
    try:
        yield
    finally:
        file.write_text(before)
        kuryr.reload_controller()


def _settled(violations: Callable[[], list[str]], log: Log) -> list[str]:
    return settle(violations, threading.Condition(), log, PATIENCE)


def _violations(client: Client, namespace: str, workload: Workload | None) -> list[str]:
    pods = client.list(PODS).items
    kuryrports = client.list(resources.KURYRPORTS).items
    every = Neutron().ports()
    ports = [port for port in every if port["device_owner"] in (identity.POD, identity.NODE)]
    found = checks.violations(
        checks.State(
            cluster=client.get(resources.NAMESPACES, Key("", "kube-system")).metadata.uid,
            pods=pods,
            nodes=client.list(resources.NODES).items,
            kuryrports=kuryrports,
            ports=ports,
        )
    )
    own = [pod for pod in pods if pod.metadata.namespace == namespace]
    if workload is not None and len(own) != workload.wanted:
        found.append(f"there are {len(own)} pods, not {workload.wanted}")
    found += [f"pod {pod.key} is not Ready" for pod in own if not pod.ready]
    for node in NODES:
        found += leftovers(node, {port["id"] for port in every}, ports)
    return found


def _pods(client: Client, namespace: str) -> list[RunningPod]:
    return client.list(PODS, namespace=namespace).items
