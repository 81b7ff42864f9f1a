# SPDX-License-Identifier: Apache-2.0
"""The pods of a soak: made, and replaced by others at a steady rate."""

from __future__ import annotations

import itertools
import random
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import msgspec

from kuryr.k8s.client import Client
from kuryr.objects.meta import Key
from kuryr.objects.resources import NAMESPACES, PODS
from tests.bench.figures import MeasurementError
from tests.bench.pods import pod
from tests.functional.kubernetes import wait_until
from tests.soak.daemons import Daemons

AHEAD = 500
"""Pods that wait for their ports at a time while there are to be more: a roll-out, not a flood."""

_CREATORS = 8
_SPACES = 20
_PACE = 0.02


class Member(msgspec.Struct, frozen=True):
    """A pod. ``created`` in monotonic seconds."""

    key: Key
    uid: str
    node: str
    created: float


class Population:
    """Pods on the nodes in turn, in several namespaces.

    :param grace: seconds that a deleted pod stays for somebody to end it; None as its specification says, where
        nodes are simulated.
    """

    def __init__(self, client: Client, daemons: Daemons, nodes: Sequence[str], grace: int | None) -> None:
        self.members: list[Member] = []
        self._client = client
        self._daemons = daemons
        self._nodes = nodes
        self._grace = grace
        self._numbers = itertools.count()
        self._random = random.Random(1)
        self._lock = threading.Lock()
        self._spaces = [f"soak-{number:02d}" for number in range(_SPACES)]

    def begin(self) -> None:
        """Make the namespaces."""
        for name in self._spaces:
            self._client.create(NAMESPACES, "", {"metadata": {"name": name}})

    @property
    def waiting(self) -> list[Key]:
        """Pods without port."""
        with self._lock:
            members = list(self.members)
        return [member.key for member in members if self._daemons.filled(member.key, member.uid) is None]

    @property
    def leaving(self) -> int:
        """KuryrPorts of pods that were replaced."""
        return max(0, self._daemons.number - len(self.members) + len(self.waiting))

    def grow(self, number: int) -> None:
        """Make so many more."""
        goal = len(self.members) + number
        with ThreadPoolExecutor(_CREATORS) as creators:
            made: list[Future[None]] = []
            while len(made) < number:
                if len(self.members) - self._daemons.number < AHEAD:
                    step = min(_CREATORS * 4, number - len(made))
                    made += [creators.submit(self._add) for _ in range(step)]
                    made[-1].result()
                else:
                    time.sleep(_PACE)
            for future in made:
                future.result()
        assert len(self.members) == goal

    def wait_served(self, timeout: float) -> None:
        """Wait until each has its port.

        :raises MeasurementError: naming one that has not.
        """
        try:
            wait_until(
                lambda: self._daemons.number >= len(self.members) and not self.waiting,
                "every pod has its port",
                timeout,
            )
        except TimeoutError as error:
            left = self.waiting
            raise MeasurementError(f"{error}: {len(left)} have none, as {left[0]}") from error

    def wait_settled(self, timeout: float) -> None:
        """Wait until each has its port and that is reported up, and nothing is left of those that are gone."""
        self.wait_served(timeout)
        wait_until(
            lambda: self._daemons.number == len(self.members) and self._daemons.all_up(),
            "every KuryrPort is up, and those of pods that are gone are gone",
            timeout,
        )

    def replace(self, rate: float, seconds: float) -> int:
        """Delete pods, and make others in their places, at so many a second; how many it were.

        It waits where more than :data:`AHEAD` have not got, or given back, their ports.
        """
        began = looked = time.monotonic()
        behind = False
        replaced: list[Future[None]] = []
        with ThreadPoolExecutor(_CREATORS) as workers:
            while (elapsed := time.monotonic() - began) < seconds:
                if time.monotonic() - looked > 1:
                    looked = time.monotonic()
                    behind = len(self.waiting) + self.leaving >= AHEAD
                due = int(elapsed * rate) - len(replaced)
                if due > 0 and not behind:
                    step = [workers.submit(self._replace) for _ in range(min(due, _CREATORS))]
                    replaced += step
                    step[-1].result()
                else:
                    time.sleep(_PACE)
            for future in replaced:
                future.result()
        return len(replaced)

    def latencies(self, since: float) -> list[float]:
        """Seconds from creation to port of the pods that were made since, and are still there."""
        found = []
        for member in self.members:
            filled = self._daemons.filled(member.key, member.uid)
            if member.created >= since and filled is not None:
                found.append(max(0.0, filled - member.created))
        return found

    def _replace(self) -> None:
        with self._lock:
            place = self._random.randrange(len(self.members))
            self.members[place], self.members[-1] = self.members[-1], self.members[place]
            old = self.members.pop()
        self._client.delete(PODS, old.key, uid=old.uid, grace_period_seconds=self._grace)
        self._add(old.node)

    def _add(self, node: str = "") -> None:
        number = next(self._numbers)
        key = Key(self._spaces[number % _SPACES], f"pod-{number:06d}")
        node = node or self._nodes[number % len(self._nodes)]
        manifest = pod(key.name)
        manifest["spec"]["nodeName"] = node
        created = time.monotonic()
        made = self._client.create(PODS, key.namespace, manifest)
        with self._lock:
            self.members.append(Member(key, made.metadata.uid, node, created))
