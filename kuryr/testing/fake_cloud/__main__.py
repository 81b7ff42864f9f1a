# SPDX-License-Identifier: Apache-2.0
"""The fake cloud as a program of its own, until it is interrupted."""

from __future__ import annotations

import argparse
import signal
import sys
from pathlib import Path

from kuryr.testing.fake_cloud.cloud import FakeCloud


def main() -> int:
    """Serve; print where."""
    parser = argparse.ArgumentParser(prog="python -m kuryr.testing.fake_cloud", description=__doc__)
    parser.add_argument("--listen", default="127.0.0.1:0", help="address and port; port 0: a free one")
    parser.add_argument(
        "--write-conf", type=Path, metavar="FILE", help="write [neutron] and [neutron_defaults] for it"
    )
    parser.add_argument("--latency", type=float, default=0.0, help="seconds that each call to Neutron takes")
    parser.add_argument("--rate", type=float, help="ports created a second, at most")
    parser.add_argument("--in-flight", type=int, help="creations of ports worked on at once, at most")
    parser.add_argument(
        "--tags-on-create", action="store_true", help="keep the tags of a port's creating call"
    )
    args = parser.parse_args()
    host, _, port = args.listen.rpartition(":")
    # Blocked before any thread exists, so that sigwait() below is what gets them.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    with FakeCloud(host, int(port)) as fake:
        fake.neutron.state.tags_on_create = args.tags_on_create
        fake.knobs.latency("*", args.latency)
        fake.knobs.latency("authenticate", 0.0)
        fake.knobs.latency("get versions", 0.0)
        if args.rate or args.in_flight:
            for operation in ("create port", "create ports"):
                fake.knobs.capacity(operation, per_second=args.rate, in_flight=args.in_flight)
        if args.write_conf:
            fake.write_configuration(args.write_conf)
        sys.stdout.write(f"Keystone: {fake.auth_url}\n")
        sys.stdout.flush()
        signal.sigwait({signal.SIGINT, signal.SIGTERM})
    return 0


if __name__ == "__main__":
    sys.exit(main())
