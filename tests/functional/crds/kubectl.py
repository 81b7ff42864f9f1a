# SPDX-License-Identifier: Apache-2.0
"""kubectl, as a person runs it."""

import re
import subprocess

from tests.functional.kubernetes import KubernetesApi, program


class Kubectl:
    """Runs kubectl against one API as its administrator."""

    def __init__(self, api: KubernetesApi) -> None:
        self._command = [
            program("kubectl"),
            f"--kubeconfig={api.kubeconfig()}",
            f"--cache-dir={api.directory / 'kubectl-cache'}",
        ]

    def __call__(self, *arguments: str) -> str:
        """Standard output.

        :raises AssertionError: with what kubectl said, where it fails.
        """
        done = subprocess.run([*self._command, *arguments], capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def table(self, *arguments: str) -> list[dict[str, str]]:
        """Rows of ``kubectl get``: column → text, empty columns left out."""
        header, *rows = self("get", *arguments).splitlines()
        columns = list(re.finditer(r"\S+", header))
        ends = [*(column.start() for column in columns[1:]), None]
        return [
            {
                column.group(): cell
                for column, end in zip(columns, ends, strict=True)
                if (cell := row[column.start() : end].strip())
            }
            for row in rows
        ]
