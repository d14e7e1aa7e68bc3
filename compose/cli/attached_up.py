"""An `up` whose user stays: the plan, the lines of containers and their ends, side by side.

This thread has the plan carried out and then waits for ends of containers; another prints their lines. The first
SIGINT, SIGTERM or SIGHUP stops the containers, the second kills them. The ends that count, for an end of the command
and for its exit code, are those of the services that were named. With `watch` a third thread tells this one of files
that have changed, and what they lead to is done here, where a signal undoes it in order.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import field, replace
from typing import TYPE_CHECKING

from pycompose.errors import PycomposeError
from pycompose.frozen import dataclass

from .drawing import Drawing
from .interrupts import interrupted_code
from .output import terminal

if TYPE_CHECKING:
    from pycompose.compose.app.following import Following
    from pycompose.compose.app.operations import Decide, PreparedUp
    from pycompose.compose.app.phases import Phase
    from pycompose.compose.app.watched_files import Changes
    from pycompose.compose.app.watcher import Watcher
    from pycompose.compose.control.protocol import HookOutput
    from pycompose.compose.model.observed import ObservedContainer

    from .output.log_printer import LineStyle


@dataclass(slots=True)
class Attached:
    """An `up` whose user stays: what is followed, and what an end of a container leads to.

    `follow` are the services whose lines are shown, `named` those whose containers are waited for.
    """

    prepared: PreparedUp
    follow: frozenset[str] = frozenset()
    named: frozenset[str] = frozenset()
    exit_code_from: str = ""
    abort_on_exit: bool = False
    abort_on_failure: bool = False
    watch: bool = False
    _ends: queue.SimpleQueue[tuple[ObservedContainer, int | None, bool] | Changes | PycomposeError | None] = field(
        default_factory=queue.SimpleQueue
    )  # …or a batch of changed files, or why there will be no more of these
    _unwatched: threading.Event = field(default_factory=threading.Event)  # the watching thread is to end
    _watcher: Watcher | None = None
    _watching_thread: threading.Thread | None = None
    _settled: threading.Event = field(default_factory=threading.Event)  # the plan is carried out
    _enough: threading.Event = field(default_factory=threading.Event)  # the printing thread is to end
    _thread: threading.Thread | None = None
    _wake: Callable[[], None] = field(default=lambda: None)  # the printing thread looks at what it waits for
    _prefix: bool = True
    _stops: bool = False  # then all ends are waited for
    _codes: dict[str, int | None] = field(default_factory=dict)  # service -> how its first container ended

    def run(self, *, prefix: bool, colour: bool, timestamps: bool) -> int:
        from datetime import UTC, datetime

        from pycompose.compose.app import phases
        from pycompose.compose.control.protocol import HookOutput, Notice, StepProgress
        from pycompose.compose.plan.steps import AwaitCondition, CreateContainer, RenameContainer, StartContainer

        from .output.log_printer import manner

        self._prefix = prefix
        how = manner(prefix=prefix, colour=colour, timestamps=timestamps)
        since = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f000Z").encode()
        drawing = Drawing()
        making: set[str] = set()

        def begin() -> None:
            if self._thread is None:
                drawing.end()
                terminal.note(f"Attaching to {', '.join(self._names()) or 'nothing'}")
                following = self._following(how, since)
                self._wake = following.wake
                self._thread = threading.Thread(target=self._print, args=(following,), daemon=True)
                self._thread.start()

        def watch(event: Phase) -> None:
            nonlocal drawing
            match event:
                case phases.PlanBegin() if self._thread is not None:  # the screen is the containers' already
                    drawing = Drawing(plain=True)
                    drawing(event)
                case phases.PlanBegin(plan, title):
                    making.update(s.id for s in plan.steps if isinstance(s.action, CreateContainer | RenameContainer))
                    # What is started speaks for itself.
                    quiet = (StartContainer, AwaitCondition)
                    shown = replace(plan, steps=tuple(s for s in plan.steps if not isinstance(s.action, quiet)))
                    drawing(phases.PlanBegin(shown, title))
                    if not making:
                        begin()
                case Notice(text) if self._thread is not None:
                    terminal.warn(text)
                case HookOutput():
                    begin()
                    self._print_hook(event)
                case _:
                    drawing(event)
            if isinstance(event, StepProgress) and event.state != "started" and event.step in making:
                making.discard(event.step)
                if not making:
                    begin()

        held = ExitStack()
        try:
            if self.watch:
                self._watcher = held.enter_context(self._watching())
            self.prepared.apply(watch, attached=tuple(sorted(self.follow)))
            begin()
            if self._watcher is not None:
                self._watcher.begin()
                self._watching_thread = threading.Thread(target=self._watch, args=(self._watcher,), daemon=True)
                self._watching_thread.start()
            self._settled.set()
            self._wake()
            return self._wait()
        except KeyboardInterrupt:
            if self._stops:  # it is being killed already
                raise
            attached = self._thread is not None
            code = self._stop()
            return code if attached else interrupted_code()
        except PycomposeError:
            self._finish()
            raise
        finally:
            self._unwatched.set()
            if self._watching_thread is not None:
                self._watching_thread.join()
            held.close()

    def _watching(self) -> Watcher:
        """Raises PycomposeError where nothing is to be watched."""
        from pycompose.compose.app.watcher import Watcher, WatchOptions

        from .output.log_printer import prefix_width
        from .watch_words import SIGN, telling

        width = prefix_width(self._names()) + 1
        prefix = f"{' ' * width} {SIGN} " if self._prefix else ""
        return Watcher(self.prepared, telling(Drawing(plain=True), prefix), WatchOptions(seen_by="up"))

    def _watch(self, watcher: Watcher) -> None:
        """The watching thread."""
        try:
            while batch := watcher.changes(self._unwatched):
                self._ends.put(batch)
        except PycomposeError as error:
            self._ends.put(error)

    def _carry(self, watcher: Watcher, batch: Changes) -> None:
        """Do what changed files lead to; containers that end by that are no end of all."""
        self._settled.clear()
        try:
            watcher.act(batch)
        finally:
            self._settled.set()
            self._wake()

    def _goes_on(self, container: ObservedContainer) -> bool:
        """Whether a container whose end is told runs again, or another in its place, by the watch's doing."""
        if self._watcher is None:
            return False
        from pycompose.compose.state import observe

        now = {one.id: one for one in observe.containers(self.prepared.located.places)}
        return container.id not in now or now[container.id].runs

    def _names(self) -> list[str]:
        """As log lines are prefixed."""
        names, project = [], self.prepared.project
        for name in sorted(self.follow):
            service = project.services[name]
            count = 0 if service.provider else self.prepared.options.scale.get(name, service.replicas)
            names += [service.container_name or f"{name}{project.separator}{number + 1}" for number in range(count)]
        return names

    def _following(self, how: LineStyle, since: bytes) -> Following:
        from pycompose.compose.app.following import Following

        from .output.log_printer import Printer

        def chosen(container: ObservedContainer) -> bool:
            return not container.oneoff and container.service in self.prepared.selected

        def ended(container: ObservedContainer, code: int | None, again: bool) -> None:
            if container.service in self.follow:
                printer.ended(container, code, again=again)
            self._ends.put((container, code, again))

        def counts(container: ObservedContainer) -> bool:
            return self._stops or container.service in self.named

        places = self.prepared.located.places
        printer = Printer(places.project, how, shown=self.follow)
        return Following(places, chosen, printer, since=since, ended=ended, awaited=counts, attached=True)

    def _print(self, following: Following) -> None:
        """The printing thread."""
        try:
            following.begin()
            while not self._enough.is_set():
                settled = self._settled.is_set()
                if not following.turn():
                    if settled and self._settled.is_set():  # no batch of changed files has begun meanwhile
                        break
                    if self._settled.is_set():  # while that turn went on, which may have taken the wake for it
                        following.wake()
        except BrokenPipeError:
            pass
        finally:
            self._ends.put(None)

    def _wait(self) -> int:
        """Until all that count have ended, or one ends that all depend on. A signal is a KeyboardInterrupt."""
        while (end := self._ends.get()) is not None:
            if isinstance(end, PycomposeError):
                terminal.warn(f"Watch disabled with errors: {end}")
                continue
            if not isinstance(end, tuple):
                if self._watcher is not None:
                    self._carry(self._watcher, end)
                continue
            container, code, again = end
            if self._goes_on(container):
                continue
            self._codes.setdefault(container.service, code)
            if again or container.service not in self.named:
                continue
            if self.abort_on_exit or (self.abort_on_failure and code != 0):
                return self._abort(container.service, code)
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
            if isinstance(end, tuple):
                self._codes.setdefault(end[0].service, end[1])
        if stopped:
            return stopped
        return self._code(self._codes.get(wanted)) if wanted else self._code(code)

    def _stop(self, *, quiet: bool = False) -> int:
        """Stop what was started; killed, where the user asks again. 0 where it went gracefully."""
        from pycompose.compose.app import operations
        from pycompose.compose.plan import commands

        names, timeout = tuple(sorted(self.prepared.selected)), self.prepared.options.timeout
        self._stops = True
        try:
            terminal.leave_if_hung_up()
            if not quiet:
                terminal.end_line()
                terminal.note("Gracefully Stopping... press Ctrl+C again to force")
            providers = operations.stopping_providers(self.prepared.located, names)
            self._act(lambda observed: commands.stop(self.prepared.project, observed, names, timeout, providers))
            code = 0
        except KeyboardInterrupt:
            terminal.leave_if_hung_up()
            terminal.end_line()
            terminal.note("Killing...")
            self._act(lambda observed: commands.kill(self.prepared.project, observed, names))
            code = interrupted_code()
        self._finish(patience=3.0)  # all of them have ended: each is told
        return code

    def _print_hook(self, output: HookOutput) -> None:
        """As docker compose marks the lines of hooks."""
        from pycompose.compose.model.observed import short_name

        name = output.hook or short_name(output.container, self.prepared.project.name)
        prefix = f"{name} -> | " if self._prefix else ""
        terminal.say("".join(f"{prefix}{line}\n" for line in output.text.splitlines()), end="")

    def _act(self, decide: Decide) -> None:
        """Carry out a plan beside the printing: plain lines, because the screen is the containers'."""
        from pycompose.compose.app import operations, phases
        from pycompose.compose.control.protocol import HookOutput

        drawing = Drawing(plain=True)

        def tell(event: Phase) -> None:
            if isinstance(event, HookOutput):
                self._print_hook(event)
            elif not isinstance(event, phases.LockAwaited):  # the plan that was interrupted is being undone
                drawing(event)

        operations.apply(self.prepared.choices, self.prepared.located, decide, "stop", tell)

    def _finish(self, patience: float = 0.5) -> None:
        """Let the printing thread say what is left; containers that still run would keep it for ever."""
        self._settled.set()
        self._wake()
        if self._thread is not None:
            self._thread.join(patience)
            self._enough.set()
            self._wake()
            self._thread.join(2)
