# SPDX-License-Identifier: Apache-2.0
"""All pages: links lead somewhere, files that are named exist, options that are shown are real."""

import configparser
import re
from pathlib import Path

import pytest

from kuryr.conf.opts import list_opts

ROOT = Path(__file__).resolve().parents[3]
PAGES = [
    *sorted((ROOT / "docs").glob("*.md")),
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "plugins-example" / "README.md",
]
OPTIONS = {group.name: {opt.dest for opt in opts} for group, opts in list_opts()}
FILE = re.compile(r"`((?:kuryr|etc|tools|devcloud|docs|tests|kubernetes_crds|plugins-example)/[\w./*-]*)`")

pages = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())


def anchors(page: Path) -> set[str]:
    """Anchors of a page's headings, as code hosts make them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pages
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\((?!https?:)([^)\s]+)\)", page.read_text()):
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        assert file.exists(), target
        if anchor and file.suffix == ".md":
            assert anchor in anchors(file), target


@pages
def test_files_that_are_named_exist(page: Path) -> None:
    named = set(FILE.findall(page.read_text()))
    generated = {"tests/bench/results/"}
    missing = [name for name in named - generated if not any(ROOT.glob(name.rstrip("/")))]
    assert missing == []


@pages
def test_options_in_examples_are_real(page: Path) -> None:
    for text in re.findall(r"```ini\n(.*?)```", page.read_text(), re.DOTALL):
        parsed = configparser.RawConfigParser(inline_comment_prefixes="#")
        parsed.read_string(text)
        for group in set(parsed.sections()) & set(OPTIONS):
            assert set(parsed[group]) - OPTIONS[group] == set(), group
