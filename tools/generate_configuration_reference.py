#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes docs/configuration.md from the options in the code. Needs Kuryr installed, as tools/venv.sh does it."""

from __future__ import annotations

import configparser
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from oslo_config import cfg

from kuryr.conf import controller, node
from kuryr.conf.opts import list_opts

ROOT = Path(__file__).resolve().parents[1]
REFERENCE = ROOT / "docs" / "configuration.md"

INTRODUCTION = """\
# Configuration

<!-- Written by tools/generate_configuration_reference.py from kuryr/conf/: change it there. -->

Both programs read `/etc/kuryr/kuryr.conf`, or the files that `--config-file` and `--config-dir` name (the later one wins).
`tools/generate_config_file_samples.sh` writes `etc/kuryr.conf.sample` with all of this as comments, and with the options
of logging in `[DEFAULT]` (oslo.log's: `debug`, `log_file`, `use_stderr`, …). A driver of another package adds options of
its own; its documentation has them.

One file can serve both programs: each reads what the tables say and leaves the rest. On nodes leave `[neutron]` out, for
the daemon never talks to OpenStack. Options that kuryr-kubernetes had and this version does not use are left unread.
A value that cannot be, a name that is not known, or a file that is missing ends the program with exit code 2 and a line
that says so.

An option marked *reloadable* is read again at SIGHUP (`systemctl reload`); all others need a restart.
"""

NAMES = {
    "enabled_handlers": "kuryr.handlers",
    "multi_vif_drivers": "kuryr.drivers.multi_vif",
    **{
        f"{kind}_driver": f"kuryr.drivers.{kind}"
        for kind in ("pod_project", "pod_subnets", "pod_security_groups", "pod_vif", "vif_pool")
    },
}
"""Options whose values are entry points, with their group."""

PROGRAMS = {"controller": controller.register, "daemon": node.register}


def reference() -> str:
    """The whole page."""
    readers = {name: registered(register) for name, register in PROGRAMS.items()}
    return "\n\n".join([INTRODUCTION.rstrip(), *_sections(readers)]) + "\n"


def registered(register: Any) -> set[tuple[str, str]]:
    """Group and name of every option that a program registers."""
    conf = cfg.ConfigOpts()
    register(conf)
    conf([], default_config_files=[], default_config_dirs=[])
    return {(group, option) for group in conf for option in _options_of(conf, group)}


def _options_of(conf: cfg.ConfigOpts, group: str) -> Iterable[str]:
    section = conf[group]
    return list(section) if isinstance(section, cfg.ConfigOpts.GroupAttr) else ()


def _sections(readers: dict[str, set[tuple[str, str]]]) -> Iterator[str]:
    for group, opts in list_opts():
        programs = {opt.name: _programs(readers, group.name, opt) for opt in opts}
        everywhere = set.intersection(*(set(found) for found in programs.values()))
        common = sorted(everywhere) if len(set(programs.values())) == 1 else []
        lines = [f"## [{group.name}]", ""]
        lines.append(f"{group.title}. " + (f"Read by the {' and the '.join(common)}." if common else ""))
        lines = [line.rstrip() for line in lines] + [
            "",
            "| Option | Type | Default | Meaning |",
            "|---|---|---|---|",
        ]
        for opt in opts:
            note = "" if common else f"Read by the {' and the '.join(programs[opt.name])}."
            lines.append(f"| `{opt.dest}` | {_type(opt)} | {_default(opt)} | {_meaning(opt, note)} |")
        yield "\n".join(lines)


def entry_points(group: str) -> list[str]:
    """Names in a group of setup.cfg."""
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    lines = setup["options.entry_points"][group].strip().splitlines()
    return [line.partition("=")[0].strip() for line in lines]


def _programs(readers: dict[str, set[tuple[str, str]]], group: str, opt: cfg.Opt) -> tuple[str, ...]:
    found = tuple(name for name, names in readers.items() if (group, opt.dest) in names)
    # Those of an authentication plug-in are registered when auth_type is read.
    return found or ("controller",)


def _type(opt: cfg.Opt) -> str:
    names = {
        cfg.BoolOpt: "boolean",
        cfg.IntOpt: "integer",
        cfg.PortOpt: "port",
        cfg.FloatOpt: "number",
        cfg.ListOpt: "list",
        cfg.MultiOpt: "several",
        cfg.DictOpt: "map",
    }
    return names.get(type(opt), "string")


def _default(opt: cfg.Opt) -> str:
    value = opt.default if opt.sample_default is None else opt.sample_default
    if value is None or value == "" or value == [] or value == {}:
        return ""
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, list):
        return f"`{','.join(str(entry) for entry in value)}`"
    return f"`{value}`"


def _meaning(opt: cfg.Opt, note: str) -> str:
    sentences = [_sentence(opt.help or ""), note]
    if opt.name in NAMES:
        names = ", ".join(f"`{name}`" for name in entry_points(NAMES[opt.name]))
        sentences.append(f"In this release: {names}.")
    choices = getattr(opt.type, "choices", None)
    if choices:
        sentences.append(f"One of {', '.join(f'`{choice}`' for choice in choices if choice)}.")
    low, high = getattr(opt.type, "min", None), getattr(opt.type, "max", None)
    if isinstance(opt, cfg.PortOpt):
        pass
    elif low is not None and high is not None:
        sentences.append(f"{low} to {high}.")
    elif low is not None:
        sentences.append(f"At least {low}.")
    if longest := getattr(opt.type, "max_length", None):
        sentences.append(f"At most {longest} characters.")
    if opt.mutable:
        sentences.append("*Reloadable.*")
    olds = [f"`[{old.group}] {old.name}`" if old.group else f"`{old.name}`" for old in opt.deprecated_opts]
    if olds:
        sentences.append(f"Also read as {', '.join(dict.fromkeys(olds))}.")
    if opt.deprecated_for_removal:
        sentences.append(
            "*Deprecated.*" if not opt.deprecated_reason else f"*Deprecated: {opt.deprecated_reason}*"
        )
    return " ".join(sentence for sentence in sentences if sentence).replace("|", "\\|")


def _sentence(text: str) -> str:
    text = " ".join(text.split())
    return text if not text or text.endswith((".", "?", "!")) else text + "."


if __name__ == "__main__":
    REFERENCE.write_text(reference())
