# SPDX-License-Identifier: Apache-2.0
"""``kuryr-k8s-sanity``: whether the cluster and the cloud have what the configuration needs.

Exit code 0 where they do (warnings included), 1 where not.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence

from oslo_config import cfg

from kuryr.conf import controller as configuration
from kuryr.controller import checks, site
from kuryr.controller.verdicts import Code, Verdict, as_json, table, worst
from kuryr.errors import KuryrError
from kuryr.k8s.client import Client
from kuryr.k8s.settings import settings_from_conf

TITLE = "Sanity Check Results"


def parser() -> argparse.ArgumentParser:
    """The command line."""
    found = argparse.ArgumentParser(
        prog="kuryr-k8s-sanity",
        description="Check whether Kubernetes and OpenStack have what the configuration needs. With one of the "
        "--vif_pool flags only what they name is checked, and no API is asked.",
    )
    found.add_argument("--config-file", action="append", default=[], metavar="PATH")
    found.add_argument("--config-dir", action="append", default=[], metavar="DIR")
    found.add_argument("--json", action="store_true", help="print JSON instead of a table")
    found.add_argument("--sanity_check_error", action="store_true", help="stop at the first check that fails")
    for name, what in (
        ("vif_pool_min_max", "[vif_pool] ports_pool_min is not above ports_pool_max"),
        ("vif_pool_min_batch", "[vif_pool] ports_pool_min is not above ports_pool_batch"),
        ("vif_pool_max_batch", "[vif_pool] ports_pool_batch is not above ports_pool_max"),
    ):
        found.add_argument(f"--{name}", action="store_true", help=f"check that {what}")
    return found


def run(conf: cfg.ConfigOpts, chosen: Sequence[str]) -> Iterator[Verdict]:
    """The verdicts one by one; ``chosen`` are names of checks of pools, none of them: everything."""
    if chosen:
        yield from (checks.POOLS[name](conf) for name in chosen)
        return
    named = checks.names(conf)
    yield named
    yield from (check(conf) for check in checks.POOLS.values())
    try:
        client = Client(settings_from_conf(conf))
    except KuryrError as error:
        yield Verdict("Kubernetes", (str(error),))
        return
    try:
        yield checks.kubernetes(conf, client)
    finally:
        client.close()
    if named.code is Code.FAILURE:
        return
    remaining: tuple[Callable[[site.Site], Verdict], ...] = (checks.openstack, checks.quotas, checks.mtus)
    try:
        with site.opened(conf) as opened:
            yield from (check(opened) for check in remaining)
    except KuryrError as error:
        yield Verdict("OpenStack", (f"not checked: {error}",))


def main(argv: Sequence[str] | None = None) -> None:
    """Check, print, and end with the exit code."""
    options = parser().parse_args(argv)
    try:
        conf = configuration.load(config_arguments(options))
    except KuryrError as error:
        sys.stderr.write(f"kuryr-k8s-sanity: {error}\n")
        sys.exit(1)
    verdicts = []
    for verdict in run(conf, [name for name in checks.POOLS if getattr(options, name)]):
        verdicts.append(verdict)
        if options.sanity_check_error and verdict.code is Code.FAILURE:
            break
    show = as_json if options.json else table
    sys.stdout.write(show(TITLE, verdicts) + "\n")
    sys.exit(1 if worst(verdicts) is Code.FAILURE else 0)


def config_arguments(options: argparse.Namespace) -> list[str]:
    """What oslo.config is to read of a command line."""
    files = [argument for path in options.config_file for argument in ("--config-file", path)]
    return files + [argument for path in options.config_dir for argument in ("--config-dir", path)]
