"""Operations on a project: images are made ready, then it is locked, observed once and changed by a plan.

One function a command, with typed options; the command line, the Python API and the Engine API stand on them. Rules:
prints nothing and asks nobody; what there is to say while it goes on is handed to `tell`, as values of `phases`. In a
dry run (`choices.dry_run`) the plan is made and nothing is done. Errors are PycomposeError; an interrupt goes through,
and what was under way is undone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager, nullcontext
from dataclasses import replace
from typing import TYPE_CHECKING, Literal

from pycompose.errors import PycomposeError
from pycompose.frozen import dataclass

from . import locate, phases
from .choices import Choices
from .deadline import NO_DEADLINE, Deadline
from .phases import silent

if TYPE_CHECKING:
    from pycompose.compose.model.observed import Observed
    from pycompose.compose.model.project import Project
    from pycompose.compose.plan.commands import DownOptions
    from pycompose.compose.plan.reconcile import UpOptions
    from pycompose.compose.plan.steps import Plan
    from pycompose.runtime.places import ProjectPlaces

    from .image_operations import ImageOptions
    from .locate import Located
    from .phases import Tell

Decide = Callable[["Observed"], "Plan"]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What an operation has done, or (in a dry run) would do. `observed` is what existed when it was decided."""

    places: ProjectPlaces
    project: Project | None
    observed: Observed
    plan: Plan


def apply(
    choices: Choices,
    located: Located,
    decide: Decide,
    title: str,
    tell: Tell = silent,
    *,
    keep: bool = False,
    attached: tuple[str, ...] = (),
    deadline: Deadline = NO_DEADLINE,
    ready: Callable[[], None] = lambda: None,
) -> Outcome:
    """Lock the project, observe it, decide, and have the plan carried out. With `keep` the project becomes the newest.

    `attached` are services whose containers somebody follows from their start; `deadline` is that of a plan that has a
    timeout. `ready` is called when the keeper and the supervisor are there and nothing is done yet. Raises
    PycomposeError if a step fails.
    """
    from pycompose.compose.state.observe import observe

    places, project = located.places, located.project
    if choices.dry_run:
        observed = observe(places)
        return _warned(Outcome(places, project, observed, decide(observed)), tell)

    from pycompose.compose.control import session

    with ExitStack() as held:
        with deadline.over("another command acted on the project"):
            lock = held.enter_context(session.locked(places, lambda: tell(phases.LockAwaited(places.project))))
        observed = observe(places)
        plan = decide(observed)
        if (plan.steps or keep) and session.wake(places):  # a supervisor that came up may have changed something
            observed = observe(places)
            plan = decide(observed)
        if deadline.seconds is not None:
            plan = replace(plan, spent=deadline.spent)
        outcome = _warned(Outcome(places, project, observed, plan), tell)
        if plan.steps or keep:
            ready()
            with phases.phase(tell, phases.PlanBegin(plan, title)):
                _carry_out(choices, outcome, lock, tell, keep, attached)
        elif plan.running:
            with phases.phase(tell, phases.PlanBegin(plan, title)):
                pass
        return outcome


def _warned(outcome: Outcome, tell: Tell) -> Outcome:
    for warning in outcome.plan.warnings:
        tell(phases.OperationWarning(warning))
    return outcome


def _carry_out(
    choices: Choices, outcome: Outcome, lock: int, tell: Tell, keep: bool, attached: tuple[str, ...]
) -> None:
    from pycompose.compose.control import session

    places, project, plan, parallel = outcome.places, outcome.project, outcome.plan, choices.parallel or 0
    reports = session.carry_out(places, project, plan, lock, keep=keep, parallel=parallel, attached=attached)
    with closing(reports):
        for report in reports:
            tell(report)


def _target(choices: Choices, services: tuple[str, ...], tell: Tell, *, remembered: bool = True) -> Located:
    """The project to make, as its file has it."""
    return _told(locate.target(choices, services, remembered=remembered), tell)


def _existing(choices: Choices, services: tuple[str, ...], tell: Tell) -> Located:
    """The project whose containers are acted on, as its file has it where that can be read, else as on record."""
    return _told(locate.existing(choices, services), tell)


