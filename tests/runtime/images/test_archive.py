"""Archives of images: docker save and OCI layouts, good ones kept whole, bad ones not at all."""

from __future__ import annotations

import copy
import gzip
import hashlib
import io
import json
import os
import tarfile
import threading
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from pycompose import durable
from pycompose.runtime.images import ImageError, ImageInUse, ImageNotFound, Store
from pycompose.runtime.images.gc import prune, remove
from pycompose.runtime.images.load import import_rootfs, load
from pycompose.runtime.images.streams import zstd
from pycompose.runtime.places import Places
from pycompose.runtime.state import usage

Files = dict[str, bytes]


def layer(**files: str) -> bytes:
    return packed({name: text.encode() for name, text in files.items()})


def packed(files: Files) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name, data in files.items():
            made = tarfile.TarInfo(name)
            made.size, made.uid, made.gid = len(data), os.getuid(), os.getgid()
            archive.addfile(made, io.BytesIO(data))
    return out.getvalue()


def sha(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


def config_of(layers: list[bytes], **config: Any) -> bytes:
    return json.dumps(
        {"config": config, "rootfs": {"type": "layers", "diff_ids": [sha(one) for one in layers]}}
    ).encode()


def docker(names: list[str], layers: list[bytes], **config: Any) -> Files:
    files = {f"{number}.tar": data for number, data in enumerate(layers)}
    manifest = [{"Config": "c.json", "RepoTags": names, "Layers": list(files)}]
    return {**files, "c.json": config_of(layers, **config), "manifest.json": json.dumps(manifest).encode()}


class Layout:
    """An OCI layout in the making."""

    def __init__(self, layers: list[bytes], name: str = "one:1", **config: Any) -> None:
        self.files: Files = {"oci-layout": b'{"imageLayoutVersion": "1.0.0"}'}
        self.manifest: dict[str, Any] = {
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": self.blob(config_of(layers, **config)),
            "layers": [self.blob(gzip.compress(one, mtime=0)) for one in layers],
        }
        self.name = name

    def blob(self, data: bytes) -> dict[str, Any]:
        self.files[f"blobs/sha256/{sha(data)[7:]}"] = data
        return {"digest": sha(data), "size": len(data)}

    def done(self, **more: Any) -> Files:
        told = self.blob(json.dumps(self.manifest).encode())
        told |= {"mediaType": "application/vnd.oci.image.manifest.v1+json"} | more
        told["annotations"] = {"org.opencontainers.image.ref.name": self.name}
        return {**self.files, "index.json": json.dumps({"schemaVersion": 2, "manifests": [told]}).encode()}


@pytest.fixture
def images(tmp_path: Path) -> Store:
    return Store(Places(str(tmp_path / "s"), str(tmp_path / "r")))


def on_disk(tmp_path: Path) -> dict[str, list[str]]:
    return {name: sorted(os.listdir(tmp_path / "s/images" / name)) for name in NOTHING}


NOTHING: dict[str, list[str]] = {"layers": [], "blobs": [], "configs": [], "work": [], "locks": []}


@pytest.mark.parametrize("compress", [bytes, gzip.compress, zstd.compress])
@pytest.mark.parametrize("way", ["file", "stream"])
def test_an_archive_is_loaded_from_a_file_and_from_a_stream(
    images: Store, tmp_path: Path, compress: Any, way: str
) -> None:
    data = compress(packed(docker(["one:1", "two:2"], [layer(a="1"), layer(b="2")], Cmd=["/a"], Env=["A=b"])))
    (tmp_path / "a.tar").write_bytes(data)
    (made,) = load(images, str(tmp_path / "a.tar") if way == "file" else io.BytesIO(data))
    assert (made.cmd, made.env) == (("/a",), ("A=b",))
    assert images.resolve("one:1").digest == images.resolve("two:2").digest
    assert [os.listdir(folder) for folder in made.layers] == [["b"], ["a"]], "the topmost layer first"
    assert made.size == 2
    assert on_disk(tmp_path)["work"] == []


@pytest.mark.parametrize("way", ["file", "folder"])
def test_an_oci_layout_is_loaded_and_named_by_its_digest_too(images: Store, tmp_path: Path, way: str) -> None:
    files = Layout([layer(a="1")], "example.org/app:1").done()
    path = tmp_path / "layout"
    if way == "folder":
        for name, data in files.items():
            (path / name).parent.mkdir(parents=True, exist_ok=True)
            (path / name).write_bytes(data)
    else:
        path.write_bytes(packed(files))
    load(images, str(path))
    manifest = json.loads(files["index.json"])["manifests"][0]["digest"]
    found = images.resolve("example.org/app:1")
    for name in (f"example.org/app@{manifest}", f"example.org/app:1@{manifest}", found.digest, found.digest[7:19]):
        assert images.resolve(name).digest == found.digest
    for name in (
        f"example.org/app:2@{manifest}",
        f"example.org/other@{manifest}",
        f"example.org/app@sha256:{'0' * 64}",
    ):
        with pytest.raises(ImageNotFound):
            images.resolve(name)


def test_an_index_is_read_for_this_machine(images: Store, tmp_path: Path) -> None:
    import platform

    from pycompose.runtime.images.manifest import MACHINES

    layout = Layout([layer(a="1")])
    own = layout.blob(json.dumps(layout.manifest).encode())
    machine = MACHINES.get(platform.machine(), platform.machine())
    others = {"digest": "sha256:" + "0" * 64, "size": 1, "platform": {"architecture": "s390x"}}
    kind = "application/vnd.oci.image.index.v1+json"
    layout.manifest = {"mediaType": kind, "manifests": [others, {**own, "platform": {"architecture": machine}}]}
    (tmp_path / "a").write_bytes(packed(layout.done(mediaType=kind)))
    assert len(load(images, str(tmp_path / "a"))) == 1


def broken_layouts() -> dict[str, Files]:
    found = {}
    good = Layout([layer(a="1")])
    one = copy.deepcopy(good)
    one.manifest["manifests"] = []
    found["layers and manifests (CVE-2021-41190)"] = one.done()
    found["another media type"] = copy.deepcopy(good).done(mediaType="application/vnd.oci.image.index.v1+json")
    one = copy.deepcopy(good)
    one.manifest["layers"][0]["digest"] = "sha256:../../../../etc/passwd"
    found["a digest that is a path (CVE-2024-3727)"] = one.done()
    one = copy.deepcopy(good)
    one.manifest["layers"][0]["size"] += 1
    found["a wrong size"] = one.done()
    one = copy.deepcopy(good)
    one.files[f"blobs/sha256/{one.manifest['layers'][0]['digest'][7:]}"] = gzip.compress(layer(a="2"), mtime=0)
    found["a wrong layer"] = one.done()
    one = copy.deepcopy(good)
    one.files[f"blobs/sha256/{one.manifest['config']['digest'][7:]}"] += b" "
    found["a wrong configuration"] = one.done()
    one = copy.deepcopy(good)
    one.manifest["layers"] = []
    found["a layer less"] = one.done()
    one = copy.deepcopy(good)
    one.manifest["config"]["size"] = "5"
    found["a size that is no number"] = one.done()
    found["a name that is none"] = Layout([layer(a="1")], "../../x").done()
    found["an index that is a list"] = {"index.json": b"[]"}
    found["nested without end"] = {"index.json": b"[" * 100_000}
    return found


BROKEN = {
    **broken_layouts(),
    "a config that is no object": docker(["one:1"], []) | {"c.json": b"[]"},
    "an environment of numbers": docker(["one:1"], [layer(a="1")], Env=[5]),
    "a command that is a text": docker(["one:1"], [layer(a="1")], Cmd="sh"),
    "a layer that is not there": {k: v for k, v in docker(["one:1"], [layer(a="1")]).items() if k != "0.tar"},
    "a config out of the archive": docker(["one:1"], [])
    | {"manifest.json": b'[{"Config": "../../etc/passwd", "RepoTags": ["a:1"], "Layers": []}]'},
    "nothing": {"readme": b"hello"},
}


@pytest.mark.parametrize("what", BROKEN)
def test_a_bad_archive_is_an_error_and_leaves_nothing(images: Store, tmp_path: Path, what: str) -> None:
    (tmp_path / "a").write_bytes(packed(BROKEN[what]))
    with pytest.raises(ImageError) as failed:
        load(images, str(tmp_path / "a"))
    assert str(tmp_path / "a") in str(failed.value)
    assert on_disk(tmp_path) == NOTHING
    assert images.ls() == []


@pytest.mark.parametrize("data", [b"", b"no tar", b"\x1f\x8bno gzip", b"\x28\xb5\x2f\xfdno zstd"])
def test_what_is_no_archive_is_an_error(images: Store, tmp_path: Path, data: bytes) -> None:
    (tmp_path / "a").write_bytes(data)
    for take in (partial(load, images), lambda path: import_rootfs(images, "a", path)):
        if data or isinstance(take, partial):
            with pytest.raises(ImageError):
                take(str(tmp_path / "a"))
    with pytest.raises(ImageError, match="No such file"):
        load(images, str(tmp_path / "missing"))
    with pytest.raises(ImageError, match=r"cannot be read: /.*missing: No such file"):
        import_rootfs(images, "a", str(tmp_path / "missing"))
    assert on_disk(tmp_path) == NOTHING


def test_a_link_in_a_layouts_folder_is_not_followed(images: Store, tmp_path: Path) -> None:
    folder = tmp_path / "layout"
    folder.mkdir()
    files = docker(["one:1"], [layer(a="1")])
    for name, data in files.items():
        (folder / name).write_bytes(data)
    (folder / "0.tar").unlink()
    (tmp_path / "secret").write_bytes(files["0.tar"])
    (folder / "0.tar").symlink_to("../secret")
    with pytest.raises(ImageError):
        load(images, str(folder))


def test_layers_are_shared_and_go_with_their_last_image(images: Store, tmp_path: Path) -> None:
    shared, one, two = layer(s="s"), layer(a="1"), layer(b="2")
    for name, layers in (("one:1", [shared, one]), ("two:1", [shared, two])):
        load(images, io.BytesIO(packed(docker([name], layers))))
    assert len([n for n in on_disk(tmp_path)["layers"] if not n.endswith(".json")]) == 3
    remove(images, "one:1")
    assert os.path.isdir(images.resolve("two:1").layers[1])
    assert sorted(on_disk(tmp_path)["layers"]) == sorted(
        f"{sha(n)[7:]}{e}" for n in (shared, two) for e in ("", ".json")
    )
    remove(images, "two:1")
    assert on_disk(tmp_path) == NOTHING


def test_a_name_that_moves_leaves_an_image_without_a_name_until_it_is_pruned(images: Store, tmp_path: Path) -> None:
    for text in ("1", "2"):
        load(images, io.BytesIO(packed(docker(["one:1"], [layer(a=text)]))))
    named, unnamed = images.ls()
    assert (named.name, unnamed.name) == ("one:1", unnamed.digest)
    assert Path(named.layers[0], "a").read_text() == "2"
    assert prune(images).said == (f"deleted: {unnamed.digest}",)
    (only,) = images.ls()
    assert only == named
    assert {len(on_disk(tmp_path)[what]) for what in ("configs", "blobs")} == {1}
    images.tag("one:1", "two")
    prune(images, everything=True)
    assert on_disk(tmp_path) == NOTHING


def test_what_a_container_uses_is_refused_and_kept(images: Store, tmp_path: Path) -> None:
    (made,) = load(images, io.BytesIO(packed(docker(["one:1", "also:1"], [layer(a="1")]))))
    container = tmp_path / "s/projects/p/containers/c"
    container.mkdir(parents=True)
    layers = tuple(f"sha256:{os.path.basename(folder)}" for folder in made.layers)
    usage.write(str(container), usage.Uses("one:1", made.digest, layers))
    with pytest.raises(ImageInUse, match="project p"):
        remove(images, "one:1")
    remove(images, "also:1")
    load(images, io.BytesIO(packed(docker(["one:1"], [layer(a="2")]))))
    assert os.path.isdir(made.layers[0]), "the name moved; the container did not"
    assert images.resolve(made.digest).digest == made.digest
    (container / usage.FILE).unlink()
    remove(images, "one:1")
    prune(images)
    assert on_disk(tmp_path) == NOTHING


def test_what_a_killed_load_left_is_swept_by_the_next(images: Store, tmp_path: Path) -> None:
    work = images.working()
    folder = work.__enter__()
    os.mkdir(f"{folder}/layer-x")
    (tmp_path / "s/images/.new-names").write_text("half")
    load(images, io.BytesIO(packed(docker(["one:1"], [layer(a="1")]))))
    assert os.path.isdir(folder), "whoever is alive keeps his folder"
    pid = os.fork()
    if pid == 0:  # its lock goes with it, its folder does not
        with images.working() as mine:
            os.mkdir(f"{mine}/layer-y")
            os._exit(0)
    os.waitpid(pid, 0)
    assert len(os.listdir(tmp_path / "s/images/work")) == 4
    remove(images, "one:1")
    assert len(os.listdir(tmp_path / "s/images/work")) == 2
    work.__exit__(None, None, None)
    assert on_disk(tmp_path) == NOTHING
    assert not (tmp_path / "s/images/.new-names").exists()


def test_two_loads_of_the_same_layers_at_once_and_removals_between_are_safe(images: Store, tmp_path: Path) -> None:
    shared = layer(**{f"f{n}": "x" * 1000 for n in range(50)})
    archives = [packed(docker([f"i{n}:1"], [shared, layer(a=str(n))])) for n in range(4)]
    failures: list[BaseException] = []

    def work(number: int) -> None:
        try:
            mine = Store(Places(str(tmp_path / "s"), str(tmp_path / "r")))
            for _ in range(4):
                (made,) = load(mine, io.BytesIO(archives[number]))
                with mine.held():
                    assert all(len(os.listdir(folder)) in (1, 50) for folder in made.layers)
                remove(mine, f"i{number}:1")
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert on_disk(tmp_path) == NOTHING


def test_a_failure_at_the_last_step_leaves_the_store_as_it_was(
    images: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    load(images, io.BytesIO(packed(docker(["one:1"], [layer(a="1")]))))
    before, real = on_disk(tmp_path), durable.write

    def fails(path: str, data: bytes, **options: Any) -> None:
        if path.endswith("names.json"):
            raise OSError(28, os.strerror(28))
        real(path, data, **options)

    monkeypatch.setattr(durable, "write", fails)
    with pytest.raises(ImageError, match="disk is full"):
        load(images, io.BytesIO(packed(docker(["one:1"], [layer(a="2")]))))
    monkeypatch.undo()
    assert Path(images.resolve("one:1").layers[0], "a").read_text() == "1"
    remove(images, "one:1")
    assert on_disk(tmp_path) == NOTHING, f"was {before}"


def test_changes_say_what_a_dockerfile_would(images: Store, tmp_path: Path) -> None:
    (tmp_path / "r.tar").write_bytes(layer(a="1"))
    made = import_rootfs(images,
        "i",
        str(tmp_path / "r.tar"),
        ["CMD echo hi", "ENTRYPOINT [\"/bin/sh\"]", "ENV A=1 B='2 3'", "EXPOSE 80 53/udp", "VOLUME /a /b", "LABEL x=y",
         "USER me", "WORKDIR /w", "STOPSIGNAL INT", "HEALTHCHECK --interval=2s --retries=4 CMD curl -f x"],
    )  # fmt: skip
    assert made.cmd == ("/bin/sh", "-c", "echo hi")
    assert (made.entrypoint, made.env, made.user, made.workdir) == (("/bin/sh",), ("A=1", "B=2 3"), "me", "/w")
    assert (made.exposed, made.volumes, made.stop_signal) == (("80/tcp", "53/udp"), ("/a", "/b"), "INT")
    assert made.healthcheck == {"Test": ["CMD-SHELL", "curl -f x"], "Interval": 2_000_000_000, "Retries": 4}
    for bad in ("RUN x", "CMD [", "ENV", "HEALTHCHECK x"):
        with pytest.raises(ImageError):
            import_rootfs(images, "j", str(tmp_path / "r.tar"), [bad])
