# SPDX-License-Identifier: Apache-2.0
"""Churn against the fake cloud: a real API server, two controllers, and faults at every kind of call to both APIs."""

from __future__ import annotations

import json
import random
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import msgspec

from kuryr.cmd import pools
from kuryr.k8s.client import Client
from kuryr.objects.resources import KURYRPORTS, NODES, PODS
from kuryr.testing.fake_cloud.cloud import PASSWORD
from tests.churn import checks
from tests.churn.cluster import Cluster
from tests.churn.controllers import Controller, Controllers
from tests.churn.faults import CloudSide, Faults, KubernetesSide
from tests.churn.fencing import UNFENCED, Fencing, Ledger
from tests.churn.run import Life, Log, Report, say, settle
from tests.churn.watchers import Watchers
from tests.functional.controller.calls_proxy import Call, CallsProxy
from tests.functional.controller.crash_points import ProxiedCloud
from tests.functional.controller.harness import Options, World, clean
from tests.functional.kubernetes import KubernetesApi

PORTS_A_SECOND = 200
LATENCY = (0.02, 0.2)
"""Seconds that a call to Neutron takes, at least and at most."""

TIMEOUT = 5
"""Seconds after which a controller waits for no answer any more."""

TOKEN_SECONDS = 150
"""Controllers get a new token every 30 s: they do so two minutes before one ends."""

PATIENCE = 240.0
"""Seconds after which what has not settled never will."""

RATES = ((0.0, 2), (0.03, 6), (0.15, 3), (0.6, 0.5))
"""The part of the calls that fail, and how often it is like that."""


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """What to do how long. ``most`` pods at a time, a step every ``pause`` seconds about."""

    pool: str
    seed: int
    seconds: float
    most: int = 200
    pause: float = 0.25


def run(api: KubernetesApi, settings: Settings, logs: Path) -> Report:
    """Live, let it settle, look. The API has the CRDs, and nobody else uses it meanwhile."""
    began = time.monotonic()
    client = api.client()
    clean(client)
    try:
        with ExitStack() as stack:
            return _Run(api, client, settings, logs, stack).live(began)
    finally:
        clean(client)
        client.close()


