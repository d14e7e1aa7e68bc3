"""The rules of unpacking: what a hostile or broken layer may do (nothing), and what a good one becomes."""

from __future__ import annotations

import gzip
import io
import os
import stat
import struct
import sys
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from pycompose.runtime.images import ImageError, layers
from pycompose.runtime.images.layers import Blob, Extracted, extract
from pycompose.runtime.images.streams import zstd

ROOT = os.geteuid() == 0
needs_root = pytest.mark.skipif(not ROOT, reason="devices, owners and trusted attributes are root's")
Made = tuple[tarfile.TarInfo, bytes]


def entry(name: str, data: bytes = b"", kind: bytes = tarfile.REGTYPE, link: str = "", **more: object) -> Made:
    made = tarfile.TarInfo(name)
    made.type, made.linkname, made.size, made.mode = kind, link, len(data), 0o644
    made.uid, made.gid = os.getuid(), os.getgid()
    for key, value in more.items():
        setattr(made, key, value)
    return made, data


def folder(name: str, mode: int = 0o755) -> Made:
    return entry(name, kind=tarfile.DIRTYPE, mode=mode)


def symlink(name: str, target: str) -> Made:
    return entry(name, kind=tarfile.SYMTYPE, link=target)


def hard_link(name: str, target: str) -> Made:
    return entry(name, kind=tarfile.LNKTYPE, link=target)


def tar(*entries: Made) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for made, data in entries:
            archive.addfile(made, io.BytesIO(data))
    return out.getvalue()


@pytest.fixture
def unpack(tmp_path: Path) -> Callable[..., Extracted]:
    (tmp_path / "layer").mkdir()

    def run(data: bytes, digest: str = "", size: int = -1) -> Extracted:
        return extract(Blob(lambda: io.BytesIO(data), digest, size), str(tmp_path / "layer"))

    return run


Unpack = Callable[..., Extracted]


@pytest.mark.parametrize(
    "entries",
    [
        [entry("../evil")],
        [entry("a/../../evil")],
        [entry("/../evil")],
        [hard_link("h", "../../etc/passwd")],
        [symlink("l", "/etc"), hard_link("h", "l/../../../etc/passwd")],
        [hard_link("h", "/etc/passwd")],
        [folder("d"), hard_link("h", "d")],
        [symlink("a", "b"), symlink("b", "a"), entry("a/x")],
        [entry(".wh.")],
        [entry(".wh..")],
        [entry(".wh...")],
        [entry("zero", kind=tarfile.CHRTYPE, devmajor=0, devminor=0)],
        [entry("x" * 300 + "/" + "y/" * 2000)],
        [entry("odd", kind=b"Z")],
        [entry("f", b"x"), entry("f/below", b"y")],
        [symlink("l", "x" * 4096)],
    ],
)
def test_an_entry_that_leads_out_or_makes_no_sense_is_refused(unpack: Unpack, entries: list[Made]) -> None:
    with pytest.raises(ImageError):
        unpack(tar(*entries))


def test_an_absolute_name_is_below_the_layers_root(unpack: Unpack, tmp_path: Path) -> None:
    unpack(tar(entry("/etc/passwd", b"x")))
    assert (tmp_path / "layer/etc/passwd").read_bytes() == b"x"


@pytest.mark.parametrize("target", ["/outside", "../../../outside", "{absolute}"])
def test_a_link_in_a_parent_is_resolved_inside(unpack: Unpack, tmp_path: Path, target: str) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    unpack(tar(symlink("out", target.format(absolute=outside)), entry("out/evil", b"x")))
    assert not os.listdir(outside)
    assert len([p for p in (tmp_path / "layer").rglob("evil") if not p.is_symlink()]) >= 1


