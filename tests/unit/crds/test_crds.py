# SPDX-License-Identifier: Apache-2.0
"""The CRDs' files beside what is written about them and the types that are written into them."""

import importlib.util
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml

from kuryr.objects.kuryrport import KuryrPort, KuryrPortSpec, KuryrPortStatus
from kuryr.objects.resources import KURYRPORTS

ROOT = Path(__file__).resolve().parents[3]
FILES = sorted((ROOT / "kubernetes_crds").glob("*.yaml"))


def _schema(file: Path) -> Any:
    return yaml.safe_load(file.read_text())["spec"]["versions"][0]["schema"]["openAPIV3Schema"]


def _fields(schema: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Every field below spec and status, with its path."""
    for name, child in schema.get("properties", {}).items():
        if path or name in ("spec", "status"):
            yield f"{path}.{name}", child
            for below in (child, child.get("items", {}), child.get("additionalProperties", {})):
                yield from _fields(below, f"{path}.{name}")


def test_the_reference_is_up_to_date() -> None:
    spec = importlib.util.spec_from_file_location(
        "crd_reference", ROOT / "tools" / "generate_crd_reference.py"
    )
    assert spec is not None
    assert spec.loader is not None
    generator = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(generator)
    stale = "docs/crds.md is not what tools/generate_crd_reference.py writes; run it"
    assert generator.REFERENCE.read_text() == generator.reference(), stale


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_every_field_is_described(file: Path) -> None:
    assert [path for path, field in _fields(_schema(file)) if not field.get("description")] == []


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_every_list_says_how_it_is_merged(file: Path) -> None:
    lists = [(path, field) for path, field in _fields(_schema(file)) if field["type"] == "array"]
    assert [path for path, field in lists if "x-kubernetes-list-type" not in field] == []


@pytest.mark.parametrize(("part", "struct"), [("spec", KuryrPortSpec), ("status", KuryrPortStatus)])
def test_the_api_keeps_what_is_written_into_a_kuryrport(part: str, struct: type[msgspec.Struct]) -> None:
    (file,) = [
        file for file in FILES if yaml.safe_load(file.read_text())["spec"]["names"]["kind"] == "KuryrPort"
    ]
    known = {path for path, _ in _fields(_schema(file))}
    written = {f".{part}{path}" for path in _encoded(msgspec.inspect.type_info(struct))}
    assert written <= known


def _encoded(info: Any, path: str = "") -> Iterator[str]:
    """Paths of the fields of a struct as JSON has them."""
    match info:
        case msgspec.inspect.StructType(fields=fields):
            for field in fields:
                yield f"{path}.{field.encode_name}"
                yield from _encoded(field.type, f"{path}.{field.encode_name}")
        case msgspec.inspect.ListType(item_type=item) | msgspec.inspect.DictType(value_type=item):
            yield from _encoded(item, path)
        case msgspec.inspect.UnionType(types=types):
            for each in types:
                yield from _encoded(each, path)


def test_the_kinds_that_are_used_are_the_ones_installed() -> None:
    documents = [yaml.safe_load(file.read_text())["spec"] for file in FILES]
    installed = {
        (
            document["group"],
            document["versions"][0]["name"],
            document["names"]["plural"],
            document["names"]["kind"],
        )
        for document in documents
    }
    assert (KURYRPORTS.group, KURYRPORTS.version, KURYRPORTS.plural, KURYRPORTS.kind) in installed
    assert KURYRPORTS.type is KuryrPort
