# SPDX-License-Identifier: Apache-2.0
"""``kuryr-gc``: find what this cluster has in OpenStack without owner, or otherwise than it should, and put it right.

It comes to the same verdicts as the controller's audit, which does the same every [kubernetes] audit_period; run it where
no controller does, or to see what an audit would do. It reads the controller's configuration and asks both APIs.

exit codes:
  0  nothing was found
  1  something was found (--dry-run), or was found and dealt with (--apply)
  2  wrong usage or configuration, an API does not answer, --apply was refused, or something could not be dealt with
"""

from __future__ import annotations

import argparse
import logging
import sys
import time
from collections.abc import Collection, Hashable, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec
from oslo_config import cfg

from kuryr.conf import controller as configuration
from kuryr.controller import site
from kuryr.controller.auditors import Auditor, PortAuditor
from kuryr.controller.findings import ORPHAN, Finding
from kuryr.controller.service import SHARD
from kuryr.drivers.inventory import PortInventory
from kuryr.errors import ConfigurationError, KuryrError
from kuryr.handlers.vif import needs_port
from kuryr.k8s.client import Client
from kuryr.k8s.errors import NotFound
from kuryr.k8s.lease import LEASES
from kuryr.objects.meta import Key
from kuryr.objects.resources import KURYRPORTS, PODS

PROGRAM = "kuryr-gc"
NOTHING, FOUND, FAILED = 0, 1, 2
COLUMNS = ("VERDICT", "RESOURCE", "ID", "OWNER", "STATE", "WHAT")

Identity = tuple[Hashable, ...]
Found = dict[Identity, tuple[Auditor, Finding]]


class RefusedError(KuryrError):
    """``--apply`` would do harm as things are."""


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """A finding and what became of it.

    :ivar state: ``found``, ``done``, ``left`` (there was nothing to do any more, or only people can) or ``failed``.
    """

    verdict: str
    resource: str
    id: str
    project_id: str
    owner: str
    message: str
    created_at: str
    state: str
    result: str = ""


class Report(msgspec.Struct, frozen=True):
    """What a run found."""

    cluster: str
    applied: bool
    findings: list[Row]


