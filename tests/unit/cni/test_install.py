# SPDX-License-Identifier: Apache-2.0
"""Installing kuryr-cni on a node."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from kuryr.cni import install
from kuryr.cni.client import SUPPORTED_VERSIONS


def run(directory: Path, *more: str) -> int:
    return install.main([f"--bin-dir={directory}/bin", f"--conf-dir={directory}/net.d", *more])


def test_a_list(tmp_path: Path) -> None:
    assert (
        run(tmp_path, "--kuryr-conf=/etc/kuryr/kuryr.conf", "--socket=/run/x.sock", "--cni-version=1.1.0")
        == 0
    )
    assert json.loads((tmp_path / "net.d" / "10-kuryr.conflist").read_text()) == {
        "cniVersion": "1.1.0",
        "name": "kuryr",
        "plugins": [{"type": "kuryr-cni", "kuryr_conf": "/etc/kuryr/kuryr.conf", "socket": "/run/x.sock"}],
    }


def test_a_single_plugin_replaces_a_list(tmp_path: Path) -> None:
    assert run(tmp_path) == 0
    assert run(tmp_path, "--format=conf", "--cni-version=0.3.0", "--name=pods") == 0
    assert [path.name for path in (tmp_path / "net.d").iterdir()] == ["10-kuryr.conf"]
    assert json.loads((tmp_path / "net.d" / "10-kuryr.conf").read_text()) == {
        "cniVersion": "0.3.0",
        "name": "pods",
        "type": "kuryr-cni",
    }


def test_a_running_executable_is_replaced(tmp_path: Path) -> None:
    assert run(tmp_path) == 0
    target = tmp_path / "bin" / "kuryr-cni"
    before = target.stat().st_ino
    with target.open("rb"):
        assert run(tmp_path) == 0
    assert target.stat().st_ino != before
    assert sorted(path.name for path in target.parent.iterdir()) == ["kuryr-cni"], "no temporary file is left"


def test_without_an_executable_there_is_no_configuration(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "bin").write_text("in the way")
    assert run(tmp_path) == 1
    assert not list((tmp_path / "net.d").glob("*")) if (tmp_path / "net.d").exists() else True
    assert "kuryr.cni.install:" in capsys.readouterr().err


def test_an_interpreter_that_does_not_work_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(tmp_path, "--python=/bin/false") == 1
    assert "no Python interpreter runs kuryr-cni: /bin/false" in capsys.readouterr().err
    assert run(tmp_path, "--python=/nowhere/python") == 1


def test_it_is_compiled_where_that_works(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(tmp_path) == 0
    assert (tmp_path / "bin" / "kuryr-cni").read_bytes()[:4] == b"\x7fELF"
    assert "kuryr-cni: compiled by" in capsys.readouterr().out


@pytest.mark.parametrize("archive", [True, False], ids=["static", "shared"])
def test_the_c_library_is_in_it_where_it_can_be(tmp_path: Path, archive: bool) -> None:
    compiler = tmp_path / "cc"
    refuse = "" if archive else 'case "$*" in *-static*) echo cannot find -lc >&2; exit 1;; esac\n'
    compiler.write_text(f'#!/bin/sh\n{refuse}exec cc "$@"\n')
    compiler.chmod(0o755)
    assert run(tmp_path, f"--cc={compiler}") == 0
    needs = subprocess.run(["ldd", tmp_path / "bin" / "kuryr-cni"], capture_output=True, check=False)
    assert (needs.returncode == 0) is not archive


@pytest.mark.parametrize(
    ("compiler", "reason"),
    [
        (None, "there is no cc"),
        ("#!/bin/sh\necho no stdio.h >&2; exit 1\n", "cc does not compile kuryr-cni: no stdio.h"),
        (
            '#!/bin/sh\nwhile [ "$1" != -o ]; do shift; done\nprintf "#!/bin/false" >"$2"; chmod +x "$2"\n',
            "does not run here: exit code 1",
        ),
    ],
)
def test_without_a_compiler_that_works_it_is_a_script(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    compiler: str | None,
    reason: str,
) -> None:
    search = tmp_path / "path"
    search.mkdir()
    if compiler is not None:
        (search / "cc").write_text(compiler)
        (search / "cc").chmod(0o755)
    monkeypatch.setenv("PATH", f"{search}:/bin" if compiler is not None else str(search))
    if compiler is not None:
        assert run(tmp_path, f"--cc={search}/cc") == 1
        assert reason in capsys.readouterr().err
    assert run(tmp_path) == 0
    assert (tmp_path / "bin" / "kuryr-cni").read_text().startswith("#!/usr/bin/python3 -IS\n")
    said = capsys.readouterr().out
    assert "kuryr-cni: runs on /usr/bin/python3, not compiled: " in said
    assert reason in said


def test_a_compiler_that_is_not_there_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(tmp_path, "--cc=/nowhere/cc") == 1
    assert "/nowhere/cc does not compile kuryr-cni" in capsys.readouterr().err
    assert not (tmp_path / "bin" / "kuryr-cni").exists()


@pytest.mark.parametrize("name", ["10-kuryr.conf", "10-kuryr.conflist"])
def test_the_samples_are_configurations(name: str) -> None:
    path = Path(install.__file__).parents[2] / "etc" / "cni" / "net.d" / name
    if not path.exists():
        pytest.skip("installed without the samples")
    document = json.loads(path.read_text())
    assert document["cniVersion"] in SUPPORTED_VERSIONS
    assert document["name"] == "kuryr"
