# SPDX-License-Identifier: Apache-2.0
"""``python -m tests.churn [--cloud fake|real] [--minutes N] [--pool noop|neutron] [--seed S]``: live, then look.

Exit code 0 where nothing was wrong, 1 where something was: the list is printed, with where the logs are.
"""

from __future__ import annotations

import argparse
import logging
import secrets
import shutil
import sys
import tempfile
from pathlib import Path

from tests.churn import fake, real
from tests.churn.run import Report, say
from tests.functional.kubernetes import KubernetesApi

MINUTES = {"fake": 15.0, "real": 5.0}


def main() -> int:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(prog="python -m tests.churn", description=__doc__.split("\n")[0])
    parser.add_argument("--cloud", choices=MINUTES, default="fake")
    parser.add_argument("--minutes", type=float, help="default: 15 on the fake cloud, 5 on the real one")
    parser.add_argument(
        "--pool",
        choices=("noop", "neutron"),
        help="vif_pool_driver, on the fake cloud; one after the other if none",
    )
    parser.add_argument("--seed", type=int, default=secrets.randbelow(10**6))
    parser.add_argument("--logs", type=Path, help="where they are kept; a directory in /tmp if none")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.ERROR)
    logs = arguments.logs or Path(tempfile.mkdtemp(prefix="kuryr-churn-logs-"))
    seconds = 60 * (arguments.minutes or MINUTES[arguments.cloud])
    say(f"seed {arguments.seed}, logs in {logs}")
    if arguments.cloud == "real":
        logs.mkdir(parents=True, exist_ok=True)
        with real.prompt_audits():
            reports = [real.run(arguments.seed, seconds, logs)]
    else:
        drivers = [arguments.pool] if arguments.pool else ["noop", "neutron"]
        reports = [on_fake(pool, arguments.seed, seconds / len(drivers), logs / pool) for pool in drivers]
    print("\n\n".join(report.text() for report in reports))
    if any(report.violations for report in reports):
        return 1
    if not arguments.logs:
        shutil.rmtree(logs)
    return 0


def on_fake(pool: str, seed: int, seconds: float, logs: Path) -> Report:
    """With an API server of its own."""
    logs.mkdir(parents=True, exist_ok=True)
    with KubernetesApi() as api:
        api.apply_crds()
        return fake.run(api, fake.Settings(pool=pool, seed=seed, seconds=seconds), logs)


if __name__ == "__main__":
    sys.exit(main())
