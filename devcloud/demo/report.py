# SPDX-License-Identifier: Apache-2.0
"""The demo's results as tables."""

from collections.abc import Mapping, Sequence

from devcloud.demo.probes import Check, Endpoint, Reached
from devcloud.demo.watch import STAGES


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns as wide as their widest cell."""
    widths = [max(len(row[column]) for row in (header, *rows)) for column in range(len(header))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in (header, *rows)
    )


def endpoints(found: Sequence[Endpoint], stages: Mapping[str, Mapping[str, float]]) -> str:
    """Where each endpoint is, its port, and how long each stage of its start took."""
    rows = []
    for endpoint in found:
        times = stages.get(endpoint.name, {})
        total = f"{times['Ready']:.2f} s" if "Ready" in times else "-"
        rows.append(
            [
                *(endpoint.name, endpoint.node, endpoint.subnet),
                *(*endpoint.addresses, endpoint.port_id, total, split(times)),
            ]
        )
    header = ("NAME", "NODE", "SUBNET", "IPv4", "IPv6", "NEUTRON PORT", "TO READY", " + ".join(STAGES[1:]))
    return table(header, rows)


def split(times: Mapping[str, float]) -> str:
    """How long each stage took since the one before it; "?" for one that was not seen."""
    if not times:
        return "-"
    parts = []
    before = 0.0
    for stage in STAGES[1:]:
        if stage not in times:
            parts.append("?")
            continue
        parts.append(f"{times[stage] - before:.2f}")
        before = times[stage]
    return " + ".join(parts)


def matrix(results: Sequence[Reached]) -> str:
    """One row per source, one column per target; each cell shows what passed of what was tried."""
    sources = list(dict.fromkeys(result.source for result in results))
    # A source that was tried as a target too keeps its place.
    targets = list(dict.fromkeys([*sources, *(result.target for result in results)]))
    rows = []
    for source in sources:
        row = [source]
        for target in targets:
            tried = [r for r in results if r.source == source and r.target == target]
            failed = [f"{r.method}{r.family}" for r in tried if not r.passed]
            row.append("" if not tried else f"no {' '.join(failed)}" if failed else "ok")
        rows.append(row)
    return table(["FROM \\ TO", *targets], rows)


def checks(found: Sequence[Check]) -> str:
    """One line per check."""
    return "\n".join(
        f"{'ok    ' if check.passed else 'FAILED'}  {check.name}{': ' + check.detail if check.detail else ''}"
        for check in found
    )
