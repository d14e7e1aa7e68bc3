"""The store keeps good images and refuses hostile ones without a trace."""

from __future__ import annotations

import hashlib
import io
import json
import os
import tarfile
from pathlib import Path

import pytest
from pycompose.runtime.images import ImageError, ImageNotFound, Store
from pycompose.runtime.images.gc import remove
from pycompose.runtime.images.load import import_rootfs, load
from pycompose.runtime.images.store_folders import FOLDERS
from pycompose.runtime.places import Places


def tar_of(*entries: tuple[tarfile.TarInfo, bytes]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for entry, data in entries:
            entry.size = len(data)
            entry.uid, entry.gid = os.getuid(), os.getgid()
            tar.addfile(entry, io.BytesIO(data))
    return out.getvalue()


def link(name: str, target: str, kind: bytes = tarfile.SYMTYPE) -> tuple[tarfile.TarInfo, bytes]:
    entry = tarfile.TarInfo(name)
    entry.type, entry.linkname = kind, target
    return entry, b""


def test_docker_archive_is_loaded_and_its_digests_are_checked(tmp_path: Path) -> None:
    store = Store(Places(str(tmp_path / "s"), str(tmp_path / "r")))
    layer = tar_of((tarfile.TarInfo("etc/a"), b"hi"))
    digest = "sha256:" + hashlib.sha256(layer).hexdigest()
    for wanted, good in ((digest, True), ("sha256:" + "0" * 64, False)):
        config = json.dumps({"config": {"Cmd": ["/a"]}, "rootfs": {"diff_ids": [wanted]}}).encode()
        manifest = json.dumps([{"Config": "c.json", "RepoTags": ["one:1"], "Layers": ["l.tar"]}]).encode()
        files = {"c.json": config, "manifest.json": manifest, "l.tar": layer}
        (tmp_path / "a.tar").write_bytes(tar_of(*((tarfile.TarInfo(n), d) for n, d in files.items())))
        if good:
            (image,) = load(store, str(tmp_path / "a.tar"))
            assert image.cmd == ("/a",)
            assert Path(image.layers[0], "etc/a").read_bytes() == b"hi"
            remove(store, "one:1")
            assert not os.listdir(tmp_path / "s/images/layers")
        else:
            with pytest.raises(ImageError):
                load(store, str(tmp_path / "a.tar"))
    with pytest.raises(ImageNotFound):
        store.resolve("one:1")


@pytest.mark.parametrize(
    "entries",
    [
        [(tarfile.TarInfo("../evil"), b"x")],
        [(tarfile.TarInfo(".wh..."), b"")],
        [link("h", "../../etc/passwd", tarfile.LNKTYPE)],
    ],
)
def test_hostile_layer_leaves_nothing(tmp_path: Path, entries: list[tuple[tarfile.TarInfo, bytes]]) -> None:
    store = Store(Places(str(tmp_path / "s"), str(tmp_path / "r")))
    (tmp_path / "a.tar").write_bytes(tar_of(*entries))
    with pytest.raises(ImageError):
        import_rootfs(store, "bad", str(tmp_path / "a.tar"))
    assert sorted(os.listdir(tmp_path / "s/images")) == sorted(("lock", *FOLDERS))
    assert [name for name in FOLDERS if os.listdir(tmp_path / "s/images" / name)] == []


def test_links_in_parents_stay_inside(tmp_path: Path) -> None:
    store = Store(Places(str(tmp_path / "s"), str(tmp_path / "r")))
    outside = tmp_path / "outside"
    outside.mkdir()
    layer = tar_of(link("out", str(outside)), (tarfile.TarInfo("out/evil"), b"x"))
    (tmp_path / "a.tar").write_bytes(layer)
    image = import_rootfs(store, "linked", str(tmp_path / "a.tar"))
    assert not os.listdir(outside)
    assert Path(image.layers[0] + str(outside), "evil").read_bytes() == b"x"
