# SPDX-License-Identifier: Apache-2.0
"""Random steps for a while, drawn from a seed; what is counted on the way; and the report."""

from __future__ import annotations

import heapq
import itertools
import random
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import msgspec

Step = Callable[[], None]


class Log:
    """What happened when, for people who look for the cause of something. Thread-safe."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self._began = time.monotonic()
        self._lock = threading.Lock()

    def __call__(self, text: str) -> None:
        with self._lock, self.file.open("a") as log:
            wall = time.strftime("%H:%M:%S")
            log.write(f"{wall} {time.monotonic() - self._began:8.2f} {text}\n")


class Report(msgspec.Struct, kw_only=True):
    """What a run did and found."""

    title: str
    seed: int
    seconds: float = 0.0
    steps: Counter[str] = msgspec.field(default_factory=Counter)
    figures: dict[str, str] = {}
    violations: list[str] = []
    logs: Path

    def text(self) -> str:
        """For people."""
        width = max(map(len, [*self.steps, *self.figures, "duration"]))
        rows = {"seed": str(self.seed), "duration": f"{self.seconds:.0f} s", **self.figures}
        rows["steps"] = str(self.steps.total())
        lines = [self.title, *(f"  {name:<{width}}  {value}" for name, value in rows.items())]
        lines += [f"    {name:<{width}}{number:>6}" for name, number in sorted(self.steps.items())]
        if self.violations:
            lines.append(f"{len(self.violations)} VIOLATIONS, the logs are in {self.logs}:")
            lines += [f"  {each}" for each in self.violations]
        else:
            lines.append("every pod has exactly its ports, and Neutron has nothing else of ours")
        return "\n".join(lines)


class Life:
    """Steps with their weights, and what is to follow them later."""

    def __init__(self, seed: int, log: Log) -> None:
        self.random = random.Random(seed)
        self.log = log
        self.taken: Counter[str] = Counter()
        self._steps: dict[str, tuple[float, Step]] = {}
        self._later: list[tuple[float, int, str, Step]] = []
        self._order = itertools.count()

    def add(self, name: str, weight: float, step: Step) -> None:
        """A step that may be taken."""
        self._steps[name] = (weight, step)

    def later(self, seconds: float, name: str, step: Step) -> None:
        """What is to happen then, or at the end of the run."""
        heapq.heappush(self._later, (time.monotonic() + seconds, next(self._order), name, step))

    def count(self, name: str, number: int = 1) -> None:
        """Something that happened beside the steps."""
        self.taken[name] += number

    def live(self, seconds: float, pause: float) -> None:
        """Take steps, about ``pause`` seconds apart; then what was to follow."""
        names = list(self._steps)
        weights = [self._steps[name][0] for name in names]
        end = time.monotonic() + seconds
        told = time.monotonic()
        while (now := time.monotonic()) < end:
            self._follow(now)
            (name,) = self.random.choices(names, weights)
            self.log(f"step: {name}")
            self._steps[name][1]()
            self.taken[name] += 1
            if now - told > 30:
                told = now
                say(f"{end - now:.0f} s to go, {self.taken.total()} steps")
            time.sleep(min(self.random.expovariate(1 / pause), 10 * pause))
        self._follow(float("inf"))

    def _follow(self, now: float) -> None:
        while self._later and self._later[0][0] <= now:
            _, _, name, step = heapq.heappop(self._later)
            self.log(f"then: {name}")
            step()
            self.taken[name] += 1


def settle(
    violations: Callable[[], list[str]], changed: threading.Condition, log: Log, patience: float
) -> list[str]:
    """Wait until nothing is wrong any more; what still is after ``patience`` seconds."""
    deadline = time.monotonic() + patience
    told = -1
    while True:
        found = violations()
        if len(found) != told:
            told = len(found)
            log(f"settling: {told} things are not as they must be" + (f", as: {found[0]}" if found else ""))
        if not found or time.monotonic() > deadline:
            return found
        with changed:
            changed.wait(1.0)


def say(text: str) -> None:
    """Tell how far it is."""
    print(f"  {text}", file=sys.stderr, flush=True)
