"""What is printed on terminals of few columns: no line of ours is broken by the terminal where we can break it."""

from __future__ import annotations

import os
import pty
import sys
from collections.abc import Iterator
from typing import TextIO

import click
import pytest
from pycompose.compose.cli.commands.stats import TITLES, fitted
from pycompose.compose.cli.output import terminal
from pycompose.compose.cli.output.log_printer import LineStyle, Printer
from pycompose.compose.cli.output.plan_progress import PlanBoard
from pycompose.compose.cli.root import cli
from pycompose.compose.diagram import Edge, Line, Node, formats
from pycompose.compose.model.observed import ObservedContainer
from pycompose.compose.plan.steps import Plan, StartContainer, Step
from pycompose.plain_text import columns, shortened_inside


def contexts(group: click.Group, context: click.Context) -> Iterator[click.Context]:
    yield context
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        below = click.Context(command, info_name=name, parent=context, **command.context_settings)
        if isinstance(command, click.Group):
            yield from contexts(command, below)
        else:
            yield below


@pytest.mark.parametrize("room", [40, 60, 80, 200])
def test_every_help_is_as_narrow_as_the_terminal(room: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", str(room))
    for context in contexts(cli, click.Context(cli, info_name="pycompose")):
        for line in context.command.get_help(context).splitlines():
            example = room < 80 and "pycompose " in line
            assert len(line) <= room or " " not in line.strip() or example, (context.command_path, line)


ROW = dict.fromkeys(TITLES, "0B / 0B") | {"ID": "0123456789ab", "CPUPerc": "99.99%", "MemUsage": "400KiB / 23.54GiB"}


@pytest.mark.parametrize("room", [40, 60, 80, 119, 200])
@pytest.mark.parametrize("name", ["p-web-1", "shop-worker-with-a-quite-long-name-for-emails-1", "日本語" * 12])
def test_live_figures_have_room(room: int, name: str) -> None:
    lines = fitted([ROW | {"Name": name}, ROW | {"Name": "p-db-1"}], room).splitlines()
    assert max(map(columns, lines)) <= room
    assert all("99.99%" in line and "400KiB / 23.54GiB" in line for line in lines[1:])
    assert lines[2].split("   ")[0 if "CONTAINER" not in lines[0] else 1].startswith("p-db-1")
    if room == 200:
        assert all(title in lines[0] for title in TITLES.values())
        assert name in lines[1]


def test_what_waits_for_what_is_listed_without_a_break_inside_a_need() -> None:
    names = ("db", "cache", "web")
    nodes = [Node(name, (Line(name), Line("● running"))) for name in names]
    edges = [Edge("db", "web", "healthy"), Edge("cache", "web", "started")]
    assert formats.levels(nodes, edges, [["db", "cache"], ["web"]], 40) == [
        "1  db, ● running",
        "   cache, ● running",
        "2  web, ● running    after db (healthy),",
        "       cache (started)",
    ]


@pytest.fixture
def screen() -> Iterator[TextIO]:
    master, slave = pty.openpty()
    with os.fdopen(master, "rb", buffering=0), os.fdopen(slave, "w") as out:
        yield out


def container(name: str) -> ObservedContainer:
    return ObservedContainer(name, f"p-{name}-1", name, 1, "running")


def prefixes(*names: str) -> list[str]:
    printer, containers = Printer("p", LineStyle()), [container(name) for name in names]
    printer.know(containers)
    return [printer._prefix(one).decode() for one in containers]


def test_one_long_name_takes_no_room_from_the_others_lines(screen: TextIO, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", screen)
    monkeypatch.setattr(terminal, "size", lambda out: (40, 24))
    assert prefixes("db", "web", "a-very-long-name") == ["db-1   | ", "web-1  | ", "a-very-long-name-1 | "]


def test_where_no_terminal_is_prefixes_are_all_as_wide() -> None:
    assert {len(prefix) for prefix in prefixes("db", "web", "a-very-long-name")} == {len("a-very-long-name-1  | ")}


@pytest.mark.parametrize("width", [40, 60, 80, 200])
def test_each_line_of_a_board_tells_which_and_how(width: int) -> None:
    names = ("p-web-1", "p-web-12", "shop-worker-with-a-quite-long-name-for-emails-1", "日本語" * 9 + "-1")
    steps = [Step(f"start {name}", StartContainer(name, "s"), "asked") for name in names]
    board = PlanBoard(Plan("p", tuple(steps)), "up", 0.0)
    for step in steps:
        board.take(step.id, "started", "", 0.0)
        board.take(step.id, "done", "", 1.2)
    lines = board.lines(2.0, width, 0, colour=False)[1:]
    assert all(columns(line) < width and line.endswith("Started      1.2s") for line in lines), lines
    assert len({line.split("Started")[0] for line in lines}) == len(names)
    assert "-1 " in lines[2]
    assert ("Container p-web-1 " in lines[0]) == (width == 200)
    assert "p-web-12 " in lines[1]


@pytest.mark.parametrize(
    ("text", "room", "kept"), [("abcdefgh", 8, "abcdefgh"), ("abcdefgh-1", 7, "abc…h-1"), ("日本" * 3, 7, "日本…本")]
)
def test_a_name_is_cut_in_its_middle(text: str, room: int, kept: str) -> None:
    assert shortened_inside(text, room) == kept
