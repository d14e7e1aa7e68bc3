"""Copies between a tree and a container's root, which is a folder here: names, links, owners, archives, attacks."""

from __future__ import annotations

import io
import os
import socket
import stat
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from pycompose.runtime.copies.container_files import CopyManner, copy_in, copy_out
from pycompose.runtime.copies.copy_errors import CopyFailed
from pycompose.runtime.copies.placement import CopySource, CopyTarget, placed
from pycompose.runtime.copies.tar_entries import parts
from pycompose.runtime.files.remove import empty

MANNER = CopyManner()


@pytest.fixture
def inside(tmp_path: Path) -> Path:
    (tmp_path / "root" / "etc").mkdir(parents=True)
    (tmp_path / "root" / "etc" / "passwd").write_text("inside")
    return tmp_path / "root"


@pytest.fixture
def root(inside: Path) -> Iterator[int]:
    descriptor = os.open(inside, os.O_PATH | os.O_DIRECTORY)
    yield descriptor
    os.close(descriptor)


@pytest.fixture
def here(tmp_path: Path) -> Path:
    """A tree of this machine: a file, a folder, a link, a hard link, times and modes."""
    top = tmp_path / "here"
    (top / "folder" / "below").mkdir(parents=True)
    (top / "file").write_text("content")
    (top / "file").chmod(0o640)
    (top / "folder" / "one").write_text("1")
    os.link(top / "folder" / "one", top / "folder" / "two")
    (top / "folder" / "below" / "deep").write_text("deep")
    (top / "folder" / "link").symlink_to("/etc/passwd")
    os.utime(top / "file", (1, 1_000_000_000))
    (top / "folder" / "below").chmod(0o705)
    os.utime(top / "folder" / "below", (1, 2_000_000_000))
    return top


def put(root: int, source: object, target: str, manner: CopyManner = MANNER) -> None:
    copy_in(root, "c", source if isinstance(source, io.BytesIO) else str(source), target, None, manner)


def tree(top: Path) -> set[str]:
    return {str(path.relative_to(top)) for path in top.rglob("*")}


FOLDER, FILE = CopySource("s", True), CopySource("s", False)


@pytest.mark.parametrize(
    ("source", "target", "where"),
    [
        (FILE, CopyTarget("/d", True, True), ("/d", "s")),
        (FOLDER, CopyTarget("/d", True, True), ("/d", "s")),
        (CopySource("s", True, contents=True), CopyTarget("/d", True, True), ("/d", "")),
        (FILE, CopyTarget("/d", True, False), ("/", "d")),
        (FILE, CopyTarget("/a/new", False, False), ("/a", "new")),
        (FOLDER, CopyTarget("/a/new/", False, False), ("/a", "new")),
        (CopySource("s", True, contents=True), CopyTarget("/a/new", False, False), ("/a", "new")),
    ],
)
def test_docker_s_table_of_places(source: CopySource, target: CopyTarget, where: tuple[str, str]) -> None:
    assert placed(source, target) == where


@pytest.mark.parametrize(
    ("source", "target", "words"),
    [
        (FOLDER, CopyTarget("/d", True, False), "cannot copy directory"),
        (FILE, CopyTarget("/d/", True, False), "not a directory"),
        (FILE, CopyTarget("/new/", False, False), "no such directory"),
    ],
)
def test_docker_s_refusals(source: CopySource, target: CopyTarget, words: str) -> None:
    with pytest.raises(CopyFailed, match=words):
        placed(source, target)


def test_a_tree_arrives_whole(root: int, inside: Path, here: Path) -> None:
    put(root, here / "folder", "/etc")
    assert tree(inside / "etc" / "folder") == {"one", "two", "link", "below", "below/deep"}
    arrived = inside / "etc" / "folder"
    assert (arrived / "one").samefile(arrived / "two")
    assert (arrived / "link").readlink() == Path("/etc/passwd")
    assert stat.S_IMODE((arrived / "below").stat().st_mode) == 0o705
    assert (arrived / "below").stat().st_mtime == 2_000_000_000
    put(root, here / "file", "/etc/renamed")
    renamed = (inside / "etc" / "renamed").stat()
    assert (stat.S_IMODE(renamed.st_mode), renamed.st_mtime) == (0o640, 1_000_000_000)
    put(root, f"{here}/folder/.", "etc/folder")  # over what is there
    put(root, f"{here}/folder/.", "/fresh")
    assert tree(inside / "fresh") == tree(here / "folder")


