"""Progress as text: golden pictures of a board, in every state; plain lines and JSON of the same events."""

from __future__ import annotations

import io
import json

import pytest
from pycompose.compose.app import phases
from pycompose.compose.cli.drawing import Drawing
from pycompose.compose.cli.output import plan_progress, terminal
from pycompose.compose.control.protocol import StepProgress
from pycompose.compose.model.project import Network
from pycompose.compose.plan.steps import (
    AwaitCondition,
    CreateContainer,
    CreateNetwork,
    Plan,
    RemoveContainer,
    RenameContainer,
    StartContainer,
    Step,
    StopContainer,
)

OLD = "0123456789ab"
CHANGED = "configuration changed: environment"
PLAN = Plan(
    "p",
    (
        Step("create network p_default", CreateNetwork(Network("default", "p_default")), "no such network"),
        Step("create p-db-1", CreateContainer("p-db-1", "db", 1), "no such container"),
        Step("start p-db-1", StartContainer("p-db-1", "db"), "no such container", ("create p-db-1",)),
        Step("await db healthy", AwaitCondition("db", ("p-db-1",), "service_healthy"), "depends_on", ("start p-db-1",)),
        Step(
            "create x",
            CreateContainer(f"{OLD}_p-web-1", "web", 1, replaces=OLD * 5 + "0123"),
            CHANGED,
            reason="changed",
        ),
        Step(
            "stop p-web-1",
            StopContainer("p-web-1", "web"),
            CHANGED,
            ("create x",),
            reason="changed",
        ),
        Step("remove p-web-1", RemoveContainer("p-web-1", "web"), CHANGED, reason="changed"),
        Step("rename x", RenameContainer(f"{OLD}_p-web-1", "p-web-1"), "takes the name p-web-1"),
        Step("start p-web-1", StartContainer("p-web-1", "web"), CHANGED, reason="changed"),
    ),
)
WEB = ("create x", "stop p-web-1", "remove p-web-1", "rename x", "start p-web-1")


def board() -> plan_progress.PlanBoard:
    return plan_progress.PlanBoard(PLAN, "up", 100.0)


def go(on: plan_progress.PlanBoard, *steps: str, at: float = 100.0, took: float = 0.5) -> None:
    for step in steps:
        on.take(step, "started", "", at)
        on.take(step, "done", "", at + took)


def picture(on: plan_progress.PlanBoard, now: float, width: int = 80, height: int = 0) -> str:
    return "\n".join(on.lines(now, width, height, colour=False))


def test_nothing_has_begun() -> None:
    assert picture(board(), 100.0) == (
        "[+] up 0/3  0.0s\n"
        " · Network p_default\n"
        " · Container p-db-1\n"
        " · Container p-web-1                     configuration changed: environment"
    )


def test_one_line_a_thing_however_many_steps_it_takes() -> None:
    on = board()
    go(on, "create network p_default", "create p-db-1", "start p-db-1")
    on.take("await db healthy", "started", "", 100.6)
    go(on, *WEB[:3])
    on.take("rename x", "started", "", 101.0)
    assert picture(on, 102.05) == (
        "[+] up 1/3  2.0s\n"
        " ✔ Network p_default  Created      0.5s\n"
        " ⠋ Container p-db-1   Waiting      2.0s\n"
        " ⠋ Container p-web-1  Recreate     2.0s  configuration changed: environment"
    )


def test_all_is_done() -> None:
    on = board()
    go(on, *(step.id for step in PLAN.steps))
    on.finish(101.0)
    assert picture(on, 150.0) == (
        "[+] up 3/3  1.0s\n"
        " ✔ Network p_default  Created      0.5s\n"
        " ✔ Container p-db-1   Healthy      0.5s\n"
        " ✔ Container p-web-1  Started      0.5s  configuration changed: environment"
    )


def test_a_failure_says_why_and_what_it_stopped_says_so() -> None:
    on = board()
    on.take("create p-db-1", "started", "", 100.0)
    on.take("create p-db-1", "failed", "no space left on device\nand more", 100.2)
    on.take("create x", "skipped", "create p-db-1 failed", 100.2)
    lines = picture(on, 103.0).splitlines()
    assert lines[2] == " ✘ Container p-db-1   Error        0.2s  no space left on device"
    assert lines[3].startswith(" - Container p-web-1  Skipped      0.0s  create p-db-1 failed")


@pytest.mark.parametrize("width", [10, 20, 40, 79])
def test_no_line_is_as_wide_as_the_terminal(width: int) -> None:
    on = board()
    go(on, *(step.id for step in PLAN.steps))
    assert max(map(len, on.lines(101.0, width, 0, colour=False))) < width


def many(count: int) -> plan_progress.PlanBoard:
    steps = [Step(f"start c-{n}", StartContainer(f"c-{n}", "c"), "start") for n in range(count)]
    return plan_progress.PlanBoard(Plan("p", tuple(steps)), "start", 0.0)


