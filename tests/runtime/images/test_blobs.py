"""What the store keeps beside unpacked layers: blobs as they came, layers builders made; whether it is whole."""

from __future__ import annotations

import io
import json
import os
import time
from pathlib import Path

import pytest
from pycompose.runtime.images import Store
from pycompose.runtime.images.cache import Cache
from pycompose.runtime.images.gc import prune, remove
from pycompose.runtime.images.layers import Blob, Folder
from pycompose.runtime.images.load import load
from pycompose.runtime.images.pack import pack
from pycompose.runtime.images.store import DAY
from pycompose.runtime.images.store_folders import FOLDERS
from pycompose.runtime.images.verify import check
from pycompose.runtime.places import Places

from .test_archive import Layout, config_of, docker, layer, packed, sha


@pytest.fixture
def images(tmp_path: Path) -> Store:
    return Store(Places(str(tmp_path / "s"), str(tmp_path / "r")))


def left(store: Store) -> list[str]:
    return [f"{name}/{entry}" for name in FOLDERS for entry in os.listdir(f"{store.root}/{name}")]


def test_manifests_and_layers_are_kept_as_they_came_and_go_with_the_image(images: Store) -> None:
    made = Layout([layer(a="1"), layer(b="2")])
    files = made.done()
    load(images, io.BytesIO(packed(files)))
    manifest = images.manifest("one:1")
    assert files[f"blobs/sha256/{sha(manifest)[7:]}"] == manifest
    for told in json.loads(manifest)["layers"]:
        with images.blobs.open(told["digest"]) as blob:
            assert blob.read() == files[f"blobs/sha256/{told['digest'][7:]}"]
    assert check(images) == []
    remove(images, "one:1")
    assert left(images) == []


def test_a_layer_that_came_without_its_blob_gets_it_with_a_manifest_that_names_it(images: Store) -> None:
    one = layer(a="1")
    load(images, io.BytesIO(packed(docker(["plain:1"], [one]))))
    assert images.layer(sha(one)).blob == sha(one)  # type: ignore[union-attr]
    load(images, io.BytesIO(packed(Layout([one]).done())))
    assert len(images.blobs.digests()) == 3
    assert check(images) == []
    remove(images, "one:1")
    remove(images, "plain:1")
    assert left(images) == []


def test_a_layer_that_lies_unpacked_is_moved_not_copied(images: Store, tmp_path: Path) -> None:
    with images.working() as work:
        os.makedirs(f"{work}/mine/etc")
        Path(work, "mine/etc/a").write_text("hello")
        inode = os.stat(f"{work}/mine/etc/a").st_ino
        made = pack(f"{work}/mine")
        config = json.dumps({"rootfs": {"diff_ids": [made.diff_id]}}).encode()
        image = images.add(("built:1",), config, [Folder(f"{work}/mine", made.diff_id, made.size)], work)
    assert os.stat(f"{image.layers[0]}/etc/a").st_ino == inode
    assert image.size == 5
    assert check(images) == []
    Path(image.layers[0], "etc/a").write_text("other")
    assert check(images) == [f"layer {made.diff_id}: its files were changed"]


def test_what_a_builder_remembers_keeps_its_layers(images: Store) -> None:
    cache, one = Cache(images), layer(a="1")
    with images.working() as work:
        fresh = images.unpack(Blob(lambda: io.BytesIO(one)), work)
        images.keep_layer(fresh, work)
        cache.remember("RUN make", {"image": 1}, [sha(one)])
    prune(images)
    with images.working() as work:
        assert cache.recall("RUN make", work) == {"image": 1}
        assert cache.recall("RUN other", work) is None
        cache.forget()
        prune(images)
        assert images.layer(sha(one)) is not None, "the build that recalled it relies on it"
    prune(images)
    assert images.layer(sha(one)) is None
    with images.working() as work:
        assert cache.recall("RUN make", work) is None
    assert left(images) == []


def test_layers_of_an_interrupted_pull_wait_a_day_for_the_next(images: Store) -> None:
    one = layer(a="1")
    with images.working() as work:
        images.keep_layer(images.unpack(Blob(lambda: io.BytesIO(one)), work), work)
    load(images, io.BytesIO(packed(docker(["x:1"], [layer(b="2")]))))
    assert images.layer(sha(one)) is not None
    old = time.time() - DAY - 1
    os.utime(f"{images.folder(sha(one))}.json", (old, old))
    load(images, io.BytesIO(packed(docker(["x:2"], [layer(b="3")]))))
    assert images.layer(sha(one)) is None


def test_a_layer_without_an_image_goes_when_an_image_is_removed(images: Store) -> None:
    with images.working() as work:
        images.keep_layer(images.unpack(Blob(lambda: io.BytesIO(layer(a="1"))), work), work)
    load(images, io.BytesIO(packed(docker(["x:1"], [layer(b="2")]))))
    remove(images, "x:1")
    assert left(images) == []


@pytest.mark.parametrize("what", ["blob", "layer", "config", "lost blob", "lost layer", "lost config"])
def test_damage_is_found(images: Store, what: str) -> None:
    one = layer(a="1")
    (image,) = load(images, io.BytesIO(packed(Layout([one]).done())))
    assert check(images) == []
    blob = images.blobs.path(images.layer(sha(one)).blob)  # type: ignore[union-attr]
    config = f"{images.root}/configs/{image.digest[7:]}.json"
    path = {"blob": blob, "layer": f"{image.layers[0]}/a", "config": config}[what.split()[-1]]
    if what == "lost layer":
        os.rename(image.layers[0], f"{images.root}/elsewhere")
    elif what.startswith("lost"):
        os.unlink(path)
    else:
        Path(path).write_bytes(config_of([one], Cmd=["x"]) if what == "config" else b"?")
    assert len(check(images)) >= 1


@pytest.mark.skipif(os.geteuid() != 0, reason="whiteouts are devices, which are root's")
def test_a_layer_without_entries_for_its_folders_and_with_whiteouts_is_whole_later_too(images: Store) -> None:
    one = packed({"deep/er/file": b"x", "deep/.wh.gone": b"", "other/.wh..wh..opq": b""})
    (image,) = load(images, io.BytesIO(packed(docker(["x:1"], [one]))))
    before = time.time() - 1000
    os.utime(f"{image.layers[0]}", (before, before))
    assert check(images) == []