def _told(located: Located, tell: Tell) -> Located:
    if (project := located.project) and not project.order:
        order = tuple(project.services)  # where none needs another, no record has to be read
        if any(service.depends_on for service in project.services.values()):
            from pycompose.compose.state import generations

            order = generations.order(located.places, project)
        located = replace(located, project=replace(project, order=order))
    for warning in located.warnings:
        tell(phases.FileWarning(warning))
    return located


@dataclass(frozen=True, slots=True)
class PreparedUp:
    """A project whose images are ready and whose supervisor is there; `selected` are its services that are acted on."""

    choices: Choices
    located: Located
    project: Project
    selected: frozenset[str]
    options: UpOptions
    deadline: Deadline = NO_DEADLINE

    def apply(self, tell: Tell = silent, *, attached: tuple[str, ...] = ()) -> Outcome:
        from pycompose.compose.plan import reconcile

        def decide(observed: Observed) -> Plan:
            return reconcile.up(self.project, observed, self.options)

        title = "create" if self.options.no_start else "up"
        return apply(
            self.choices, self.located, decide, title, tell, keep=True, attached=attached, deadline=self.deadline
        )


@contextmanager
def prepared_up(
    choices: Choices,
    options: UpOptions,
    images: ImageOptions | None = None,
    tell: Tell = silent,
    *,
    recreate_dependencies: bool = False,
    remake: Callable[[str], bool] = lambda _: False,
) -> Iterator[PreparedUp]:
    """The first half of `up`, for whom has something to do before the second. Raises PycomposeError.

    `remake` is asked, with its name, for each volume that was made otherwise than the file says now: whether it is made
    anew, without its data. The supervisor comes up while files are read; when the body fails, a project without
    containers is ended again.
    """
    from pycompose.compose.control import session

    deadline = Deadline(options.wait_timeout if options.wait else None)  # else the wait for conditions alone
    options = replace(options, wait_timeout=options.wait_timeout or None)
    likely = None if choices.dry_run else locate.likely_places(choices)
    with session.waking(likely) if likely else nullcontext(lambda: False) as awake:
        located = _target(choices, options.services, tell, remembered=False)
        project = located.described
        if not project.services:
            hint = "the file's services may all be behind a profile (--profile)"
            raise PycomposeError("no service selected", hint=hint)
        located.check((*options.services, *options.scale))

        from pycompose.compose.plan import graph, select

        from .image_operations import make_ready
        from .images import mounted as mounted_images

        project = graph.ordered(project)  # while the supervisor starts
        located = replace(located, project=project)
        selected = frozenset(select.chosen(project, options.services, options.no_deps))
        if recreate_dependencies:  # everything selected is made anew, not only what was named
            options = replace(options, services=tuple(sorted(selected)), force_recreate=True)
        awake()
        if likely is not None and likely != located.places:
            session.close_if_empty(likely)
        with deadline.over("images not ready"):
            digests = make_ready(choices, project, options.services, images, tell, no_deps=options.no_deps)
        mounted = mounted_images(project, options.services, no_deps=options.no_deps)
        options = replace(options, images=digests, mounted_images=mounted)
        options = replace(options, remake_volumes=_agreed(located.places, project, options, remake))
        with deadline.over("providers not ready"):
            located = _provided(choices, located, selected, tell, options.scale)
        yield PreparedUp(choices, located, located.described, selected, options, deadline)


def selection(choices: Choices, options: UpOptions, tell: Tell = silent) -> PreparedUp:
    """The project and its selected services as in `prepared_up`, with nothing made ready. Raises PycomposeError."""
    from pycompose.compose.plan import graph, select

    located = _target(choices, options.services, tell, remembered=False)
    located.check(options.services)
    project = graph.ordered(located.described)
    located = replace(located, project=project)
    selected = frozenset(select.chosen(project, options.services, options.no_deps))
    return PreparedUp(choices, located, project, selected, options)


