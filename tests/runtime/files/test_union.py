"""What an image has at a path: folders of its layers, or a file, with links resolved inside the image."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from pycompose.runtime.files import union


@pytest.fixture
def layers(tmp_path: Path) -> tuple[str, ...]:
    """Topmost first."""
    top, middle, bottom = (tmp_path / name for name in ("top", "middle", "bottom"))
    for folder in (top / "a/b", middle / "a/b", middle / "gone", bottom / "a/b", bottom / "a/only"):
        folder.mkdir(parents=True)
    (middle / "a/b/file").write_text("middle")
    (bottom / "a/b/file").write_text("bottom")
    (bottom / "link").symlink_to("/a/b")
    (bottom / "out").symlink_to("../../../..")
    return str(top), str(middle), str(bottom)


def test_folders_of_all_layers_make_up_one(layers: tuple[str, ...]) -> None:
    assert union.places(layers, "a/b") == tuple(f"{layer}/a/b" for layer in layers)
    assert union.places(layers, "/a/only/") == (f"{layers[2]}/a/only",)
    assert union.places(layers, "link") == union.places(layers, "a/b")
    assert union.places(layers, "out") == layers, "no link leads outside"


def test_a_file_is_the_topmost_layers(layers: tuple[str, ...]) -> None:
    assert union.places(layers, "a/b/file") == (f"{layers[1]}/a/b/file",)
    assert union.places(layers, "link/file") == (f"{layers[1]}/a/b/file",)
    for path in ("a/none", "none/file", "a/b/file/below"):
        assert union.places(layers, path) == ()


@pytest.mark.skipif(os.geteuid() != 0, reason="a whiteout is a device")
def test_what_a_layer_took_away_is_not_there(layers: tuple[str, ...]) -> None:
    os.mknod(f"{layers[0]}/a/only", 0o20000 | 0o600, 0)
    assert union.places(layers, "a/only") == ()
