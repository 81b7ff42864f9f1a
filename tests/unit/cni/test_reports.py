# SPDX-License-Identifier: Apache-2.0
"""What is up is told until the API has it."""

import threading
from typing import Any

import pytest

from kuryr.cni import reports
from kuryr.cni.activity import Activity
from kuryr.cni.reports import Reporter
from kuryr.cni.stages import Stages
from kuryr.k8s.errors import ApiError, Conflict, NotFound, Unavailable
from kuryr.objects.kuryrport import KuryrPort, KuryrPortSpec, KuryrPortStatus, VIFStatus
from kuryr.objects.meta import Key, ObjectMeta

WITHIN = 10.0


class Client:
    """Refuses the first patch."""

    def __init__(self, error: ApiError) -> None:
        self._errors = [error]
        self.asked: list[str] = []
        self.written = threading.Event()

    def merge_patch(self, resource: Any, key: Key, patch: dict[str, Any], *, subresource: str) -> None:
        self.asked.append(patch["metadata"]["uid"])
        if self._errors:
            raise self._errors.pop()
        self.written.set()


def kuryrport(uid: str = "u") -> KuryrPort:
    return KuryrPort(
        metadata=ObjectMeta(name="a", namespace="ns", uid=uid),
        spec=KuryrPortSpec(pod_uid="pod", pod_node_name="node"),
        status=KuryrPortStatus(vifs={"eth0": VIFStatus(default=True)}),
    )


def reporter(client: Client, *latest: KuryrPort) -> Reporter:
    """With the KuryrPort as it is known at each look; the last one stays."""
    known = list(latest)
    return Reporter(
        client,  # type: ignore[arg-type]
        None,
        lambda key: known.pop(0) if len(known) > 1 else known[0],
        Activity(),
    )


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reports, "RETRY_AFTER", 0.01)


@pytest.mark.parametrize("error", [Conflict, Unavailable])
def test_what_was_refused_is_told_again(error: type[ApiError]) -> None:
    client = Client(error("patch kuryrports", "not now", status=409))
    telling = reporter(client, kuryrport())
    telling.start()
    telling.attached(kuryrport(), ["eth0"], Stages())
    assert client.written.wait(WITHIN)
    telling.stop()
    assert client.asked == ["u", "u"]


@pytest.mark.parametrize(
    ("error", "now"), [(Conflict, "another"), (NotFound, "u")], ids=["made anew", "gone"]
)
def test_nothing_is_told_of_what_is_no_longer_there(error: type[ApiError], now: str) -> None:
    client = Client(error("patch kuryrports", "not now", status=409))
    telling = reporter(client, kuryrport(), kuryrport(now))
    telling.start()
    telling.attached(kuryrport(), ["eth0"], Stages())
    assert not client.written.wait(0.2)
    telling.stop()
    assert client.asked == ["u"]
