"""An `up` whose user stays: the plan, the lines of containers and their ends, side by side.

This thread has the plan carried out and then waits for ends of containers; another prints their lines. The first Ctrl-C
stops the containers, the second kills them.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from dataclasses import field, replace
from typing import TYPE_CHECKING, Any

from pycompose.compose.app.choices import Choices
from pycompose.compose.cli.output import terminal
from pycompose.errors import PycomposeError
from pycompose.frozen import dataclass

if TYPE_CHECKING:
    from pycompose.compose.control.protocol import Report
    from pycompose.compose.model.observed import ObservedContainer
    from pycompose.compose.model.project import Project
    from pycompose.compose.plan.reconcile import UpOptions
    from pycompose.runtime.places import ProjectPlaces

CANCELLED = 130


@dataclass(slots=True)
class Attached:
    """An `up` whose user stays: what is followed, and what an end of a container leads to."""

    choices: Choices
    places: ProjectPlaces
    project: Project
    selected: frozenset[str]
    options: UpOptions
    follow: frozenset[str] = frozenset()
    exit_code_from: str = ""
    abort_on_exit: bool = False
    abort_on_failure: bool = False
    fresh: bool = False  # the supervisor has just been started
    _ends: queue.SimpleQueue[tuple[ObservedContainer, int | None, bool] | None] = field(
        default_factory=queue.SimpleQueue
    )
    _settled: threading.Event = field(default_factory=threading.Event)  # the plan is carried out
    _enough: threading.Event = field(default_factory=threading.Event)  # the printing thread is to end
    _thread: threading.Thread | None = None
    _codes: dict[str, int | None] = field(default_factory=dict)  # service -> how its first container ended

    def run(self, decide: Callable[[Any], Any], *, prefix: bool, colour: bool, timestamps: bool) -> int:
        from datetime import UTC, datetime

        from pycompose.compose.cli import run_plan
        from pycompose.compose.cli.output.live import Progress
        from pycompose.compose.cli.output.log_follower import manner
        from pycompose.compose.control.protocol import Notice, StepProgress
        from pycompose.compose.plan.steps import AwaitCondition, CreateContainer, RenameContainer, StartContainer

        how = manner(prefix=prefix, colour=colour, timestamps=timestamps)
        since = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f000Z").encode()
        plan: Any = None
        progress: Progress | None = None
        making: set[str] = set()

        def planned(made: Any) -> None:
            nonlocal plan, progress, making
            plan = made
            making = {s.id for s in made.steps if isinstance(s.action, CreateContainer | RenameContainer)}
            # What is started speaks for itself.
            quiet = (StartContainer, AwaitCondition)
            shown = replace(made, steps=tuple(s for s in made.steps if not isinstance(s.action, quiet)))
            progress = Progress(shown, "up")
            progress.__enter__()
            if not making:
                begin()

        def begin() -> None:
            if self._thread is None:
                if progress is not None:
                    progress.__exit__(None, None, None)
                terminal.note(f"Attaching to {', '.join(self._names()) or 'nothing'}")
                self._thread = threading.Thread(target=self._print, args=(how, since), daemon=True)
                self._thread.start()

        def watch(report: Report) -> None:
            assert progress is not None
            if self._thread is None:
                progress.take(report)
                if isinstance(report, StepProgress) and report.state != "started":
                    making.discard(report.step)
                    if not making:
                        begin()
            elif isinstance(report, Notice):
                terminal.warn(report.text)

        try:
            run_plan.run(
                self.choices,
                self.places,
                self.project,
                decide,
                "up",
                keep=True,
                watch=watch,
                planned=planned,
                fresh=self.fresh,
            )
            begin()
        except KeyboardInterrupt:
            if progress is not None and self._thread is None:
                progress.__exit__(None, None, None)
            self._stop()
            return CANCELLED
        except PycomposeError:
            if progress is not None and self._thread is None:
                progress.__exit__(None, None, None)
            self._finish()
            raise
        self._settled.set()
        return self._wait()

    def _names(self) -> list[str]:
        """As log lines are prefixed."""
        names = []
        for name in sorted(self.follow):
            service = self.project.services[name]
            count = self.options.scale.get(name, service.replicas)
            names += [service.container_name or f"{name}-{number + 1}" for number in range(count)]
        return names

    def _print(self, how: Any, since: bytes) -> None:
        """The printing thread."""
        from pycompose.compose.cli.output.log_follower import Following, Printer

        def chosen(seen: ObservedContainer) -> bool:
            return not seen.oneoff and seen.service in self.selected

        def ended(seen: ObservedContainer, code: int | None, again: bool) -> None:
            if seen.service in self.follow:
                printer.ended(seen, code, again=again)
            self._ends.put((seen, code, again))

        printer = Printer(self.places.project, how, shown=self.follow)
        following = Following(self.places, chosen, printer, since=since, ended=ended)
        try:
            following.begin()
            while not self._enough.is_set():
                settled = self._settled.is_set()
                if not following.turn() and settled:
                    break
            following.turn()
        except BrokenPipeError:
            pass
        finally:
            following.close()
            self._ends.put(None)

    def _wait(self) -> int:
        """Until all have ended, one ends that all depend on, or Ctrl-C."""
        try:
            while (end := self._ends.get()) is not None:
                seen, code, again = end
                self._codes.setdefault(seen.service, code)
                if again:
                    continue
                if self.abort_on_exit or (self.abort_on_failure and code != 0):
                    return self._abort(seen.service, code)
        except KeyboardInterrupt:
            return self._stop()
        if self.exit_code_from:
            return self._code(self._codes.get(self.exit_code_from))
        return 0

    @staticmethod
    def _code(code: int | None) -> int:
        return 1 if code is None else code

    def _abort(self, service: str, code: int | None) -> int:
        terminal.note("Aborting on container exit...")
        wanted = self.exit_code_from
        stopped = self._stop(quiet=True)
        while wanted and wanted not in self._codes:
            end = self._ends.get()
            if end is None:
                break
            self._codes.setdefault(end[0].service, end[1])
        if stopped:
            return stopped
        return self._code(self._codes.get(wanted)) if wanted else self._code(code)

    def _stop(self, *, quiet: bool = False) -> int:
        """Stop what was started; killed, where the user asks again. 0 where it went gracefully."""
        from pycompose.compose.cli.output.log_follower import RECORD_PATIENCE
        from pycompose.compose.plan import reconcile

        names = tuple(sorted(self.selected))
        if not quiet:
            terminal.end_line()
            terminal.note("Gracefully Stopping... press Ctrl+C again to force")
        try:
            self._act(lambda seen: reconcile.stop(self.project, seen, names, self.options.timeout))
            code = 0
        except KeyboardInterrupt:
            terminal.end_line()
            terminal.note("Killing...")
            self._act(lambda seen: reconcile.kill(self.project, seen, names))
            code = CANCELLED
        self._finish(patience=RECORD_PATIENCE)  # all of them have ended: each is told
        return code

    def _act(self, decide: Callable[[Any], Any]) -> None:
        """Carry out a plan beside the printing: plain lines, because the screen is the containers'."""
        from pycompose.compose.cli import run_plan
        from pycompose.compose.cli.output.live import Progress

        shown: list[Progress] = []
        run_plan.run(
            self.choices,
            self.places,
            self.project,
            decide,
            "stop",
            patient=True,
            watch=lambda report: shown[0].take(report),
            planned=lambda plan: shown.append(Progress(plan, "stop", plain=True)),
        )

    def _finish(self, patience: float = 0.5) -> None:
        """Let the printing thread say what is left; containers that still run would keep it for ever."""
        self._settled.set()
        if self._thread is not None:
            self._thread.join(patience)
            self._enough.set()
            self._thread.join(2)
