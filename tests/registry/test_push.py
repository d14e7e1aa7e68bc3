"""Pushing to a real registry, and archives that other tools read: digests are those that came."""

from __future__ import annotations

import io
import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import trio
from pycompose.runtime.images import ImageError, Store
from pycompose.runtime.images.gc import remove
from pycompose.runtime.images.layers import Folder
from pycompose.runtime.images.load import load
from pycompose.runtime.images.pack import pack
from pycompose.runtime.images.registry import push as pushing
from pycompose.runtime.images.registry.progress import Transfer
from pycompose.runtime.images.registry.pull import pull
from pycompose.runtime.images.registry.push import push
from pycompose.runtime.images.save import save, save_layout
from pycompose.runtime.images.verify import check
from pycompose.runtime.places import Places

from . import base_image
from .conftest import Real, need
from .test_pull import login


def another(tmp_path: Path) -> Store:
    return Store(Places(str(tmp_path / "other"), str(tmp_path / "run")))


def built(store: Store, name: str) -> None:
    """An image whose layer nobody has a tar of."""
    with store.working() as work:
        os.makedirs(f"{work}/mine/app")
        with open(f"{work}/mine/app/data", "wb") as file:
            file.write(b"hello\n" * 100_000)
        for path in ("app/data", "app"):
            os.utime(f"{work}/mine/{path}", (0, 0))
        made = pack(f"{work}/mine")
        config = {"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": [made.diff_id]}}
        store.add((name,), json.dumps(config).encode(), [Folder(f"{work}/mine", made.diff_id, made.size)], work)


async def test_what_was_pulled_is_pushed_with_the_same_digest(
    registries: Callable[..., Real], store: Store, layout: Path, tmp_path: Path
) -> None:
    one, two = registries(), registries(user="me:secret")
    login(tmp_path, two.name, two.user)
    one.put(layout, "base:1")
    await pull(store, f"{one.name}/base:1")
    store.tag(f"{one.name}/base:1", f"{two.name}/deep/er/base:2")
    digest = await push(store, f"{two.name}/deep/er/base:2")
    assert digest == one.digest("base:1") == two.digest("deep/er/base:2", "--creds", two.user)
    assert store.resolve(f"{two.name}/deep/er/base@{digest}").digest == store.resolve(f"{one.name}/base:1").digest
    other = another(tmp_path)
    await pull(other, f"{two.name}/deep/er/base:2")
    assert check(other) == []
    with pytest.raises(ImageError, match="not on this machine"):
        await push(store, f"{two.name}/nothing:1")


async def test_what_was_built_here_is_pushed_twice_with_the_same_digest(
    registry: Real, store: Store, tmp_path: Path
) -> None:
    need("umoci")
    built(store, f"{registry.name}/built:1")
    digest = await push(store, f"{registry.name}/built:1")
    store.tag(f"{registry.name}/built:1", f"{registry.name}/again:1")
    events: list[Transfer] = []
    assert await push(store, f"{registry.name}/again:1", report=events.append) == digest
    assert {e.state for e in events if e.part} == {"waiting", "here"}, "it is mounted from the other repository"
    assert check(store) == []
    registry.skopeo("copy", "--src-tls-verify=false", f"docker://{registry.name}/again:1", f"oci:{tmp_path}/oci:1")
    if os.geteuid() == 0:
        command = ["umoci", "unpack", "--image", f"{tmp_path}/oci:1", f"{tmp_path}/unpacked"]
        await trio.run_process(command, capture_stderr=True)
        assert (tmp_path / "unpacked/rootfs/app/data").stat().st_size == 600_000
    other = another(tmp_path)
    image = await pull(other, f"{registry.name}/again:1")
    assert image.digest == store.resolve(f"{registry.name}/built:1").digest
    remove(store, f"{registry.name}/built:1")
    remove(store, f"{registry.name}/again:1")
    assert os.listdir(f"{store.root}/blobs") == os.listdir(f"{store.root}/layers") == []


