# SPDX-License-Identifier: Apache-2.0
"""The container images of the cluster: pause, busybox and agnhost, built here and kept in the cache."""

import hashlib
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path

from devcloud import paths
from devcloud.kubernetes.cluster import Node
from devcloud.kubernetes.oci import Image, write
from devcloud.shell import run

PAUSE = "kuryr.local/pause:3.10"
BUSYBOX = "kuryr.local/busybox:1.35"
AGNHOST = "kuryr.local/agnhost:2.56"

DIRECTORY = paths.CACHE / "images"
# A signal that the shell handles ends it at once; `wait` reaps what the pod left to process 1.
_PAUSE_SCRIPT = "trap 'exit 0' TERM INT; while :; do sleep 86400 & wait $!; done"


def build() -> None:
    """Build the archives that are missing or whose parts have changed."""
    DIRECTORY.mkdir(parents=True, exist_ok=True)
    for name, image in _images().items():
        if not archive(name, image).exists():
            for old in DIRECTORY.glob(f"{name}-*.tar"):
                old.unlink()
            write(image, archive(name, image))


def archive(name: str, image: Image) -> Path:
    """Where the archive of an image is kept: its name holds the content's digest."""
    return DIRECTORY / f"{name}-{_digest(image)}.tar"


def load(node: Node) -> None:
    """Import every image that NODE's containerd does not have yet."""
    listing = ctr(node, "images", "list", "-q").split()
    for name, image in _images().items():
        marker = node.directory / f"image-{name}"
        path = archive(name, image)
        if set(image.names) <= set(listing) and marker.exists() and marker.read_text() == path.name:
            continue
        ctr(node, "images", "import", str(path))
        marker.write_text(path.name)


def ctr(node: Node, *arguments: str, check: bool = True) -> str:
    """Run containerd's command line client against NODE, in Kubernetes' namespace; gives its output."""
    program = str(paths.program("ctr"))
    return run([program, "-a", str(node.containerd_socket), "-n", "k8s.io", *arguments], check=check)


def _images() -> dict[str, Image]:
    busybox = paths.program("busybox")
    shell = {"bin/busybox": busybox}
    applets = {f"bin/{applet}": "busybox" for applet in _applets(busybox)}
    pause = _pause()
    return {
        "pause": Image(
            names=(PAUSE, "registry.k8s.io/pause:3.10.1"),
            files={"pause": pause} if pause else shell,
            entrypoint=("/pause",) if pause else ("/bin/busybox", "sh", "-c", _PAUSE_SCRIPT),
        ),
        "busybox": Image(
            names=(BUSYBOX, "registry.k8s.io/e2e-test-images/busybox:1.37.0-1"),
            files=shell,
            links=applets,
            entrypoint=(),
            command=("sh",),
        ),
        "agnhost": Image(
            names=(AGNHOST, "registry.k8s.io/e2e-test-images/agnhost:2.56"),
            files={**shell, "agnhost": paths.program("agnhost")},
            links=applets,
            entrypoint=("/agnhost",),
            command=("pause",),
        ),
    }


def _applets(busybox: Path) -> Iterable[str]:
    return (applet for applet in run([str(busybox), "--list"]).split() if applet != "busybox")


def _pause() -> Path | None:
    """The static pause program, compiled once; None where there is no C compiler (busybox stands in)."""
    source = Path(__file__).with_name("pause.c")
    program = DIRECTORY / f"pause-{hashlib.sha256(source.read_bytes()).hexdigest()[:12]}"
    compiler = shutil.which("cc")
    if not program.exists() and compiler:
        DIRECTORY.mkdir(parents=True, exist_ok=True)
        temporary = program.with_suffix(".new")
        run([compiler, "-static", "-Os", "-s", "-o", str(temporary), str(source)])
        temporary.rename(program)
    return program if program.exists() else None


def _digest(image: Image) -> str:
    parts: Sequence[str] = (
        *image.names,
        *image.entrypoint,
        *image.command,
        *(f"{path}->{target}" for path, target in sorted(image.links.items())),
        # Size and time stand for the content: hashing 60 MB at every start would cost more than it tells.
        *(f"{path} {f.stat().st_size} {f.stat().st_mtime_ns}" for path, f in sorted(image.files.items())),
    )
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:12]
