# SPDX-License-Identifier: Apache-2.0
"""What the development cloud is made of: Debian packages, OpenStack from PyPI, Kubernetes from Go modules.

All of it goes to the cache; nothing is installed on the machine.
"""

import hashlib
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from devcloud import children, paths, shell
from devcloud.steps import Step, note

DEBIAN_LIST = Path(__file__).with_name("packages-debian.txt")
OPENSTACK_LIST = Path(__file__).with_name("requirements-openstack.txt")
GO_MODULES = Path(__file__).with_name("go")

_BUILD_DATE = "2026-02-10T00:00:00Z"
_PROGRESS_EVERY = 20.0


@dataclass(frozen=True)
class DebianPackage:
    """One line of packages-debian.txt. An empty version stands for the archive's candidate."""

    name: str
    version: str = ""
    via: str = ""


@dataclass(frozen=True)
class GoProgram:
    """A program that is built from a pinned Go module."""

    name: str
    module: str
    package: str

    @property
    def path(self) -> Path:
        """Where the cache has it."""
        return paths.GO_BIN[self.module] / self.name


GO_PROGRAMS = (
    GoProgram("etcd", "etcd", "go.etcd.io/etcd/server/v3"),
    GoProgram("kube-apiserver", "kubernetes", "k8s.io/kubernetes/cmd/kube-apiserver"),
    GoProgram("kube-controller-manager", "kubernetes", "k8s.io/kubernetes/cmd/kube-controller-manager"),
    GoProgram("kube-scheduler", "kubernetes", "k8s.io/kubernetes/cmd/kube-scheduler"),
    GoProgram("kubelet", "kubernetes", "k8s.io/kubernetes/cmd/kubelet"),
    GoProgram("kubectl", "kubernetes", "k8s.io/kubernetes/cmd/kubectl"),
    GoProgram("agnhost", "kubernetes", "k8s.io/kubernetes/test/images/agnhost"),
    GoProgram("cnitool", "cni", "github.com/containernetworking/cni/cnitool"),
)

KWOK = GoProgram("kwok", "kwok", "sigs.k8s.io/kwok/cmd/kwok")
"""Simulates nodes. The cloud does without: it is built by :func:`on_demand`."""


def steps() -> list[Step]:
    """What fills the cache."""
    return [
        Step("debian packages", unpack_debian, done=lambda: not missing_debian()),
        Step("openstack programs", install_openstack, done=openstack_installed),
        Step("kubernetes programs", build_go, done=lambda: not missing_go()),
    ]


# Debian


def parse_debian_list(text: str) -> list[DebianPackage]:
    """The packages of a list; ValueError names a line that is none."""
    packages = []
    for number, line in enumerate(text.splitlines(), 1):
        content = line.split("#", 1)[0].strip()
        if not content:
            continue
        match = re.fullmatch(r"([a-z0-9][a-z0-9+.-]*)(?:=(\S+))?(?: via (\S+))?", content)
        if match is None:
            raise ValueError(
                f"{DEBIAN_LIST.name} line {number}: {content!r} is not NAME[=VERSION] [via META]"
            )
        packages.append(DebianPackage(match[1], match[2] or "", match[3] or ""))
    return packages


def missing_debian() -> list[DebianPackage]:
    """The listed packages that are not unpacked (in whatever version)."""
    listed = parse_debian_list(DEBIAN_LIST.read_text())
    return [package for package in listed if not _unpacked(package).exists()]


def unpack_debian() -> None:
    """Download and unpack the listed packages that are missing."""
    packages = missing_debian()
    if not packages:
        return
    lists = paths.CACHE / "apt"
    debs = paths.CACHE / "debs"
    for directory in (lists / "lists" / "partial", lists / "archives" / "partial", debs, _unpacked_stamps()):
        directory.mkdir(parents=True, exist_ok=True)
    apt = [f"-oDir::State::Lists={lists / 'lists'}", f"-oDir::Cache={lists}", "-oAPT::Sandbox::User=root"]
    try:
        shell.run(["apt-get", *apt, "-qq", "update"])
    except shell.CommandError as error:
        # A source of somebody else's that is gone is no obstacle; Debian's own shows in what follows.
        note(f"going on after: {error}")
    known = _archive_versions(packages, apt)
    wanted = {}
    for package in packages:
        name, version = choose_version(package, known)
        if not version and package.via:
            name = _kernel_of(package.via, apt)
            version = _archive_versions([DebianPackage(name)], apt)[name][0]
        if not version:
            raise FileNotFoundError(f"Debian package {package.name}: the archive does not have it")
        if package.version and (name, version) != (package.name, package.version):
            note(f"{package.name}={package.version} is gone from the archive, taking {name}={version}")
        wanted[package] = (name, version)
    note(f"downloading {len(wanted)} packages")
    shell.run(["apt-get", *apt, "-qq", "download", *(f"{n}={v}" for n, v in wanted.values())], cwd=debs)
    for package, (name, version) in wanted.items():
        (deb,) = debs.glob(f"{name}_{version.replace(':', '%3a')}_*.deb")
        shell.run(["dpkg", "-x", deb, paths.DEBROOT])
        _unpacked(package).write_text(f"{name}={version}\n")
        deb.unlink()