def test_a_later_entry_takes_the_place_of_an_earlier_one_and_never_writes_through_it(
    unpack: Unpack, tmp_path: Path
) -> None:
    victim = tmp_path / "victim"
    victim.write_text("safe")
    unpack(
        tar(
            symlink("a", str(victim)),
            entry("a", b"file"),
            entry("b", b"file"),
            folder("b"),
            entry("b/in", b"1"),
            folder("c/deep/down"),
            entry("c", b"file"),
            entry("d", b"first"),
            hard_link("e", "d"),
            entry("d", b"second"),
            hard_link("e", "e"),
        )
    )
    layer = tmp_path / "layer"
    assert victim.read_text() == "safe"
    assert (layer / "a").read_bytes() == b"file"
    assert not (layer / "a").is_symlink()
    assert (layer / "b/in").read_bytes() == b"1"
    assert (layer / "c").read_bytes() == b"file"
    assert (layer / "d").read_bytes() == b"second"
    assert (layer / "e").read_bytes() == b"first"
    assert sorted(os.listdir(layer)) == ["a", "b", "c", "d", "e"]


@needs_root
def test_whiteouts_become_overlays_own(unpack: Unpack, tmp_path: Path) -> None:
    unpack(
        tar(
            entry("etc/.wh.gone"),
            entry("opaque/.wh..wh..opq"),
            entry("opaque/new", b"n"),
            entry(".wh..wh.plnk"),
            entry(".wh.again"),
            entry("again/in", b"i"),
        )
    )
    layer = tmp_path / "layer"
    told = os.lstat(layer / "etc/gone")
    assert stat.S_ISCHR(told.st_mode)
    assert told.st_rdev == 0
    assert os.getxattr(layer / "opaque", "trusted.overlay.opaque") == b"y"
    assert os.getxattr(layer / "again", "trusted.overlay.opaque") == b"y", "what was hidden stays hidden"
    assert sorted(os.listdir(layer)) == ["again", "etc", "opaque"]


@needs_root
def test_only_harmless_attributes_are_kept(unpack: Unpack, tmp_path: Path) -> None:
    capability = struct.pack("<IIIII", 0x02000001, 1 << 10, 0, 0, 0)
    made, data = entry("f", b"program" * 100_000, mode=0o6755, uid=1000, gid=1000)
    made.pax_headers = {
        f"SCHILY.xattr.{name}": value
        for name, value in {
            "security.capability": capability.decode("utf-8", "surrogateescape"),
            "user.note": "kept",
            "user.overlay.opaque": "y",
            "trusted.overlay.redirect": "/etc/shadow",
            "trusted.overlay.metacopy": "",
            "security.selinux": "label",
        }.items()
    }
    unpack(tar((made, data)))
    path = tmp_path / "layer/f"
    assert os.getxattr(path, "security.capability") == capability
    assert {n for n in os.listxattr(path) if not n.startswith("system.")} <= {"security.capability", "user.note"}
    assert stat.S_IMODE(path.stat().st_mode) == 0o6755, "setuid is set after the owner, or it would be lost"
    assert (path.stat().st_uid, path.stat().st_size) == (1000, 700_000)


@needs_root
def test_devices_fifos_owners_and_times_are_made_as_told(unpack: Unpack, tmp_path: Path) -> None:
    unpack(
        tar(
            folder(".", 0o711),
            entry("null", kind=tarfile.CHRTYPE, devmajor=1, devminor=3, mode=0o666),
            entry("fifo", kind=tarfile.FIFOTYPE, mode=0o600),
            entry("dir", kind=tarfile.DIRTYPE, mode=0o1777, uid=7, gid=8, mtime=1000),
            entry("dir/file", b"x", mtime=2000),
            entry("link", kind=tarfile.SYMTYPE, link="nowhere", uid=9, gid=9, mtime=3000),
        )
    )
    layer = tmp_path / "layer"
    assert os.stat(layer / "null").st_rdev == os.makedev(1, 3)
    assert stat.S_ISFIFO(os.stat(layer / "fifo").st_mode)
    told = os.stat(layer / "dir")
    assert (told.st_uid, told.st_gid, stat.S_IMODE(told.st_mode), told.st_mtime) == (7, 8, 0o1777, 1000)
    assert (os.lstat(layer / "link").st_uid, os.lstat(layer / "link").st_mtime) == (9, 3000)
    assert stat.S_IMODE(layer.stat().st_mode) == 0o711


