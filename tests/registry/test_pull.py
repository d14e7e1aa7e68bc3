"""Pulling from a real registry: what other tools pushed is here afterwards, byte for byte."""

from __future__ import annotations

import base64
import json
import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
from pycompose.runtime.images import ImageError, Store
from pycompose.runtime.images.gc import remove
from pycompose.runtime.images.manifest import platform
from pycompose.runtime.images.registry.progress import Transfer
from pycompose.runtime.images.registry.pull import pull
from pycompose.runtime.images.streams import zstd
from pycompose.runtime.images.verify import check

from . import base_image
from .conftest import Real


def login(tmp_path: Path, registry: str, user: str) -> None:
    auths = {registry: {"auth": base64.b64encode(user.encode()).decode()}}
    (tmp_path / "docker/config.json").write_text(json.dumps({"auths": auths}))


async def test_an_image_that_skopeo_pushed_is_here_byte_for_byte(registry: Real, store: Store, layout: Path) -> None:
    registry.put(layout, "team/base:1")
    events: list[Transfer] = []
    image = await pull(store, f"{registry.name}/team/base:1", report=events.append)
    assert (image.cmd, image.env) == (("/bin/sh",), ("PATH=/bin",))
    assert os.readlink(f"{image.layers[1]}/bin/sh") == "busybox"
    manifest = store.manifest(image.name)
    assert base_image.digest(manifest) == registry.digest("team/base:1")
    assert base_image.blob_of(layout, base_image.digest(manifest)) == manifest
    assert store.resolve(f"{registry.name}/team/base@{registry.digest('team/base:1')}").digest == image.digest
    assert check(store) == []
    by_part: dict[str, list[Transfer]] = {}
    for event in events:
        by_part.setdefault(event.part, []).append(event)
    assert [by_part[""][0].state, by_part[""][-1].state] == ["started", "done"]
    for part, told in by_part.items():
        if part:
            assert [told[0].state, told[-1].state] == ["waiting", "done"]
            assert told[-1].done == told[-1].total > 0
    again: list[Transfer] = []
    assert (await pull(store, f"{registry.name}/team/base:1", report=again.append)).digest == image.digest
    assert {event.state for event in again if event.part and event.state != "waiting"} == {"here"}


@pytest.mark.parametrize("kind", ["+gzip", "+zstd", ""])
async def test_layers_may_be_gzip_zstd_or_plain(registry: Real, store: Store, tmp_path: Path, kind: str) -> None:
    layout, data = base_image.Layout(), base_image.tar({"a": os.urandom(3 << 20), "b": b"x" * 1000})
    ways: dict[str, Callable[[bytes], bytes]] = {"+gzip": base_image.zipped, "+zstd": zstd.compress, "": bytes}
    compress = ways[kind]
    layout.name(layout.image([data], compress, kind), "latest")
    layout.write(str(tmp_path / "l"))
    registry.put(tmp_path / "l", "z", "--preserve-digests")
    image = await pull(store, f"{registry.name}/z")
    assert stat.S_ISREG(os.stat(f"{image.layers[0]}/a").st_mode)
    assert check(store) == []


async def test_the_platform_is_chosen_from_an_index(registry: Real, store: Store, tmp_path: Path) -> None:
    layout = base_image.Layout()
    manifests = []
    for name, architecture, variant in (
        ("x", "amd64", ""),
        ("a", "arm64", "v8"),
        ("v6", "arm", "v6"),
        ("v7", "arm", "v7"),
    ):
        told = layout.image([base_image.tar({name: b"1"})], architecture=architecture)
        place = {"os": "linux", "architecture": architecture, **({"variant": variant} if variant else {})}
        manifests.append({**told, "platform": place})
    index = {"schemaVersion": 2, "mediaType": f"{base_image.OCI}.index.v1+json", "manifests": manifests}
    layout.name(layout.blob(json.dumps(index).encode(), f"{base_image.OCI}.index.v1+json"), "latest")
    layout.write(str(tmp_path / "l"))
    registry.put(tmp_path / "l", "many")
    for wanted, found in (("linux/amd64", "x"), ("arm64", "a"), ("linux/arm/v7", "v7"), ("linux/arm/v6", "v6")):
        image = await pull(store, f"{registry.name}/many", platform=platform(wanted))
        assert os.listdir(image.layers[0]) == [found]
    by_digest = await pull(store, f"{registry.name}/many@{registry.digest('many')}", platform=platform("arm64"))
    assert os.listdir(by_digest.layers[0]) == ["a"]
    with pytest.raises(ImageError, match="no image for linux/s390x") as caught:
        await pull(store, f"{registry.name}/many", platform=platform("linux/s390x"))
    assert "linux/arm/v6" in caught.value.hint


