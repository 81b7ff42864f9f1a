# SPDX-License-Identifier: Apache-2.0
"""docs/operations.md knows every metric, as the code has it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest
from prometheus_client import CollectorRegistry

from kuryr.cloud.limits import Limiter
from kuryr.cni.metrics import Metrics as NodeMetrics
from kuryr.controller.metrics import Metrics
from kuryr.drivers.base import VIFPoolDriver

DOCUMENT = Path(__file__).parents[3] / "docs" / "operations.md"


class NoPool:
    def pools(self) -> list[Any]:
        return []

    def counters(self) -> dict[str, int]:
        return {}


def rows(registry: CollectorRegistry) -> Iterator[str]:
    """The lines of the reference."""
    labels: dict[str, tuple[str, ...]] = {}
    for collector in list(registry._collector_to_names):
        families = [collector] if hasattr(collector, "_name") else list(collector.collect())
        for family in families:
            name = getattr(family, "_name", None) or family.name
            labels[name] = tuple(getattr(family, "_labelnames", ()))
    for family in sorted(registry.collect(), key=lambda family: family.name):
        if family.name not in labels:
            continue
        name = f"{family.name}_total" if family.type == "counter" else family.name
        shown = ", ".join(f"`{label}`" for label in labels[family.name])
        yield f"| `{name}` | {family.type} | {shown} | {family.documentation} |"


def controller() -> CollectorRegistry:
    registry = CollectorRegistry()
    metrics = Metrics(registry)
    metrics.watch_pool(cast(VIFPoolDriver, NoPool()))
    metrics.watch_limiter(Limiter())
    return registry


@pytest.mark.parametrize("registry", [controller(), NodeMetrics().registry], ids=["controller", "daemon"])
def test_the_reference_has_every_metric(registry: CollectorRegistry) -> None:
    text = DOCUMENT.read_text()
    missing = [row for row in rows(registry) if row not in text]
    assert not missing, "docs/operations.md lacks these lines:\n" + "\n".join(missing)


def test_the_reference_has_no_metric_that_is_not_there() -> None:
    known = [*rows(controller()), *rows(NodeMetrics().registry)]
    shown = [line for line in DOCUMENT.read_text().splitlines() if line.startswith("| `kuryr_")]
    assert sorted(shown) == sorted(known)
