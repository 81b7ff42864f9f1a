# SPDX-License-Identifier: Apache-2.0
"""The short form of tools/churn.sh: the same steps each time, though not the same course of things."""

from pathlib import Path

import pytest

from tests.churn import fake
from tests.functional.kubernetes import KubernetesApi

SEED = 7


@pytest.mark.timeout(900)
@pytest.mark.parametrize("pool", ["noop", "neutron"])
def test_a_minute(kubernetes_api: KubernetesApi, tmp_path: Path, pool: str) -> None:
    settings = fake.Settings(pool=pool, seed=SEED, seconds=45, most=60)
    report = fake.run(kubernetes_api, settings, tmp_path)
    print(report.text())
    assert report.violations == []
