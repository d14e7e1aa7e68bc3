"""docker compose's reference: every command and flag is accepted, called by a test, and told of in docs/commands.md.

PYCOMPOSE_WRITE_TABLES=1 writes the tables there anew.
"""

from __future__ import annotations

import os
import shlex
from pathlib import Path
from typing import NamedTuple

import click
import pytest
from pycompose.compose.cli.root import cli
from pycompose.tests.kernel.command_calls import CALLS

TOP = Path(__file__).parent.parent.parent.parent
PAGE = TOP / "docs/commands.md"
HEADING = "## Every command and flag"
CALLED_ELSEWHERE = {"publish", "alpha publish", "watch"}  # in tests of their own
FLAGS_CALLED_ELSEWHERE = {("up", "--watch")}


class Flag(NamedTuple):
    names: tuple[str, ...]
    kind: str  # "" of a switch


def reference() -> dict[str, list[Flag]]:
    commands = {}
    for line in (Path(__file__).parent / "reference.txt").read_text().splitlines():
        if line and not line.startswith("#"):
            name, _, flags = line.partition(":")
            parts = [flag.partition("=") for flag in flags.split()]
            commands[name.replace("-", "", 1) if name == "-" else name] = [
                Flag(tuple(names.split("/")), kind) for names, _, kind in parts
            ]
    return commands


def command(path: str) -> click.Command:
    one: click.Command = cli
    for word in path.split():
        assert isinstance(one, click.Group)
        below = one.get_command(click.Context(one), word)
        assert below is not None, path
        one = below
    return one


def options(path: str) -> dict[str, click.Option]:
    return {name: one for one in command(path).params if isinstance(one, click.Option) for name in one.opts}


@pytest.mark.parametrize("path", reference())
def test_a_command_takes_each_flag_and_as_many_words_after_it(path: str) -> None:
    accepted = options(path)
    for flag in reference()[path]:
        for name in flag.names:
            assert name in accepted
            assert accepted[name].is_flag == (not flag.kind), name
        assert len({accepted[name] for name in flag.names}) == 1
        if "Array" in flag.kind or flag.kind in ("list", "scale"):
            assert accepted[flag.names[0]].multiple, flag
    assert path in ("alpha", "bridge") or "--dry-run" in accepted


def called() -> dict[str, set[str]]:
    """Command -> its flags that calls have, by all their names."""
    flags: dict[str, set[str]] = {}
    for call in CALLS:
        path, words = "", shlex.split(call.words)
        while words:
            word = words.pop(0)
            accepted = options(path)
            if word.startswith("-") and word != "-":
                name = word.partition("=")[0]
                option = accepted[name if word.startswith("--") else name[:2]]
                flags.setdefault(path, set()).update(option.opts)
                if not option.is_flag and "=" not in word:
                    words.pop(0)
            elif isinstance(command(path), click.Group):
                path = f"{path} {word}".strip()
                flags.setdefault(path, set())
            elif path.split()[0] in ("exec", "run"):
                break  # the words of another program
    return flags


def test_every_flag_is_really_called() -> None:
    calls = called()
    lacking = [
        (path, flag.names[-1])
        for path, flags in reference().items()
        if path not in CALLED_ELSEWHERE
        for flag in flags
        if not set(flag.names) & calls.get(path or "", set())
    ]
    lacking = [one for one in lacking if one not in FLAGS_CALLED_ELSEWHERE and one[0] != "convert"]
    assert lacking == []
    assert {path for path in reference() if path not in CALLED_ELSEWHERE} - {"", "bridge", "alpha"} <= {*calls}


def tables() -> str:
    text = f"{HEADING}\n\nDocker compose 5.5's, with what each does here; `--dry-run` is of all. A test calls each.\n"
    for path, flags in reference().items():
        accepted = options(path)
        short = (command(path).help or "").partition("\n")[0].rstrip(".")
        text += f"\n### {path or 'Before the command'}\n" + (f"\n{short}.\n" if path else "")
        if flags:
            text += "\n| flag | what it does |\n|---|---|\n"
        for flag in flags:
            words = (accepted[flag.names[-1]].help or "").replace("|", "\\|")
            value = f" {flag.kind.removesuffix('Array')}" if flag.kind else ""
            text += f"| `{', '.join(flag.names)}{value}` | {words} |\n"
    return text


def test_the_page_of_commands_has_them_all() -> None:
    before, _, _ = PAGE.read_text().partition(HEADING)
    text = tables()
    if os.environ.get("PYCOMPOSE_WRITE_TABLES") == "1":
        PAGE.write_text(before + text)
    assert PAGE.read_text() == before + text, "PYCOMPOSE_WRITE_TABLES=1 writes the tables anew"
    assert "no effect" not in text
    assert "|  |" not in text
