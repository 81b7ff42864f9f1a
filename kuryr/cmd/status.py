# SPDX-License-Identifier: Apache-2.0
"""``kuryr-k8s-status``: whether a cluster of the original's can be taken over, and the decision to adopt it.

``upgrade check`` ends with 0 (all is well), 1 (warnings), 2 (something is in the way), 255 (no check could be made);
``adopt`` with 0, 2 where something is in the way, 255.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version

from oslo_config import cfg

from kuryr.conf import controller as configuration
from kuryr.controller import adoption, checks, site
from kuryr.controller.verdicts import Code, Verdict, as_json, table, worst
from kuryr.errors import KuryrError
from kuryr.handlers import decision
from kuryr.k8s.client import Client
from kuryr.k8s.settings import settings_from_conf
from kuryr.objects.resources import PODS

TITLE = "Upgrade Check Results"
NO_CHECK = 255
NO_ANNOTATIONS = "Nothing to do: no release since 3.0.0 keeps its state in annotations."
REVERSIBLE = """\
Until the controller has carried it out, `kuryr-k8s-status adopt --undo` stops what is not done yet. What is done stays;
kuryr-kubernetes 7.0.0 to 10.0.0 works with it too (docs/upgrading.md says how to go back)."""


def parser() -> argparse.ArgumentParser:
    """The command line."""
    found = argparse.ArgumentParser(prog="kuryr-k8s-status", description=__doc__.split("\n", 1)[0])
    found.add_argument("--config-file", action="append", default=[], metavar="PATH")
    found.add_argument("--config-dir", action="append", default=[], metavar="DIR")
    commands = found.add_subparsers(dest="command", required=True)
    commands.add_parser("version", help="print the version")
    upgrade = commands.add_parser("upgrade", help="look at a cluster before an upgrade")
    steps = upgrade.add_subparsers(dest="step", required=True)
    check = steps.add_parser("check", help="check whether the cluster can be taken over; changes nothing")
    check.add_argument("--json", action="store_true", help="print JSON instead of a table")
    for name in ("update-annotations", "downgrade-annotations"):
        steps.add_parser(name, help="kept for scripts; there is nothing to do any more")
    adopt = commands.add_parser("adopt", help="make what kuryr-kubernetes left this project's own")
    how = adopt.add_mutually_exclusive_group()
    how.add_argument("--dry-run", action="store_true", help="say what would change, and what is in the way")
    how.add_argument("--undo", action="store_true", help="take the decision back")
    return found


def verdicts(conf: cfg.ConfigOpts, client: Client) -> list[Verdict]:
    """All checks.

    :raises ApiError: where Kubernetes does not answer.
    """
    named = checks.names(conf)
    found = adoption.take(client, conf.kubernetes.lease_namespace, node_ports=conf.node_port.enabled)
    also = [("patch", PODS)] if found.held else []
    results = [
        named,
        checks.kubernetes(conf, client, also),
        adoption.objects(found),
        adoption.left_alone(client),
        adoption.state(found),
    ]
    if named.code is Code.FAILURE:
        return results
    try:
        with site.opened(conf) as opened:
            results += [checks.openstack(opened), adoption.cloud(opened, found)]
    except KuryrError as error:
        results.append(Verdict("OpenStack", (f"not checked: {error}",)))
    return results


def adopt(conf: cfg.ConfigOpts, client: Client, *, dry_run: bool, undo: bool) -> int:
    """Say what adopting changes and, unless ``dry_run``, write the decision down; the exit code."""
    namespace = conf.kubernetes.lease_namespace
    if undo:
        decision.revoke(client, namespace)
        sys.stdout.write("The decision to adopt is taken back. What was adopted by now stays so.\n")
        return 0
    found = adoption.take(client, namespace, node_ports=conf.node_port.enabled)
    also = [("patch", PODS)] if found.held else []
    in_the_way = [
        verdict
        for verdict in (checks.kubernetes(conf, client, also), adoption.objects(found))
        if verdict.code is Code.FAILURE
    ]
    if in_the_way:
        sys.stdout.write(table("Not adopted: this is in the way", in_the_way) + "\n")
        return int(Code.FAILURE)
    if not found.rest:
        sys.stdout.write("There is nothing of kuryr-kubernetes to adopt.\n")
    else:
        sys.stdout.write("".join(f"* {sentence}\n" for sentence in adoption.explanation(found)))
    if dry_run:
        sys.stdout.write("Nothing was changed (--dry-run).\n")
        return 0
    decision.decide(client, namespace, datetime.now(UTC))
    sys.stdout.write(
        f"Decided; the controller carries it out. `kuryr-k8s-status upgrade check` tells how far it is.\n{REVERSIBLE}\n"
    )
    return 0


def run(options: argparse.Namespace) -> int:
    """Carry out a command; the exit code.

    :raises KuryrError: where it cannot be.
    """
    if options.command == "version":
        sys.stdout.write(f"{version('kuryr-kubernetes')}\n")
        return 0
    if options.command == "upgrade" and options.step != "check":
        sys.stdout.write(f"{NO_ANNOTATIONS}\n")
        return 0
    files = [argument for path in options.config_file for argument in ("--config-file", path)]
    files += [argument for path in options.config_dir for argument in ("--config-dir", path)]
    conf = configuration.load(files)
    client = Client(settings_from_conf(conf))
    try:
        if options.command == "adopt":
            return adopt(conf, client, dry_run=options.dry_run, undo=options.undo)
        results = verdicts(conf, client)
    finally:
        client.close()
    show = as_json if options.json else table
    sys.stdout.write(show(TITLE, results) + "\n")
    return int(worst(results))


def main(argv: Sequence[str] | None = None) -> None:
    """Run a command and end with its exit code."""
    options = parser().parse_args(argv)
    try:
        code = run(options)
    except KuryrError as error:
        sys.stderr.write(f"kuryr-k8s-status: {error}\n")
        code = NO_CHECK
    sys.exit(code)
