# SPDX-License-Identifier: Apache-2.0
import subprocess
from collections.abc import Iterator

from devcloud.vm import initrd, machine

GUEST = machine.Machine(
    port="0123456789abcdef",
    mac="fa:16:3e:00:00:01",
    addresses=("10.10.0.5", "fd00:10:10::5"),
    prefix_lengths=(16, 64),
    gateways=("10.10.0.1", "fd00:10:10::1"),
    mtu=1442,
)


def test_tap_name_fits_an_interface() -> None:
    assert GUEST.tap == "tap0123456789a"
    assert len(GUEST.tap) < 16


def test_kernel_arguments_configure_both_families() -> None:
    words = machine.kernel_arguments(GUEST).split()
    assert "guest.address4=10.10.0.5/16" in words
    assert "guest.address6=fd00:10:10::5/64" in words


def read_newc(archive: bytes) -> Iterator[initrd.Entry]:
    """The entries of an archive in cpio's "newc" format: 13 numbers of 8 hexadecimal digits after the magic, name, data."""
    position = 0
    while True:
        header = archive[position : position + 110]
        assert header[:6] == b"070701"
        numbers = [int(header[6 + 8 * i : 14 + 8 * i], 16) for i in range(13)]
        mode, size, major, minor, name_size = (numbers[i] for i in (1, 6, 9, 10, 11))
        name = archive[position + 110 : position + 110 + name_size]
        assert name.endswith(b"\0")
        position += (110 + name_size + 3) // 4 * 4
        if name == b"TRAILER!!!\0":
            return
        data = archive[position : position + size]
        position += (size + 3) // 4 * 4
        yield initrd.Entry(name[:-1].decode(), mode, data, (major, minor))


def test_archive_holds_its_entries() -> None:
    entries = [
        initrd.Entry("dir", 0o040755),
        initrd.Entry("dir/file", 0o100644, b"hello"),
        initrd.Entry("console", 0o020600, device=(5, 1)),
    ]
    assert list(read_newc(initrd.cpio(entries))) == entries


def test_archive_entries_are_aligned_and_end_with_the_trailer() -> None:
    archive = initrd.cpio([initrd.Entry("odd", 0o100644, b"12345")])
    assert len(archive) % 4 == 0
    assert archive.startswith(b"070701")
    assert b"TRAILER!!!\0" in archive


def test_init_script_is_valid_shell() -> None:
    subprocess.run(["sh", "-n", str(initrd.INIT)], check=True)
