"""A folder becomes a layer that every tool reads, and the same one each time."""

from __future__ import annotations

import io
import os
import stat
import struct
import tarfile
from pathlib import Path

import pytest
from pycompose.runtime.images import ImageError
from pycompose.runtime.images.layers import Blob, extract
from pycompose.runtime.images.pack import pack, settle, source_date_epoch

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="devices, owners and trusted attributes are root's")
CAPABILITY = struct.pack("<IIIII", 0x02000001, 1 << 10, 0, 0, 0)


def packed(folder: Path, clamp: int | None = None) -> bytes:
    out = io.BytesIO()
    pack(str(folder), out, clamp=clamp)
    return out.getvalue()


def names(data: bytes) -> list[str]:
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        return tar.getnames()


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    top = tmp_path / "tree"
    (top / "b" / "deep").mkdir(parents=True)
    (top / "a").write_bytes(b"one")
    (top / "b" / "z").write_bytes(b"two")
    (top / "b" / "link").symlink_to("../a")
    os.link(top / "b" / "z", top / "c")
    return top


def test_entries_are_in_order_and_a_folder_comes_before_what_is_in_it(tree: Path) -> None:
    assert names(packed(tree)) == ["a", "b", "c", "b/deep", "b/link", "b/z"]


def test_the_same_tree_gives_the_same_bytes_wherever_it_lies(tree: Path, tmp_path: Path) -> None:
    first = packed(tree)
    other = tmp_path / "other"
    other.mkdir()
    made = extract(Blob(lambda: io.BytesIO(first)), str(other))
    assert packed(other) == first
    assert pack(str(other)).diff_id == made.diff_id
    assert pack(str(other)).size == made.size == 6  # a file of two names counts once


def test_a_file_of_several_names_stays_one(tree: Path) -> None:
    with tarfile.open(fileobj=io.BytesIO(packed(tree))) as tar:
        assert tar.getmember("b/z").linkname == "c"
        assert tar.getmember("b/z").islnk()


def test_no_time_is_later_than_the_epoch_that_was_asked_for(tree: Path) -> None:
    os.utime(tree / "a", (5, 5))
    with tarfile.open(fileobj=io.BytesIO(packed(tree, clamp=1000))) as tar:
        times = {member.name: member.mtime for member in tar}
    assert times["a"] == 5
    assert {when for name, when in times.items() if name != "a"} == {1000}


@needs_root
def test_deletions_and_opaque_folders_are_written_as_oci_has_them(tree: Path, tmp_path: Path) -> None:
    os.mknod(tree / "gone", stat.S_IFCHR, 0)
    os.setxattr(tree / "b" / "deep", "trusted.overlay.opaque", b"y")
    data = packed(tree)
    assert ".wh.gone" in names(data)
    assert "gone" not in names(data)
    assert "b/deep/.wh..wh..opq" in names(data)
    other = tmp_path / "other"
    other.mkdir()
    extract(Blob(lambda: io.BytesIO(data)), str(other))
    assert stat.S_ISCHR((other / "gone").stat().st_mode)
    assert packed(other) == data


@needs_root
def test_capabilities_and_users_attributes_are_kept_and_overlays_own_are_not(tree: Path, tmp_path: Path) -> None:
    os.setxattr(tree / "a", "security.capability", CAPABILITY)
    os.setxattr(tree / "a", "user.note", b"\xff\x00x")
    os.setxattr(tree / "a", "trusted.overlay.origin", b"q")
    data = packed(tree)
    other = tmp_path / "other"
    other.mkdir()
    extract(Blob(lambda: io.BytesIO(data)), str(other))
    assert os.getxattr(other / "a", "security.capability") == CAPABILITY
    assert os.getxattr(other / "a", "user.note") == b"\xff\x00x"
    assert "trusted.overlay.origin" not in os.listxattr(other / "a")


@needs_root
def test_a_settled_folder_packs_alike_without_being_told_the_epoch(tree: Path) -> None:
    os.setxattr(tree / "b", "trusted.overlay.origin", b"q")
    os.setxattr(tree / "b", "trusted.overlay.opaque", b"y")
    wanted = packed(tree, clamp=1000)
    settle(str(tree), 1000)
    assert packed(tree) == wanted
    assert os.listxattr(tree / "b") == ["trusted.overlay.opaque"]


def test_sockets_are_left_out(tree: Path) -> None:
    os.mknod(tree / "socket", stat.S_IFSOCK | 0o600)
    assert "socket" not in names(packed(tree))


def test_links_are_not_followed(tree: Path, tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "secret").write_text("x")
    (tree / "way").symlink_to(tmp_path / "outside")
    assert not any("secret" in name for name in names(packed(tree)))


def test_a_name_that_would_mean_a_deletion_is_refused(tree: Path) -> None:
    (tree / ".wh.a").write_text("")
    with pytest.raises(ImageError, match=r"\.wh\.a"):
        packed(tree)


def test_a_tree_deeper_than_a_path_is_refused(tmp_path: Path) -> None:
    here = os.open(tmp_path, os.O_RDONLY)
    top = os.dup(here)
    for _ in range(50):
        os.mkdir("d" * 100, dir_fd=here)
        below = os.open("d" * 100, os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(here)
    os.close(top)
    with pytest.raises(ImageError, match="too long"):
        pack(str(tmp_path))


def test_names_that_are_no_utf_8_survive(tree: Path, tmp_path: Path) -> None:
    Path(os.fsdecode(os.fsencode(tree) + b"/\xff")).write_text("x")
    other = tmp_path / "other"
    other.mkdir()
    data = packed(tree)
    extract(Blob(lambda: io.BytesIO(data)), str(other))
    assert os.path.exists(os.fsencode(other) + b"/\xff")


@pytest.mark.parametrize("text", ["-1", "1.5", "now"])
def test_an_epoch_that_is_no_number_is_an_error(text: str) -> None:
    with pytest.raises(ImageError, match="SOURCE_DATE_EPOCH"):
        source_date_epoch({"SOURCE_DATE_EPOCH": text})
    assert source_date_epoch({}) is None
    assert source_date_epoch({"SOURCE_DATE_EPOCH": "12"}) == 12
