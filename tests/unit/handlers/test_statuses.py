# SPDX-License-Identifier: Apache-2.0
"""What is written into a KuryrPort's status, and what is not."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest

from kuryr.drivers.types import Allocation
from kuryr.handlers import statuses
from kuryr.k8s.conditions import micro_timestamp
from kuryr.objects.kuryrport import ALLOCATED, KuryrPort, KuryrPortStatus, RouteStatus, VIFStatus
from kuryr.objects.meta import ObjectMeta
from kuryr.objects.vif import Network, Subnet, VIFOpenVSwitch, decode

NOW = datetime(2026, 1, 1, tzinfo=UTC)
LATER = datetime(2026, 1, 2, tzinfo=UTC)
RECORDED = Path(__file__).parents[1] / "objects" / "data"


def allocation(number: int = 1, reason: str = "[neutron_defaults] pod_subnet") -> Allocation:
    subnet = Subnet(cidr="10.0.0.0/24", ips=(f"10.0.0.{number}",))
    vif = VIFOpenVSwitch(
        id=f"port-{number}",
        address="fa:16:3e:00:00:01",
        network=Network(id="net", bridge="br-int", mtu=1442, subnets=(subnet,)),
        vif_name="tap",
    )
    return Allocation(
        vif=vif, project_id="project", security_groups=("sg",), subnet_ids=("subnet",), reason=reason
    )


def entry(number: int = 1, **changes: Any) -> VIFStatus:
    made = statuses.vif_status(allocation(number), default=True, driver="neutron-vif")
    return msgspec.structs.replace(made, **changes)


def port(**status: Any) -> KuryrPort:
    return KuryrPort(metadata=ObjectMeta(name="a", namespace="ns"), status=KuryrPortStatus(**status))


def patched(port: KuryrPort, patch: dict[str, Any]) -> KuryrPort:
    """The KuryrPort after a JSON merge patch of its status, as the API stores and serves it."""

    def merge(target: Any, change: Any) -> Any:
        if not isinstance(change, dict):
            return change
        result = dict(target) if isinstance(target, dict) else {}
        for name, value in change.items():
            if value is None:
                result.pop(name, None)
            else:
                result[name] = merge(result.get(name), value)
        return result

    stored = merge(msgspec.to_builtins(port), {"status": json.loads(json.dumps(patch))})
    return msgspec.convert(stored, KuryrPort)


def test_a_new_vif_is_written_with_its_condition() -> None:
    patch = statuses.filled(port(), {"eth0": entry()}, None, now=NOW)
    assert patch is not None
    assert set(patch) == {"vifs", "conditions"}
    (condition,) = patch["conditions"]
    assert (condition["type"], condition["status"]) == (ALLOCATED, "True")
    assert condition["message"] == "eth0: 10.0.0.1 by [neutron_defaults] pod_subnet"
    assert decode(patch["vifs"]["eth0"]["vif"]).id == "port-1"


@pytest.mark.parametrize("routes", [None, [], [RouteStatus("10.1.0.0/16", "10.0.0.254")]])
def test_what_is_there_is_not_written_again(routes: list[RouteStatus] | None) -> None:
    vifs = {"eth0": entry(1), "eth1": entry(2)}
    first = statuses.filled(port(), vifs, routes, now=NOW)
    assert first is not None
    there = patched(port(), first)
    assert there.status.vifs == vifs
    assert statuses.filled(there, vifs, routes, now=LATER) is None


def test_only_what_changed_is_written() -> None:
    vifs = {"eth0": entry(1), "eth1": entry(2)}
    there = patched(port(), statuses.filled(port(), vifs, [], now=NOW) or {})
    changed = {**vifs, "eth1": msgspec.structs.replace(vifs["eth1"], security_groups=["other"])}
    patch = statuses.filled(there, changed, [], now=LATER)
    assert patch is not None
    assert set(patch) == {"vifs"}
    assert set(patch["vifs"]) == {"eth1"}
    routes = [RouteStatus("10.1.0.0/16", "10.0.0.254")]
    assert set(statuses.filled(there, vifs, routes, now=LATER) or {}) == {"routes"}


def test_recovery_is_written_though_the_vifs_are_there() -> None:
    vifs = {"eth0": entry()}
    there = patched(port(), statuses.filled(port(), vifs, None, now=NOW) or {})
    there = patched(there, {"conditions": statuses.failed(there, "SubnetFull", "full", now=NOW)})
    patch = statuses.filled(there, vifs, None, now=LATER)
    assert patch is not None
    assert set(patch) == {"conditions"}
    assert patch["conditions"][0]["lastTransitionTime"].startswith("2026-01-02")


@pytest.mark.parametrize("path", sorted(RECORDED.glob("*.json")), ids=lambda path: path.stem)
def test_the_original_s_entries_are_left_as_they_are(path: Path) -> None:
    there = msgspec.json.decode(path.read_bytes(), type=KuryrPort)
    assert statuses.filled(there, dict(there.status.vifs), None, now=NOW) is None


def test_a_failure_is_told_once() -> None:
    first = statuses.failed(port(), "SubnetFull", "full", now=NOW)
    assert first is not None
    there = patched(port(), {"conditions": first})
    assert statuses.failed(there, "SubnetFull", "full", now=LATER) is None
    other = statuses.failed(there, "QuotaExceeded", "used up", now=LATER)
    assert other is not None
    # Its status did not change, so neither does the time since when it is so.
    assert other[0]["lastTransitionTime"] == first[0]["lastTransitionTime"]
    assert len(other) == 1


def test_conditions_of_others_are_kept() -> None:
    there = port(conditions=msgspec.convert([{"type": "Theirs", "status": "True"}], list[Any]))
    there = msgspec.convert(msgspec.to_builtins(there), KuryrPort)
    conditions = statuses.failed(there, "SubnetFull", "full", now=NOW)
    assert [condition["type"] for condition in conditions or ()] == ["Theirs", ALLOCATED]


def test_up_is_a_condition_and_the_original_s_flag() -> None:
    up = statuses.with_up(entry(), now=NOW)
    assert decode(up.vif).active
    assert [(condition.type, condition.status) for condition in up.conditions] == [("Up", "True")]
    assert statuses.with_up(up, now=LATER) == up


def test_what_waited_wired_is_up_from_the_beginning() -> None:
    waited = msgspec.structs.replace(allocation(), up=True)
    made = statuses.vif_status(waited, default=True, driver="neutron-vif", now=NOW)
    assert decode(made.vif).active
    (condition,) = made.conditions
    assert (condition.type, condition.status, condition.reason) == ("Up", "True", "WiredAhead")
    assert condition.last_transition_time == micro_timestamp(NOW)
    assert not decode(entry().vif).active


def test_a_reason_without_end_is_cut() -> None:
    made = statuses.vif_status(allocation(reason="x" * 10_000), default=True, driver="d")
    assert len(made.choice) == statuses.LONGEST_CHOICE
