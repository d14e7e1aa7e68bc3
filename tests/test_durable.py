"""Files are written whole or not at all."""

from __future__ import annotations

import errno
import os
import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from pycompose import durable


@contextmanager
def no_room() -> Iterator[None]:
    """Nothing can be written under a new name, as on a full disk."""
    with pytest.MonkeyPatch.context() as patch:
        real = os.open

        def refuse(path: str, flags: int, mode: int = 0o777) -> int:
            if durable.TEMPORARY in str(path):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return real(path, flags, mode)

        patch.setattr(os, "open", refuse)
        yield


def test_a_file_is_replaced_and_nothing_is_left_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "a"
    for data in (b"one", b"", b"three"):
        durable.write(str(path), data)
        assert path.read_bytes() == data
    assert os.listdir(tmp_path) == ["a"]
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_body_that_fails_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"old")

    def fail() -> None:
        with durable.replacing(str(path)) as file:
            file.write(b"half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["a"]


def test_it_is_flushed_before_it_is_renamed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []
    for name in ("fsync", "rename"):
        real = getattr(os, name)

        def call(*arguments: Any, name: str = name, real: Callable[..., Any] = real) -> Any:
            done.append(name)
            return real(*arguments)

        monkeypatch.setattr(os, name, call)
    durable.write(str(tmp_path / "a"), b"x")
    durable.write(str(tmp_path / "a"), b"x", flush=False)
    assert done == ["fsync", "rename", "rename"]


def test_a_path_without_a_folder_is_in_the_current_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    durable.write("a", b"x")
    assert (tmp_path / "a").read_bytes() == b"x"


def test_a_link_at_the_place_is_replaced_not_followed(tmp_path: Path) -> None:
    (tmp_path / "target").write_bytes(b"other")
    (tmp_path / "a").symlink_to("target")
    durable.write(str(tmp_path / "a"), b"x")
    assert (tmp_path / "target").read_bytes() == b"other"
    assert not (tmp_path / "a").is_symlink()


def test_on_a_full_disk_a_record_that_does_not_grow_is_written_over(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b'{"long": 1}')
    with no_room():
        durable.write(str(path), b"{}", padded=True)
        assert path.read_bytes() == b"{}         "
        for data, padded in ((b'{"longer": 1}', True), (b"{}", False)):
            with pytest.raises(OSError, match="No space"):
                durable.write(str(path), data, padded=padded)
    assert path.read_bytes() == b"{}         "


def test_what_was_reserved_is_written_where_nothing_may_grow(tmp_path: Path) -> None:
    path = tmp_path / "a"
    durable.reserve(str(path), 64)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (64, limits[1]))
    try:
        durable.write_reserved(str(path), b"{}", 64)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert path.read_bytes() == b"{}".ljust(64)
    assert os.listdir(tmp_path) == ["a"]


def test_a_file_is_flushed_after_it_was_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, flushed = tmp_path / "record", []
    monkeypatch.setattr(os, "fsync", lambda descriptor: flushed.append(os.readlink(f"/proc/self/fd/{descriptor}")))
    durable.write(str(path), b"x", flush=False)
    assert flushed == []
    durable.flush(str(path))
    assert flushed == [str(path)]
    with pytest.raises(FileNotFoundError):
        durable.flush(str(tmp_path / "none"))
