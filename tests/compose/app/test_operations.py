"""Operations without a terminal and without a supervisor: what is locked, observed, decided, carried out and told."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from pycompose.compose.app import operations, phases
from pycompose.compose.app.api import functions as api
from pycompose.compose.app.choices import Choices
from pycompose.compose.control import session
from pycompose.compose.control.protocol import ControlError, Notice, StepProgress
from pycompose.compose.model.errors import NoSuchService
from pycompose.compose.plan.commands import DownOptions
from pycompose.compose.plan.reconcile import UpOptions
from pycompose.compose.state import observe
from pycompose.errors import PycomposeError


@dataclass
class Record:
    """What was done to the project, in order. `fresh`: its supervisor had to be started; `failure` breaks plans off."""

    calls: list[str] = field(default_factory=list)
    fresh: bool = False
    failure: Exception | None = None


@pytest.fixture
def record(monkeypatch: pytest.MonkeyPatch) -> Record:
    made = Record()

    @contextmanager
    def locked(places: Any, waiting: Callable[[], None] = lambda: None) -> Iterator[int]:
        made.calls.append("lock")
        waiting()
        yield 3
        made.calls.append("unlock")

    def wake(places: Any) -> bool:
        made.calls.append("wake")
        return made.fresh

    @contextmanager
    def waking(places: Any) -> Iterator[Callable[[], bool]]:
        made.calls.append("launch")
        yield lambda: made.fresh

    def carry_out(places: Any, project: Any, plan: Any, lock: int, **_: Any) -> Iterator[object]:
        made.calls.append("carry out")
        yield Notice("careful")
        for step in plan.steps:
            yield StepProgress(step.id, "started")
            if made.failure is not None:
                raise made.failure
            yield StepProgress(step.id, "done")

    real = observe.observe

    def observed(*arguments: Any) -> Any:
        made.calls.append("observe")
        return real(*arguments)

    monkeypatch.setattr(session, "locked", locked)
    monkeypatch.setattr(session, "wake", wake)
    monkeypatch.setattr(session, "waking", waking)
    monkeypatch.setattr(session, "carry_out", carry_out)
    monkeypatch.setattr(session, "close_if_empty", lambda places: made.calls.append("close"))
    monkeypatch.setattr(observe, "observe", observed)
    return made


@pytest.fixture
def choices(places: Path) -> Choices:
    path = places / "compose.yaml"
    path.write_text("name: x\nservices: {web: {image: host, environment: {A: $NOT_SET}}, db: {image: host}}\n")
    return Choices(files=(str(path),))


def test_up_locks_observes_once_and_carries_the_plan_out(choices: Choices, record: Record) -> None:
    told: list[object] = []
    outcome = operations.up(choices, UpOptions(), None, told.append)
    assert record.calls == ["launch", "lock", "observe", "wake", "carry out", "unlock"]
    assert {step.id for step in outcome.plan.steps} >= {"create x-web-1", "start x-db-1"}
    kinds = [type(event) for event in told]
    assert kinds[:4] == [phases.FileWarning, phases.LockAwaited, phases.PlanBegin, Notice]
    assert kinds[-2:] == [StepProgress, phases.PhaseEnd]


def test_what_a_new_supervisor_may_have_changed_is_observed_again(choices: Choices, record: Record) -> None:
    record.fresh = True
    operations.up(choices, UpOptions())
    assert record.calls == ["launch", "lock", "observe", "wake", "observe", "carry out", "unlock"]


def test_nothing_to_do_wakes_nobody(choices: Choices, record: Record) -> None:
    told: list[object] = []
    assert operations.stop(choices, (), told.append).plan.steps == ()
    assert record.calls == ["lock", "observe", "unlock"]
    assert not any(isinstance(event, phases.PlanBegin) for event in told)


def test_a_dry_run_decides_and_does_nothing(choices: Choices, record: Record) -> None:
    outcome = operations.up(replace(choices, dry_run=True), UpOptions())
    assert outcome.plan.steps
    assert record.calls == ["observe"]


def test_a_phase_ends_where_a_step_fails_and_the_code_is_the_plans(choices: Choices, record: Record) -> None:
    record.failure = ControlError("it is broken", exit_code=7)
    told: list[object] = []
    with pytest.raises(ControlError) as failed:
        operations.up(choices, UpOptions(), None, told.append)
    assert failed.value.exit_code == 7
    assert told[-1] == phases.PhaseEnd()


def test_down_ends_an_empty_project_and_says_that_there_was_nothing(choices: Choices, record: Record) -> None:
    told: list[object] = []
    operations.down(choices, DownOptions(), told.append)
    assert record.calls == ["lock", "observe", "unlock", "close"]
    assert phases.OperationWarning('Warning: No resource found to remove for project "x".') in told


def test_a_service_that_is_not_there_is_named_before_anything_is_done(choices: Choices, record: Record) -> None:
    with pytest.raises(NoSuchService, match="wbe"):
        operations.up(choices, UpOptions(scale={"wbe": 2}))
    assert record.calls == ["launch"]


def test_the_front_speaks_of_a_project_as_the_command_line_does(choices: Choices, record: Record) -> None:
    assert list(api.load(files=choices.files).services) == ["web", "db"]
    assert api.up("web", files=[Path(choices.files[0])], dry_run=True).places.project == "x"
    assert api.ps(files=choices.files) == []
    with pytest.raises(PycomposeError):
        api.load(files=["nowhere.yaml"])


def test_importing_the_package_imports_none_of_its_parts() -> None:
    code = (
        "import sys, pycompose; before = [m for m in sys.modules if m.startswith('pycompose.')];"
        "print(before, pycompose.up.__name__, 'pycompose.compose.app.api.functions' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=os.environ)
    assert done.stdout == "[] up True\n"
