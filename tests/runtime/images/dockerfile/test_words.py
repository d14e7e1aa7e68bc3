"""Quotes, escapes and variables of a Dockerfile."""

from __future__ import annotations

import pytest
from pycompose.runtime.images.dockerfile import BuildError
from pycompose.runtime.images.dockerfile.words import expand, expand_document, raw_words, split

VALUES = {"x": "value", "empty": "", "path": "/usr/local/bin/tool", "two": "a b", "name": "pattern", "star": "a*b"}


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("$x", "value"),
        ("${x}", "value"),
        ("$missing", ""),
        ("a$x-b", "avalue-b"),
        ("${x}_y", "value_y"),
        (r"\$x", "$x"),
        ("'$x'", "$x"),
        ('"$x"', "value"),
        (r'"\$x"', "$x"),
        (r'"a\b"', r"a\b"),
        (r"a\b", "ab"),
        ("'a'\"b\"c", "abc"),
        ("$", "$"),
        ("a$", "a$"),
        ("${x:-other}", "value"),
        ("${missing:-other}", "other"),
        ("${empty:-other}", "other"),
        ("${empty-other}", ""),
        ("${missing-other}", "other"),
        ("${x:+other}", "other"),
        ("${empty:+other}", ""),
        ("${empty+other}", "other"),
        ("${missing+other}", ""),
        ("${x:?why}", "value"),
        ("${missing:-${x}}", "value"),
        ("${missing:-'$x'}", "$x"),
        ('${missing:-"a b"}', "a b"),
        ("${path#*/}", "usr/local/bin/tool"),
        ("${path##*/}", "tool"),
        ("${path%/*}", "/usr/local/bin"),
        ("${path%%/*}", ""),
        ("${path#nothing}", "/usr/local/bin/tool"),
        ("${path%tool}", "/usr/local/bin/"),
        ("${name#p?tt}", "ern"),
        ("${name%e*}", "patt"),
        (r"${star#a\*}", "b"),
        ("${path/local/share}", "/usr/share/bin/tool"),
        ("${path//l/L}", "/usr/LocaL/bin/tooL"),
        ("${name//t/}", "paern"),
        ("${name/p*t/X}", "Xern"),
        ("${x/a/$name}", "vpatternlue"),
    ],
)
def test_a_word_is_what_the_reference_says(text: str, wanted: str) -> None:
    assert expand(text, VALUES) == wanted


@pytest.mark.parametrize("text", ["${x", "${x:-y", "'a", '"a', "${}", "${x!y}", "${x^}", "${x#a", "${x/a"])
def test_what_has_no_end_or_no_meaning_is_an_error(text: str) -> None:
    with pytest.raises(BuildError):
        expand(text, VALUES)


def test_a_question_mark_ends_the_build_with_its_words() -> None:
    with pytest.raises(BuildError, match="missing: is needed"):
        expand("${missing:?is needed}", VALUES)
    with pytest.raises(BuildError, match="empty"):
        expand("${empty:?}", VALUES)


def test_the_escape_can_be_a_backtick() -> None:
    assert expand(r"c:\dir`$x", VALUES, "`") == r"c:\dir$x"


def test_words_are_split_after_expansion_but_not_inside_quotes() -> None:
    assert split('$two "$two" c\\ d', VALUES) == ["a", "b", "a b", "c d"]
    assert split("'' x", VALUES) == ["", "x"]


def test_raw_words_keep_quotes_and_variables() -> None:
    assert raw_words("a 'b c' \"$d e\" f\\ g") == ["a", "'b c'", '"$d e"', "f\\ g"]


def test_a_here_document_keeps_its_quotes_and_takes_variables() -> None:
    assert expand_document("'$x' \"${missing:-q}\" \\$x \\n\n", VALUES) == "'value' \"q\" $x \\n\n"