def _provided(
    choices: Choices, located: Located, services: frozenset[str], tell: Tell, counts: Mapping[str, int]
) -> Located:
    """The project with the variables that providers tell, which are run for `services`, but in a dry run."""
    project = located.described
    if all(service.provider is None for service in project.services.values()):
        return located
    from pycompose.compose.plan.reconcile import check_scale
    from pycompose.compose.state import generations

    from . import providers

    check_scale(project, counts)
    if choices.dry_run:
        providers.planned(project, services, "up", tell)
        services = frozenset()
    earlier = generations.newest(located.places)
    return replace(located, project=providers.up(project, services, located.variables, tell, earlier))


def end_provided(
    choices: Choices, located: Located, services: tuple[str, ...], verb: Literal["stop", "down"], tell: Tell
) -> bool:
    """Stop or remove what providers run; whether there is any."""
    project = located.project
    if project is None or all(service.provider is None for service in project.services.values()):
        return False
    from . import providers

    if choices.dry_run:
        providers.planned(project, services, verb, tell)
        return True
    return providers.end(project, services, verb, located.variables, tell)


def _agreed(
    places: ProjectPlaces, project: Project, options: UpOptions, remake: Callable[[str], bool]
) -> frozenset[str]:
    if not project.volumes:
        return frozenset()
    from pycompose.compose.model.observed import Observed
    from pycompose.compose.plan.reconcile import changed_volumes
    from pycompose.compose.state import observe

    volumes = observe.volumes(places, names=[volume.name for volume in project.volumes.values()])
    changed = changed_volumes(project, Observed(project.name, volumes=volumes), options)
    if agreed := frozenset(name for name in changed if remake(name)):
        _check_unshared(project.name, agreed)
    return agreed


def _check_unshared(project: str, volumes: frozenset[str]) -> None:
    """Raises PycomposeError, before anything is stopped, for a volume that containers of another project have."""
    from pycompose.runtime.places import Places
    from pycompose.runtime.state import usage

    others = [one for one in usage.everyone(Places.default()) if one.project != project]
    for name in sorted(volumes):
        if users := [f"{one.container} (project {one.project})" for one in others if name in one.uses.volumes]:
            raise PycomposeError(
                f'volume "{name}" cannot be made anew, as the file says it now: it is used by {", ".join(users)}',
                hint="remove those containers first, or give this volume another name",
            )


def up(
    choices: Choices,
    options: UpOptions,
    images: ImageOptions | None = None,
    tell: Tell = silent,
    *,
    recreate_dependencies: bool = False,
    remake: Callable[[str], bool] = lambda _: False,
) -> Outcome:
    """Make and start containers, and whatever they need. `create` is this with `options.no_start`."""
    with prepared_up(
        choices, options, images, tell, recreate_dependencies=recreate_dependencies, remake=remake
    ) as prepared:
        return prepared.apply(tell)


def scale(
    choices: Choices,
    counts: Mapping[str, int],
    tell: Tell = silent,
    *,
    no_deps: bool = False,
    timeout: float | None = None,
) -> Outcome:
    """Set how many containers services have."""
    from pycompose.compose.plan import graph, reconcile, select

    from .image_operations import make_ready

    located = _target(choices, tuple(counts), tell)
    project = graph.ordered(located.described)
    located = replace(located, project=project)
    digests = make_ready(choices, project, tuple(counts), None, tell, no_deps=no_deps)
    located = _provided(choices, located, frozenset(select.chosen(project, tuple(counts), no_deps)), tell, counts)
    project = located.described
    options = reconcile.UpOptions(no_deps=no_deps, timeout=timeout, images=digests)

    def decide(observed: Observed) -> Plan:
        return reconcile.scale(project, observed, counts, options)

    return apply(choices, located, decide, "scale", tell, keep=True)


