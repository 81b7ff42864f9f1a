# SPDX-License-Identifier: Apache-2.0
import shutil
import subprocess
from pathlib import Path

import pytest

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


@pytest.mark.skipif(shutil.which("cpio") is None, reason="cpio reads the archive")
def test_archive_is_read_by_cpio(tmp_path: Path) -> None:
    archive = initrd.cpio([initrd.Entry("dir", 0o040755), initrd.Entry("dir/file", 0o100644, b"hello")])
    subprocess.run(["cpio", "-i", "--quiet"], input=archive, cwd=tmp_path, check=True)
    assert (tmp_path / "dir/file").read_text() == "hello"


def test_archive_entries_are_aligned_and_end_with_the_trailer() -> None:
    archive = initrd.cpio([initrd.Entry("odd", 0o100644, b"12345")])
    assert len(archive) % 4 == 0
    assert archive.startswith(b"070701")
    assert b"TRAILER!!!\0" in archive


def test_init_script_is_valid_shell() -> None:
    subprocess.run(["sh", "-n", str(initrd.INIT)], check=True)
