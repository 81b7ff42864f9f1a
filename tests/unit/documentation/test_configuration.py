# SPDX-License-Identifier: Apache-2.0
"""docs/configuration.md beside the options in the code."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

from kuryr.conf.opts import list_opts

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module")
def generator() -> ModuleType:
    file = ROOT / "tools" / "generate_configuration_reference.py"
    spec = importlib.util.spec_from_file_location("configuration_reference", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_reference_is_up_to_date(generator: ModuleType) -> None:
    stale = "docs/configuration.md is not what tools/generate_configuration_reference.py writes; run it"
    assert generator.REFERENCE.read_text() == generator.reference(), stale


def test_every_option_that_a_program_reads_is_listed(generator: ModuleType) -> None:
    listed = {(group.name, opt.dest) for group, opts in list_opts() for opt in opts}
    for name, register in generator.PROGRAMS.items():
        assert generator.registered(register) - listed == set(), name


def test_every_option_of_ours_has_help() -> None:
    assert [opt.name for _, opts in list_opts() for opt in opts if not opt.help] == []
