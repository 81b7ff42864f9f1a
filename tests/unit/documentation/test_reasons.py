# SPDX-License-Identifier: Apache-2.0
"""docs/operations.md tells of every reason that Events and conditions of the code may have, and of no other."""

import ast
import importlib
import pkgutil
import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import kuryr
from kuryr.errors import KuryrError

ROOT = Path(__file__).resolve().parents[3]
DOCUMENT = ROOT / "docs" / "operations.md"
CAMEL = re.compile(r"(?:[A-Z]+[a-z]+)+[A-Z]*[a-z]*")
TELLERS = {"event", "_tell", "Room"}
"""Calls with a reason among their arguments, which is a constant."""

NOT_TOLD = {
    "KuryrError": "a base class",
    "Retrying": "a base class",
    "ConfigurationError": "the program does not start",
    "Waiting": "not an error",
    "NotHolding": "another process tells",
    "Conflict": "the store is not up to date yet",
    "Gone": "a list or watch is begun anew",
    "Silent": "a watch is begun anew",
    "NetworkError": "on the node: part of the message of FailedToAttachInterface",
    "NamespaceGone": "as NetworkError",
    "AlreadyThere": "as NetworkError",
    "SwitchError": "as NetworkError",
    "SwitchUnavailable": "as NetworkError",
    "BindingError": "as NetworkError",
}
NEUTRONS = {"SecurityGroupNotFound", "SubnetNotFound"}
"""Neutron's own words, as examples."""


def modules() -> Iterator[ModuleType]:
    for found in pkgutil.walk_packages(kuryr.__path__, "kuryr."):
        if not found.name.startswith("kuryr.testing"):
            yield importlib.import_module(found.name)


def subclasses(cls: type[KuryrError]) -> Iterator[type[KuryrError]]:
    yield cls
    for below in cls.__subclasses__():
        if not below.__module__.startswith(("kuryr.testing", "tests.")):
            yield from subclasses(below)


def constant(node: ast.expr, module: ModuleType) -> Iterator[str]:
    """A word in CamelCase that an argument is, by itself or by the name of a constant."""
    value = node.value if isinstance(node, ast.Constant) else None
    if isinstance(node, ast.Name) and node.id.isupper():
        value = getattr(module, node.id, None)
    if isinstance(value, str) and CAMEL.fullmatch(value):
        yield value


def reasons_in(module: ModuleType) -> Iterator[str]:
    """What errors, Events and the requests of the daemon are given as their reason."""
    for node in ast.walk(ast.parse(Path(str(module.__file__)).read_text())):
        if isinstance(node, ast.Call):
            name = getattr(node.func, "attr", getattr(node.func, "id", ""))
            if name in TELLERS:
                for argument in node.args:
                    yield from constant(argument, module)
            for keyword in node.keywords:
                if keyword.arg == "reason" and name != "Condition":
                    yield from constant(keyword.value, module)
        elif isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "reason":
            yield from constant(node.value, module)
        elif isinstance(node, ast.arguments):
            for argument, default in zip(node.kwonlyargs, node.kw_defaults, strict=True):
                if argument.arg == "reason" and default is not None:
                    yield from constant(default, module)


def told() -> set[str]:
    """By the code."""
    found = {reason for module in modules() for reason in reasons_in(module)}
    return (found | {cls.reason for cls in subclasses(KuryrError)}) - NOT_TOLD.keys()


def documented() -> set[str]:
    """The words in the first column of the table."""
    _, _, section = DOCUMENT.read_text().partition("\n## Events\n")
    section, _, _ = section.partition("\n## ")
    rows = [line for line in section.splitlines() if line.startswith("| `")]
    return {word for row in rows for word in re.findall(r"`(\w+)`", row.split(" | ")[0])}


def test_every_reason_is_documented() -> None:
    missing = told() - documented()
    assert not missing, f"docs/operations.md, Events: lacks {', '.join(sorted(missing))}"


def test_no_reason_is_documented_that_is_not_there() -> None:
    assert documented() - told() == NEUTRONS


def test_what_is_not_told_is_in_the_code() -> None:
    found = {reason for module in modules() for reason in reasons_in(module)}
    assert NOT_TOLD.keys() <= found | {cls.reason for cls in subclasses(KuryrError)}
