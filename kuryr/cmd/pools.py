# SPDX-License-Identifier: Apache-2.0
"""``kuryr-pools``: look at the pools of ready ports, fill and empty them. As root, where the working controller runs.

Exit codes: 0 done, 1 the controller refused, 2 wrong usage or configuration, 3 the controller does not answer.
"""

from __future__ import annotations

import argparse
import http.client
import json
import socket
import sys
from collections.abc import Sequence
from typing import Any

from oslo_config import cfg

from kuryr.conf import vif_pool
from kuryr.conf.loading import parse
from kuryr.errors import ConfigurationError

PROGRAM = "kuryr-pools"
TIMEOUT = 30.0
COLUMNS = ("NODE", "READY", "WIRED", "RESTING", "IN-USE", "MAKING", "TARGET", "PROJECT", "TROUBLE")
REFUSED, USAGE, NO_ANSWER = 1, 2, 3


class Refused(Exception):
    """The controller's answer is an error."""


class _Connection(http.client.HTTPConnection):
    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=TIMEOUT)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def ask(path: str, method: str, url: str, body: Any = None) -> Any:
    """The answer of the controller on the socket ``path``, decoded.

    :raises Refused: with what it says.
    :raises OSError: where nobody answers.
    """
    connection = _Connection(path)
    try:
        connection.request(method, url, body=json.dumps(body) if body is not None else None)
        response = connection.getresponse()
        answer = json.loads(response.read())
    except (http.client.HTTPException, ValueError) as error:
        raise OSError(f"{path}: not a controller's answer: {error}") from error
    finally:
        connection.close()
    if response.status != http.HTTPStatus.OK:
        raise Refused(answer["error"])
    return answer


def _arguments(args: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog=PROGRAM, description=__doc__.split("\n\n")[0])
    parser.add_argument("--config-file", action="append", default=[], help="default: /etc/kuryr/kuryr.conf")
    parser.add_argument("--socket", help="path of the socket; default: [pool_manager] sock_file")
    parser.add_argument("--json", action="store_true", help="answer in JSON")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("list", help="all pools, one a line")
    show = commands.add_parser("show", help="the pools of a node, with all that is known")
    show.add_argument("node")
    populate = commands.add_parser("populate", help="let each pool of a node grow")
    populate.add_argument("node", help="name or address")
    populate.add_argument("number", type=int, help="ports for each pool")
    free = commands.add_parser("free", help="remove ready ports; ports in use stay")
    free.add_argument("node", nargs="?", help="name or address")
    free.add_argument("--all", action="store_true", help="of all nodes")
    found = parser.parse_args(args)
    if found.command == "free" and bool(found.node) == found.all:
        parser.error("free: expected a node, or --all")
    return found


def _socket_of(args: argparse.Namespace) -> str:
    if args.socket:
        return str(args.socket)
    conf = cfg.ConfigOpts()
    vif_pool.register_manager(conf)
    files = [part for name in args.config_file for part in ("--config-file", name)]
    return str(parse(conf, files, prog=PROGRAM).pool_manager.sock_file)


def _run(args: argparse.Namespace, path: str) -> tuple[Any, str]:
    """The answer, and what people are shown of it."""
    if args.command == "populate":
        answer = ask(path, "POST", "/v1/populate", {"node": args.node, "number": args.number})
        return answer, f"{answer['asked']} ports are being made."
    if args.command == "free":
        answer = ask(path, "POST", "/v1/free", {"node": args.node or ""})
        return answer, f"{answer['removed']} ports are being removed."
    pools = ask(path, "GET", "/v1/pools")
    if args.command == "list":
        return pools, _table(pools)
    pools = [pool for pool in pools if pool["node"] == args.node]
    if not pools:
        raise Refused(f"node {args.node} has no pool")
    return pools, "\n\n".join(map(_details, pools))


def _table(pools: list[dict[str, Any]]) -> str:
    rows = [COLUMNS]
    for pool in pools:
        numbers = [str(pool[name]) for name in ("ready", "wired", "resting", "in_use", "making", "target")]
        rows.append((pool["node"], *numbers, pool["shape"]["project_id"], pool["trouble"] or "-"))
    widths = [max(len(row[column]) for row in rows) for column in range(len(COLUMNS))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )


def _details(pool: dict[str, Any]) -> str:
    shape = pool["shape"]
    lines = {
        "node": pool["node"],
        "project": shape["project_id"],
        "subnets": ", ".join(shape["subnet_ids"]),
        "security groups": ", ".join(shape["security_groups"]) or "none",
        "ready": f"{pool['ready']}, of them {pool['wired']} wired",
        "resting": pool["resting"],
        "in use": pool["in_use"],
        "being made": pool["making"],
        "target": pool["target"],
        "trouble": pool["trouble"] or "none",
    }
    return "\n".join(f"{name + ':':<17}{value}" for name, value in lines.items())


def main(args: Sequence[str] | None = None) -> None:
    """Run the command."""
    wanted = _arguments(args)
    path = ""
    try:
        path = _socket_of(wanted)
        answer, text = _run(wanted, path)
    except Refused as error:
        _end(REFUSED, str(error))
    except ConfigurationError as error:
        _end(USAGE, str(error))
    except OSError as error:
        _end(
            NO_ANSWER,
            f"no controller answers on {path} ({error.strerror or error}): it listens there as root while it does "
            "the work, where [kubernetes] enable_manager is set",
        )
    else:
        sys.stdout.write((json.dumps(answer) if wanted.json else text) + "\n")


def _end(code: int, text: str) -> None:
    sys.stderr.write(f"{PROGRAM}: {text}\n")
    sys.exit(code)


if __name__ == "__main__":
    main()
