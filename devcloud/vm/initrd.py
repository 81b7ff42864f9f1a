# SPDX-License-Identifier: Apache-2.0
"""The VM's whole system: an initial RAM disk of busybox and the kernel modules that its network needs."""

import gzip
import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from devcloud import paths

# In the order in which they are loaded.
MODULES = (
    "drivers/virtio/virtio_ring.ko",
    "drivers/virtio/virtio.ko",
    "drivers/virtio/virtio_pci_legacy_dev.ko",
    "drivers/virtio/virtio_pci_modern_dev.ko",
    "drivers/virtio/virtio_pci.ko",
    "net/core/failover.ko",
    "drivers/net/net_failover.ko",
    "drivers/net/virtio_net.ko",
)
INIT = Path(__file__).with_name("init.sh")


@dataclass(frozen=True)
class Entry:
    """A file of the archive; `mode` holds the type's bits too, `data` a symbolic link's target."""

    name: str
    mode: int
    data: bytes = b""
    device: tuple[int, int] = (0, 0)


def kernel() -> Path:
    """The kernel out of its Debian package.

    :raises FileNotFoundError: when the package has not been unpacked.
    """
    found = sorted((paths.DEBROOT / "boot").glob("vmlinuz-*"))
    if not found:
        raise FileNotFoundError(
            f"no vmlinuz-* in {paths.DEBROOT / 'boot'}: the kernel's package is not there"
        )
    return found[-1]


def archive() -> Path:
    """Where the archive for the present kernel, busybox and /init is kept."""
    parts = [kernel().name, INIT.read_text(), str(paths.program("busybox").stat().st_mtime_ns), *MODULES]
    digest = hashlib.sha256("\0".join(parts).encode()).hexdigest()[:12]
    return paths.CACHE / "vm" / f"initrd-{digest}.gz"


def build() -> None:
    """Write the archive unless it is there."""
    target = archive()
    if target.exists():
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_suffix(".new")
    temporary.write_bytes(gzip.compress(cpio(_entries()), 6, mtime=0))
    temporary.rename(target)


def cpio(entries: Iterable[Entry]) -> bytes:
    """ENTRIES as an archive in cpio's "newc" format, which the kernel unpacks."""
    blocks = []
    for number, entry in enumerate([*entries, Entry("TRAILER!!!", 0)], start=1):
        name = entry.name.encode() + b"\0"
        fields = [number, entry.mode, 0, 0, 1, 0, len(entry.data), 0, 0, *entry.device, len(name), 0]
        header = b"070701" + b"".join(b"%08x" % field for field in fields)
        blocks += [_padded(header + name), _padded(entry.data)]
    return b"".join(blocks)


def _padded(data: bytes) -> bytes:
    return data + b"\0" * (-len(data) % 4)


def _entries() -> Iterable[Entry]:
    for directory in ("bin", "dev", "lib", "proc", "sys", "www"):
        yield Entry(directory, 0o040755)
    yield Entry("dev/console", 0o020600, device=(5, 1))
    yield Entry("init", 0o100755, INIT.read_bytes())
    yield Entry("bin/busybox", 0o100755, paths.program("busybox").read_bytes())
    release = kernel().name.removeprefix("vmlinuz-")
    modules = paths.DEBROOT / "lib" / "modules" / release / "kernel"
    for number, module in enumerate(MODULES):
        yield Entry(f"lib/{number}-{Path(module).name}", 0o100644, (modules / module).read_bytes())