def down(
    choices: Choices,
    options: DownOptions,
    tell: Tell = silent,
    *,
    images: Literal["local", "all"] | None = None,
) -> Outcome:
    """Stop and remove containers and networks, and `images` too: all, or those that are built and not named (local).

    A project without containers is ended and forgotten.
    """
    from pycompose.compose.plan import commands

    located = _existing(choices, options.services, tell)

    def decide(observed: Observed) -> Plan:
        return commands.down(located.project, observed, options)

    outcome = apply(choices, located, decide, "down", tell)
    provided = end_provided(choices, located, options.services, "down", tell)
    if not choices.dry_run:
        from pycompose.compose.control import session

        if not (outcome.plan.steps or outcome.plan.warnings or provided):
            text = f"no resource found to remove for project {located.places.project!r}"
            tell(phases.OperationWarning(text))
        session.close_if_empty(located.places)
    if images:
        from .image_operations import remove_unused

        remove_unused(choices, outcome.project, outcome.observed, images, tell)
    return outcome


def stop(
    choices: Choices, services: tuple[str, ...] = (), tell: Tell = silent, *, timeout: float | None = None
) -> Outcome:
    """Stop containers, and keep them."""
    from pycompose.compose.plan import commands

    located = _existing(choices, services, tell)

    def decide(observed: Observed) -> Plan:
        return commands.stop(located.project, observed, services, timeout)

    outcome = apply(choices, located, decide, "stop", tell)
    end_provided(choices, located, services, "stop", tell)
    return outcome


def start(
    choices: Choices,
    services: tuple[str, ...] = (),
    tell: Tell = silent,
    *,
    wait: bool = False,
    wait_timeout: float | None = None,
) -> Outcome:
    """Start containers that exist; with `wait`, return when they run or are healthy."""
    from pycompose.compose.plan import commands

    deadline = Deadline(wait_timeout if wait else None)
    located = _existing(choices, services, tell)

    def decide(observed: Observed) -> Plan:
        return commands.start(located.project, observed, services, wait=wait, timeout=wait_timeout or None)

    return apply(choices, located, decide, "start", tell, deadline=deadline)


def restart(
    choices: Choices,
    services: tuple[str, ...] = (),
    tell: Tell = silent,
    *,
    timeout: float | None = None,
    no_deps: bool = False,
) -> Outcome:
    """Stop containers and start them again; a changed file is not looked at."""
    from pycompose.compose.plan import commands

    located = _existing(choices, services, tell)

    def decide(observed: Observed) -> Plan:
        return commands.restart(located.project, observed, services, timeout, no_deps)

    return apply(choices, located, decide, "restart", tell)


def kill(
    choices: Choices,
    services: tuple[str, ...] = (),
    tell: Tell = silent,
    *,
    signal: str = "SIGKILL",
    remove_orphans: bool = False,
) -> Outcome:
    """Send containers a signal; with `remove_orphans`, kill and remove those of services that are in no file, too."""
    from pycompose.compose.plan import commands

    located = _existing(choices, services, tell)

    def decide(observed: Observed) -> Plan:
        return commands.kill(located.project, observed, services, signal, remove_orphans=remove_orphans)

    return apply(choices, located, decide, "kill", tell)


def pause(choices: Choices, services: tuple[str, ...] = (), tell: Tell = silent) -> Outcome:
    """Freeze containers."""
    from pycompose.compose.plan import commands

    located = _existing(choices, services, tell)

    def decide(observed: Observed) -> Plan:
        return commands.pause(located.project, observed, services)

    return apply(choices, located, decide, "pause", tell)


def unpause(choices: Choices, services: tuple[str, ...] = (), tell: Tell = silent) -> Outcome:
    """Let frozen containers go on."""
    from pycompose.compose.plan import commands

    located = _existing(choices, services, tell)

    def decide(observed: Observed) -> Plan:
        return commands.unpause(located.project, observed, services)

    return apply(choices, located, decide, "unpause", tell)


def rm(
    choices: Choices,
    services: tuple[str, ...] = (),
    tell: Tell = silent,
    *,
    stop: bool = False,
    volumes: bool = False,
) -> Outcome:
    """Remove stopped containers; with `stop`, those that run too."""
    from pycompose.compose.plan import commands

    located = _existing(choices, services, tell)

    def decide(observed: Observed) -> Plan:
        return commands.rm(located.project, observed, services, stop=stop, volumes=volumes)

    return apply(choices, located, decide, "rm", tell)
