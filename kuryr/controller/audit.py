# SPDX-License-Identifier: Apache-2.0
"""The audit: finds what has no owner, what an owner lacks and what others changed, and puts it right when that is sure."""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Sequence
from concurrent.futures import CancelledError
from typing import Any

from oslo_config import cfg

from kuryr.controller.auditors import Auditor, Objects
from kuryr.controller.findings import ORPHAN, Finding, Suspects
from kuryr.controller.metrics import Metrics
from kuryr.errors import KuryrError

LOG = logging.getLogger(__name__)


class Audit:
    """Runs every [kubernetes] audit_period seconds while this process holds the shard."""

    def __init__(
        self,
        conf: cfg.ConfigOpts,
        auditors: Sequence[Auditor],
        known: Objects,
        read: Objects,
        may_write: Callable[[], None],
        metrics: Metrics,
        begin: Callable[[], None] = lambda: None,
        before: Callable[[], None] = lambda: None,
    ) -> None:
        """Start nothing yet.

        :param known: what the stores know; ``read`` asks the API, before anything is touched.
        :param begin: called at each start; ``before`` then, and before each audit, in the audit's thread.
        """
        self._conf = conf
        self._auditors = auditors
        self._known = known
        self._read = read
        self._may_write = may_write
        self._metrics = metrics
        self._begin = begin
        self._before = before
        self._suspects = Suspects[tuple[Hashable, ...]]()
        self._stopping = threading.Event()
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin, with nobody under suspicion."""
        self._suspects = Suspects()
        self._begin()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(self._stopping,), name="audit", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End after what is under way."""
        self._stopping.set()
        self.wake()

    def wake(self) -> None:
        """Look at the options again: the period may have changed."""
        with self._changed:
            self._changed.notify_all()

    def _due(self, last: float, stopping: threading.Event) -> bool:
        """Wait until a period after ``last`` is over; False where it is time to end."""
        with self._changed:
            while not stopping.is_set():
                left = last + self._conf.kubernetes.audit_period - time.monotonic()
                if left <= 0:
                    return True
                self._changed.wait(left)
        return False

    def _run(self, stopping: threading.Event) -> None:
        last = time.monotonic()
        self._try(self._before)
        while self._due(last, stopping):
            last = time.monotonic()
            self._try(self._before)
            self._try(self.run_once)

    def _try(self, function: Callable[[], Any]) -> None:
        try:
            function()
        except KuryrError as error:
            LOG.warning("The audit could not be made: %s", error)
        except CancelledError:
            LOG.info("The audit was given up: the controller stops.")
        except Exception:
            LOG.exception("The audit failed.")

    def run_once(self) -> list[Finding]:
        """One audit; what was sure, and dealt with.

        :raises CloudError: where Neutron cannot list.
        :raises ApiError: where Kubernetes cannot.
        """
        for auditor in self._auditors:
            auditor.list()
        found = self._judge(self._known)
        self._metrics.show_findings(Counter(finding.verdict for _, finding in found.values()))
        sure = self._suspects.judge(list(found), time.monotonic(), self._conf.kubernetes.audit_grace)
        if not sure:
            return []
        # A watch may hang without our knowing it yet: nothing is touched by what a store says alone.
        still = self._judge(_once(self._read))
        dealt_with = []
        for identity in sorted(sure & still.keys(), key=str):
            self._may_write()
            auditor, finding = still[identity]
            self._mend(auditor, finding)
            dealt_with.append(finding)
        return dealt_with

    def _judge(self, objects: Objects) -> dict[tuple[Hashable, ...], tuple[Auditor, Finding]]:
        return {
            finding.identity: (auditor, finding)
            for auditor in self._auditors
            for finding in auditor.judge(objects)
        }

    def _mend(self, auditor: Auditor, finding: Finding) -> None:
        try:
            done = auditor.mend(finding)
        except KuryrError as error:
            LOG.warning("Audit: %s; this could not be put right: %s", finding.message, error)
            return
        if done:
            LOG.warning("Audit: %s; %s.", finding.message, done)
            if finding.verdict == ORPHAN:
                self._metrics.audit_deleted.inc()
            else:
                self._metrics.audit_repaired.labels(finding.verdict).inc()


def _once(read: Objects) -> Objects:
    """Each kind is read once, however many auditors ask."""
    kept: dict[str, list[Any]] = {}

    def objects(resource: Any) -> Iterable[Any]:
        if resource.plural not in kept:
            kept[resource.plural] = list(read(resource))
        return kept[resource.plural]

    return objects
