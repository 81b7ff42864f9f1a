# SPDX-License-Identifier: Apache-2.0
"""The figures as a table and as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec

from devcloud import paths
from devcloud.demo.report import table
from tests.bench.conditions import Conditions
from tests.bench.figures import Figure, Measurement

RESULTS = Path(__file__).with_name("results")
BASELINE = RESULTS / "baseline.json"
DOCUMENT = paths.SOURCE / "docs" / "benchmarks.md"

_BEGIN = "<!-- baseline: written by python -m tests.bench --adopt -->\n"
_END = "<!-- end of the baseline -->\n"

_VERDICTS = {True: "met", False: "MISSED", None: ""}
_HEADER = ("FIGURE", "MEASURED", "TARGET", "VERDICT", "N", "REMARK")


class Report(msgspec.Struct, frozen=True):
    """One run of the bench."""

    conditions: Conditions
    measurements: list[Measurement]


def rows(measurements: Sequence[Measurement]) -> list[list[str]]:
    """A row for each figure, and one for each measurement that could not be made."""
    found = []
    for measurement in measurements:
        found += [row(figure) for figure in measurement.figures]
        if measurement.error:
            found.append([measurement.name, "-", "", "NOT MEASURED", "", measurement.error])
    return found


def row(figure: Figure) -> list[str]:
    """A figure in words."""
    target = "" if figure.limit is None else f"≤ {_number(figure.limit)} {figure.unit}"
    return [
        figure.name,
        f"{_number(figure.value)} {figure.unit}",
        target,
        _VERDICTS[figure.met],
        str(figure.n),
        figure.remark,
    ]


def text(measurements: Sequence[Measurement]) -> str:
    """The table for the terminal."""
    return table(_HEADER, rows(measurements))


def markdown(report: Report) -> str:
    """The conditions and the table for the documentation."""
    taken = report.conditions
    lines = [
        f"Of {taken.date}, commit {taken.commit[:12]}, {taken.cores} cores ({taken.processor}), "
        f"{taken.memory_gib:.0f} GiB, kernel {taken.kernel}, load before {taken.load:.1f}; "
        + ", ".join(f"{name} {version}" for name, version in taken.versions.items())
        + ". The controller: "
        + ", ".join(f"{name} = {value}" for name, value in taken.options.items())
        + ".",
        "",
    ]
    cells = [_HEADER, ["---"] * len(_HEADER), *rows(report.measurements)]
    lines += ["| " + " | ".join(cell.replace("|", "/") for cell in line) + " |" for line in cells]
    return "\n".join(lines) + "\n"


def read(file: Path) -> Report:
    """A report that was stored."""
    return msgspec.json.decode(file.read_bytes(), type=Report)


def adopt(report: Report) -> None:
    """Make a report the baseline, in the results and in the documentation."""
    write(report, BASELINE)
    before, _, rest = DOCUMENT.read_text().partition(_BEGIN)
    _, _, after = rest.partition(_END)
    DOCUMENT.write_text(f"{before}{_BEGIN}\n{markdown(report)}\n{_END}{after}")


def documented() -> str:
    """The baseline as the documentation has it."""
    return DOCUMENT.read_text().partition(_BEGIN)[2].partition(_END)[0].strip() + "\n"


def write(report: Report, file: Path) -> None:
    """Store a report."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(msgspec.json.format(msgspec.json.encode(report), indent=1) + b"\n")


def _number(value: float) -> str:
    if value == int(value):
        return str(int(value))
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"
