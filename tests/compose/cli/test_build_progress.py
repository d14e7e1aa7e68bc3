"""What a build looks like while it goes on: a picture in a terminal, lines elsewhere."""

from __future__ import annotations

import json

import pytest
from pycompose.compose.app import phases
from pycompose.compose.cli.drawing import Drawing
from pycompose.compose.cli.output import terminal
from pycompose.compose.cli.output.build_progress import BuildBoard
from pycompose.errors import Place
from pycompose.runtime.images.dockerfile.request import BuildStep, Happened

HERE = Place("Dockerfile", 3)
ONE = BuildStep(1, "[1/2] FROM base", HERE)
TWO = BuildStep(2, "[2/2] RUN make \n all", HERE)


def test_the_picture_shows_what_runs_with_its_last_lines_and_nothing_wider_than_the_screen() -> None:
    board = BuildBoard(0.0)
    board.take("", Happened(ONE, "cached"), 0.0)
    board.take("", Happened(TWO, "started"), 1.0)
    for number in range(20):
        board.take("", Happened(TWO, "output", f"line {number} " + "x" * 100), 2.0)
    picture = board.lines(3.0, 60, 24, colour=False)
    assert picture[0] == "[+] Building 3.0s (1/2)"
    assert picture[1].startswith(" => CACHED [1/2] FROM base")
    assert picture[2].startswith(" => [2/2] RUN make all")
    assert picture[2].endswith("2.0s")
    assert [line[: len(" => => # line 14")] for line in picture[3:]] == [f" => => # line {n}" for n in range(14, 20)]
    assert max(map(len, picture)) < 60
    board.take("", Happened(TWO, "done"), 4.0)
    assert len(board.lines(5.0, 60, 24, colour=False)) == 3


def test_a_picture_is_never_higher_than_the_screen() -> None:
    board = BuildBoard(0.0)
    for number in range(30):
        board.take("", Happened(BuildStep(number, f"[{number}] RUN x", HERE), "started"), 0.0)
    assert len(board.lines(1.0, 80, 10, colour=False)) == 10


def test_steps_of_several_builds_name_theirs() -> None:
    board = BuildBoard(0.0, several=True)
    board.take("web", Happened(ONE, "started"), 0.0)
    board.take("db", Happened(ONE, "started"), 0.0)
    assert [one.title for one in board.subjects.values()] == ["[web 1/2] FROM base", "[db 1/2] FROM base"]


def said(how: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.setattr(terminal, "progress", how)
    drawing = Drawing()
    with phases.phase(drawing, phases.BuildsBegin(("",))):
        drawing(phases.BuildEvent("", Happened(ONE, "cached")))
        drawing(phases.BuildEvent("", Happened(TWO, "started")))
        drawing(phases.BuildEvent("", Happened(TWO, "output", "compiling")))
        drawing(phases.BuildEvent("", Happened(TWO, "failed", "exit code 2")))
        drawing(phases.BuildEvent("", Happened(None, "warning", "careful")))
    return capsys.readouterr().err.splitlines()


def test_plain_lines_are_numbered_by_step(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    lines = said("plain", capsys, monkeypatch)
    assert lines[:3] == ["#1 [1/2] FROM base", "#1 CACHED", "#2 [2/2] RUN make all"]
    assert lines[3].startswith("#2 0.0")
    assert lines[3].endswith(" compiling")
    assert lines[4] == "#2 ERROR: exit code 2"
    assert lines[5].endswith("careful")


def test_quiet_says_only_warnings(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    assert [line.endswith("careful") for line in said("quiet", capsys, monkeypatch)] == [True]


def test_json_is_one_object_a_line(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    told = [json.loads(line) for line in said("json", capsys, monkeypatch)]
    assert told[0] == {"id": "[1/2] FROM base", "status": "Done"}
    assert told[2] == {"id": "[2/2] RUN make all", "status": "Working", "text": "compiling"}
    assert told[3] == {"id": "[2/2] RUN make all", "status": "Error", "text": "exit code 2"}


def test_in_a_terminal_it_is_drawn_and_the_cursor_comes_back(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    text = "\n".join(said("tty", capsys, monkeypatch))
    assert "[+] Building" in text
    assert text.rstrip().endswith("\033[?25h")
