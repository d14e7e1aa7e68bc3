"""A Dockerfile's text becomes instructions, each with its line."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as some
from pycompose.runtime.images.dockerfile import BuildError
from pycompose.runtime.images.dockerfile.syntax import Instruction, parse


def instructions(text: str) -> list[Instruction]:
    return list(parse(text).instructions)


def test_comments_and_empty_lines_are_passed_over_and_lines_are_counted() -> None:
    found = instructions("# a comment\n\nFROM x\n  # another\nrun echo # no comment\n")
    assert [(one.word, one.rest, one.position.line) for one in found] == [
        ("FROM", "x", 3),
        ("RUN", "echo # no comment", 5),
    ]


def test_a_line_goes_on_after_a_backslash_past_comments() -> None:
    found = instructions("FROM x\nRUN a \\\n  # between\n  b \\  \n  c\nRUN d")
    assert [(one.rest, one.position.line) for one in found[1:]] == [("a   b   c", 2), ("d", 6)]


def test_an_empty_line_inside_an_instruction_is_told() -> None:
    assert "an empty line" in parse("FROM x\nRUN a \\\n\n  b\n").warnings[0]


def test_directives_stand_at_the_top_alone() -> None:
    told = parse("# syntax=docker/dockerfile:1\n# escape=`\nFROM x\nRUN a `\n b\n")
    assert told.directives["escape"] == "`"
    assert told.instructions[1].rest == "a  b"
    late = parse("# a comment\n# escape=`\nFROM x\n")
    assert late.escape == "\\"


@pytest.mark.parametrize("text", ["# escape=x\nFROM a", "# escape=\\\n# escape=`\nFROM a"])
def test_a_directive_that_cannot_be_is_an_error(text: str) -> None:
    with pytest.raises(BuildError, match="escape"):
        parse(text)


def test_windows_line_ends_and_a_byte_order_mark_are_no_part_of_the_text() -> None:
    assert instructions("\ufeffFROM x\r\nRUN a\r\n")[1].rest == "a"


def test_flags_come_before_the_rest() -> None:
    one = instructions('FROM x\nRUN --mount=type=cache,target="/a b" --network=none echo --not-a-flag')[1]
    assert one.flags == (("mount", 'type=cache,target="/a b"'), ("network", "none"))
    assert one.rest == "echo --not-a-flag"


def test_the_json_form_is_a_list_of_texts_and_nothing_else() -> None:
    one, two, three = instructions('FROM x\nCMD ["a", "b c"]\nCMD [not json]\nCMD ["a", 1]')[1:]
    assert one.json() == ("a", "b c")
    assert two.json() is None
    assert three.json() is None


def test_here_documents_end_at_their_names() -> None:
    one, last = instructions("FROM x\nRUN <<EOF cat && <<-'TWO' cat\na\n b\nEOF\n\t\tc $d\n\tTWO\nRUN end")[1:]
    assert [(h.name, h.content, h.expanded, h.strip_tabs) for h in one.heredocs] == [
        ("EOF", "a\n b\n", True, False),
        ("TWO", "\t\tc $d\n", False, True),
    ]
    assert one.heredocs[1].text == "c $d\n"
    assert (last.rest, last.position.line) == ("end", 8)


def test_a_here_document_without_an_end_is_an_error_at_its_line() -> None:
    with pytest.raises(BuildError, match="Dockerfile:2: the here-document 'EOF' has no end"):
        parse("FROM x\nRUN <<EOF\na\n")


def test_arrows_elsewhere_are_no_here_document() -> None:
    assert instructions("FROM x\nENV a=<<EOF\nRUN cat <<<word")[2].heredocs == ()


def test_an_unknown_instruction_names_its_line_and_the_near_one() -> None:
    with pytest.raises(BuildError, match="Dockerfile:2: unknown instruction: COPPY") as error:
        parse("FROM x\nCOPPY a b")
    assert error.value.hint == "did you mean COPY?"


def test_an_instruction_without_arguments_is_an_error() -> None:
    with pytest.raises(BuildError, match="Dockerfile:2: RUN needs"):
        parse("FROM x\nRUN\n")


@given(some.text(alphabet="FROMRUN \\\n\"'$<>{}[]#=`-abEOF\t\r", max_size=80))
def test_whatever_the_text_is_it_is_read_or_refused(text: str) -> None:
    with contextlib.suppress(BuildError):
        parse(text)
