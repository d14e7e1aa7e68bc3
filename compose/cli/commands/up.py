"""up and create: the whole of a project made and started, and watched where the user stays attached.

Attached, two things happen side by side: this thread has the plan carried out and then waits for ends of containers;
another prints their lines. The first Ctrl-C stops the containers, the second kills them.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterable
from dataclasses import field, replace
from typing import TYPE_CHECKING, Any

import click
from pycompose.compose.app import locate as projects
from pycompose.compose.cli.output import terminal
from pycompose.compose.cli.root import SECONDS, Choices, command
from pycompose.compose.state import lookup
from pycompose.errors import PycomposeError
from pycompose.frozen import dataclass

if TYPE_CHECKING:
    from pycompose.compose.model.project import Project
    from pycompose.compose.plan.reconcile import UpOptions
    from pycompose.compose.state.lookup import Seen
    from pycompose.runtime.places import ProjectPlaces

CANCELLED = 130
PULL = click.option(
    "--pull", type=click.Choice(["always", "missing", "never"]), metavar="WHEN", help="Fetch: always, missing, never."
)


def shared_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """What `up` and `create` have in common."""
    orphans = "Remove containers of services that the file does not have."
    for option in reversed(
        (
            click.option("--scale", "scales", multiple=True, metavar="SERVICE=NUM", help="How many of a service."),
            click.option("--force-recreate", is_flag=True, help="Make containers anew even if nothing changed."),
            click.option("--no-recreate", is_flag=True, help="Leave containers that exist as they are."),
            click.option("--remove-orphans", is_flag=True, envvar="COMPOSE_REMOVE_ORPHANS", help=orphans),
            PULL,
            click.option("--quiet-pull", is_flag=True, help="Fetch images without showing it."),
            click.option("--build", is_flag=True, help="Build images first."),
            click.option("--no-build", is_flag=True, help="Do not build images, even if they are missing."),
            click.option("--quiet-build", is_flag=True, help="Build images without showing it."),
            click.option("-y", "--yes", is_flag=True, help="Do not ask."),
            click.argument("services", nargs=-1),
        )
    ):
        function = option(function)
    return function


@command("create")
@shared_options
@click.pass_obj
def create(choices: Choices, /, services: tuple[str, ...], **given: Any) -> None:
    """Make containers, networks and volumes without starting anything."""
    _begin(choices, services, no_start=True, detach=True, **given)


GROUPS = {
    "In the background": ("--detach", "--wait", "--wait-timeout", "--no-start"),
    "What is made": (
        "--scale",
        "--no-deps",
        "--force-recreate",
        "--no-recreate",
        "--always-recreate-deps",
        "--renew-anon-volumes",
        "--remove-orphans",
    ),
    "What is followed": (
        "--attach",
        "--no-attach",
        "--attach-dependencies",
        "--no-color",
        "--no-log-prefix",
        "--timestamps",
    ),
    "When it ends": ("--abort-on-container-exit", "--abort-on-container-failure", "--exit-code-from", "--timeout"),
    "Images": ("--pull", "--quiet-pull", "--build", "--no-build", "--quiet-build"),
}


@command("up", accepted=("--menu", "-w/--watch"), groups=GROUPS)
@click.option("-d", "--detach", is_flag=True, help="Do not stay attached.")
@click.option("--wait", is_flag=True, help="Wait until services run or are healthy; implies -d.")
@click.option("--wait-timeout", type=float, metavar="SECONDS", help="How long to wait at most.")
@click.option("--no-deps", is_flag=True, help="Leave out what the services depend on.")
@click.option("--no-start", is_flag=True, help="Make containers and do not start them.")
@click.option("--always-recreate-deps", is_flag=True, help="Make what the services depend on anew, too.")
@click.option("-V", "--renew-anon-volumes", is_flag=True, help="Do not go on with anonymous volumes.")
@click.option("-t", "--timeout", type=SECONDS, metavar="SECONDS", help="Before a container that stops is killed.")
@click.option("--abort-on-container-exit", is_flag=True, help="Stop all when one ends; end with its exit code.")
@click.option("--abort-on-container-failure", is_flag=True, help="Stop all when one fails; end with its exit code.")
@click.option("--exit-code-from", metavar="SERVICE", help="End with this service's exit code; stops all when one ends.")
@click.option("--attach", "attached", multiple=True, metavar="SERVICE", help="Follow only this service.")
@click.option("--no-attach", "detached", multiple=True, metavar="SERVICE", help="Do not follow this service.")
@click.option("--attach-dependencies", is_flag=True, help="Follow what the services depend on, too.")
@click.option("--no-color", is_flag=True, help="No colours.")
@click.option("--no-log-prefix", is_flag=True, help="Do not put the container's name before each line.")
@click.option("--timestamps", is_flag=True, help="Put the time before each line.")
@shared_options
@click.pass_context
def up(context: click.Context, /, services: tuple[str, ...], **given: Any) -> None:
    """Make and start containers, and whatever they need. Without -d, follow them until Ctrl-C."""
    context.exit(_begin(context.obj, services, **given))


def _conflicts(given: dict[str, Any]) -> None:
    """As docker compose refuses them."""
    import os

    def said(name: str) -> bool:
        return bool(given.get(name))

    def clash(one: str, other: str) -> None:
        raise click.UsageError(f"--{one} and --{other} cannot go together")

    names = {"attached": "attach", "detached": "no-attach", "renew_anon_volumes": "renew-anon-volumes"}
    aborting = ("abort_on_container_exit", "abort_on_container_failure", "exit_code_from")
    following = ("attached", "attach_dependencies", *aborting)

    def word(name: str) -> str:
        return names.get(name, name.replace("_", "-"))

    if said("abort_on_container_exit") and said("abort_on_container_failure"):
        clash("abort-on-container-exit", "abort-on-container-failure")
    for away in ("detach", "wait"):
        for name in following:
            if said(away) and said(name):
                clash(away, word(name))
    if said("build") and said("no_build"):
        clash("build", "no-build")
    for name in ("force_recreate", "always_recreate_deps", "renew_anon_volumes"):
        if said("no_recreate") and said(name):
            clash("no-recreate", word(name))
    if said("attached") and said("attach_dependencies"):
        clash("attach", "attach-dependencies")
    if given.get("wait_timeout") is not None and given["wait_timeout"] < 0:
        raise click.UsageError("--wait-timeout cannot be negative")
    if said("remove_orphans") and os.environ.get("COMPOSE_IGNORE_ORPHANS", "").lower() in ("1", "true"):
        raise click.UsageError("--remove-orphans and COMPOSE_IGNORE_ORPHANS cannot go together")


def _needed_by(project: Project, names: Iterable[str]) -> set[str]:
    """The services and all that they depend on."""
    found: set[str] = set()
    waiting = list(names)
    while waiting:
        name = waiting.pop()
        if name not in found and name in project.services:
            found.add(name)
            waiting += [dependency.service for dependency in project.services[name].depends_on]
    return found


def _check(project: Project, names: Iterable[str]) -> None:
    for name in names:
        if name not in project.services:
            raise lookup.no_such_service(name, project.services)


def _begin(choices: Choices, services: tuple[str, ...], **given: Any) -> int:
    _conflicts(given)
    likely = None if choices.dry_run else projects.likely_places(choices)
    if likely is None:
        return _go(choices, services, given, None, lambda: False)
    from pycompose.compose.control.session import waking

    with waking(likely) as ready:
        return _go(choices, services, given, likely, ready)


def _go(
    choices: Choices,
    services: tuple[str, ...],
    given: dict[str, Any],
    likely: ProjectPlaces | None,
    ready: Callable[[], bool],
) -> int:
    from pycompose.compose.cli import run_plan
    from pycompose.compose.plan import reconcile

    places, known = projects.target(choices, services, remembered=False)
    project = projects.needed(known)
    _check(project, services)
    if not project.services:
        raise PycomposeError("no service selected", hint="the file's services may all be behind a profile (--profile)")
    counts = projects.counts_of(given["scales"])
    _check(project, counts)
    no_deps = bool(given.get("no_deps"))
    selected = set(services) if no_deps and services else _needed_by(project, services or project.services)
    options = reconcile.UpOptions(
        services=services,
        scale=counts,
        no_deps=no_deps,
        force_recreate=given["force_recreate"],
        no_recreate=given["no_recreate"],
        remove_orphans=given["remove_orphans"],
        wait=bool(given.get("wait")),
        wait_timeout=given.get("wait_timeout"),
        timeout=given.get("timeout"),
        no_start=bool(given.get("no_start")),
        renew_anonymous_volumes=bool(given.get("renew_anon_volumes")),
    )
    if given.get("always_recreate_deps"):
        options = _with_dependencies_recreated(options, selected)
    fresh = ready()
    if likely is not None and likely != places:
        run_plan.shut_down_if_empty(likely)
    options = replace(options, images=_images(choices, project, services, given))

    def decide(seen: Any) -> Any:
        return reconcile.up(project, seen, options)

    away = any(given.get(name) for name in ("detach", "wait", "no_start")) or choices.dry_run
    title = "create" if given.get("no_start") else "up"
    if away:
        try:
            run_plan.run(choices, places, project, decide, title, keep=True, fresh=fresh)
        except KeyboardInterrupt:
            terminal.error(
                "interrupted: what was under way is undone, what was finished stays",
                "`pycompose up -d` goes on, `pycompose down` clears up",
            )
            return CANCELLED
        return 0
    attached = Attached(choices, places, project, frozenset(selected), options)
    attached.fresh = fresh
    attached.follow = _followed(project, services, selected, given)
    if source := given.get("exit_code_from"):
        _check(project, [source])
        attached.exit_code_from = source
    attached.abort_on_failure = given["abort_on_container_failure"]
    attached.abort_on_exit = (given["abort_on_container_exit"] or bool(source)) and not attached.abort_on_failure
    return attached.run(
        decide, prefix=not given["no_log_prefix"], colour=not given["no_color"], timestamps=given["timestamps"]
    )


def _with_dependencies_recreated(options: UpOptions, selected: set[str]) -> UpOptions:
    """Everything selected is made anew, not only what was named."""
    return replace(options, services=tuple(sorted(selected)), force_recreate=True)


def _followed(project: Project, services: tuple[str, ...], selected: set[str], given: dict[str, Any]) -> frozenset[str]:
    """The services whose lines are shown."""
    _check(project, (*given["attached"], *given["detached"]))
    if given["attached"]:
        chosen = set(given["attached"])
    else:
        named = selected if given["attach_dependencies"] or not services else set(services)
        chosen = {name for name in named if project.services[name].attach}
    return frozenset(chosen - set(given["detached"]))


def _images(choices: Choices, project: Project, services: tuple[str, ...], given: dict[str, Any]) -> dict[str, str]:
    """Service -> digest of its image, fetched or built if it is due; what is missing then is an error."""
    from . import pull

    return pull.make_ready(
        choices,
        project,
        services,
        no_deps=bool(given.get("no_deps")),
        policy=given["pull"],
        quiet=bool(given["quiet_pull"]),
        build=False if given["no_build"] else given["build"] or None,
        quiet_build=bool(given["quiet_build"]),
    )


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
    _ends: queue.SimpleQueue[tuple[Seen, int | None, bool] | None] = field(default_factory=queue.SimpleQueue)
    _settled: threading.Event = field(default_factory=threading.Event)  # the plan is carried out
    _enough: threading.Event = field(default_factory=threading.Event)  # the printing thread is to end
    _thread: threading.Thread | None = None
    _codes: dict[str, int | None] = field(default_factory=dict)  # service -> how its first container ended

    def run(self, decide: Callable[[Any], Any], *, prefix: bool, colour: bool, timestamps: bool) -> int:
        from datetime import UTC, datetime

        from pycompose.compose.cli import run_plan
        from pycompose.compose.cli.output.live import Progress
        from pycompose.compose.cli.output.log_follower import manner
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

        def watch(answer: dict[str, Any]) -> None:
            assert progress is not None
            if self._thread is None:
                progress.take(answer)
                if answer.get("state") in ("done", "failed", "skipped"):
                    making.discard(str(answer.get("step")))
                    if not making:
                        begin()
            elif "warning" in answer:
                terminal.warn(str(answer["warning"]))

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

        def chosen(seen: Seen) -> bool:
            return not seen.oneoff and seen.service in self.selected

        def ended(seen: Seen, code: int | None, again: bool) -> None:
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
            watch=lambda answer: shown[0].take(answer),
            planned=lambda plan: shown.append(Progress(plan, "stop", plain=True)),
        )

    def _finish(self, patience: float = 0.5) -> None:
        """Let the printing thread say what is left; containers that still run would keep it for ever."""
        self._settled.set()
        if self._thread is not None:
            self._thread.join(patience)
            self._enough.set()
            self._thread.join(2)
