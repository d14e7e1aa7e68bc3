"""What strangers say steers no terminal, and adds no line that looks like ours."""

from __future__ import annotations

import json
import unicodedata

import pytest
from pycompose.plain_text import columns, fitting, one_line, padded, visible


@pytest.mark.parametrize(
    "text",
    [
        "\x1b[2J",
        "\x1b]0;title\x07",
        "\x1b]52;c;ZXZpbA==\x07",
        "a\rb",
        "\x9b31m",
        "\x7f",
        "\x08" * 9,
        "\u202eevil",
        "\u2028",
    ],
)
def test_nothing_that_steers_is_left(text: str) -> None:
    assert visible(f"before {text} after").isprintable()


def test_every_control_and_format_character_is_spelled_and_letters_of_every_script_stay() -> None:
    for code in (*range(0x3100), *range(0xD7F0, 0x10100), *range(0xE0000, 0xE0100)):
        char = chr(code)
        kind = unicodedata.category(char)
        if kind in ("Cc", "Cs", "Zl", "Zp") and char not in "\t\n":
            assert visible(char) != char, hex(code)
        if kind[0] in "LMN":
            assert visible(char) == char, hex(code)


def test_turns_of_direction_and_invisible_characters_are_spelled() -> None:
    for char in "\u200b\u200e\u200f\u202a\u202e\u2066\u2069\ufeff\U000e0041":
        assert visible(char).isascii()


def test_it_is_spelled_as_in_json_so_json_stays_json() -> None:
    text = "a\x1b\u202e\U000e0041\x9b"
    assert json.loads(visible(json.dumps(text, ensure_ascii=False))) == text


def test_newlines_and_tabs_stay_and_one_line_has_none() -> None:
    assert visible("a\tb\nc") == "a\tb\nc"
    assert one_line("failed\r\nhint: run this\n\terror: x") == "failed hint: run this error: x"
    assert one_line("a  b") == "a  b"


def test_a_long_text_is_cut() -> None:
    assert one_line("x" * 500, 300) == "x" * 299 + "…"
    assert len(one_line("\x1b" * 500, 300)) == 300


def test_wide_characters_take_two_columns_and_marks_none() -> None:
    assert [columns(text) for text in ("web", "日本", "e\u0301a", "")] == [3, 4, 2, 0]
    assert padded("日本", 6) + "|" == "日本  |"
    assert fitting("日本語", 5, "…") == "日本…"
    assert fitting("日本語", 6, "…") == "日本語"
    assert fitting("日本語", 4, "…") == "日…"
    assert fitting("sleep", 3) == "sle"