def test_and_comes_back(root: int, inside: Path, here: Path, tmp_path: Path) -> None:
    put(root, here / "folder", "/")
    copy_out(root, "c", "/folder", f"{tmp_path}/back", MANNER)
    assert tree(tmp_path / "back") == tree(here / "folder")
    copy_out(root, "c", "folder/.", f"{tmp_path}/back", MANNER)
    assert tree(tmp_path / "back") == tree(here / "folder")
    copy_out(root, "c", "/etc/passwd", str(tmp_path), MANNER)
    assert (tmp_path / "passwd").read_text() == "inside"
    copy_out(root, "c", "/folder/link", f"{tmp_path}/link", MANNER)
    assert (tmp_path / "link").is_symlink()
    copy_out(root, "c", "/folder/link", f"{tmp_path}/followed", CopyManner(follow=True))
    assert (tmp_path / "followed").read_text() == "inside"


@pytest.mark.parametrize(
    ("source", "target", "words"),
    [
        ("/nope", "x", "Could not find the file /nope in container c"),
        ("/etc/passwd/", "x", "[Nn]ot a directory"),
        ("/etc/passwd", "/no/such/folder", 'directory "/no/such" does not exist'),
        ("/etc/passwd", "/dev/null", "must be a directory or a regular file"),
    ],
)
def test_what_cannot_come_out_is_said_in_docker_s_words(root: int, source: str, target: str, words: str) -> None:
    with pytest.raises(CopyFailed, match=words):
        copy_out(root, "c", source, target, MANNER)


def test_what_cannot_go_in_is_said_and_leaves_nothing(root: int, inside: Path, here: Path) -> None:
    before = tree(inside)
    for source, target, words in (
        (here / "nope", "/etc", "no such file or directory"),
        (here / "file", "/no/where", "Could not find the file /no in container c"),
        (here / "folder", "/etc/passwd", "cannot copy directory"),
        (here / "file", "/new/", "no such directory"),
        (io.BytesIO(b"not a tar at all" * 100), "/etc", "archive cannot be read"),
        (io.BytesIO(b""), "/etc/passwd", "must be a directory"),
    ):
        with pytest.raises(CopyFailed, match=words):
            put(root, source, target)
    (inside / "etc" / "file").mkdir()
    with pytest.raises(CopyFailed, match="cannot overwrite directory"):
        put(root, here / "file", "/etc")
    (inside / "etc" / "file").rmdir()
    assert tree(inside) == before


