# SPDX-License-Identifier: Apache-2.0
"""Trying the candidates of a VIF in order, over as many reconciles as their calls take."""

from __future__ import annotations

import threading

import msgspec

from kuryr.drivers.base import PodVIFDriver
from kuryr.drivers.types import Allocation, Choice, VIFRequest
from kuryr.errors import AddressInUse, CloudError, QuotaExceeded, Retry, SubnetFull

PASSED_OVER = (SubnetFull, AddressInUse, QuotaExceeded)


class Chooser:
    """Remembers, for each VIF that is being made, which candidates were tried in vain."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._failed: dict[tuple[str, str], list[tuple[Choice, CloudError]]] = {}

    def allocate(self, request: VIFRequest, driver: PodVIFDriver) -> Allocation:
        """The first candidate that works.

        :raises CloudError: where none did: the error of the only one, or one that names all; then all are tried again.
        :raises Retry: where there is none.
        :raises WaitFor: while a candidate's calls are under way.
        """
        identity = (request.owner.uid, request.ifname)
        with self._lock:
            failed = list(self._failed.get(identity, ()))
        tried = [choice for choice, _ in failed]
        for choice in request.choices:
            if choice in tried:
                continue
            try:
                allocation = driver.request_vif(request, choice)
            except PASSED_OVER as error:
                failed.append((choice, error))
                with self._lock:
                    self._failed[identity] = failed
                continue
            if failed:
                passed = "; ".join(f"{choice.reason}: {error}" for choice, error in failed)
                allocation = _with_reason(allocation, f"{allocation.reason} (passed over {passed})")
            return allocation
        self.forget(request.owner.uid, request.ifname)
        if not failed:
            raise Retry(f"there is no candidate for interface {request.ifname}", reason="NoCandidate")
        raise _all_failed(failed)

    def forget(self, uid: str, ifname: str) -> None:
        """The VIF is made."""
        with self._lock:
            self._failed.pop((uid, ifname), None)

    def forget_all(self, uid: str) -> None:
        """The VIFs of this owner are no longer wanted."""
        with self._lock:
            for identity in [identity for identity in self._failed if identity[0] == uid]:
                del self._failed[identity]


def _with_reason(allocation: Allocation, reason: str) -> Allocation:
    return msgspec.structs.replace(allocation, reason=reason)


def _all_failed(failed: list[tuple[Choice, CloudError]]) -> CloudError:
    last = failed[-1][1]
    if len(failed) == 1:
        return last
    text = "; ".join(f"{choice.reason}: {error}" for choice, error in failed)
    return type(last)(f"no candidate worked: {text}", status=last.status, operation=last.operation)
