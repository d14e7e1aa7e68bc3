"""Nothing that a command shows a person steers the terminal, whoever said it."""

from __future__ import annotations

import io
from collections.abc import Callable

import pytest
from pycompose.compose.cli.output import build_progress, plan_progress, tables, terminal
from pycompose.compose.cli.output.live import Live
from pycompose.compose.model.errors import Problem
from pycompose.errors import Place
from pycompose.runtime.images.dockerfile.request import BuildStep, Happened

EVIL = "\x1b[2J\x1b]0;title\x07 \x9b1m \u202e \rerror"
WAYS: tuple[Callable[[str], None], ...] = (
    terminal.warn,
    terminal.error,
    lambda text: terminal.error("no", hint=text),
    terminal.note,
    terminal.say,
    lambda text: terminal.problem(Problem(text), "error"),
    lambda text: terminal.problem(Problem("odd", hint=text), "warning"),
    lambda text: terminal.say(tables.table(("A", "B"), [(text, f"{text}\n{text}")]), end=""),
)


@pytest.mark.parametrize("way", WAYS)
def test_what_is_said_is_spelled_out(way: Callable[[str], None], capsys: pytest.CaptureFixture[str]) -> None:
    way(EVIL)
    shown = "".join(capsys.readouterr())
    assert shown.replace("\n", "").isprintable()
    assert "\\u001b[2J" in shown


def test_a_cell_is_one_line() -> None:
    assert tables.table(("A", "B"), [("1\n2", "x")]).splitlines() == ["A     B", "1 2   x"]


class Board:
    """One whose lines a stranger has a part in."""

    subjects = ("one",)

    def lines(self, now: float, width: int, height: int, *, colour: bool) -> list[str]:
        return [plan_progress.cut([(EVIL, ""), ("\nand more", "")], width, colour=False)]

    def finish(self, now: float) -> None: ...


def test_lines_and_pictures_of_progress_are_spelled_out(monkeypatch: pytest.MonkeyPatch) -> None:
    out = io.StringIO()
    monkeypatch.setattr("sys.stderr", out)
    with Live(Board(), plain=True) as live:
        live.update(lambda _: [EVIL])
    assert out.getvalue().replace("\n", "").isprintable()
    assert Board().lines(0, 200, 0, colour=False)[0].isprintable()


def test_output_of_a_build_cannot_leave_its_place_in_the_picture() -> None:
    board = build_progress.BuildBoard(0)
    step = BuildStep(1, f"RUN {EVIL}", Place("Dockerfile", 1))
    board.take("", Happened(step, "started"), 0)
    board.take("", Happened(step, "output", EVIL), 0)
    for line in board.lines(1, 200, 0, colour=False):
        assert line.isprintable()