async def test_a_blob_is_sent_in_parts(
    registry: Real, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pushing, "PART", 1 << 20)
    base_image.one_file(str(tmp_path / "l"), os.urandom(5 << 20))
    (image,) = load(store, str(tmp_path / "l"))
    store.tag(image.digest, f"{registry.name}/large:1")
    events: list[Transfer] = []
    digest = await push(store, f"{registry.name}/large:1", report=events.append)
    assert registry.digest("large:1") == digest
    assert max(e.done for e in events) == max(e.total for e in events)
    assert (await pull(another(tmp_path), f"{registry.name}/large:1")).digest == image.digest


@pytest.mark.parametrize("way", ["docker-archive", "oci", "oci-archive"])
def test_what_we_save_skopeo_reads_with_the_same_digests(store: Store, layout: Path, tmp_path: Path, way: str) -> None:
    need("skopeo")
    (image,) = load(store, str(layout))
    store.tag(image.digest, "base:1")
    manifest = base_image.digest(store.manifest("base:1"))
    out = io.BytesIO()
    if way == "oci":
        save_layout(store, ["base:1"], str(tmp_path / "saved"))
        save_layout(store, ["base:1"], str(tmp_path / "saved"))
    else:
        save(store, ["base:1"], out, oci=way == "oci-archive")
        (tmp_path / "saved").write_bytes(out.getvalue())
    where = f"{way}:{tmp_path}/saved:" + ("base:1" if way == "docker-archive" else "1")
    raw = subprocess.run(["skopeo", "inspect", "--raw", where], check=True, capture_output=True)
    if way != "docker-archive":
        assert base_image.digest(raw.stdout) == manifest
    config = subprocess.run(["skopeo", "inspect", "--config", "--raw", where], check=True, capture_output=True)
    assert base_image.digest(config.stdout) == image.digest
    other = another(tmp_path)
    (again,) = load(other, str(tmp_path / "saved"))
    assert (again.digest, again.name) == (image.digest, "base:1")
    assert check(other) == []


@pytest.mark.parametrize("way", ["docker-archive", "oci", "oci-archive"])
def test_what_skopeo_writes_we_read(store: Store, layout: Path, tmp_path: Path, way: str) -> None:
    need("skopeo")
    end = "name:1" if way == "docker-archive" else "1"
    subprocess.run(
        ["skopeo", "copy", f"oci:{layout}:latest", f"{way}:{tmp_path}/copied:{end}"], check=True, capture_output=True
    )
    (image,) = load(store, str(tmp_path / "copied"))
    assert os.readlink(f"{image.layers[1]}/bin/sh") == "busybox"
    assert check(store) == []


def test_what_buildah_and_umoci_write_we_read(root: None, store: Store, layout: Path, tmp_path: Path) -> None:
    need("buildah", "umoci")

    def run(command: str) -> str:
        done = subprocess.run(command.split(), capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    buildah = f"buildah --root {tmp_path}/b --runroot {tmp_path}/br --storage-driver vfs"
    container = run(f"{buildah} from oci:{layout}:latest")
    run(f"{buildah} config --label made=buildah {container}")
    run(f"{buildah} commit --disable-compression=false {container} oci:{tmp_path}/built:1")
    (image,) = load(store, f"{tmp_path}/built")
    assert image.labels["made"] == "buildah"
    run(f"umoci unpack --image {layout}:latest {tmp_path}/bundle")
    (tmp_path / "bundle/rootfs/etc/new").write_text("umoci")
    (tmp_path / "bundle/rootfs/tmp/.keep").unlink()
    run(f"umoci repack --image {layout}:changed {tmp_path}/bundle")
    changed = next(one for one in load(store, str(layout)) if len(one.layers) == 3)
    with open(f"{changed.layers[0]}/etc/new") as file:
        assert file.read() == "umoci"
    assert check(store) == []
