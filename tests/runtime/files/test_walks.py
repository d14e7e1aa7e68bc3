"""Walks through trees that others write to: no link is followed, no depth is too much, nothing but files is opened."""

from __future__ import annotations

import errno
import os
import socket
import stat
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import pytest
from pycompose.runtime.files import descent, remove
from pycompose.runtime.files.descent import FOLDER, Descent
from pycompose.runtime.files.remove import discard, empty
from pycompose.runtime.files.union import merge


def deep(top: Path, levels: int, name: str = "d" * 20) -> None:
    """Folders in one another, deeper than a path may be long, with a file in the last one."""
    here = os.open(top, FOLDER)
    for _ in range(levels):
        os.mkdir(name, dir_fd=here)
        below = os.open(name, FOLDER, dir_fd=here)
        os.close(here)
        here = below
    os.close(os.open("file", os.O_CREAT | os.O_WRONLY, dir_fd=here))
    os.close(here)


@contextmanager
def meanwhile(act: Callable[[], None]) -> Iterator[None]:
    """Somebody does it again and again."""
    over = threading.Event()

    def go_on() -> None:
        while not over.is_set():
            with suppress(OSError):
                act()

    thread = threading.Thread(target=go_on)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


@pytest.fixture(autouse=True)
def _nothing_is_left(tmp_path: Path) -> Iterator[None]:
    """pytest's own removal goes as deep as Python's stack."""
    yield
    empty(str(tmp_path))


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[int]:
    folder = os.open(tmp_path, FOLDER)
    yield folder
    os.close(folder)


# Descent


def test_one_goes_down_and_up_with_one_descriptor_however_deep(tmp_path: Path, opened: int) -> None:
    deep(tmp_path, 1200)
    with closing(Descent(opened)) as place:
        before = len(os.listdir("/proc/self/fd"))
        for _ in range(1200):
            place.enter("d" * 20)
        assert os.listdir(place.folder) == ["file"]
        assert len(os.listdir("/proc/self/fd")) == before
        while place.depth:
            place.leave()
        assert os.path.samestat(os.fstat(place.folder), os.fstat(opened))


def test_no_link_is_gone_down(tmp_path: Path, opened: int) -> None:
    (tmp_path / "link").symlink_to("/")
    with closing(Descent(opened)) as place, pytest.raises(OSError, match=r"directory|links"):
        place.enter("link")


def test_a_folder_that_is_moved_out_leads_up_to_where_one_came_from(tmp_path: Path, opened: int) -> None:
    (tmp_path / "top/a/b/c").mkdir(parents=True)
    (tmp_path / "elsewhere").mkdir()
    top = os.open(tmp_path / "top", FOLDER)
    with closing(Descent(top)) as place:
        for name in "abc":
            place.enter(name)
        (tmp_path / "top/a/b").rename(tmp_path / "elsewhere/b")
        place.leave()  # to b, which is above c wherever it lies
        assert place.depth == 2
        place.leave()
        assert place.depth == 1
        assert os.path.samestat(os.fstat(place.folder), (tmp_path / "top/a").stat())
        place.leave()
        assert os.path.samestat(os.fstat(place.folder), os.fstat(top))
    os.close(top)


def test_where_the_way_back_is_gone_one_stands_on_the_lowest_folder_that_is_left(tmp_path: Path, opened: int) -> None:
    (tmp_path / "top/a/b/c").mkdir(parents=True)
    top = os.open(tmp_path / "top", FOLDER)
    with closing(Descent(top)) as place:
        for name in "abc":
            place.enter(name)
        (tmp_path / "top/a/b/c").rename(tmp_path / "c")
        (tmp_path / "top/a").rename(tmp_path / "a")
        (tmp_path / "top/a").mkdir()
        place.leave()
        assert place.depth == 0
        assert os.path.samestat(os.fstat(place.folder), os.fstat(top))
    os.close(top)


# Opening


@pytest.mark.parametrize("kind", ["fifo", "socket", "folder", "link"])
def test_nothing_but_a_regular_file_is_opened(tmp_path: Path, opened: int, kind: str) -> None:
    path = tmp_path / "it"
    with closing(socket.socket(socket.AF_UNIX)) as listener:
        match kind:
            case "fifo":
                os.mkfifo(path)
            case "socket":
                listener.bind(str(path))
            case "folder":
                path.mkdir()
            case "link":
                path.symlink_to("/etc/passwd")
        with pytest.raises(OSError, match="no regular file") as caught:
            descent.open_regular(opened, "it")
    assert caught.value.errno == errno.EINVAL


