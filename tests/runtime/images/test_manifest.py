"""Manifests and indexes are read strictly, and the image for a platform is the one that runs there."""

from __future__ import annotations

import json
from typing import Any

import pytest
from pycompose.runtime.images.errors import ImageError
from pycompose.runtime.images.manifest import (
    DOCKER_LIST,
    DOCKER_MANIFEST,
    MAX_JSON,
    MAX_LAYERS,
    OCI_CONFIG,
    OCI_INDEX,
    OCI_LAYER,
    OCI_MANIFEST,
    Descriptor,
    Index,
    Manifest,
    Platform,
    choose,
    made,
    platform,
    read,
)


def blob(letter: str = "a", **more: Any) -> dict[str, Any]:
    return {"mediaType": OCI_LAYER, "digest": f"sha256:{letter * 64}", "size": 5, **more}


def manifest(**more: Any) -> dict[str, Any]:
    return {"schemaVersion": 2, "config": blob("c", mediaType=OCI_CONFIG), "layers": [blob()], **more}


def taken(tree: object, media_type: str = "") -> Manifest | Index:
    return read(json.dumps(tree).encode(), media_type)


def test_what_we_write_is_what_we_read_and_the_same_each_time() -> None:
    config, layer = Descriptor(OCI_CONFIG, "sha256:" + "c" * 64, 2), Descriptor(OCI_LAYER, "sha256:" + "a" * 64, 5)
    data = made(config, [layer, layer])
    assert data == made(config, [layer, layer])
    back = read(data)
    assert isinstance(back, Manifest)
    assert (back.config, back.layers, back.data) == (config, (layer, layer), data)


def test_the_kind_is_of_the_document_or_of_what_leads_to_it() -> None:
    assert taken(manifest(), DOCKER_MANIFEST).media_type == DOCKER_MANIFEST
    assert taken(manifest(mediaType=OCI_MANIFEST)).media_type == OCI_MANIFEST
    assert taken({"schemaVersion": 2, "manifests": []}).media_type == OCI_INDEX


@pytest.mark.parametrize(
    ("tree", "media_type"),
    [
        (manifest(manifests=[]), ""),
        ({"manifests": [], "config": blob()}, ""),
        (manifest(mediaType=OCI_MANIFEST), DOCKER_MANIFEST),
        (manifest(mediaType=OCI_INDEX), ""),
        (manifest(), DOCKER_LIST),
        ({"schemaVersion": 2, "manifests": []}, OCI_MANIFEST),
        (manifest(schemaVersion=1), ""),
        ({"schemaVersion": 2, "config": blob()}, ""),
        (manifest(layers={}), ""),
        (manifest(layers=[blob()] * (MAX_LAYERS + 1)), ""),
        (manifest(config=[]), ""),
        (manifest(layers=[blob(urls=["https://elsewhere"])]), ""),
        (manifest(layers=[blob(mediaType="application/vnd.docker.image.rootfs.foreign.diff.tar.gzip")]), ""),
        (manifest(layers=[blob(mediaType="application/vnd.cncf.helm.chart.content.v1.tar+gzip")]), ""),
        (manifest(layers=[blob(size=-1)]), ""),
        (manifest(layers=[blob(size=True)]), ""),
        (manifest(layers=[blob(size="5")]), ""),
        (manifest(layers=[blob(digest="sha256:../../x")]), ""),
        (manifest(layers=[blob(digest=None)]), ""),
        (manifest(layers=[blob(annotations=["x"])]), ""),
        ([], ""),
    ],
)
def test_what_is_ambiguous_or_malformed_is_refused(tree: object, media_type: str) -> None:
    with pytest.raises(ImageError):
        taken(tree, media_type)


@pytest.mark.parametrize(
    "data", [b"", b"{", b"[" * 100_000, b" " * (MAX_JSON + 1)], ids=["empty", "half", "deep", "large"]
)
def test_what_is_no_json_of_a_fair_size_is_refused(data: bytes) -> None:
    with pytest.raises(ImageError):
        read(data)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("linux/amd64", Platform("linux", "amd64")),
        ("amd64", Platform("linux", "amd64")),
        ("x86_64", Platform("linux", "amd64")),
        ("linux/aarch64", Platform("linux", "arm64")),
        ("linux/arm64/v8", Platform("linux", "arm64")),
        ("linux/arm", Platform("linux", "arm", "v7")),
        ("linux/arm/6", Platform("linux", "arm", "v6")),
        ("Windows/AMD64", Platform("windows", "amd64")),
    ],
)
def test_a_platform_is_normalised(text: str, wanted: Platform) -> None:
    assert platform(text) == wanted


@pytest.mark.parametrize("text", ["", "linux/", "/amd64", "a/b/c/d", "linux/amd 64"])
def test_what_is_no_platform_is_refused(text: str) -> None:
    with pytest.raises(ImageError, match="not a platform"):
        platform(text)


def index(*platforms: Platform | None) -> Index:
    return Index(OCI_INDEX, tuple(Descriptor(OCI_MANIFEST, str(n), 1, one) for n, one in enumerate(platforms)))


ARM5, ARM6, ARM7 = (Platform("linux", "arm", f"v{n}") for n in (5, 6, 7))
AMD, AMD3 = Platform("linux", "amd64"), Platform("linux", "amd64", "v3")


@pytest.mark.parametrize(
    ("offered", "wanted", "which"),
    [
        ((ARM7, AMD), AMD, 1),
        ((AMD, AMD), AMD, 0),
        ((Platform("linux", "x86_64"),), AMD, 0),
        ((AMD3, AMD), AMD, 1),
        ((AMD, AMD3), AMD3, 1),
        ((AMD,), AMD3, 0),
        ((ARM5, ARM6, ARM7), ARM7, 2),
        ((ARM5, ARM6), ARM7, 1),
        ((None, ARM6), ARM7, 1),
        ((None,), AMD, 0),
    ],
)
def test_the_nearest_image_that_runs_is_chosen(
    offered: tuple[Platform | None, ...], wanted: Platform, which: int
) -> None:
    assert choose(index(*offered), wanted).digest == str(which)


@pytest.mark.parametrize(("offered", "wanted"), [(ARM7, ARM6), (AMD3, AMD), (Platform("windows", "amd64"), AMD)])
def test_an_image_that_may_not_run_is_not_chosen_and_those_there_are_named(offered: Platform, wanted: Platform) -> None:
    with pytest.raises(ImageError, match=f"no image for {wanted}") as error:
        choose(index(offered), wanted)
    assert str(offered) in error.value.hint