def test_links_at_the_end_of_a_target_are_followed_inside_the_root_alone(
    root: int, inside: Path, here: Path, tmp_path: Path
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (inside / "away").symlink_to(outside)
    with pytest.raises(CopyFailed, match="Could not find the file"):
        put(root, here / "file", "/away")  # no such folder in the root
    (inside / "up").symlink_to("../../../../etc")
    put(root, here / "file", "/up")
    put(root, here / "file", "/up/../../../up/again")
    assert (inside / "etc" / "file").read_text() == (inside / "etc" / "again").read_text() == "content"
    (inside / "round").symlink_to("round")
    with pytest.raises(CopyFailed, match="links do not end"):
        put(root, here / "file", "/round/x")
    assert list(outside.iterdir()) == []


def archive(*members: tuple[str, str, str]) -> io.BytesIO:
    """A tar of (name, type, content or target of a link)."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, kind, text in members:
            member = tarfile.TarInfo(name)
            member.type = kind.encode()
            member.uid, member.gid = os.getuid(), os.getgid()
            if kind == "0":
                member.size = len(text)
            else:
                member.linkname = text
            tar.addfile(member, io.BytesIO(text.encode()) if kind == "0" else None)
    return io.BytesIO(out.getvalue())


def names_in(out: io.BytesIO) -> list[str]:
    with tarfile.open(fileobj=io.BytesIO(out.getvalue())) as tar:
        return tar.getnames()


@pytest.mark.parametrize("name", ["../x", "a/../../x", "..", "/../x"])
def test_a_name_that_climbs_out_of_an_archive_is_refused(root: int, inside: Path, name: str) -> None:
    with pytest.raises(CopyFailed, match="outside of the place"):
        put(root, archive((name, "0", "evil")), "/etc")
    with pytest.raises(CopyFailed, match="outside of the place"):
        put(root, archive(("ok", "0", "x"), ("link", "1", name)), "/etc")
    assert not (inside / "x").exists()


def test_names_of_an_archive_are_below_the_place() -> None:
    assert parts("/etc//./x") == ("etc", "x")
    assert parts("a/../b") == ("b",)
    assert parts("./") == ()


def test_an_archive_s_links_lead_nowhere_outside(root: int, inside: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "victim").write_text("safe")
    evil = archive(
        ("out", "2", str(outside)),
        ("out/victim", "0", "evil"),
        ("etc", "2", "/etc"),
        ("etc/passwd", "0", "changed"),
    )
    (inside / "place").mkdir()
    with pytest.raises(CopyFailed, match="out/victim"):
        put(root, evil, "/place")
    assert (outside / "victim").read_text() == "safe"
    put(root, archive(("etc", "2", "/etc"), ("etc/passwd", "0", "changed")), "/place")
    assert (inside / "etc" / "passwd").read_text() == "changed"  # in the root, as docker does
    with pytest.raises(CopyFailed, match="hard link"):
        put(root, archive(("hard", "1", str(outside / "victim"))), "/place")
    with pytest.raises(CopyFailed, match="hard link to nothing"):
        put(root, archive(("hard", "1", "./")), "/place")
    put(root, archive(("a", "0", "one"), ("hard", "1", "/a"), ("hard", "1", "a")), "/place")
    assert (inside / "place" / "a").samefile(inside / "place" / "hard")
    assert sorted(tree(inside / "place")) == ["a", "etc", "hard", "out"]


def test_devices_are_passed_over_and_said(root: int, inside: Path) -> None:
    said: list[str] = []
    put(
        root, archive(("disk", "4", ""), ("tty", "3", ""), ("x", "0", "x")), "/etc", CopyManner(passed_over=said.append)
    )
    assert said == ["disk: devices are not copied", "tty: devices are not copied"]
    assert sorted(tree(inside / "etc")) == ["passwd", "x"]


@pytest.mark.parametrize("how", ["w", "w:gz"])
def test_an_archive_goes_round(root: int, inside: Path, here: Path, how: str) -> None:
    put(root, here / "folder", "/")
    with socket.socket(socket.AF_UNIX) as listener:
        os.chdir(inside / "folder")
        listener.bind("socket")
        os.chdir("/")
    os.mkfifo(inside / "folder" / "fifo", 0o612)
    (inside / "folder" / "fifo").chmod(0o612)
    out = io.BytesIO()
    copy_out(root, "c", "/folder", out, MANNER)
    names = names_in(out)
    assert names[0] == "folder"
    assert "folder/socket" not in names
    (inside / "copy").mkdir()
    packed = out.getvalue()
    if how == "w:gz":
        import gzip

        packed = gzip.compress(packed)
    put(root, io.BytesIO(packed), "/copy")
    assert tree(inside / "copy" / "folder") == tree(inside / "folder") - {"socket"}
    copied = inside / "copy" / "folder"
    assert (copied / "one").samefile(copied / "two")
    assert (copied / "fifo").stat().st_mode == stat.S_IFIFO | 0o612
    assert (copied / "below").stat().st_mtime == 2_000_000_000


def test_an_archive_of_contents_has_no_top(root: int, inside: Path) -> None:
    out = io.BytesIO()
    copy_out(root, "c", "/etc/.", out, MANNER)
    assert names_in(out) == [".", "passwd"]


def test_what_is_sent_is_counted(root: int, here: Path) -> None:
    counts: list[int] = []
    put(root, here / "file", "/etc", CopyManner(progress=counts.append))
    assert sum(counts) == len("content")


def test_a_reader_of_a_file_that_is_replaced_keeps_what_it_has(root: int, inside: Path, here: Path) -> None:
    with open(inside / "etc" / "passwd") as old:
        put(root, here / "file", "/etc/passwd")
        assert old.read() == "inside"
    assert (inside / "etc" / "passwd").read_text() == "content"


def test_a_name_in_an_archive_may_be_as_deep_as_a_path_can_be(root: int, inside: Path) -> None:
    path = "/".join(["d"] * 1900 + ["end"])
    try:
        put(root, archive((path, "0", "deep")), "/etc")
        assert os.stat(f"etc/{path}", dir_fd=root).st_size == 4
    finally:
        empty(str(inside))  # pytest goes as deep as the tree
