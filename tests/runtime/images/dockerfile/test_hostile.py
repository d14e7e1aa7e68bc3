"""Dockerfiles and `.dockerignore` of strangers: nothing takes more time or depth than the text is long."""

from __future__ import annotations

import random
import re
import time
from collections.abc import Iterator

import pytest
from pycompose.runtime.images.dockerfile import ignore, words
from pycompose.runtime.images.dockerfile.errors import BuildError
from pycompose.runtime.images.dockerfile.syntax import parse
from pycompose.runtime.images.dockerfile.wildcards import Wildcard


@pytest.fixture(autouse=True)
def _soon() -> Iterator[None]:
    begun = time.process_time()
    yield
    assert time.process_time() - begun < 8


@pytest.mark.parametrize("operator", ["#", "##", "%", "%%", "/", "//"])
def test_a_pattern_of_many_stars_takes_no_longer_than_its_text_is(operator: str) -> None:
    pattern = "a*" * 60 + "b"
    value = "a" * 50_000
    tail = "/x" if "/" in operator else ""
    assert words.expand(f"${{v{operator}{pattern}{tail}}}", {"v": value}) == value


def test_variables_in_one_another_have_a_limit() -> None:
    assert words.expand("${a:-" * 90 + "x" + "}" * 90, {}) == "x"
    for opening in ("${a:-", '"${a:-', "${a#", "${a/b/"):
        with pytest.raises(BuildError, match="more than 100 variables in one another"):
            words.expand(opening * 5000 + "x" + "}" * 5000, {"a": ""})


def test_what_a_text_becomes_has_a_limit() -> None:
    with pytest.raises(BuildError, match="longer than"):
        words.expand("$a" * 100, {"a": "x" * 1_000_000})


def test_long_words_and_many_of_them_are_read_once() -> None:
    assert len(words.split("x" * 400_000, {})[0]) == 400_000
    assert len(words.split("x " * 80_000, {})) == 80_000
    assert len(words.expand("${a}" * 80_000, {"a": "y"})) == 80_000


def test_many_continued_lines_flags_and_blanks_are_read_once() -> None:
    assert len(parse("FROM a\nRUN true \\\n" + "  x \\\n" * 100_000 + "  y\n").instructions) == 2
    with pytest.raises(BuildError, match="more than 1000 flags"):
        parse("FROM a\nRUN " + "--a " * 200_000 + "x")
    assert parse("# check=x" + " " * 200_000 + "y\nFROM a\n").directives["check"].endswith("y")


@pytest.mark.parametrize(
    "pattern",
    ["*a" * 30 + "*b", "**/*a/" * 12 + "*b", "**/*a*a*a*a*a*a*a*a*b", "**/a/" * 40 + "b", "*a*a*a*a*a*a*a*a*/**/x"],
)
def test_patterns_of_many_stars_go_back_no_further_than_the_last(pattern: str) -> None:
    excluded = ignore.patterns([pattern])
    for path in ("a" * 250, "/".join(["a"] * 2000), "/".join(["a" * 100] * 30)):
        assert not excluded.leaves_out(path)


def test_stars_right_after_a_name_have_a_limit() -> None:
    assert ignore.patterns(["a**b"]).leaves_out("a/x/b")
    with pytest.raises(BuildError, match="too many stars"):
        ignore.patterns(["a**b*c**d*e"])


def old_regex(pattern: str, *, greedy: bool) -> str:
    """What patterns mean, as a regular expression that goes back."""
    signs = {"*": ".*" if greedy else ".*?", "?": "."}
    return "".join(signs.get(char, re.escape(char)) for char in pattern)


def test_patterns_mean_what_a_regular_expression_would() -> None:
    chance = random.Random(7)
    for _ in range(1500):
        pattern = "".join(chance.choice("ab*?") for _ in range(chance.randint(1, 6)))
        text = "".join(chance.choice("abc") for _ in range(chance.randint(0, 9)))
        wildcard, whole = Wildcard(pattern), re.compile(old_regex(pattern, greedy=True))
        lengths = [count for count in range(len(text) + 1) if whole.fullmatch(text, 0, count)]
        assert wildcard.prefix(text, longest=True) == (lengths[-1] if lengths else -1)
        assert wildcard.prefix(text, longest=False) == (lengths[0] if lengths else -1)
        lengths = [count for count in range(len(text) + 1) if whole.fullmatch(text, len(text) - count)]
        assert wildcard.suffix(text, longest=True) == (lengths[-1] if lengths else -1)
        assert wildcard.suffix(text, longest=False) == (lengths[0] if lengths else -1)
        if pattern.strip("*"):  # else the empty end would be another match
            assert wildcard.replaced(text, "R", every=False) == whole.sub("R", text, count=1)
            assert wildcard.replaced(text, "R", every=True) == whole.sub("R", text)
    assert Wildcard("*").replaced("abc", "R", every=True) == "R"


def plain_ignore(pattern: str) -> re.Pattern[str]:
    """What a pattern of a path means, as a regular expression that goes back."""
    text = re.escape(pattern).replace(r"\*\*/", "(?:.*/)?").replace(r"\*\*", ".*").replace(r"\*", "[^/]*")
    return re.compile(text)


def test_patterns_of_paths_mean_what_a_regular_expression_would() -> None:
    chance = random.Random(11)
    for _ in range(2500):
        parts = [
            chance.choice(["a", "*", "a*", "*b", "*a*", "*a*b", "**", "**", "ab*a"])
            for _ in range(chance.randint(1, 5))
        ]
        pattern = "/".join(parts)
        path = "/".join(
            "".join(chance.choice("ab") for _ in range(chance.randint(1, 4))) for _ in range(chance.randint(1, 6))
        )
        matches = bool(plain_ignore(pattern).fullmatch(path))
        assert bool(ignore.glob(pattern).fullmatch(path)) == matches, (pattern, path)
