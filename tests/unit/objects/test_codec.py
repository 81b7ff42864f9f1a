# SPDX-License-Identifier: Apache-2.0
"""Decoding in several threads from the very first object on."""

import subprocess
import sys

SCRIPT = """
import sys, threading
from kuryr.objects.codec import decoder
from kuryr.objects.core import Node, Pod
from kuryr.objects.kuryrport import KuryrPort

DATA = b'{"metadata": {"name": "x", "ownerReferences": [{"apiVersion": "v1", "kind": "P", "name": "n", "uid": "u"}]}}'
TYPES = (Node, Node, Node, KuryrPort, KuryrPort, Pod, Pod, Node)
together = threading.Barrier(len(TYPES))
names = []

def first(type_):
    together.wait()
    names.append(decoder(type_).decode(DATA).key.name)

sys.setswitchinterval(1e-6)
threads = [threading.Thread(target=first, args=(type_,)) for type_ in TYPES]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
assert names == ["x"] * len(TYPES)
"""


def test_the_first_use_of_types_in_several_threads() -> None:
    """Made by msgspec itself in each thread, decoders crash the process in one of three runs."""
    for _ in range(8):
        done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr[-2000:]
