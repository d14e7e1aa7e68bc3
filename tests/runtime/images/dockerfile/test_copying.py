"""Which files a source means, and which copies are the same."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from pycompose.runtime.files.remove import empty
from pycompose.runtime.images.dockerfile import BuildError, ignore
from pycompose.runtime.images.dockerfile.copying import (
    CopyOptions,
    Writer,
    checked_mode,
    content_digest,
    digest,
    entries,
    gather,
)
from pycompose.runtime.images.dockerfile.digests import SETTLED, Digests
from pycompose.runtime.images.dockerfile.trees import FOLDER, Tree, TreeEntry, walk

FILES = ("a.txt", "b.txt", "dir/x", "dir/sub/y.txt", "dir/sub/deep/z.txt", ".hidden", "[odd]")
Open = Callable[..., Tree]


@pytest.fixture
def top(tmp_path: Path) -> Path:
    folder = tmp_path / "context"
    for name in FILES:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)
    (folder / "to-dir").symlink_to("dir")
    (folder / "out").symlink_to("/etc")
    return folder


@pytest.fixture
def tree(top: Path) -> Iterator[Open]:
    fd = os.open(top, FOLDER)
    yield lambda *left_out, path="": Tree(fd, "the build context", ignore.patterns(left_out), path=path)
    os.close(fd)


@pytest.mark.parametrize(
    ("text", "paths"),
    [
        ("a.txt", ["a.txt"]),
        ("./dir/../a.txt", ["a.txt"]),
        ("/a.txt", ["a.txt"]),
        (".", [""]),
        ("*.txt", ["a.txt", "b.txt"]),
        ("?.txt", ["a.txt", "b.txt"]),
        ("[^a].txt", ["b.txt"]),
        ("dir/*", ["dir/sub", "dir/x"]),
        ("d*/s*/*.txt", ["dir/sub/y.txt"]),
        ("**/*.txt", ["a.txt", "b.txt", "dir/sub/y.txt", "dir/sub/deep/z.txt"]),
        ("dir/**/z.txt", ["dir/sub/deep/z.txt"]),
        (r"\[odd\]", ["[odd]"]),
        ("none*", []),
        ("to-dir/x", ["dir/x"]),
        ("to-d*/x", ["dir/x"]),
    ],
)
def test_a_source_means_files(tree: Open, text: str, paths: list[str]) -> None:
    assert [source.path for source in gather(tree(), [text])] == paths


@pytest.mark.parametrize("text", ["missing", "a.txt/below", "dir/missing", "out/passwd"])
def test_what_is_not_there_is_named(tree: Open, text: str) -> None:
    with pytest.raises(BuildError, match="is not in the build context"):
        gather(tree(), [text])


@pytest.mark.parametrize("text", ["..", "../a", "dir/../../a"])
def test_nothing_above_the_root_can_be_had(tree: Open, text: str) -> None:
    with pytest.raises(BuildError, match="outside"):
        gather(tree(), [text])


def test_what_is_left_out_is_not_there(tree: Open) -> None:
    some = tree("b.txt", "dir/sub", "!dir/sub/deep/z.txt")
    assert [source.path for source in gather(some, ["*.txt"])] == ["a.txt"]
    with pytest.raises(BuildError, match="is not in"):
        gather(some, ["b.txt"])
    (folder,) = gather(some, ["dir"])
    assert [entry.name for entry in entries(folder, ignore.NOTHING)] == [
        "",
        "x",
        "sub",
        "sub/deep",
        "sub/deep/z.txt",
    ]


def test_parents_go_with_a_file_from_the_pivot_on(tree: Open) -> None:
    (source,) = gather(tree(), ["dir/sub/y.txt"], parents=True)
    assert (source.within, source.pivot) == (("dir", "dir/sub"), 0)
    (source,) = gather(tree(), ["dir/./sub/y.txt"], parents=True)
    assert (source.within, source.pivot) == (("dir/sub",), 1)


def copied(tree: Tree, *texts: str, manner: CopyOptions = CopyOptions("/d/")) -> str:  # noqa: B008 - it is frozen
    return digest(gather(tree, texts), manner, content_digest)


def test_times_do_not_make_another_copy(tree: Open, top: Path) -> None:
    before = copied(tree(), ".")
    os.utime(top / "dir/x", (1, 1))
    assert copied(tree(), ".") == before


def test_contents_modes_names_and_links_do(tree: Open, top: Path) -> None:
    digests = [copied(tree(), ".")]

    def changed() -> None:
        digests.append(copied(tree(), "."))

    (top / "dir/x").write_text("other")
    changed()
    (top / "dir/x").chmod(0o700)
    changed()
    (top / "dir/x").rename(top / "dir/w")
    changed()
    (top / "to-dir").unlink()
    (top / "to-dir").symlink_to("dir/sub")
    changed()
    assert len(set(digests)) == 5


def test_what_is_excluded_does_not(tree: Open, top: Path) -> None:
    manner = CopyOptions("/d/", excludes=ignore.patterns(["sub"]))
    before = copied(tree(), "dir", manner=manner)
    (top / "dir/sub/y.txt").write_text("other")
    assert copied(tree(), "dir", manner=manner) == before
    assert copied(tree(), "dir") != before


@pytest.mark.parametrize("text", ["755", "0644", "u=rwX,go=rX", "a+x", "u+s"])
def test_a_mode_is_octal_or_in_words(text: str) -> None:
    assert checked_mode(text) == text


@pytest.mark.parametrize("text", ["999", "rw", "u=q", "77777", "-1"])
def test_what_is_no_mode_is_refused(text: str) -> None:
    with pytest.raises(BuildError):
        checked_mode(text)


@pytest.fixture
def remembered(tree: Open, top: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], list[str]]:
    """Digest all files with what was remembered, and remember; the files whose content was read."""
    from pycompose.runtime.images.dockerfile import copying

    contents = copying.content_digest

    def run() -> list[str]:
        reads: list[str] = []

        def read(tree: Tree, entry: TreeEntry) -> str:
            reads.append(entry.path)
            return contents(tree, entry)

        monkeypatch.setattr(copying, "content_digest", read)
        digests, context = Digests(str(tmp_path)), tree(path=str(top))
        for entry in walk(context, ""):
            if entry.path in FILES:
                assert digests.of(context, entry) == contents(context, entry)
        digests.save()
        return reads

    return run


def test_files_are_read_again_only_when_they_changed(
    remembered: Callable[[], list[str]], top: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import time

    now = time.time_ns() + 2 * SETTLED
    monkeypatch.setattr(time, "time_ns", lambda: now)
    assert sorted(remembered()) == sorted(FILES)
    assert remembered() == []
    (top / "dir/x").write_text("DIR/X")
    assert remembered() == ["dir/x"]


def test_a_file_that_has_just_changed_is_read_again(remembered: Callable[[], list[str]]) -> None:
    assert sorted(remembered()) == sorted(FILES)
    assert sorted(remembered()) == sorted(FILES)


def test_digests_that_were_damaged_cost_time_only(
    remembered: Callable[[], list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import time

    now = time.time_ns() + 2 * SETTLED
    monkeypatch.setattr(time, "time_ns", lambda: now)
    remembered()
    (file,) = (tmp_path / "digests").iterdir()
    file.write_text("{")
    assert sorted(remembered()) == sorted(FILES)


@pytest.mark.parametrize("more", ["", "/file", "/link"])
def test_a_folder_may_be_as_deep_as_a_path_can_be(tmp_path: Path, more: str) -> None:
    (tmp_path / "link").symlink_to("nothing")
    (tmp_path / "file").touch()
    path = "/d" * 1900
    root = os.open(tmp_path, FOLDER)
    try:
        writer = Writer(root, CopyOptions("/"))
        if more:
            with pytest.raises(BuildError, match=r"is a (file|link)"):
                writer.make_folder(more + path)
        else:
            os.close(writer.make_folder(path))
            os.close(os.open(path.removeprefix("/"), FOLDER, dir_fd=root))
    finally:
        os.close(root)
        empty(str(tmp_path))  # pytest goes as deep as the tree
