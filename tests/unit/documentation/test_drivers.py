# SPDX-License-Identifier: Apache-2.0
"""docs/drivers.md beside the contracts in the code."""

import inspect
import re
from pathlib import Path

import msgspec
import pytest

from kuryr.cni.binding.base import BindingDriver
from kuryr.conf import kubernetes
from kuryr.drivers import base
from kuryr.handlers.base import Handler

PAGE = (Path(__file__).resolve().parents[3] / "docs" / "drivers.md").read_text()
DRIVERS = [
    cls
    for cls in vars(base).values()
    if inspect.isclass(cls) and issubclass(cls, base.Driver) and cls is not base.Driver
]


def own_methods(cls: type) -> set[str]:
    """Names of what the class defines for others: no private names, nothing inherited."""
    return {
        name for name, value in vars(cls).items() if inspect.isfunction(value) and not name.startswith("_")
    }


def row(text: str) -> str:
    """The row of the table of kinds that has the class."""
    return next(line for line in PAGE.splitlines() if line.startswith("|") and f"| `{text}` |" in line)


@pytest.mark.parametrize("cls", DRIVERS, ids=lambda cls: cls.__name__)
def test_every_kind_with_its_methods(cls: type[base.Driver]) -> None:
    told = row(cls.__name__)
    assert told.startswith(f"| `{cls.kind}`: ")
    inherited = {name for parent in cls.__mro__[1:] for name in vars(parent)}
    missing = [name for name in own_methods(cls) - inherited if f"`{name}`" not in told]
    assert missing == []
    abstract = {name for name in vars(cls) if name in cls.__abstractmethods__}
    assert set(re.findall(r"\*\*`(\w+)`\*\*", told)) == abstract


@pytest.mark.parametrize("cls", DRIVERS, ids=lambda cls: cls.__name__)
def test_every_option(cls: type[base.Driver]) -> None:
    option = row(cls.__name__).split("`")[3]
    assert option in {opt.name for opt in kubernetes.CONTROLLER_OPTS}


@pytest.mark.parametrize("cls", [base.Driver, Handler, BindingDriver], ids=lambda cls: cls.__name__)
def test_every_method_of_what_all_share(cls: type) -> None:
    assert [name for name in own_methods(cls) if f"`{name}`" not in PAGE] == []
    abstract: set[str] = set(getattr(cls, "__abstractmethods__", ()))
    assert [name for name in abstract if f"**`{name}`**" not in PAGE] == []


def test_every_type_that_drivers_are_asked_with() -> None:
    public = {name: getattr(base, name) for name in base.__all__}
    structs = [name for name, cls in public.items() if issubclass(cls, msgspec.Struct)]
    assert structs
    assert [name for name in structs if f"`{name}`" not in PAGE] == []