def test_a_file_is_read_once_and_no_further_than_its_size(tmp_path: Path, opened: int) -> None:
    (tmp_path / "it").write_text("content")

    def read(path: str) -> bytes:
        entry = os.open(path, os.O_PATH, dir_fd=opened)
        try:
            return descent.read_regular(entry, 16)
        finally:
            os.close(entry)

    assert read("it") == b"content"
    assert read("/proc/self/status") == b""  # procfs: regular, and no size
    os.truncate(tmp_path / "it", 17)
    with pytest.raises(OSError, match="larger than 16"):
        read("it")


def test_the_mode_of_a_link_is_nobodys(tmp_path: Path, opened: int) -> None:
    (tmp_path / "aim").write_text("")
    (tmp_path / "aim").chmod(0o640)
    (tmp_path / "link").symlink_to("aim")
    with pytest.raises(OSError, match="symbolic"):
        descent.set_mode(opened, "link", 0o777)
    assert stat.S_IMODE((tmp_path / "aim").stat().st_mode) == 0o640
    os.mkfifo(tmp_path / "fifo")
    descent.set_mode(opened, "fifo", 0o751)
    assert stat.S_IMODE((tmp_path / "fifo").stat().st_mode) == 0o751


# Removal


@pytest.mark.parametrize("levels", [1, 700, 1500])
def test_a_tree_of_any_depth_is_removed(tmp_path: Path, levels: int) -> None:
    (tmp_path / "tree").mkdir()
    deep(tmp_path / "tree", levels)
    discard(str(tmp_path / "tree"))
    assert list(tmp_path.iterdir()) == []


def test_folders_that_may_not_be_entered_are_removed(tmp_path: Path) -> None:
    (tmp_path / "tree/a/b").mkdir(parents=True)
    (tmp_path / "tree/a/b").chmod(0)
    (tmp_path / "tree/a").chmod(0)
    discard(str(tmp_path / "tree"))
    assert list(tmp_path.iterdir()) == []


def test_a_link_that_takes_a_folders_place_is_removed_and_what_it_leads_to_stays(tmp_path: Path) -> None:
    """Somebody swaps a folder for a link to one of the host's, over and over, while it is removed."""
    victim = tmp_path / "victim"
    victim.mkdir()
    victim.chmod(0o751)
    (victim / "file").write_text("mine")
    for _ in range(10):
        tree = tmp_path / "tree"
        for number in range(20):
            (tree / f"{number}/inner").mkdir(parents=True)
        inside = os.open(tree, FOLDER)

        def swap(inside: int = inside) -> None:
            for number in range(20):
                with suppress(OSError):
                    os.rename(str(number), "aside", src_dir_fd=inside, dst_dir_fd=inside)
                    os.symlink(victim, str(number), dir_fd=inside)
                    os.unlink(str(number), dir_fd=inside)
                    os.rename("aside", str(number), src_dir_fd=inside, dst_dir_fd=inside)

        with meanwhile(swap):
            discard(str(tree))
        os.close(inside)
        assert not tree.exists()
        assert stat.S_IMODE(victim.stat().st_mode) == 0o751
        assert os.listdir(victim) == ["file"]


def test_what_somebody_puts_into_a_folder_while_it_is_removed_goes_too(tmp_path: Path) -> None:
    (tmp_path / "tree/a").mkdir(parents=True)
    inside = os.open(tmp_path / "tree/a", FOLDER)
    left = iter(range(200))

    def write() -> None:
        if (number := next(left, None)) is not None:
            os.mkdir(f"{number}", dir_fd=inside)
            os.close(os.open(f"{number}/file", os.O_CREAT | os.O_WRONLY, dir_fd=inside))

    with meanwhile(write):
        discard(str(tmp_path / "tree"))
    os.close(inside)
    assert list(tmp_path.iterdir()) == []


def test_who_never_stops_writing_is_told_of_in_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remove, "ROUNDS", 3)
    flatten = remove._flatten

    def always_more(folder: int, root: int, pending: list[str], count: int) -> int:
        count = flatten(folder, root, pending, count)
        os.close(os.open("more", os.O_CREAT | os.O_WRONLY, dir_fd=folder))
        return count

    monkeypatch.setattr(remove, "_flatten", always_more)
    (tmp_path / "tree").mkdir()
    with pytest.raises(OSError, match="not empty"):
        empty(str(tmp_path))


# Union


