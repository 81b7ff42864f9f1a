#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes docs/crds.md from kubernetes_crds/. Needs PyYAML."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[1]
CRDS = ROOT / "kubernetes_crds"
REFERENCE = ROOT / "docs" / "crds.md"

Schema = Mapping[str, Any]

INTRODUCTION = """\
# Custom resources

<!-- Written by tools/generate_crd_reference.py from kubernetes_crds/: change it there. -->

`kubectl apply -f kubernetes_crds/` installs or upgrades them, on Kubernetes 1.31 or later. `kubectl get kuryr` shows the
objects of all of Kuryr's own kinds, `kubectl explain KIND.spec` what is below in short. Objects that kuryr-kubernetes
before version 11 wrote are valid as they are.

The schemas hold more than this version acts on. It writes KuryrPorts; the other kinds, and what `spec.interfaces` of a
KuryrPort asks for, are accepted and validated but have no effect yet.

In the tables `[]` stands for each entry of a list, `.*` for each key of a map, and an asterisk for what is required; what
is in italics is checked, and said where it does not hold.

## Conditions

Each entry of a `conditions` list has these fields; there is one entry for each type.

"""


def reference(crds: Path = CRDS) -> str:
    """The whole page."""
    documents = [yaml.safe_load(file.read_text()) for file in sorted(crds.glob("*.yaml"))]
    condition = next(schema for document in documents for schema in _conditions(_root(document)))
    sections = [INTRODUCTION + _table(condition)]
    sections += [_section(document) for document in documents]
    return "\n\n".join(sections) + "\n"


def _root(document: Schema) -> Schema:
    root: Schema = document["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    return root


def _conditions(schema: Schema) -> Iterator[Schema]:
    """Schemas of a condition, wherever there is one."""
    for name, child in schema.get("properties", {}).items():
        if name == "conditions" and _is_conditions(child):
            yield child["items"]
        yield from _conditions(child)


def _is_conditions(schema: Schema) -> bool:
    return "lastTransitionTime" in schema.get("items", {}).get("properties", {})


def _section(document: Schema) -> str:
    names, version = document["spec"]["names"], document["spec"]["versions"][0]
    facts = [
        f"`{document['metadata']['name']}`",
        f"version `{version['name']}`",
        "short name " + ", ".join(f"`{name}`" for name in names["shortNames"]),
        "in a namespace" if document["spec"]["scope"] == "Namespaced" else "without a namespace",
    ]
    if "status" in version.get("subresources", {}):
        facts.append("status subresource")
    if selectable := version.get("selectableFields"):
        paths = ", ".join(f"`{field['jsonPath'].lstrip('.')}`" for field in selectable)
        facts.append(f"field selectors for {paths}")
    columns = version.get("additionalPrinterColumns", [])
    usual = [column["name"] for column in columns if not column.get("priority")]
    wide = [column["name"] for column in columns if column.get("priority")]
    shown = f"`kubectl get` shows {', '.join(usual)}; with `-o wide` also {', '.join(wide)}."
    root = _root(document)
    parts = [f"## {names['kind']}", root["description"], "; ".join(facts) + ".", shown]
    for name in ("spec", "status"):
        if name in root["properties"]:
            part = root["properties"][name]
            parts += [f"### {names['kind']} {name}", _told(part), _table(part)]
    return "\n\n".join(parts)


def _table(schema: Schema) -> str:
    rows = ["| Field | Type | Meaning |", "|---|---|---|"]
    rows += [f"| `{path}`{mark} | {kind} | {meaning} |" for path, mark, kind, meaning in _rows(schema)]
    return "\n".join(rows)


def _rows(schema: Schema, prefix: str = "") -> Iterator[tuple[str, str, str, str]]:
    required = schema.get("required", ())
    for name, child in schema.get("properties", {}).items():
        path = f"{prefix}{name}"
        yield path, " \\*" if name in required else "", _type(child), _told(child)
        if _is_conditions(child):
            continue
        if isinstance(child.get("additionalProperties"), dict):
            yield from _rows(child["additionalProperties"], f"{path}.*.")
        yield from _rows(child, f"{path}.")
        yield from _rows(child.get("items", {}), f"{path}[].")


def _type(schema: Schema) -> str:
    if _is_conditions(schema):
        return "[conditions](#conditions)"
    if schema["type"] == "array":
        return f"list of {_type(schema['items'])}"
    if schema["type"] == "object":
        values = schema.get("additionalProperties")
        if isinstance(values, dict):
            return f"map of {_type(values)}"
        return "any object" if schema.get("x-kubernetes-preserve-unknown-fields") else "object"
    if schema.get("format") == "date-time":
        return "time"
    return str(schema["type"])


def _told(schema: Schema) -> str:
    """Description, limits and rules."""
    sentences = [schema.get("description", "")]
    entry = schema.get("items", {})
    values = schema.get("enum") or entry.get("enum")
    if values:
        sentences.append(f"One of {', '.join(f'`{value}`' for value in values)}.")
    if "minimum" in schema and "maximum" in schema:
        sentences.append(f"{schema['minimum']} to {schema['maximum']}.")
    elif "minimum" in schema:
        sentences.append(f"At least {schema['minimum']}.")
    if "maxItems" in schema:
        sentences.append(f"At most {schema['maxItems']}.")
    if "x-kubernetes-list-map-keys" in schema and not _is_conditions(schema):
        keys = ", ".join(f"`{key}`" for key in schema["x-kubernetes-list-map-keys"])
        sentences.append(f"One entry for each {keys}.")
    rules = [*schema.get("x-kubernetes-validations", ()), *entry.get("x-kubernetes-validations", ())]
    sentences += [f"*{rule['message']}.*" for rule in rules]
    return " ".join(sentence for sentence in sentences if sentence)


if __name__ == "__main__":
    REFERENCE.write_text(reference())
