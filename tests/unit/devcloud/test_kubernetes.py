# SPDX-License-Identifier: Apache-2.0
import json
import tarfile
from pathlib import Path

import pytest

from devcloud.kubernetes import certificates, cgroups, nodes, oci
from devcloud.kubernetes.cluster import NODES


@pytest.fixture
def image(tmp_path: Path) -> oci.Image:
    program = tmp_path / "program"
    program.write_text("#!/bin/sh\n")
    return oci.Image(
        names=("example/one:1", "example/two:2"),
        files={"usr/bin/program": program},
        links={"bin/p": "../usr/bin/program"},
        entrypoint=("/usr/bin/program",),
    )


def test_image_archive_is_reproducible(image: oci.Image, tmp_path: Path) -> None:
    oci.write(image, tmp_path / "a.tar")
    oci.write(image, tmp_path / "b.tar")
    assert (tmp_path / "a.tar").read_bytes() == (tmp_path / "b.tar").read_bytes()


def test_image_archive_names_one_manifest_by_every_reference(image: oci.Image, tmp_path: Path) -> None:
    oci.write(image, tmp_path / "a.tar")
    with tarfile.open(tmp_path / "a.tar") as tar:
        index = json.load(tar.extractfile("index.json"))
        digests = {manifest["digest"] for manifest in index["manifests"]}
        (digest,) = digests
        assert f"blobs/{digest.replace(':', '/')}" in tar.getnames()
    names = [manifest["annotations"]["io.containerd.image.name"] for manifest in index["manifests"]]
    assert names == ["example/one:1", "example/two:2"]


def test_image_layer_holds_parents_files_and_links(image: oci.Image, tmp_path: Path) -> None:
    oci.write(image, tmp_path / "a.tar")
    with tarfile.open(tmp_path / "a.tar") as tar:
        index = json.load(tar.extractfile("index.json"))
        manifest = json.load(tar.extractfile(blob(index["manifests"][0])))
        with tarfile.open(fileobj=tar.extractfile(blob(manifest["layers"][0])), mode="r:gz") as layer:
            members = {member.name: member for member in layer}
    assert {"usr", "usr/bin", "bin", "tmp"} <= set(members)
    assert members["usr/bin/program"].mode == 0o755
    assert members["bin/p"].linkname == "../usr/bin/program"


def blob(descriptor: dict[str, str]) -> str:
    return f"blobs/{descriptor['digest'].replace(':', '/')}"


def test_certificate_extensions_list_the_names() -> None:
    assert "subjectAltName=DNS:a,IP:10.0.0.1\n" in certificates.extensions(["DNS:a", "IP:10.0.0.1"])


def test_certificate_without_names_has_no_alternative_name() -> None:
    assert "subjectAltName" not in certificates.extensions([])


def test_kubeconfig_selects_its_user() -> None:
    config = json.loads(certificates.kubeconfig("https://h:1", "admin"))
    (context,) = config["contexts"]
    assert config["current-context"] == context["name"]
    assert context["context"] == {"cluster": config["clusters"][0]["name"], "user": "admin"}


def test_containerd_configuration_leaves_no_placeholder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("devcloud.paths.program", lambda name: Path("/x") / name)
    text = nodes.containerd_configuration(NODES[0])
    assert "@" not in text
    assert f'conf_dir = "{NODES[0].cni_conf}"' in text
    assert 'BinaryName = "/x/runc"' in text


def test_nodes_share_no_path() -> None:
    first, second = (nodes.kubelet_configuration(node) for node in NODES)
    for setting in ("cgroupRoot", "podLogsDir", "staticPodPath", "containerRuntimeEndpoint", "address"):
        assert first[setting] != second[setting]


@pytest.fixture
def cgroup_v1(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for controller in ("cpuset", "memory"):
        (tmp_path / controller).mkdir()
        (tmp_path / controller / "cgroup.procs").touch()
    (tmp_path / "not-mounted").mkdir()
    monkeypatch.setattr(cgroups, "ROOT", tmp_path)
    return tmp_path


def test_cgroup_is_made_in_every_v1_hierarchy(cgroup_v1: Path) -> None:
    cgroups.create("node")
    assert sorted(path.parent.name for path in cgroup_v1.glob("*/node")) == ["cpuset", "memory"]


def test_cgroup_is_removed_with_what_is_below(cgroup_v1: Path) -> None:
    cgroups.create("node")
    (cgroup_v1 / "memory/node/kubepods/pod1").mkdir(parents=True)
    cgroups.remove("node")
    assert list(cgroup_v1.glob("*/node")) == []


def test_cgroup_v2_delegates_the_controllers_that_are_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cgroup.controllers").write_text("cpu memory pids\n")
    (tmp_path / "cgroup.subtree_control").write_text("cpu\n")
    monkeypatch.setattr(cgroups, "ROOT", tmp_path)
    cgroups.create("node")
    assert (tmp_path / "cgroup.subtree_control").read_text() == "+memory +pids"
    assert (tmp_path / "node").is_dir()
