# SPDX-License-Identifier: Apache-2.0
"""What a measurement is given, and how much of it to do."""

from __future__ import annotations

import sys
from collections.abc import Callable

import msgspec

from kuryr.k8s.client import Client
from tests.bench.figures import Figure


class Amounts(msgspec.Struct, frozen=True, kw_only=True):
    """Numbers of samples and pods, and seconds."""

    cni: int = 50
    controller: int = 20
    lone: int = 20
    bursts: tuple[int, ...] = (10, 50, 100)
    in_flight: tuple[int, ...] = (4, 8, 16)
    pairs: int = 5
    scale: int = 1000
    take_overs: int = 3
    standing: int = 20
    idle_seconds: float = 300


FULL = Amounts()
QUICK = Amounts(
    cni=5,
    controller=5,
    lone=3,
    bursts=(10,),
    in_flight=(8,),
    pairs=1,
    scale=100,
    take_overs=1,
    standing=6,
    idle_seconds=20,
)


class Bench(msgspec.Struct, frozen=True):
    """``client`` gives the client of the development cloud's API, the same each time."""

    amounts: Amounts
    client: Callable[[], Client]

    def say(self, text: str) -> None:
        """Tell how far it is."""
        print(f"  {text}", file=sys.stderr, flush=True)


Measure = Callable[[Bench], list[Figure]]