def test_more_lines_than_the_screen_show_what_happens_first() -> None:
    on = many(50)
    go(on, *(f"start c-{n}" for n in range(40)), at=0.0)
    on.take("start c-45", "started", "", 1.0)
    on.take("start c-47", "failed", "boom", 1.0)
    lines = on.lines(2.0, 80, 6, colour=False)
    assert len(lines) == 6
    assert [line.split()[2] for line in lines[1:5]] == ["c-40", "c-41", "c-45", "c-47"]
    assert lines[5] == "   … and 46 more"


def test_colours_are_asked_for() -> None:
    on = board()
    go(on, "create network p_default")
    assert "\033[32m" in on.lines(101.0, 80, 0, colour=True)[1]
    assert "\033" not in picture(on, 101.0)


def test_plain_lines_are_docker_composes() -> None:
    on = board()
    told = []
    for step in PLAN.steps:
        for state in ("started", "done"):
            told += [plan_progress.plain(s) for s in on.take(step.id, state, "", 100.0)]
    assert told == [
        " Network p_default Creating",
        " Network p_default Created",
        " Container p-db-1 Creating",
        " Container p-db-1 Created",
        " Container p-db-1 Starting",
        " Container p-db-1 Started",
        " Container p-db-1 Waiting",
        " Container p-db-1 Healthy",
        " Container p-web-1 Recreate (configuration changed: environment)",
        " Container p-web-1 Recreated",
        " Container p-web-1 Starting",
        " Container p-web-1 Started",
    ]


def test_what_is_left_as_it_is_runs() -> None:
    on = plan_progress.PlanBoard(Plan("p", PLAN.steps[:1], running=("p-web-1",)), "up", 100.0)
    assert [plan_progress.plain(subject) for subject in on.running] == [" Container p-web-1 Running"]
    assert picture(on, 101.0).splitlines()[-1] == " ✔ Container p-web-1  Running      0.0s"


def test_what_is_passed_over_says_why_as_docker_compose() -> None:
    on = board()
    (changed,) = on.take("start p-web-1", "skipped", "create p-db-1 failed", 100.0)
    assert plan_progress.plain(changed) == " Container p-web-1 Skipped: create p-db-1 failed"


def test_json_lines_have_docker_composes_keys() -> None:
    on = board()
    (changed,) = on.take("create network p_default", "started", "", 100.0)
    assert json.loads(plan_progress.as_json(changed)) == {
        "id": "Network p_default",
        "status": "Working",
        "text": "Creating",
    }
    (changed,) = on.take("create network p_default", "failed", "subnet taken", 100.0)
    assert json.loads(plan_progress.as_json(changed))["status"] == "Error"
    assert json.loads(plan_progress.as_json(changed))["details"] == "subnet taken"


def test_a_step_that_nobody_planned_is_passed_over() -> None:
    assert board().take("polish web-1", "started", "", 100.0) == []


def test_what_is_said_meanwhile_stays_above_the_picture() -> None:
    out = io.StringIO()
    screen = plan_progress.Screen(out, lambda: (80, 24), colour=False)
    on = many(2)
    screen.draw(on, 1.0)
    out.truncate(0)
    screen.erase()
    assert out.getvalue().lstrip("\0") == "\033[3A\r\033[J"
    out.truncate(0)
    screen.draw(on, 1.0)
    assert "A\r" not in out.getvalue()


def test_a_screen_draws_over_what_it_drew_even_when_it_became_narrower() -> None:
    out, width = io.StringIO(), 80
    screen = plan_progress.Screen(out, lambda: (width, 24), colour=False)
    on = many(3)
    go(on, "start c-0", "start c-1", "start c-2")
    screen.draw(on, 1.0)
    assert "A\r" not in out.getvalue()
    out.truncate(0)
    screen.draw(on, 1.0)
    assert "\033[4A" in out.getvalue()
    width = 20  # each of the three lines is now wrapped; the head is not
    out.truncate(0)
    screen.draw(on, 1.0)
    up = int(out.getvalue().split("\033[")[2].split("A")[0])
    assert up > 4
    screen.draw(on, 1.0, last=True)
    assert out.getvalue().endswith("\033[?25h")


@pytest.mark.parametrize("verbose", [True, False])
def test_verbose_tells_each_step_and_its_cause_as_it_goes(
    verbose: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(terminal, "verbose", verbose)
    drawing = Drawing()
    with phases.phase(drawing, phases.PlanBegin(PLAN, "up")):
        drawing(StepProgress("create p-db-1", "started", "no such container"))
        drawing(StepProgress("await db healthy", "failed", "p-db-1 is unhealthy"))
    lines = capsys.readouterr().err.splitlines()
    traced = [line.partition(" ")[2] for line in lines if line[:1].isdigit()]
    expected = ["create p-db-1: started (no such container)", "await db healthy: failed (p-db-1 is unhealthy)"]
    assert traced == (expected if verbose else [])
