# SPDX-License-Identifier: Apache-2.0
import pytest

from devcloud import packages
from devcloud.packages import DebianPackage


def test_the_list_of_debian_packages_is_well_formed_and_pinned():
    listed = packages.parse_debian_list(packages.DEBIAN_LIST.read_text())
    assert all(package.version for package in listed)
    assert len({package.name for package in listed}) == len(listed)


def test_a_line_of_the_list():
    text = "# comment\n\nlinux-image-6=6.1-2 via linux-image  # kernel\nkmod\n"
    assert packages.parse_debian_list(text) == [
        DebianPackage("linux-image-6", "6.1-2", "linux-image"),
        DebianPackage("kmod"),
    ]


def test_a_line_that_is_none_is_named():
    with pytest.raises(ValueError, match="line 2: 'two words'"):
        packages.parse_debian_list("kmod\ntwo words\n")


@pytest.mark.parametrize(
    ("archive", "taken"), [(["2", "1"], "1"), (["3", "2"], "3"), ([], "")], ids=["pinned", "moved on", "gone"]
)
def test_the_version_that_is_taken(archive, taken):
    assert packages.choose_version(DebianPackage("kmod", "1"), {"kmod": archive}) == ("kmod", taken)


def test_the_archives_versions_newest_first():
    shown = (
        "kmod | 30+2 | http://deb.debian.org/debian bookworm/main amd64 Packages\n"
        "kmod | 30+1 | http://deb.debian.org/debian bookworm/main amd64 Packages\n"
        "kmod | 30+2 | http://deb.debian.org/debian bookworm/main Sources\n"
    )
    assert packages.parse_madison(shown) == {"kmod": ["30+2", "30+1"]}


def test_openstack_is_locked_to_exact_versions():
    lines = [line for line in packages.OPENSTACK_LIST.read_text().splitlines() if not line.startswith("#")]
    assert lines
    assert all("==" in line for line in lines)


def test_the_servers_know_their_version():
    flags = packages.linker_flags("1.34.4")
    assert "-X k8s.io/component-base/version.gitVersion=v1.34.4" in flags
    assert "-X k8s.io/client-go/pkg/version.gitMinor=34" in flags


def test_the_go_that_the_modules_ask_for():
    assert packages.go_version_needed() >= (1, 24)
