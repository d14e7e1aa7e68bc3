"""Changed files in batches: what is watched, what costs nothing, and what comes, goes or is odd meanwhile."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from pycompose.compose.app.watched_files import WatchedFiles


@pytest.fixture
def stop() -> Iterator[threading.Event]:
    """Is set after a while, so that a test that waits for nothing fails."""
    event = threading.Event()
    timer = threading.Timer(60, event.set)
    timer.start()
    yield event
    timer.cancel()
    timer.join()


@pytest.fixture
def top(tmp_path: Path) -> Path:
    folder = tmp_path / "top"
    folder.mkdir()
    return folder


def ignored(folder: str) -> bool:
    return os.path.basename(folder) == "node_modules"


def until(files: WatchedFiles, stop: threading.Event, path: Path) -> set[str]:
    """What changed until this path had."""
    changed: set[str] = set()
    while str(path) not in changed:
        batch = files.changes(stop)
        assert batch, f"{path} was not told of, only {changed}"
        changed |= batch.paths
    return changed


def watched() -> int:
    """How many inotify watches this process has."""
    count = 0
    for entry in os.scandir("/proc/self/fdinfo"):
        try:
            with open(entry.path) as file:
                count += sum(line.startswith("inotify ") for line in file)
        except OSError:
            continue
    return count


def test_a_folder_that_is_ignored_is_not_watched_whenever_it_comes(top: Path, stop: threading.Event) -> None:
    (top / "node_modules/a/b").mkdir(parents=True)
    (top / "src").mkdir()
    before = watched()
    with WatchedFiles([str(top)], ignored) as files:
        assert watched() - before == 2
        (top / "src/node_modules/deep").mkdir(parents=True)
        (top / "src/node_modules/deep/x").write_text("x")
        (top / "node_modules/a/x").write_text("x")
        (top / "src/x").write_text("x")
        changed = until(files, stop, top / "src/x")
        assert not any("node_modules/" in path for path in changed)
        assert watched() - before == 2


def test_all_in_a_folder_that_comes_is_told_of_and_watched(top: Path, tmp_path: Path, stop: threading.Event) -> None:
    (tmp_path / "made/a/b").mkdir(parents=True)
    (tmp_path / "made/a/b/c").write_text("c")
    with WatchedFiles([str(top)], ignored) as files:
        os.rename(tmp_path / "made", top / "made")
        changed = until(files, stop, top / "made/a/b/c")
        assert {str(top / name) for name in ("made", "made/a", "made/a/b")} <= changed
        (top / "made/a/b/d").write_text("d")
        assert str(top / "made/a/b/c") not in until(files, stop, top / "made/a/b/d")
        os.rename(top / "made", tmp_path / "made")
        until(files, stop, top / "made")
        (top / "made/a").mkdir(parents=True)
        (top / "made/a/e").write_text("e")
        until(files, stop, top / "made/a/e")


def test_what_is_not_there_yet_is_watched_once_it_comes(top: Path, stop: threading.Event) -> None:
    with WatchedFiles([str(top / "a/b"), str(top / "conf")], ignored) as files:
        (top / "a/b/c").mkdir(parents=True)
        (top / "a/b/c/x").write_text("x")
        until(files, stop, top / "a/b/c/x")
        (top / ".conf.new").write_text("new")
        os.rename(top / ".conf.new", top / "conf")
        until(files, stop, top / "conf")


def test_a_link_is_told_of_and_not_followed(top: Path, tmp_path: Path, stop: threading.Event) -> None:
    (tmp_path / "outside").mkdir()
    (top / "link").symlink_to("../outside")
    before = watched()
    with WatchedFiles([str(top)], ignored) as files:
        assert watched() - before == 1
        assert files.everything() == {str(top), str(top / "link")}
        (tmp_path / "outside/x").write_text("x")
        (top / "later").symlink_to("../outside")
        assert until(files, stop, top / "later") == {str(top / "later")}


def test_a_name_that_is_no_utf_8_does_not_end_the_watch(top: Path, stop: threading.Event) -> None:
    with WatchedFiles([str(top)], ignored) as files:
        (Path(os.fsdecode(os.fsencode(top) + b"/\xff"))).write_text("odd")
        (top / "x").write_text("x")
        until(files, stop, top / "x")
        (top / "y").write_text("y")
        until(files, stop, top / "y")


def test_a_folder_in_the_place_of_another_is_told_apart(top: Path, tmp_path: Path, stop: threading.Event) -> None:
    for folder in (top / "a", tmp_path / "other"):
        (folder / "below").mkdir(parents=True)
        (folder / "below" / folder.name).write_text("")
    with WatchedFiles([str(top)], ignored) as files:
        os.rename(top / "a", tmp_path / "gone")
        os.rename(tmp_path / "other", top / "a")
        batch = files.changes(stop)
        assert str(top / "a/below/other") in batch.paths
        assert batch.replaced == {str(top / "a")}
        (top / "a/below/later").write_text("")
        assert not files.changes(stop).replaced


def test_it_ends_when_it_is_told_to(top: Path) -> None:
    told = threading.Event()
    with WatchedFiles([str(top)], ignored) as files:
        told.set()
        assert not files.changes(told)