class _Run:
    """Everything of one run, put together."""

    def __init__(
        self, api: KubernetesApi, client: Client, settings: Settings, logs: Path, stack: ExitStack
    ) -> None:
        self.client = client
        self.settings = settings
        self.logs = logs
        self.log = Log(logs / "steps.log")
        self.life = Life(settings.seed, self.log)
        self.faults = Faults(settings.seed, TIMEOUT)
        self.fencing = Fencing(self.log)
        self.cloud = self._make_cloud(stack)
        self.world = World(api, client, self.cloud, "", logs)
        self.watchers = stack.enter_context(Watchers(client))
        # Sockets have short paths.
        self.sockets = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="kuryr-churn-")))
        self.life.add("weather changes", 4, self._change_weather)
        self.cluster = Cluster(
            client,
            self.life,
            self.watchers.kuryrports,
            prefix=f"churn-{settings.pool}-{settings.seed}",
            most=settings.most,
        )
        self.controllers = Controllers(
            [self._controller(name, api, stack) for name in ("controller-1", "controller-2")],
            self.life,
            self.fencing,
        )

    def _make_cloud(self, stack: ExitStack) -> ProxiedCloud:
        cloud = ProxiedCloud(token_seconds=TOKEN_SECONDS)
        cloud.journal = Ledger(self.fencing)
        for operation in ("create port", "create ports"):
            cloud.knobs.capacity(operation, per_second=PORTS_A_SECOND)
        latencies = random.Random(self.settings.seed)
        cloud.knobs.latency("*", lambda: latencies.uniform(*LATENCY))
        stack.enter_context(cloud)
        side = CloudSide(self.faults)
        cloud.proxy_url = stack.enter_context(CallsProxy(cloud.real_url, side)).url
        return cloud

    def _controller(self, name: str, api: KubernetesApi, stack: ExitStack) -> Controller:
        """With a user of its own in the cloud and a proxy of its own before the API, so that it is known who writes."""
        roles = {self.cloud.project_id: {"member", "service"}}
        self.cloud.keystone.add_user(name, PASSWORD, roles)

        def sent(operation: str, call: Call) -> None:
            if call.method != "GET" and not operation.endswith(UNFENCED):
                self.fencing.check(name, operation, time.monotonic())

        def done(operation: str, call: Call, status: int) -> None:
            if operation in ("create leases", "patch leases"):
                self.fencing.written(name, call, status)

        proxy = stack.enter_context(
            CallsProxy(
                api.api_root,
                KubernetesSide(self.faults, sent, done),
                ca_file=api.ca_file,
                token=api.token_file.read_text(),
            )
        )
        options: Options = {
            "kubernetes": {
                "vif_pool_driver": self.settings.pool,
                "audit_period": 2,
                "audit_grace": TIMEOUT + 2,
                "watch_connection_timeout": TIMEOUT,
                "watch_read_timeout": TIMEOUT,
                "graceful_timeout": 5,
                "enable_manager": "true",
            },
            "neutron": {"username": name, "timeout": TIMEOUT},
            "node_port": {"enabled": "true"},
            "vif_pool": {
                "ports_pool_min": 3,
                "ports_pool_batch": 5,
                "ports_pool_update_frequency": 1,
                "address_rest": 1,
            },
            "pool_manager": {"sock_file": self.sockets / name},
        }
        return Controller(name, self.world.configuration(options, api_root=proxy.url), stack)

    def _change_weather(self) -> None:
        rates, often = zip(*RATES, strict=True)
        (self.faults.rate,) = self.life.random.choices(rates, often)
        self.log(f"of the calls {self.faults.rate:.0%} fail")

    def live(self, began: float) -> Report:
        """Take steps, end all trouble, wait, look twice."""
        self._change_weather()
        self.life.live(self.settings.seconds, self.settings.pause)
        self.log("faults stop")
        self.faults.stop()
        self.cluster.finish()
        lived = time.monotonic()
        say("no more faults: waiting until all has settled")
        found = self._settle(self._violations)
        if not found:
            # What has settled must stay so, but for pools, which are never quite at rest.
            audits = self._audits()
            self._settle(lambda: [] if self._audits() >= audits + 2 else ["two more audits are to come"])
            found = [f"after it had settled: {each}" for each in self._settle(self._violations)]
        found += self.watchers.violations + self.fencing.violations
        if found:
            self._keep_state()
        now = time.monotonic()
        return Report(
            title=f"churn on the fake cloud, vif_pool_driver = {self.settings.pool}",
            seed=self.settings.seed,
            seconds=now - began,
            steps=self.life.taken,
            figures=self._figures(now - lived),
            violations=found,
            logs=self.logs,
        )

    def _settle(self, violations: Callable[[], list[str]]) -> list[str]:
        return settle(violations, self.watchers.changed, self.log, PATIENCE)

    def _audits(self) -> int:
        return self.cloud.journal.counts.get("list ports", 0)

    def _violations(self) -> list[str]:
        return [*self.controllers.violations(), *checks.violations(self._state())]

    def _state(self) -> checks.State:
        # Pods before KuryrPorts before ports: what is made meanwhile is settled in the next look.
        return checks.State(
            cluster=self.world.cluster,
            pods=self.client.list(PODS).items,
            nodes=self.client.list(NODES).items,
            kuryrports=self.client.list(KURYRPORTS).items,
            ports=self.world.ports(),
            pools=self._pools() if self.settings.pool != "noop" else None,
        )

    def _pools(self) -> list[dict[str, object]]:
        """As the holder says; nothing where it does not answer."""
        try:
            found: list[dict[str, object]] = pools.ask(
                str(self.sockets / self.fencing.holder), "GET", "/v1/pools"
            )
        except (OSError, pools.Refused):
            return []
        return found

    def _figures(self, settled: float) -> dict[str, str]:
        kinds = self.faults.injected
        failed = {name for name in self.faults.calls if self.faults.operations[name]}
        calls = Counter[str]()
        for operation, number in self.faults.calls.items():
            calls[operation.partition(":")[0]] += number
        return {
            "settled after": f"{settled:.0f} s",
            "pods": f"{self.cluster.created} created, {len(self.watchers.served)} served",
            "calls": ", ".join(f"{number} to {api}" for api, number in sorted(calls.items())),
            "kinds of calls": f"{len(self.faults.calls)}, {len(failed)} of them failed",
            "faults": f"{kinds.total()}: " + ", ".join(f"{n} {kind}" for kind, n in sorted(kinds.items())),
            "Lease": f"{self.fencing.transitions} holders; {self.fencing.in_hand} calls in hand when one was frozen",
        }

    def _keep_state(self) -> None:
        state = msgspec.json.format(msgspec.json.encode(self._state()))
        (self.logs / "state.json").write_bytes(state)
        faults = {operation: dict(kinds) for operation, kinds in self.faults.operations.items()}
        (self.logs / "faults.json").write_text(json.dumps(faults, indent=1, sort_keys=True))
