# SPDX-License-Identifier: Apache-2.0
"""Decoders of typed structs, one for each type, for all threads."""

from __future__ import annotations

import threading
from typing import Any, TypeVar, cast

import msgspec

T = TypeVar("T")

_LOCK = threading.Lock()
_DECODERS: dict[Any, msgspec.json.Decoder[Any]] = {}


def decoder(type_: type[T]) -> msgspec.json.Decoder[T]:
    """The decoder of a type, made at its first use.

    msgspec works out what a struct holds at its first use, and two threads that do so at a time crash the process (seen
    with 0.22): a type that several threads may be the first to decode is decoded through this.
    """
    known = _DECODERS.get(type_)
    if known is None:
        with _LOCK:
            known = _DECODERS.get(type_)
            if known is None:
                known = _DECODERS[type_] = msgspec.json.Decoder(type_)
    return cast("msgspec.json.Decoder[T]", known)
