"""A base image from Debian's busybox-static, as an OCI layout: `python tests/registry/base_image.py FOLDER [NAME]`.

One layer with the shell and its programs, one with /etc; more layers, and other compressions, for whoever asks.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import shutil
import sys
import tarfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

OCI = "application/vnd.oci.image"
PROGRAMS = ("sh", "cat", "echo", "ls", "sleep", "true", "id", "env", "touch", "httpd", "wget", "stat", "mkdir", "rm")


def tar(files: Mapping[str, bytes], links: Mapping[str, str] | None = None) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        folders: set[str] = set()
        for name, data in files.items():
            for parent in reversed([str(one) for one in Path(name).parents if str(one) != "."]):
                if parent not in folders:
                    folders.add(parent)
                    entry = tarfile.TarInfo(parent)
                    entry.type, entry.mode = tarfile.DIRTYPE, 0o755
                    archive.addfile(_mine(entry))
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(data), 0o755
            archive.addfile(_mine(entry), io.BytesIO(data))
        for name, target in (links or {}).items():
            entry = tarfile.TarInfo(name)
            entry.type, entry.linkname = tarfile.SYMTYPE, target
            archive.addfile(_mine(entry))
    return out.getvalue()


def _mine(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    entry.uid, entry.gid = os.getuid(), os.getgid()
    return entry


def busybox() -> bytes:
    path = shutil.which("busybox")
    if path is None:
        raise FileNotFoundError("busybox is not installed: apt-get install busybox-static")
    return Path(path).read_bytes()


def base_layers() -> list[bytes]:
    shell = tar({"bin/busybox": busybox()}, {f"bin/{name}": "busybox" for name in PROGRAMS})
    etc = tar({"etc/passwd": b"root:x:0:0::/:/bin/sh\n", "etc/group": b"root:x:0:\n", "tmp/.keep": b""})
    return [shell, etc]


def zipped(data: bytes) -> bytes:
    return gzip.compress(data, 6, mtime=0)


def digest(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


def config_of(layers: Sequence[bytes], architecture: str = "amd64", **config: Any) -> bytes:
    tree = {
        "architecture": architecture,
        "os": "linux",
        "config": {"Cmd": ["/bin/sh"], "Env": ["PATH=/bin"], **config},
        "rootfs": {"type": "layers", "diff_ids": [digest(one) for one in layers]},
        "history": [{"created_by": f"layer {number}"} for number in range(len(layers))],
    }
    return json.dumps(tree).encode()


def blob_of(layout: Path, name: str) -> bytes:
    return Path(layout, "blobs/sha256", name.removeprefix("sha256:")).read_bytes()


class Layout:
    """An OCI layout in the making: blobs by digest, and images by name."""

    def __init__(self) -> None:
        self.blobs: dict[str, bytes] = {}
        self.index: list[dict[str, Any]] = []

    def blob(self, data: bytes, media_type: str) -> dict[str, Any]:
        self.blobs[digest(data)] = data
        return {"mediaType": media_type, "digest": digest(data), "size": len(data)}

    def image(
        self,
        layers: Sequence[bytes],
        compress: Callable[[bytes], bytes] = zipped,
        kind: str = "+gzip",
        architecture: str = "amd64",
        **config: Any,
    ) -> dict[str, Any]:
        """The descriptor of a manifest."""
        tree = {
            "schemaVersion": 2,
            "mediaType": f"{OCI}.manifest.v1+json",
            "config": self.blob(config_of(layers, architecture, **config), f"{OCI}.config.v1+json"),
            "layers": [self.blob(compress(one), f"{OCI}.layer.v1.tar{kind}") for one in layers],
        }
        return self.blob(json.dumps(tree).encode(), f"{OCI}.manifest.v1+json")

    def name(self, told: dict[str, Any], name: str) -> None:
        self.index.append({**told, "annotations": {"org.opencontainers.image.ref.name": name}})

    def write(self, folder: str) -> None:
        os.makedirs(f"{folder}/blobs/sha256", exist_ok=True)
        for name, data in self.blobs.items():
            Path(folder, "blobs/sha256", name.removeprefix("sha256:")).write_bytes(data)
        index = {"schemaVersion": 2, "mediaType": f"{OCI}.index.v1+json", "manifests": self.index}
        Path(folder, "index.json").write_text(json.dumps(index))
        Path(folder, "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')


def base(folder: str, name: str = "latest", *more: bytes, **config: Any) -> None:
    """The base image, with layers of one's own on top, as `folder`:`name`."""
    layout = Layout()
    layout.name(layout.image([*base_layers(), *more], **config), name)
    layout.write(folder)


def one_file(folder: str, data: bytes) -> None:
    """An image of one layer that does not compress."""
    layout = Layout()
    layout.name(layout.image([tar({"data": data})]), "latest")
    layout.write(folder)


if __name__ == "__main__":
    base(sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else "latest")
