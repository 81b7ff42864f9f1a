# SPDX-License-Identifier: Apache-2.0
"""Results of checks, for people and for programs, in the form that OpenStack's upgrade checks have. Pure."""

from __future__ import annotations

import enum
import textwrap
from collections.abc import Iterable, Sequence

import msgspec

WIDTH = 100


class Code(enum.IntEnum):
    """How a check went; the worst of all is the exit code."""

    SUCCESS = 0
    WARNING = 1
    FAILURE = 2


class Verdict(msgspec.Struct, frozen=True):
    """One check with what was found, a sentence each. ``notes`` are shown and change nothing."""

    check: str
    failures: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def code(self) -> Code:
        """The worst that was found."""
        if self.failures:
            return Code.FAILURE
        return Code.WARNING if self.warnings else Code.SUCCESS

    @property
    def details(self) -> tuple[str, ...]:
        """All that was found, the worst first."""
        return (*self.failures, *self.warnings, *self.notes)


def worst(verdicts: Iterable[Verdict]) -> Code:
    """The worst code of all."""
    return max((verdict.code for verdict in verdicts), default=Code.SUCCESS)


def table(title: str, verdicts: Sequence[Verdict]) -> str:
    """Verdicts as a table of one column."""
    cells = [[title]]
    for verdict in verdicts:
        lines = [f"Check: {verdict.check}", f"Result: {verdict.code.name.capitalize()}"]
        details = verdict.details or ("None",)
        lines.append(f"Details: {details[0]}")
        lines += [f"  {detail}" for detail in details[1:]]
        cells.append(
            [
                part
                for line in lines
                for part in textwrap.wrap(line, WIDTH, subsequent_indent="  ", break_on_hyphens=False)
            ]
        )
    width = max(len(line) for cell in cells for line in cell)
    rule = f"+{'-' * (width + 2)}+"
    rows = [rule]
    for cell in cells:
        rows += [f"| {line:<{width}} |" for line in cell]
        rows.append(rule)
    return "\n".join(rows)


def as_json(title: str, verdicts: Sequence[Verdict]) -> str:
    """Verdicts as JSON: ``{"name", "checks": [{"check", "result", "details"}]}``, ``result`` a number of :class:`Code`."""
    checks = [
        {
            "check": verdict.check,
            "result": int(verdict.code),
            "details": "\n".join(verdict.details) or None,
        }
        for verdict in verdicts
    ]
    return msgspec.json.format(msgspec.json.encode({"name": title, "checks": checks})).decode()
