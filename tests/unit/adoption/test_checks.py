# SPDX-License-Identifier: Apache-2.0
from pathlib import Path

import pytest

from kuryr.cloud.capabilities import Capabilities, Quota
from kuryr.cloud.networks import NetworkInfo, SubnetInfo
from kuryr.conf import controller as configuration
from kuryr.controller.checks import POOLS, judge_mtus, judge_quotas
from kuryr.controller.verdicts import Code


def capabilities(quota: Quota | None) -> Capabilities:
    return Capabilities(
        project_id="p",
        user_id="u",
        roles=frozenset(),
        extensions=frozenset(),
        quotas={} if quota is None else {"port": quota},
    )


@pytest.mark.parametrize(
    ("quota", "code"),
    [
        (None, Code.SUCCESS),
        (Quota(-1, used=7), Code.SUCCESS),
        (Quota(100), Code.SUCCESS),
        (Quota(100, used=50), Code.SUCCESS),
        (Quota(100, used=91), Code.WARNING),
        (Quota(40, used=31), Code.WARNING),
        (Quota(100, used=98, reserved=2), Code.FAILURE),
    ],
)
def test_quotas(quota: Quota | None, code: Code) -> None:
    assert judge_quotas("Quotas", capabilities(quota), wanted=10).code is code


def subnet(version: int, mtu: int) -> SubnetInfo:
    cidr = "10.0.0.0/24" if version == 4 else "fd00::/64"
    return SubnetInfo(id=f"s{version}", network=NetworkInfo(id="n", mtu=mtu), cidr=cidr, ip_version=version)


@pytest.mark.parametrize(
    ("version", "mtu", "configured", "code"),
    [
        (4, 1442, 0, Code.SUCCESS),
        (6, 1442, 1400, Code.SUCCESS),
        (4, 0, 0, Code.SUCCESS),
        (4, 1442, 1500, Code.WARNING),
        (6, 1200, 0, Code.FAILURE),
        (6, 1442, 1200, Code.FAILURE),
        (4, 1442, 1200, Code.SUCCESS),
    ],
)
def test_mtus(version: int, mtu: int, configured: int, code: Code) -> None:
    assert judge_mtus("MTU", [subnet(version, mtu)], configured).code is code


@pytest.mark.parametrize(
    ("minimum", "maximum", "batch", "failing"),
    [
        (5, 0, 10, set()),
        (5, 20, 10, set()),
        (5, 4, 10, {"vif_pool_min_max", "vif_pool_max_batch"}),
        (11, 0, 10, {"vif_pool_min_batch"}),
    ],
)
def test_pools(tmp_path: Path, minimum: int, maximum: int, batch: int, failing: set[str]) -> None:
    # Not by an override: groups are shared by all configurations of a process.
    path = tmp_path / "kuryr.conf"
    path.write_text(
        f"[vif_pool]\nports_pool_min = {minimum}\nports_pool_max = {maximum}\nports_pool_batch = {batch}\n"
    )
    conf = configuration.load(["--config-file", str(path)])
    assert {name for name, check in POOLS.items() if check(conf).code is Code.FAILURE} == failing