@pytest.mark.parametrize("packed", [gzip.compress, zstd.compress, bytes])
def test_every_compression_gives_the_same_layer(unpack: Unpack, packed: Callable[[bytes], bytes]) -> None:
    import hashlib

    data = tar(entry("f", b"x" * 100_000))
    assert unpack(packed(data)).diff_id == "sha256:" + hashlib.sha256(data).hexdigest()


@pytest.mark.parametrize("keep", [0.3, 0.6, 0.95])
@pytest.mark.parametrize("packed", [gzip.compress, zstd.compress, bytes])
def test_a_truncated_layer_is_refused(unpack: Unpack, packed: Callable[[bytes], bytes], keep: float) -> None:
    data = packed(tar(entry("f", os.urandom(100_000))))
    if packed is bytes:
        keep = keep * 0.9  # what follows the data is padding
    with pytest.raises(ImageError):
        unpack(data[: int(len(data) * keep)])


def test_a_damaged_header_in_the_middle_is_refused(unpack: Unpack) -> None:
    data = bytearray(tar(entry("a", b"1"), entry("b", b"2"), entry("c", b"3")))
    data[1024 + 150] ^= 0xFF  # the checksum of the second header
    with pytest.raises(ImageError, match="header"):
        unpack(bytes(data))


def test_another_compression_is_named(unpack: Unpack) -> None:
    with pytest.raises(ImageError, match="bzip2 or xz"):
        unpack(b"\xfd7zXZ\0" + b"x" * 100)


def test_a_wrong_digest_or_size_of_the_compressed_bytes_is_refused(unpack: Unpack) -> None:
    with pytest.raises(ImageError, match="digest"):
        unpack(tar(entry("f", b"x")), "sha256:" + "0" * 64)
    with pytest.raises(ImageError, match="bytes"):
        unpack(tar(entry("g", b"x")), "", 5)


def test_too_many_entries_and_too_long_names_are_refused(unpack: Unpack, monkeypatch: pytest.MonkeyPatch) -> None:
    made, data = entry("f")
    made.pax_headers = {"comment": "x" * (layers.MAX_NAMES + 1)}
    with pytest.raises(ImageError, match="too long"):
        unpack(tar((made, data)))
    monkeypatch.setattr(layers, "MAX_ENTRIES", 3)
    with pytest.raises(ImageError, match="too many entries"):
        unpack(tar(*(entry(str(n)) for n in range(4))))


def test_a_size_that_promises_too_much_is_refused_before_it_is_read(
    unpack: Unpack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(layers, "MAX_BYTES", 600_000)
    with pytest.raises(ImageError, match="too large"):
        unpack(gzip.compress(tar(entry("bomb", b"\0" * 1_000_000))))


def test_room_is_left_on_the_disk(unpack: Unpack, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layers, "ROOM", 1 << 60)
    real = os.fstatvfs

    def full(fd: int) -> os.statvfs_result:
        told = list(real(fd))
        told[2], told[4] = 1 << 50, 10  # blocks, available ones
        return os.statvfs_result(told)

    monkeypatch.setattr(os, "fstatvfs", full)
    with pytest.raises(ImageError, match="disk is full"):
        unpack(tar(entry("f", b"x" * 100_000)))


@pytest.fixture
def shallow_stack() -> Iterator[int]:
    """How deep functions may call each other, which is less than usual: making folders is what takes time."""
    usual = sys.getrecursionlimit()
    sys.setrecursionlimit(250)
    yield 250
    sys.setrecursionlimit(usual)


def test_a_tree_deeper_than_pythons_stack_and_longer_than_a_path_is_unpacked_and_removed(
    unpack: Unpack, tmp_path: Path, shallow_stack: int
) -> None:
    from pycompose.runtime.files.remove import discard

    deep = "a-long-name-of-d/" * 230
    assert deep.count("/") * 2 > shallow_stack
    assert len(deep) * 2 > 4096 > len("in/" + deep + "f")
    unpack(tar(folder(deep), symlink("in", deep), folder("in/" + deep), entry("in/" + deep + "f", b"x")))
    discard(str(tmp_path / "layer"))
    assert not os.listdir(tmp_path)