async def test_passwords_and_certificates_are_used(
    registries: Callable[..., Real],
    store: Store,
    layout: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    registry = registries(tls=True, user="me:secret: word")
    registry.put(layout, "base", "--dest-creds", registry.user)
    name = f"{registry.name}/base"
    with pytest.raises(ImageError, match="access denied") as caught:
        await pull(store, name)
    assert f"{tmp_path}/docker/config.json" in caught.value.hint
    login(tmp_path, registry.name, "me:wrong")
    with pytest.raises(ImageError, match="access denied"):
        await pull(store, name)
    login(tmp_path, registry.name, registry.user)
    await pull(store, name)
    assert check(store) == []


async def test_a_helper_gives_the_password(
    registries: Callable[..., Real], store: Store, layout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry = registries(user="me:secret")
    registry.put(layout, "base", "--dest-creds", registry.user)
    helper = tmp_path / "bin/docker-credential-tested"
    helper.parent.mkdir()
    told = '{"ServerURL": "x", "Username": "me", "Secret": "secret"}'
    helper.write_text(f"#!/bin/sh\nread server\necho '{told}'\n")
    helper.chmod(0o755)
    monkeypatch.setenv("PATH", f"{helper.parent}:{os.environ['PATH']}")
    for config in ({"credHelpers": {registry.name: "tested"}}, {"credsStore": "tested"}):
        (tmp_path / "docker/config.json").write_text(json.dumps(config))
        await pull(store, f"{registry.name}/base")
        remove(store, f"{registry.name}/base")
    (tmp_path / "docker/config.json").write_text(json.dumps({"credsStore": "../evil"}))
    with pytest.raises(ImageError, match="not the name of a credential helper"):
        await pull(store, f"{registry.name}/base")


async def test_a_tag_and_a_digest_must_be_the_same_image(registry: Real, store: Store, layout: Path) -> None:
    registry.put(layout, "base:1")
    digest = registry.digest("base:1")
    image = await pull(store, f"{registry.name}/base:1@{digest}")
    assert store.resolve(f"{registry.name}/base:1@{digest}").digest == image.digest
    with pytest.raises(ImageError, match=", not sha256"):
        await pull(store, f"{registry.name}/base:1@sha256:{'1' * 64}")


async def test_what_is_not_there_is_told(registry: Real, store: Store, layout: Path) -> None:
    registry.put(layout, "base:1")
    with pytest.raises(ImageError, match=r"manifest unknown \(404\)"):
        await pull(store, f"{registry.name}/base:2")
    registry_down = "127.0.0.1:1"
    with pytest.raises(ImageError, match=r"127\.0\.0\.1:1: cannot be reached"):
        await pull(store, f"{registry_down}/base")


async def test_a_mirror_is_asked_first_and_the_registry_when_it_fails(
    registries: Callable[..., Real], store: Store, layout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mirror, origin = registries(), registries()
    mirror.put(layout, "only/mirrored:1")
    origin.put(layout, "only/origin:1")
    (tmp_path / "registries.toml").write_text(f'["{origin.name}"]\nmirrors = ["{mirror.name}", "127.0.0.1:1"]\n')
    monkeypatch.setenv("PYCOMPOSE_REGISTRIES", str(tmp_path / "registries.toml"))
    await pull(store, f"{origin.name}/only/mirrored:1")
    await pull(store, f"{origin.name}/only/origin:1")
    assert len(store.ls()) == 2
    with pytest.raises(ImageError, match=origin.name):
        await pull(store, f"{origin.name}/nowhere:1")
