"""Containers from images by name: what the image says reaches them, and nothing of the image's files is harmed."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from pathlib import Path

import pytest

from . import image_tools
from .conftest import Machine

pytestmark = pytest.mark.usefixtures("root")
CHANGES = (
    'ENTRYPOINT ["/bin/sh", "-c"]',
    'CMD ["echo $GREETING; id -u; pwd; echo $HOME; exec sleep 100"]',
    "ENV GREETING=hello",
    "USER app",
    "WORKDIR /tmp",
    "VOLUME /data",
    "STOPSIGNAL SIGKILL",
    "HEALTHCHECK --interval=1s CMD /bin/true",
)


def compose(folder: Path, text: str) -> tuple[str, ...]:
    (folder / "compose.yaml").write_text(text)
    return ("-f", str(folder / "compose.yaml"), "-p", "imaged")


def import_image(host: Machine, folder: Path, name: str, data: bytes, *changes: str) -> None:
    (folder / "rootfs.tar").write_bytes(data)
    options = [word for change in changes for word in ("--change", change)]
    host.pycompose("image", "import", *options, name, str(folder / "rootfs.tar"))


def saved(images: dict[str, tuple[bytes, ...]], config: dict[str, object]) -> bytes:
    """A `docker save` archive."""
    out = io.BytesIO()
    manifest = []
    with tarfile.open(fileobj=out, mode="w") as archive:

        def add(name: str, data: bytes) -> str:
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
            return name

        for name, layers in images.items():
            diff_ids = ["sha256:" + hashlib.sha256(layer).hexdigest() for layer in layers]
            text = json.dumps({"config": config, "rootfs": {"type": "layers", "diff_ids": diff_ids}}).encode()
            paths = [
                add(f"{d.removeprefix('sha256:')}/layer.tar", one) for d, one in zip(diff_ids, layers, strict=True)
            ]
            config_path = add(hashlib.sha256(text).hexdigest() + ".json", text)
            manifest.append({"Config": config_path, "RepoTags": [name], "Layers": paths})
        add("manifest.json", json.dumps(manifest).encode())
    return out.getvalue()


def test_what_an_image_says_reaches_its_containers(host: Machine, tmp_path: Path) -> None:
    import_image(host, tmp_path, "greeter:1", image_tools.tar(), *CHANGES)
    project = compose(tmp_path, "services: {web: {image: 'greeter:1', network_mode: none}}")
    try:
        host.pycompose(*project, "up", "-d", "--wait")
        lines = host.pycompose(*project, "logs").stdout.splitlines()
        assert [line.rpartition("| ")[2] for line in lines] == ["hello", "1234", "/tmp", "/home/app"]
        assert host.pycompose(*project, "exec", "-T", "web", "ls", "-d", "/data").stdout == "/data\n"
        (name,) = host.pycompose(*project, "volumes", "-q").stdout.split()
        assert len(name) == 64
        used = host.pycompose("image", "rm", "greeter:1", check=False)
        assert used.returncode == 1
        assert "imaged-web-1" in used.stderr
    finally:
        host.pycompose(*project, "down", "-v")
    assert host.pycompose("volume", "ls", "-q").stdout == ""
    assert "deleted" in host.pycompose("image", "rm", "greeter:1").stdout
    left = host.run("sh", "-c", f"ls {host.state}/images/layers {host.state}/images/configs {host.state}/images/work")
    assert [line for line in left.stdout.splitlines() if line and not line.endswith(":")] == []


def test_all_missing_images_are_told_before_anything_is_made(host: Machine, tmp_path: Path) -> None:
    never = "image: 'redis:7', pull_policy: never"
    project = compose(tmp_path, f"services: {{a: {{{never}}}, b: {{image: host, command: 'true'}}, c: {{{never}}}}}")
    up = host.pycompose(*project, "up", "-d", check=False)
    assert up.returncode == 1
    assert 'service "a": image "redis:7" is not on this machine' in up.stderr
    assert 'service "c": image "redis:7" is not on this machine' in up.stderr
    assert "hint: pycompose pull" in up.stderr
    assert host.run("ls", host.run_folder).stdout == ""


def test_images_that_cannot_be_fetched_are_told_before_anything_is_made(host: Machine, tmp_path: Path) -> None:
    project = compose(
        tmp_path, "services: {a: {image: 'redis:7'}, b: {image: host, command: 'true'}, c: {image: gone}}"
    )
    up = host.pycompose(*project, "up", "-d", check=False)
    assert up.returncode == 1
    assert 'service "a": image "redis:7" cannot be fetched: docker.io: cannot be reached' in up.stderr
    assert 'service "c": image "gone" cannot be fetched: docker.io: cannot be reached' in up.stderr
    assert "hint: is its name right, is it up, and is there a network?" in up.stderr
    assert host.run("ls", host.run_folder).stdout == ""


def test_new_content_under_an_old_name_makes_containers_anew(host: Machine, tmp_path: Path) -> None:
    project = compose(tmp_path, "services: {web: {image: app, network_mode: none, command: [sleep, '100']}}")
    try:
        for version in ("one", "two", "two"):
            layer = image_tools.tar({"version": version.encode()}, base=False)
            (tmp_path / "saved.tar").write_bytes(saved({"app:latest": (image_tools.tar(), layer)}, {}))
            host.pycompose("image", "load", "-i", str(tmp_path / "saved.tar"))
            up = host.pycompose(*project, "up", "-d", "-t", "0")
            assert host.pycompose(*project, "exec", "-T", "web", "cat", "/version").stdout == version
        assert "create" not in up.stderr
        assert len(host.pycompose("image", "ls", "-q").stdout.split()) == 2, "the old one stays, without a name"
    finally:
        host.pycompose(*project, "down", "-t", "0")
