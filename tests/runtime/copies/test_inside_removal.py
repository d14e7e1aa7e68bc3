"""Removal inside a container: trees that a container has made."""

from __future__ import annotations

import os
from pathlib import Path

from pycompose.runtime.copies.inside_removal import remove_inside
from pycompose.runtime.files.remove import empty

DEEP = 3000  # deeper than Python's stack, and than a process may have files open


def test_no_tree_is_too_deep(tmp_path: Path) -> None:
    top = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.mkdir("made", dir_fd=top)
        below = os.open("made", os.O_RDONLY, dir_fd=top)
        for _ in range(DEEP):
            os.mkdir("d", dir_fd=below)
            os.close(os.open("f", os.O_CREAT | os.O_WRONLY, 0o600, dir_fd=below))
            inner = os.open("d", os.O_RDONLY, dir_fd=below)
            os.close(below)
            below = inner
        os.close(below)
        os.symlink("/etc", tmp_path / "made" / "link")
        remove_inside(top, "made")
        assert os.listdir(tmp_path) == []
        assert os.path.isdir("/etc")
    finally:
        os.close(top)
        empty(str(tmp_path))  # pytest goes as deep as the tree