def choose_version(package: DebianPackage, known: dict[str, list[str]]) -> tuple[str, str]:
    """Name and version to take: the pinned one if the archive (`known`) has it, else its newest, else ''."""
    versions = known.get(package.name, [])
    if package.version in versions:
        return package.name, package.version
    return package.name, versions[0] if versions else ""


def parse_madison(text: str) -> dict[str, list[str]]:
    """`apt-cache madison` as versions by name, in its order: the newest first."""
    versions: dict[str, list[str]] = {}
    for line in text.splitlines():
        fields = [field.strip() for field in line.split("|")]
        if len(fields) == 3 and "Sources" not in fields[2]:
            versions.setdefault(fields[0], []).append(fields[1])
    return versions


def _archive_versions(packages: Iterable[DebianPackage], apt: list[str]) -> dict[str, list[str]]:
    names = [package.name for package in packages]
    return parse_madison(shell.run(["apt-cache", *apt, "madison", *names], check=False))


def _kernel_of(meta: str, apt: list[str]) -> str:
    for line in shell.run(["apt-cache", *apt, "depends", meta]).splitlines():
        if match := re.match(r"\s*Depends: ([^<>\s]+)", line):
            return match[1]
    raise FileNotFoundError(f"Debian package {meta}: depends on nothing")


def _unpacked_stamps() -> Path:
    return paths.DEBROOT / ".unpacked"


def _unpacked(package: DebianPackage) -> Path:
    return _unpacked_stamps() / package.name


# OpenStack


def openstack_venv() -> Path:
    """The virtual environment of OpenStack's services; another list or Python makes another one."""
    key = OPENSTACK_LIST.read_bytes() + sys.version.encode()
    return paths.CACHE / f"openstack-venv-{hashlib.sha256(key).hexdigest()[:12]}"


def openstack_installed() -> bool:
    """Whether the virtual environment is there, to its last package."""
    return (openstack_venv() / ".complete").exists()


def install_openstack() -> None:
    """Make the virtual environment anew."""
    venv = openstack_venv()
    shutil.rmtree(venv, ignore_errors=True)
    shell.run([sys.executable, "-m", "venv", venv])
    pip: list[shell.Argument] = [venv / "bin/pip", "install", "--quiet", "--no-deps"]
    pip += ["--requirement", OPENSTACK_LIST]
    shell.run(pip, timeout=1800)
    (venv / ".complete").touch()


# Kubernetes


def missing_go() -> list[GoProgram]:
    """The programs that neither the user's directory nor the cache has."""
    named = paths.user_programs()
    return [
        program
        for program in GO_PROGRAMS
        if not (named is not None and (named / program.name).exists()) and not program.path.exists()
    ]


def go_version_needed() -> tuple[int, ...]:
    """The newest Go that one of the modules asks for."""
    found = [
        re.search(r"^go (\S+)", (GO_MODULES / module / "go.mod").read_text(), re.MULTILINE)
        for module in paths.GO_BIN
    ]
    return max(tuple(int(part) for part in match[1].split(".")) for match in found if match)


def build_go() -> None:
    """Build the programs that are missing, one after the other."""
    missing = missing_go()
    for number, program in enumerate(missing, 1):
        _build(program, f"{program.name} ({number} of {len(missing)})")


def on_demand(program: GoProgram) -> Path:
    """The path of a program, which is built now where neither the user's directory nor the cache has it."""
    named = paths.user_programs()
    if named is not None and (named / program.name).exists():
        return named / program.name
    if not program.path.exists():
        _build(program, program.name)
    return program.path


def linker_flags(version: str) -> str:
    """Without these a server calls itself v0.0.0, and clients misbehave."""
    major, minor, _ = version.split(".")
    flags = ["-s", "-w"]
    for package in ("k8s.io/component-base/version", "k8s.io/client-go/pkg/version"):
        for variable, value in (
            ("gitVersion", f"v{version}"),
            ("gitMajor", major),
            ("gitMinor", minor),
            ("gitTreeState", "archive"),
            ("buildDate", _BUILD_DATE),
        ):
            flags += ["-X", f"{package}.{variable}={value}"]
    return " ".join(flags)


def _build(program: GoProgram, title: str) -> None:
    note(f"building {title}")
    begin = said = time.monotonic()
    program.path.parent.mkdir(parents=True, exist_ok=True)
    written = program.path.with_suffix(".tmp")
    argv = ["go", "build", "-v", "-p", str(os.cpu_count() or 2), "-trimpath", "-buildvcs=false"]
    argv += ["-ldflags", linker_flags(paths.KUBERNETES_VERSION), "-o", str(written), program.package]
    environment = {**os.environ, "CGO_ENABLED": "0", "GOTOOLCHAIN": "local", "GOFLAGS": "-mod=readonly"}
    last = [""] * 20
    count = 0
    # OpenStack's start is the longer chain of small steps: the compiler takes what is left.
    with children.started(
        ["nice", *argv],
        cwd=GO_MODULES / program.module,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stderr is not None
        for line in process.stderr:
            last = [*last[1:], line]
            count += 1
            if time.monotonic() - said > _PROGRESS_EVERY:
                said = time.monotonic()
                note(f"{title}: {count} packages after {said - begin:.0f}s")
    if process.returncode != 0:
        raise shell.CommandError(f"`{' '.join(argv)}` ended with code {process.returncode}: {''.join(last)}")
    written.replace(program.path)
