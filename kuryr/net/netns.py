# SPDX-License-Identifier: Apache-2.0
"""Entering a network namespace with the calling thread."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager

from kuryr.net.errors import NamespaceGone, NetworkError

_CLONE_NEWNET = 0x40000000
_OWN = "/proc/thread-self/ns/net"
_libc = ctypes.CDLL(None, use_errno=True)


def _setns(fd: int) -> None:
    if _libc.setns(fd, _CLONE_NEWNET) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


@contextmanager
def opened(path: str) -> Iterator[int]:
    """A file descriptor of the namespace at ``path``.

    :raises NamespaceGone: where there is none.
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        raise NamespaceGone(f"network namespace {path} does not exist") from None
    except OSError as error:
        raise NetworkError(f"network namespace {path}: {error.strerror}") from error
    try:
        yield fd
    finally:
        os.close(fd)


@contextmanager
def own() -> Iterator[int]:
    """A file descriptor of the namespace that this thread is in."""
    with opened(_OWN) as fd:
        yield fd


def same(first: int, second: int) -> bool:
    """Whether two file descriptors are of the same namespace."""
    return os.path.sameopenfile(first, second)


@contextmanager
def entered(path: str) -> Iterator[None]:
    """Run the block with this thread in the namespace at ``path``.

    Sockets opened in the block, and /proc/sys/net as seen by this thread, are the namespace's. Other threads stay
    where they are.

    :raises NamespaceGone: where there is none.
    """
    with opened(path) as target, opened(_OWN) as home:
        try:
            _setns(target)
        except OSError as error:
            # A path that is left behind by `ip netns` after the mount went is a plain file.
            raise NamespaceGone(f"{path} is not a network namespace: {error.strerror}") from error
        try:
            yield
        finally:
            _setns(home)
