# SPDX-License-Identifier: Apache-2.0
"""One holder among many processes, by a Lease of the API.

Times, as parts of ``duration``: the holder renews every fifth; after two thirds without a renewal that the
API confirmed it writes no more; after 14 fifteenths without seeing a renewal a standby takes over. So a
quarter of ``duration`` lies between two holders' writes. Each measures by its own monotonic clock: no clocks
are compared.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import msgspec
from oslo_log import log as logging

from kuryr.k8s.client import Client
from kuryr.k8s.conditions import micro_timestamp
from kuryr.k8s.errors import ApiError, Conflict, NotFound, NotHolding
from kuryr.k8s.informer import Change, Informer
from kuryr.objects.meta import Key, KubernetesObject
from kuryr.objects.resources import Resource

LOG = logging.getLogger(__name__)

RENEW_PART = 1 / 5
FENCE_PART = 2 / 3
TAKEOVER_PART = 14 / 15
# Between two attempts where the API does not answer, in seconds.
PAUSE = 1.0


class LeaseSpec(msgspec.Struct, rename="camel", omit_defaults=True):
    """``holder_identity`` is empty where nobody holds it."""

    holder_identity: str | None = None
    lease_duration_seconds: int = 0
    renew_time: str | None = None
    lease_transitions: int = 0


class Lease(KubernetesObject, kw_only=True):
    """A Lease."""

    spec: LeaseSpec = msgspec.field(default_factory=LeaseSpec)

    @property
    def holder(self) -> str:
        """Who holds it; empty for nobody."""
        return self.spec.holder_identity or ""


LEASES = Resource("coordination.k8s.io", "v1", "leases", "Lease", Lease)


class LeaseElector:
    """Holds the Lease, or stands by for it, from ``start`` to ``stop``.

    ``on_acquired`` and ``on_lost`` are called in the elector's thread, in turns; they return at once, since
    renewal waits for them. Every process has another ``identity``, also the same program after a restart.
    Set ``client.fence = elector.may_write`` so that nothing is written without the Lease.
    """

    def __init__(
        self,
        client: Client,
        namespace: str,
        name: str,
        identity: str,
        *,
        duration: float = 15.0,
        renew_every: float | None = None,
        on_acquired: Callable[[], None] = lambda: None,
        on_lost: Callable[[], None] = lambda: None,
    ) -> None:
        self.identity = identity
        self._client = client
        self._key = Key(namespace, name)
        self._duration = duration
        self._renew_every = duration * RENEW_PART if renew_every is None else renew_every
        self._on_acquired = on_acquired
        self._on_lost = on_lost
        self._informer = Informer(client, LEASES, namespace=namespace, field_selector=f"metadata.name={name}")
        self._informer.add_listener(self._seen)
        self._wake = threading.Condition()
        self._news = False
        self._stopping = False
        self._holding = False
        self._confirmed = 0.0  # when the last renewal that succeeded was sent
        self._version = ""  # of the Lease as we last wrote it
        self._latest: Lease | None = None  # as last seen
        self._latest_since = time.monotonic()
        self._thread = threading.Thread(target=self._run, name=f"lease-{name}", daemon=True)

    @property
    def holding(self) -> bool:
        """Whether this process holds the Lease and may still write."""
        return self._holding and time.monotonic() < self._confirmed + self._duration * FENCE_PART

    def may_write(self) -> None:
        """
        :raises NotHolding: where another process may hold the Lease by now.
        """
        if not self._holding:
            raise NotHolding(f"{self.identity} does not hold the Lease {self._key}")
        overdue = time.monotonic() - self._confirmed
        if overdue >= self._duration * FENCE_PART:
            raise NotHolding(f"{self.identity} could not renew the Lease {self._key} for {overdue:.0f} s")

    def start(self) -> None:
        """Begin to stand by."""
        self._informer.start()
        self._thread.start()

    def stop(self, timeout: float = 5.0) -> None:
        """Give the Lease back, so that a standby takes over at once, and end; a holder gets ``on_lost``."""
        with self._wake:
            self._stopping = True
            self._wake.notify_all()
        if self._thread.ident is not None:
            self._thread.join(timeout)
        self._informer.stop()

    def _seen(self, change: Change[Lease]) -> None:
        with self._wake:
            self._latest = change.new
            self._latest_since = time.monotonic()
            self._news = True
            self._wake.notify_all()

    def _run(self) -> None:
        while not self._stopping:
            try:
                wait = self._hold() if self._holding else self._stand_by()
            except ApiError as error:
                LOG.warning("Lease %s: %s", self._key, error)
                wait = PAUSE
            except Exception:
                LOG.exception("Lease %s: a failure that is a bug", self._key)
                wait = PAUSE
            if self._holding and not self.holding:
                self._lose("its renewal is overdue")
            with self._wake:
                self._wake.wait_for(lambda: self._news or self._stopping, wait)
                self._news = False
        if self._holding:
            self._release()

    def _stand_by(self) -> float:
        """Acquire the Lease where it is free; otherwise the seconds until it may be."""
        if not self._informer.wait_synced(PAUSE):
            return 0.0
        with self._wake:
            lease, since = self._latest, self._latest_since
        left = since + self._duration * TAKEOVER_PART - time.monotonic()
        # After an outage it may still be as we last wrote it: then nobody else had it.
        ours = lease is not None and lease.metadata.resource_version == self._version
        if lease is not None and lease.holder and not ours and left > 0:
            return left
        sent = time.monotonic()
        try:
            held = self._write(lease)
        except Conflict:
            # Another was quicker, or our watch hangs.
            found = self._client.get(LEASES, self._key, timeout=self._patience())
            with self._wake:
                self._latest, self._latest_since = found, time.monotonic()
            return PAUSE
        self._version = held.metadata.resource_version
        self._confirmed = sent
        self._holding = True
        LOG.info("%s holds the Lease %s", self.identity, self._key)
        self._on_acquired()
        return self._renew_every

    def _hold(self) -> float:
        """Renew where it is time; the seconds until the next renewal."""
        with self._wake:
            lease = self._latest
        left = self._confirmed + self._renew_every - time.monotonic()
        if left > 0 and (lease is None or lease.holder in ("", self.identity)):
            return left
        sent = time.monotonic()
        try:
            held = self._client.merge_patch(
                LEASES, self._key, self._renewal(self._version), fenced=False, timeout=self._patience()
            )
        except (Conflict, NotFound):
            return self._look_again()
        self._version = held.metadata.resource_version
        self._confirmed = sent
        return self._renew_every

    def _look_again(self) -> float:
        """Somebody wrote the Lease: another who took it, or we ourselves in a call whose answer was lost."""
        try:
            lease = self._client.get(LEASES, self._key, timeout=self._patience())
        except NotFound:
            self._lose("it was deleted")
            return 0.0
        if lease.holder == self.identity:
            self._version = lease.metadata.resource_version
            return 0.0
        self._lose(f"{lease.holder or 'nobody'} has it")
        return 0.0

    def _lose(self, why: str) -> None:
        self._holding = False
        LOG.warning("%s no longer holds the Lease %s: %s", self.identity, self._key, why)
        self._on_lost()

    def _release(self) -> None:
        self._holding = False
        self._on_lost()
        patch = {
            "metadata": {"resourceVersion": self._version},
            "spec": {"holderIdentity": "", "leaseDurationSeconds": 1, "renewTime": micro_timestamp()},
        }
        try:
            self._client.merge_patch(LEASES, self._key, patch, fenced=False, timeout=self._patience())
        except ApiError as error:
            LOG.warning("The Lease %s could not be given back: %s", self._key, error)

    def _write(self, lease: Lease | None) -> Lease:
        """Put our name into the Lease, unless it has changed since it was seen."""
        if lease is None:
            body = self._renewal(None, transitions=0)
            body["metadata"] = {"name": self._key.name, "namespace": self._key.namespace}
            return self._client.create(
                LEASES, self._key.namespace, body, fenced=False, timeout=self._patience()
            )
        patch = self._renewal(lease.metadata.resource_version, transitions=lease.spec.lease_transitions + 1)
        return self._client.merge_patch(LEASES, self._key, patch, fenced=False, timeout=self._patience())

    def _renewal(
        self, version: str | None, *, transitions: int | None = None
    ) -> dict[str, dict[str, object]]:
        now = micro_timestamp()
        spec: dict[str, object] = {
            "holderIdentity": self.identity,
            "leaseDurationSeconds": max(1, round(self._duration)),
            "renewTime": now,
        }
        if transitions is not None:
            spec |= {"acquireTime": now, "leaseTransitions": transitions}
        return {"metadata": {"resourceVersion": version}, "spec": spec}

    def _patience(self) -> float:
        return max(0.5, min(5.0, self._duration / 5))