def _arguments(args: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog=PROGRAM, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--config-file", action="append", default=[], help="default: /etc/kuryr/kuryr.conf; may be repeated"
    )
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--dry-run", action="store_true", help="say what was found, touch nothing")
    what.add_argument(
        "--apply", action="store_true", help="delete what has no owner, put back what was changed"
    )
    parser.add_argument(
        "--grace",
        type=int,
        metavar="SECONDS",
        help="what is younger, or has no age, is dealt with only if it is found again so much later "
        "(default: [kubernetes] audit_grace; keep it above [neutron] timeout)",
    )
    parser.add_argument(
        "--id", action="append", default=[], metavar="ID", help="look at this alone; may be repeated"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    return parser.parse_args(args)


def is_older(finding: Finding, seconds: float, now: datetime) -> bool:
    """Whether an orphan was made at least ``seconds`` before ``now``; what was changed has no age."""
    if finding.verdict != ORPHAN or not finding.created_at:
        return False
    try:
        made = datetime.fromisoformat(finding.created_at)
    except ValueError:
        return False
    return (now - made.replace(tzinfo=made.tzinfo or UTC)).total_seconds() >= seconds


def ports_of_pools(conf: cfg.ConfigOpts, client: Client) -> Collection[str] | None:
    """What may be said of pools' ports: none is in a pool, or (None) nobody but a controller knows.

    The configuration at hand may be another than that of a controller that works, or is about to.
    """
    if conf.kubernetes.vif_pool_driver != "noop":
        return None
    if any(port.spec.owner_kind == "Pool" for port in client.list(KURYRPORTS).items):
        return None
    try:
        lease = client.get(LEASES, Key(conf.kubernetes.lease_namespace, SHARD))
    except NotFound:
        return ()
    return None if lease.holder else ()


def _judge(
    auditors: Sequence[Auditor], client: Client, ids: Collection[str] = (), *, listing: bool = True
) -> Found:
    for auditor in auditors if listing else ():
        auditor.list()
    # Read after the listing, so that what was made in between is in no listing.
    kept: dict[str, list[Any]] = {}

    def objects(resource: Any) -> list[Any]:
        return kept.setdefault(resource.plural, client.list(resource).items)

    return {
        finding.identity: (auditor, finding)
        for auditor in auditors
        for finding in auditor.judge(objects)
        if not ids or finding.id in ids
    }


def _refuse_to_empty(found: Found, client: Client) -> None:
    """Guard against an API that has lost its KuryrPorts: by them alone, every port would be without owner."""
    if not any(finding.verdict == ORPHAN for _, finding in found.values()) or client.list(KURYRPORTS).items:
        return
    pods = sum(needs_port(pod) for pod in client.list(PODS).items)
    if pods:
        raise RefusedError(
            f"there are no KuryrPorts, but {pods} pods on the pod network: their ports would be deleted. "
            "Start a controller first, or restore the KuryrPorts"
        )


def _row(finding: Finding, state: str, result: str = "") -> Row:
    return Row(
        verdict=finding.verdict,
        resource=finding.resource,
        id=finding.id,
        project_id=finding.project_id,
        owner=finding.owner,
        message=finding.message,
        created_at=finding.created_at,
        state=state,
        result=result,
    )


def _mend(auditor: Auditor, finding: Finding) -> Row:
    try:
        result = auditor.mend(finding)
    except KuryrError as error:
        return _row(finding, "failed", str(error))
    return _row(finding, "done" if result else "left", result)


def _apply(
    auditors: Sequence[Auditor], client: Client, found: Found, ids: Collection[str], grace: int
) -> list[Row]:
    _refuse_to_empty(found, client)
    now = datetime.now(UTC)
    sure: set[Identity] = {key for key, (_, finding) in found.items() if is_older(finding, grace, now)}
    if sure != found.keys():
        sys.stderr.write(f"{PROGRAM}: looking again in {grace} seconds: some may just be under way\n")
        time.sleep(grace)
        again = _judge(auditors, client, ids)
        sure = found.keys() & again.keys()
    still = _judge(auditors, client, ids, listing=False)
    return [_mend(*still[key]) for key in sorted(sure & still.keys(), key=str)]


def run(options: argparse.Namespace) -> Report:
    """Look, and deal with what was found where the options say so.

    :raises KuryrError: where that cannot be done.
    """
    files = [part for name in options.config_file for part in ("--config-file", name)]
    conf = configuration.load(files)
    grace = conf.kubernetes.audit_grace if options.grace is None else options.grace
    with site.opened(conf) as place:
        inventory = PortInventory(place.ports, place.cluster, lambda: place.drivers.pod_project.projects())
        auditors = [
            PortAuditor(
                inventory,
                place.ports,
                place.drivers,
                place.client,
                tell=lambda finding, reason, message: None,
                pooled=lambda: ports_of_pools(conf, place.client),
            )
        ]
        found = _judge(auditors, place.client, options.id)
        if options.apply and found:
            rows = _apply(auditors, place.client, found, options.id, grace)
        else:
            rows = [_row(found[key][1], "found") for key in sorted(found, key=str)]
        return Report(place.cluster, options.apply, rows)


def table(report: Report) -> str:
    """The report for people."""
    if not report.findings:
        return f"Nothing of cluster {report.cluster} is amiss."
    rows = [COLUMNS]
    for row in report.findings:
        what = f"{row.message}; {row.result}" if row.result else row.message
        rows.append((row.verdict, row.resource, row.id, row.owner, row.state, what))
    widths = [max(len(row[column]) for row in rows) for column in range(len(COLUMNS))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )


def exit_code(report: Report) -> int:
    """As the program's description has it."""
    if any(row.state == "failed" for row in report.findings):
        return FAILED
    return FOUND if report.findings else NOTHING


def main(args: Sequence[str] | None = None) -> None:
    """Run the command."""
    options = _arguments(args)
    logging.basicConfig(level=logging.ERROR)
    try:
        report = run(options)
    except ConfigurationError as error:
        sys.exit(_say(str(error)))
    except KuryrError as error:
        sys.exit(_say(f"{error.reason}: {error}"))
    shown = msgspec.json.format(msgspec.json.encode(report)).decode() if options.json else table(report)
    sys.stdout.write(shown + "\n")
    sys.exit(exit_code(report))


def _say(text: str) -> int:
    sys.stderr.write(f"{PROGRAM}: {text}\n")
    return FAILED
