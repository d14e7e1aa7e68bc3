"""Whatever is written as YAML is read back as the same, by YAML 1.1's readers and by ours."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from pycompose.compose.file import emitter
from pycompose.compose.file.source import parse, plain_value

WORDS = "yes No << = - --- ... y ~ null é"
NUMBERS = "0x1F 1_000 1:30 12e3 2001-01-01 .5 +.inf .NaN 0o17 017 0b1 1."
ODD = f"{WORDS} {NUMBERS}".split()
TEXT = (
    st.text(alphabet=st.characters(blacklist_categories=["Cs"]), max_size=30)
    | st.text(alphabet="-?: #,[]{}&*!|>'\"%@`~\n\t ab01.eE_x+=<on", max_size=12)
    | st.sampled_from([*ODD, "--- a", "a: b", "a #b", "\u2028", "\x85", "a\n", "a\n\nb", "\n", "a \nb", " a\nb"])
)
FAST = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
DATA = st.recursive(
    TEXT | st.none() | st.booleans() | st.integers() | st.sampled_from([0.5, 1.25, -3.5]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=15,
)


@settings(max_examples=60, deadline=None)
@given(st.dictionaries(TEXT, DATA, max_size=5))
def test_what_is_written_is_read_back(tree: dict[str, Any]) -> None:
    text = emitter.to_yaml(tree)
    assert yaml.load(text, Loader=FAST) == tree
    (read,) = parse(text, "made.yaml")
    assert plain_value(read) == tree


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("8080", '"8080"'),
        ("no", '"no"'),
        ("", '""'),
        ("22:22", '"22:22"'),
        ("127.0.0.1:80", "127.0.0.1:80"),
        ("*", "'*'"),
        ("a: b", "'a: b'"),
        ("it's", "it's"),
        ("a\nb", "|-\n  a\n  b"),
        ("a\nb\n", "|\n  a\n  b"),
        ("tab\there", '"tab\\there"'),
        (["x"], "\n  - x"),
        ({}, "{}"),
        (1e16, "1.0e+16"),
        (-2.5e-7, "-2.5e-07"),
        (None, "null"),
    ],
)
def test_text_is_quoted_where_a_reader_could_take_it_for_something_else(value: Any, text: str) -> None:
    space = "" if text.startswith("\n") else " "
    assert emitter.to_yaml({"k": value}) == f"k:{space}{text}\n"
