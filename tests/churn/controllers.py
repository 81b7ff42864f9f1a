# SPDX-License-Identifier: Apache-2.0
"""Controllers that are killed, stopped, frozen and started again."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path

from tests.churn.fencing import Fencing
from tests.churn.run import Life
from tests.functional.controller.process import Process

FROZEN = (2.0, 30.0)
"""Seconds: some end before the Lease does, some after."""


class Controller:
    """One process (with its workers), as systemd or a kubelet would run it."""

    def __init__(self, name: str, config_file: Path, stack: ExitStack) -> None:
        self.name = name
        self.process = stack.enter_context(Process(config_file))
        self.runs = True
        self.frozen = False

    def send(self, number: int) -> None:
        """To all its processes."""
        os.killpg(self.process.pid, number)


class Controllers:
    """A holder and its standbys, whose deaths are steps."""

    def __init__(self, controllers: Sequence[Controller], life: Life, fencing: Fencing) -> None:
        self._all = controllers
        self._life = life
        self._random = life.random
        self._fencing = fencing
        for name, weight, step in (
            ("holder killed", 0.5, lambda: self._kill(self._holder())),
            ("standby killed", 0.25, lambda: self._kill(self._standby())),
            ("holder stopped", 0.4, lambda: self._stop(self._holder())),
            ("standby stopped", 0.15, lambda: self._stop(self._standby())),
            ("holder frozen", 0.3, lambda: self._freeze(self._holder())),
            ("options read again", 0.2, self._reload),
        ):
            life.add(name, weight, step)

    def _of(self, wanted: Callable[[Controller], bool]) -> Controller | None:
        fit = [each for each in self._all if each.runs and not each.frozen and wanted(each)]
        return self._random.choice(fit) if fit else None

    def _holder(self) -> Controller | None:
        return self._of(lambda each: each.name == self._fencing.holder)

    def _standby(self) -> Controller | None:
        return self._of(lambda each: each.name != self._fencing.holder)

    def _kill(self, victim: Controller | None) -> None:
        if victim is not None:
            self._life.log(f"{victim.name}: SIGKILL")
            victim.process.kill()
            self._start_later(victim)

    def _stop(self, victim: Controller | None) -> None:
        if victim is not None:
            self._life.log(f"{victim.name}: SIGTERM")
            victim.process.signal(signal.SIGTERM)
            self._start_later(victim)

    def _freeze(self, victim: Controller | None) -> None:
        if victim is not None:
            self._life.log(f"{victim.name}: SIGSTOP")
            victim.send(signal.SIGSTOP)
            victim.frozen = True
            self._life.later(self._random.uniform(*FROZEN), "frozen one thawed", lambda: self._thaw(victim))

    def _thaw(self, victim: Controller) -> None:
        self._fencing.thawed(victim.name)
        victim.frozen = False
        victim.send(signal.SIGCONT)

    def _reload(self) -> None:
        if victim := self._of(lambda each: True):
            victim.process.signal(signal.SIGHUP)

    def _start_later(self, victim: Controller) -> None:
        victim.runs = False
        self._life.later(self._random.uniform(0, 15), "controller started", lambda: self._start(victim))

    def _start(self, victim: Controller) -> None:
        # One that was told to stop has its time for that, and no more.
        victim.process.end(15)
        victim.process.start()
        victim.runs = True

    def violations(self) -> list[str]:
        """Those that do not run, or are not ready."""
        found = []
        for each in self._all:
            if not each.process.alive:
                found.append(f"{each.name} ended by itself; its log: {each.process.log}")
            elif said := each.process.readiness:
                found.append(f"{each.name} is not ready, it says: {' '.join(said.split())}")
        return found
