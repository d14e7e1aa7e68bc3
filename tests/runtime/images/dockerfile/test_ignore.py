"""Which files .dockerignore leaves out."""

from __future__ import annotations

import pytest
from pycompose.runtime.images.dockerfile import BuildError
from pycompose.runtime.images.dockerfile.ignore import read


@pytest.mark.parametrize(
    ("lines", "out", "kept"),
    [
        ("*.md", ("a.md",), ("x/a.md", "a.mdx")),
        ("**/*.md", ("a.md", "x/a.md", "x/y/a.md"), ("a.txt",)),
        ("*/temp*", ("x/temp", "x/temporary.txt", "x/temp/y"), ("temp", "x/y/temp")),
        ("temp?", ("tempa",), ("temp", "tempab")),
        ("node_modules", ("node_modules", "node_modules/a/b"), ("x/node_modules", "node_modules2")),
        ("/anchored", ("anchored",), ("x/anchored",)),
        ("dir/", ("dir", "dir/a"), ("dira",)),
        ("a/../b", ("b",), ("a",)),
        ("a/**", ("a/b", "a/b/c"), ("a", "ab")),
        ("a/**/z", ("a/z", "a/b/z", "a/b/c/z"), ("a/zz",)),
        ("**", ("a", "a/b"), ()),
        ("*.md\n!README.md", ("a.md",), ("README.md",)),
        ("*.md\n!README*.md\nREADME-secret.md", ("README-secret.md", "b.md"), ("README-open.md",)),
        ("dir\n!dir/keep", ("dir/x",), ("dir/keep", "dir/keep/y")),
        ("# a comment\n\n  a  ", ("a",), ("# a comment",)),
        ("[ab].txt", ("a.txt", "b.txt"), ("c.txt",)),
        ("[^ab].txt", ("c.txt",), ("a.txt",)),
        ("\\#x", ("#x",), ("x",)),
        ("a+(b)", ("a+(b)",), ("aab",)),
        (".", (), ("a",)),
    ],
)
def test_a_pattern_leaves_out_what_docker_leaves_out(lines: str, out: tuple[str, ...], kept: tuple[str, ...]) -> None:
    rules = read(lines)
    assert [path for path in out if not rules.leaves_out(path)] == []
    assert [path for path in kept if rules.leaves_out(path)] == []


@pytest.mark.parametrize("text", ["!", "[a"])
def test_what_is_no_pattern_is_an_error(text: str) -> None:
    with pytest.raises(BuildError):
        read(text)
