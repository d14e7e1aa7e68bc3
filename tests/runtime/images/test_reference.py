"""Names of images are Docker's."""

from __future__ import annotations

import pytest
from pycompose.runtime.images.errors import ImageError
from pycompose.runtime.images.reference import digest_hex, familiar, normal

DIGEST = "sha256:" + "a" * 64


@pytest.mark.parametrize(
    ("name", "full"),
    [
        ("redis", "docker.io/library/redis:latest"),
        ("redis:7", "docker.io/library/redis:7"),
        ("index.docker.io/redis", "docker.io/library/redis:latest"),
        ("docker.io/redis", "docker.io/library/redis:latest"),
        ("dask/worker", "docker.io/dask/worker:latest"),
        ("localhost/app", "localhost/app:latest"),
        ("localhost:5000/app:1", "localhost:5000/app:1"),
        ("ghcr.io/dask/dask:2024.1", "ghcr.io/dask/dask:2024.1"),
        (f"redis@{DIGEST}", f"docker.io/library/redis@{DIGEST}"),
        (f"redis:7@{DIGEST}", f"docker.io/library/redis:7@{DIGEST}"),
    ],
)
def test_a_short_name_becomes_the_full_one(name: str, full: str) -> None:
    assert normal(name) == full


@pytest.mark.parametrize(
    "name", ["", "UPPER", "a//b", "../etc", "a/../b", "a:", "a:b:c", "a@sha256:zz", "a@", "-a", "a b", "a" * 600, "/a"]
)
def test_what_is_no_name_is_refused(name: str) -> None:
    with pytest.raises(ImageError):
        normal(name)


@pytest.mark.parametrize("digest", ["", "sha256:", "sha256:../../x", "md5:" + "a" * 32, "sha256:" + "A" * 64, None, 5])
def test_a_digest_is_checked_before_it_is_a_path(digest: object) -> None:
    with pytest.raises(ImageError):
        digest_hex(digest)


def test_people_see_the_short_name() -> None:
    assert familiar(normal("redis:7")) == "redis:7"
    assert familiar(normal("ghcr.io/a/b:1")) == "ghcr.io/a/b:1"
