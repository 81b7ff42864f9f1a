# SPDX-License-Identifier: Apache-2.0
"""The bearer token of a file that is rotated under us."""

from __future__ import annotations

import os
import threading

from kuryr.errors import ConfigurationError


class TokenFile:
    """Reads the token again whenever the file is another one (kubelet swaps a symbolic link). Thread-safe."""

    def __init__(self, path: str) -> None:
        """
        :raises ConfigurationError: where the file cannot be read or is empty.
        """
        self._path = path
        self._lock = threading.Lock()
        self._seen: tuple[int, int, int] = (0, 0, 0)
        self._token = ""
        try:
            self._read()
        except OSError as error:
            raise ConfigurationError(
                f"[kubernetes] token_file: cannot read {path}: {error.strerror}"
            ) from error
        if not self._token:
            raise ConfigurationError(f"[kubernetes] token_file: {path} is empty; expected a bearer token")

    def current(self, *, force: bool = False) -> str:
        """The token; ``force`` reads the file although it looks the same."""
        with self._lock:
            try:
                if force or self._identity() != self._seen:
                    self._read()
            except OSError:
                # In the middle of a rotation: the old token is good for a while yet.
                pass
            return self._token

    def _identity(self) -> tuple[int, int, int]:
        stat = os.stat(self._path)
        return stat.st_ino, stat.st_mtime_ns, stat.st_size

    def _read(self) -> None:
        identity = self._identity()
        with open(self._path, encoding="utf-8") as file:
            token = file.read().strip()
        if token:
            self._token, self._seen = token, identity
