# SPDX-License-Identifier: Apache-2.0
"""OCI image archives written from a list of files, with no registry and no container engine."""

import gzip
import hashlib
import io
import json
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

_MEDIA_TYPE = "application/vnd.oci.image"


@dataclass(frozen=True)
class Image:
    """What goes into an image of one layer."""

    names: Sequence[str]
    """Every reference (repository:tag) that the image answers to."""
    files: Mapping[str, Path]
    """Path in the image, without a leading slash, to the file that is put there, executable."""
    entrypoint: Sequence[str]
    command: Sequence[str] = ()
    links: Mapping[str, str] = field(default_factory=dict)
    """Path in the image to the target of a symbolic link made there."""
    directories: Sequence[str] = ("tmp",)


def write(image: Image, archive: Path) -> None:
    """Write IMAGE to ARCHIVE (a tar file that `ctr images import` reads); equal input gives equal bytes."""
    layer = _layer(image)
    blobs: dict[str, bytes] = {}

    def add(data: bytes) -> str:
        digest = hashlib.sha256(data).hexdigest()
        blobs[digest] = data
        return f"sha256:{digest}"

    compressed = gzip.compress(layer, 3, mtime=0)
    config = json.dumps(
        {
            "architecture": "amd64",
            "os": "linux",
            "config": {
                "Entrypoint": list(image.entrypoint),
                "Cmd": list(image.command),
                "Env": ["PATH=/usr/bin:/bin"],
            },
            "rootfs": {"type": "layers", "diff_ids": ["sha256:" + hashlib.sha256(layer).hexdigest()]},
            "history": [{"created_by": "devcloud"}],
        }
    ).encode()
    manifest = json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": f"{_MEDIA_TYPE}.manifest.v1+json",
            "config": {
                "mediaType": f"{_MEDIA_TYPE}.config.v1+json",
                "digest": add(config),
                "size": len(config),
            },
            "layers": [
                {
                    "mediaType": f"{_MEDIA_TYPE}.layer.v1.tar+gzip",
                    "digest": add(compressed),
                    "size": len(compressed),
                }
            ],
        }
    ).encode()
    manifest_digest = add(manifest)
    index = {
        "schemaVersion": 2,
        "manifests": [
            {
                "mediaType": f"{_MEDIA_TYPE}.manifest.v1+json",
                "digest": manifest_digest,
                "size": len(manifest),
                "platform": {"architecture": "amd64", "os": "linux"},
                "annotations": {
                    "io.containerd.image.name": name,
                    "org.opencontainers.image.ref.name": name.rsplit(":", 1)[1],
                },
            }
            for name in image.names
        ],
    }
    temporary = archive.with_name(archive.name + ".new")
    with tarfile.open(temporary, "w") as tar:
        _add_bytes(tar, "oci-layout", b'{"imageLayoutVersion":"1.0.0"}')
        _add_bytes(tar, "index.json", json.dumps(index).encode())
        for digest, data in blobs.items():
            _add_bytes(tar, f"blobs/sha256/{digest}", data)
    temporary.rename(archive)


def _layer(image: Image) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for directory in sorted(_parents(image) | set(image.directories)):
            entry = tarfile.TarInfo(directory)
            entry.type = tarfile.DIRTYPE
            entry.mode = 0o1777 if directory == "tmp" else 0o755
            tar.addfile(entry)
        for path in sorted(image.files):
            _add_bytes(tar, path, image.files[path].read_bytes(), mode=0o755)
        for path in sorted(image.links):
            entry = tarfile.TarInfo(path)
            entry.type = tarfile.SYMTYPE
            entry.linkname = image.links[path]
            tar.addfile(entry)
    return buffer.getvalue()


def _parents(image: Image) -> set[str]:
    paths = [Path(path) for path in (*image.files, *image.links, *image.directories)]
    return {str(parent) for path in paths for parent in path.parents if str(parent) != "."}


def _add_bytes(tar: tarfile.TarFile, name: str, data: bytes, mode: int = 0o644) -> None:
    entry = tarfile.TarInfo(name)
    entry.size = len(data)
    entry.mode = mode
    tar.addfile(entry, io.BytesIO(data))