def layer(tmp_path: Path, name: str) -> Path:
    path = tmp_path / name
    path.mkdir()
    return path


def laid(tmp_path: Path, *layers: Path) -> Path:
    target = Path(tempfile.mkdtemp(dir=tmp_path))
    merge([str(one) for one in layers], str(target))
    return target


@pytest.mark.parametrize("levels", [1200])
def test_layers_of_any_depth_are_merged(tmp_path: Path, levels: int) -> None:
    lower, upper = layer(tmp_path, "lower"), layer(tmp_path, "upper")
    deep(lower, levels)
    deep(upper, levels)
    (lower / ("d" * 20) / "low").write_text("low")
    target = os.open(laid(tmp_path, upper, lower), FOLDER)
    with closing(Descent(target)) as place:
        for level in range(levels):
            assert sorted(os.listdir(place.folder)) == (["d" * 20, "low"] if level == 1 else ["d" * 20])
            place.enter("d" * 20)
        assert os.listdir(place.folder) == ["file"]
    os.close(target)


def test_a_socket_is_left_out_and_a_fifo_is_made_anew(tmp_path: Path) -> None:
    lower = layer(tmp_path, "lower")
    os.mkfifo(lower / "fifo")
    (lower / "fifo").chmod(0o624)
    with closing(socket.socket(socket.AF_UNIX)) as listener:
        listener.bind(str(lower / "socket"))
        target = laid(tmp_path, lower)
    assert sorted(path.name for path in target.iterdir()) == ["fifo"]
    assert stat.S_IMODE((target / "fifo").stat().st_mode) == 0o624


def test_upper_layers_win_and_times_modes_and_names_are_kept(tmp_path: Path) -> None:
    lower, upper = layer(tmp_path, "lower"), layer(tmp_path, "upper")
    (lower / "folder/inner").mkdir(parents=True)
    (lower / "folder/file").write_text("old")
    (lower / "was-folder/x").mkdir(parents=True)
    (lower / "was-file").write_text("")
    (upper / "folder").mkdir()
    (upper / "folder/file").write_text("new")
    (upper / "folder").chmod(0o2750)
    (upper / "was-folder").write_text("a file")
    (upper / "was-file/x").mkdir(parents=True)
    os.link(upper / "folder/file", upper / "same")
    os.symlink("nowhere", upper / "link")
    for path in (upper / "folder", upper):
        os.utime(path, (5, 5))
    target = laid(tmp_path, upper, lower)
    assert (target / "folder/file").read_text() == "new"
    assert (target / "folder/inner").is_dir()
    assert (target / "was-folder").read_text() == "a file"
    assert (target / "was-file/x").is_dir()
    assert (target / "same").samefile(target / "folder/file")
    assert os.readlink(target / "link") == "nowhere"
    assert stat.S_IMODE((target / "folder").stat().st_mode) == 0o2750
    assert (target / "folder").stat().st_mtime == target.stat().st_mtime == 5


def test_what_a_container_swaps_while_it_is_read_is_never_followed(tmp_path: Path) -> None:
    """A folder, a file, a FIFO and a link out take turns at one name while its tree is copied."""
    secret = tmp_path / "secret"
    secret.mkdir()
    (secret / "key").write_text("the host's")
    lower = layer(tmp_path, "lower")
    (lower / "turn").mkdir()

    def swap() -> None:
        turn = lower / "turn"
        turn.rmdir()
        turn.symlink_to(secret)
        turn.unlink()
        os.mkfifo(turn)
        turn.unlink()
        turn.symlink_to(secret / "key")
        turn.unlink()
        turn.write_text("own")
        turn.unlink()
        turn.mkdir()

    with meanwhile(swap):
        for _ in range(100):
            target = laid(tmp_path, lower)
            turn = target / "turn"
            assert turn.is_symlink() or not turn.is_file() or turn.read_text() in ("", "own")
            assert turn.is_symlink() or not turn.is_dir() or list(turn.iterdir()) == []
            discard(str(target))


@pytest.mark.parametrize("kind", ["folder", "file", "link"])
def test_a_removal_needs_no_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    """Where no folder can be made to put it aside into: no inode or block is left."""
    path = tmp_path / "path"
    if kind == "folder":
        (path / "a/b").mkdir(parents=True)
        (path / "a/file").write_text("x")
    elif kind == "file":
        path.write_text("x")
    else:
        path.symlink_to(tmp_path)

    def full(**_: object) -> str:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(tempfile, "mkdtemp", full)
    discard(str(path))
    assert os.listdir(tmp_path) == []
