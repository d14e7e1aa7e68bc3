"""Which image a name means, and which names an image keeps."""

from __future__ import annotations

import pytest
from pycompose.runtime.images import image_names
from pycompose.runtime.images.errors import ImageError, ImageNotFound

ONE, TWO, THREE = ("sha256:" + letter * 64 for letter in "abc")
PIN = "sha256:" + "d" * 64
NAMES = {
    "docker.io/library/redis:7": ONE,
    f"docker.io/library/redis@{PIN}": ONE,
    "ghcr.io/x/y:latest": TWO,
    "oci:/images/z:1": TWO,
    THREE: THREE,
}


def find(name: str) -> str:
    return image_names.find(name, NAMES, lambda: [ONE, TWO, THREE])


@pytest.mark.parametrize(
    ("name", "digest"),
    [
        ("redis:7", ONE),
        ("docker.io/redis:7", ONE),
        ("ghcr.io/x/y", TWO),
        ("oci:/images/z:1", TWO),
        (ONE, ONE),
        ("a" * 12, ONE),
        ("sha256:" + "c" * 12, THREE),
        (f"redis@{PIN}", ONE),
        (f"redis:7@{PIN}", ONE),
        (f"redis@{ONE}", ONE),
    ],
)
def test_a_name_means_an_image(name: str, digest: str) -> None:
    assert find(name) == digest


@pytest.mark.parametrize(
    "name",
    ["redis", "redis:8", "e" * 12, "sha256:" + "e" * 64, f"ghcr.io/x/y@{PIN}", f"redis:8@{PIN}", "oci:/images/other"],
)
def test_a_name_of_nothing_is_told(name: str) -> None:
    with pytest.raises(ImageNotFound):
        find(name)


def test_a_short_id_of_two_images_is_read_as_a_name() -> None:
    with pytest.raises(ImageNotFound):
        image_names.find("a" * 12, {}, lambda: ["sha256:" + "a" * 63 + end for end in "01"])


def test_what_is_no_name_is_an_error() -> None:
    with pytest.raises(ImageError, match="invalid reference format"):
        find("UPPER")


def test_an_images_names_are_tags_and_pins() -> None:
    assert image_names.tags(ONE, NAMES) == ["docker.io/library/redis:7"]
    assert image_names.pins(ONE, NAMES) == [f"docker.io/library/redis@{PIN}"]
    assert image_names.tags(TWO, NAMES) == ["ghcr.io/x/y:latest", "oci:/images/z:1"]
    assert image_names.tags(THREE, NAMES) == image_names.pins(THREE, NAMES) == []


def test_an_image_that_loses_its_last_name_keeps_its_digest_for_one() -> None:
    before = {"a/b/c:1": ONE, "a/b/c:2": ONE}
    assert image_names.keeping(before, {"a/b/c:1": TWO, "a/b/c:2": ONE}) == {"a/b/c:1": TWO, "a/b/c:2": ONE}
    assert image_names.keeping(before, {"a/b/c:1": TWO, "a/b/c:2": TWO})[ONE] == ONE


def test_an_image_that_gets_a_name_has_its_digest_for_one_no_longer() -> None:
    assert image_names.keeping(NAMES, {**NAMES, "q/r:1": THREE}) == {
        **{name: digest for name, digest in NAMES.items() if name != THREE},
        "q/r:1": THREE,
    }
    assert image_names.keeping({}, {}, (ONE,)) == {ONE: ONE}
