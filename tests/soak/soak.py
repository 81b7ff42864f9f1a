# SPDX-License-Identifier: Apache-2.0
"""Fill a cluster, replace its pods for a while, restart the controller; what was measured."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial

import msgspec

from tests.bench import metrics
from tests.bench.figures import Figure, MeasurementError, median, tail
from tests.bench.ports import PlainNeutron
from tests.bench.testbed import Controller, make_testbed
from tests.soak import nodes, sampling
from tests.soak.daemons import Daemons
from tests.soak.population import Population
from tests.soak.restart import Restart, restart
from tests.soak.sampling import Sample, Sampler

LIMIT_MEMORY = 400.0
LIMIT_READY = 10.0
LIMIT_SLOPE = 20.0
"""MB an hour, at 20 pods a second: less than 300 bytes are kept of a pod that is gone."""

LATENCY = 0.05
WARM_UP = 0.25
"""Part of the time of replacing pods that does not count for the slope."""

AUDIT_PERIOD = 60
"""Seconds: several audits are over before the slope counts, and their memory with them."""

SAMPLE_EVERY = 10.0
SETTLE_TIMEOUT = 600.0

Say = Callable[[str], None]


class Parameters(msgspec.Struct, frozen=True, kw_only=True):
    """``rate``: pods replaced a second. ``watched``: seconds after a restart in which writes are counted."""

    pods: int = 10_000
    nodes: int = 200
    minutes: float = 20
    rate: float = 20
    pool: str = "noop"
    restarts: int = 3
    watched: float = 30
    kwok: bool = True


class Outcome(msgspec.Struct, frozen=True):
    """The figures, and the curve of memory while pods were replaced."""

    figures: list[Figure]
    samples: list[Sample]


def run(parameters: Parameters, say: Say) -> Outcome:
    """All of it.

    :raises MeasurementError, TimeoutError: where something could not be measured.
    """
    with ExitStack() as stack:
        bed = stack.enter_context(make_testbed(f"--latency={LATENCY}"))
        client = bed.api.client()
        stack.callback(client.close)
        names = nodes.create(client, parameters.nodes)
        if parameters.kwok:
            stack.enter_context(nodes.simulated(bed, client, names))
        daemons = stack.enter_context(Daemons(client))
        options = {
            "kubernetes": {"vif_pool_driver": parameters.pool, "audit_period": AUDIT_PERIOD},
            "node_port": {"enabled": "true"},
        }
        controller = stack.enter_context(bed.controller(options))
        controller.wait_ready()
        pods = Population(client, daemons, names, None if parameters.kwok else 0)
        pods.begin()
        figures = _fill(parameters, say, controller, pods)
        found, samples = _replace(parameters, say, controller, pods)
        figures += found
        _wait_quiet(say, pods, controller)
        neutron = PlainNeutron(bed.account(names))
        restarts = []
        for _ in range(parameters.restarts):
            restarts.append(restart(controller, client, neutron, partial(time.sleep, parameters.watched)))
            say(f"restarted: ready after {restarts[-1].ready:.1f} s; {restarts[-1].memory:.0f} MB")
        figures += _restarted(restarts, len(pods.members), parameters.watched)
    return Outcome(figures, samples)


def _fill(parameters: Parameters, say: Say, controller: Controller, pods: Population) -> list[Figure]:
    say(f"{parameters.pods} pods on {parameters.nodes} nodes")
    with _sampler(say, controller, pods) as sampler:
        pods.grow(parameters.pods)
        pods.wait_served(SETTLE_TIMEOUT)
        seconds = sampler.now()
    say(f"all have their ports after {seconds:.0f} s: {controller.memory:.0f} MB")
    return [
        Figure(
            name=f"{parameters.pods} pods rolled out",
            value=seconds,
            unit="s",
            n=parameters.pods,
            remark=f"{parameters.pods / seconds:.1f} a second, on {parameters.nodes} nodes",
        )
    ]


def _replace(
    parameters: Parameters, say: Say, controller: Controller, pods: Population
) -> tuple[list[Figure], list[Sample]]:
    began = time.monotonic()
    with _sampler(say, controller, pods) as sampler:
        replaced = pods.replace(parameters.rate, 60 * parameters.minutes)
        seconds = sampler.now()
        pods.wait_served(SETTLE_TIMEOUT)
    samples = sampler.samples
    line = sampling.trend([s for s in samples if s.seconds >= WARM_UP * seconds])
    latencies = pods.latencies(began)
    most = max(samples, key=lambda sample: sample.megabytes)
    name = f"{parameters.pods} pods"
    return [
        Figure(
            name=f"controller's memory (PSS) at {name}: most",
            value=most.megabytes,
            unit="MB",
            n=len(samples),
            limit=LIMIT_MEMORY,
            remark=f"at first {samples[0].megabytes:.0f} MB, at last {samples[-1].megabytes:.0f} MB",
        ),
        Figure(
            name=f"controller's memory at {name}: slope",
            value=line.slope,
            unit="MB/h",
            n=len(samples),
            limit=LIMIT_SLOPE,
            remark=f"± {line.error:.1f}, after the first {WARM_UP * seconds:.0f} s of {seconds:.0f} s",
        ),
        Figure(
            name="pods replaced",
            value=replaced / seconds,
            unit="a second",
            n=replaced,
            remark=f"{parameters.rate:g} wanted; at most {max(s.waiting for s in samples)} without port, "
            f"{max(s.leaving for s in samples)} KuryrPorts of pods that go",
        ),
        median("pod created to filled, while pods are replaced", latencies, "s"),
        tail("pod created to filled, while pods are replaced", latencies, "s"),
    ], samples


def _sampler(say: Say, controller: Controller, pods: Population) -> Sampler:
    def sample(seconds: float) -> Sample:
        taken = Sample(seconds, controller.memory, len(pods.members), len(pods.waiting), pods.leaving)
        say(
            f"{taken.seconds:6.0f} s  {taken.megabytes:6.1f} MB  {taken.pods} pods, {taken.waiting} waiting, "
            f"{taken.leaving} leaving"
        )
        return taken

    return Sampler(sample, SAMPLE_EVERY)


def _wait_quiet(say: Say, pods: Population, controller: Controller) -> None:
    """Wait until nobody has anything left to write."""
    say("waiting until all is quiet")
    pods.wait_settled(SETTLE_TIMEOUT)
    end = time.monotonic() + SETTLE_TIMEOUT
    before, quiet = controller.calls(), 0
    while quiet < 3:
        if time.monotonic() > end:
            raise MeasurementError(f"the controller was not quiet within {SETTLE_TIMEOUT:.0f} s")
        time.sleep(1)
        now = controller.calls()
        calls = now.since(before)
        busy = [name for name in (*calls.kubernetes, *calls.cloud) if not name.endswith("leases")]
        before, quiet = now, 0 if busy else quiet + 1


def _restarted(restarts: list[Restart], pods: int, watched: float) -> list[Figure]:
    slowest = max(found.ready for found in restarts)
    kubernetes, cloud = (
        sum(each, Counter[str]())
        for each in (
            [found.kubernetes_writes for found in restarts],
            [found.cloud_writes for found in restarts],
        )
    )
    number = len(restarts)
    name = f"restart with {pods} pods"
    return [
        Figure(
            name=f"{name}: ready, slowest",
            value=slowest,
            unit="s",
            n=number,
            limit=LIMIT_READY,
            remark="from the process's start; " + ", ".join(f"{found.ready:.1f} s" for found in restarts),
        ),
        Figure(
            name=f"{name}: memory (PSS), most",
            value=max(found.memory for found in restarts),
            unit="MB",
            n=number,
            limit=LIMIT_MEMORY,
            remark=f"{watched:g} s after",
        ),
        Figure(
            name=f"{name}: writes to Kubernetes",
            value=kubernetes.total(),
            unit="calls",
            n=number,
            limit=0,
            remark=f"the Lease aside, until {watched:g} s after: {metrics.told(kubernetes)}",
        ),
        Figure(
            name=f"{name}: writes to Neutron",
            value=cloud.total(),
            unit="calls",
            n=number,
            limit=0,
            remark=metrics.told(cloud),
        ),
        Figure(
            name=f"{name}: KuryrPorts and ports changed",
            value=sum(found.changed for found in restarts),
            unit="objects",
            n=number,
            limit=0,
            remark="as both APIs have them before and after",
        ),
    ]
