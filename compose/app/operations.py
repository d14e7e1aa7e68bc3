"""Operations on a project: images are made ready, then it is locked, observed once and changed by a plan.

One function a command, with typed options; the command line, the Python API and the Engine API stand on them. Rules:
prints nothing and asks nobody; what there is to say while it goes on is handed to `tell`, as values of `phases`. In a
dry run (`choices.dry_run`) the plan is made and nothing is done. Errors are PycomposeError; an interrupt goes through,
and what was under way is undone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager, nullcontext
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
    from .providers import Provided

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
    provided: Provided | None = None,
    along: frozenset[str] = frozenset(),
) -> Outcome:
    """Lock the project, observe it, decide, and have the plan carried out. With `keep` the project becomes the newest.

    `attached` are services whose containers somebody follows from their start; `deadline` is that of a plan that has a
    timeout. `ready` is called when the keeper and the supervisor are there and nothing is done yet. `provided` has the
    project of a plan that makes containers: where a provider tells other variables than it was decided by, what is left
    is decided again. Then running containers of other projects that share with what was started by its name, and have
    what another had, are made anew; `along` are projects for which that is done already. Raises
    PycomposeError if a step fails.
    """
    outcome = _applied(
        choices,
        located,
        decide,
        title,
        tell,
        keep=keep,
        attached=attached,
        deadline=deadline,
        ready=ready,
        provided=provided,
    )
    if not choices.dry_run and (started := _started(outcome.plan)):
        from .foreign_joiners import take_along

        along |= {outcome.places.project}

        def act(there: Located, decided: Decide) -> None:
            apply(choices, there, decided, f"up {there.places.project}", tell, along=along)

        take_along(outcome.places, started, along, act, tell)
    return outcome


def _started(plan: Plan) -> set[str]:
    from pycompose.compose.plan.steps import StartContainer

    return {step.action.name for step in plan.steps if isinstance(step.action, StartContainer)}


def _applied(
    choices: Choices,
    located: Located,
    decide: Decide,
    title: str,
    tell: Tell,
    *,
    keep: bool,
    attached: tuple[str, ...],
    deadline: Deadline,
    ready: Callable[[], None],
    provided: Provided | None,
) -> Outcome:
    from pycompose.compose.state.observe import observe

    places, project = located.places, provided.project if provided else located.project
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
        if plan.steps or keep:
            ready()
        while True:
            if deadline.seconds is not None:
                plan = replace(plan, spent=deadline.spent)
            outcome = _warned(Outcome(places, project, observed, plan), tell)
            if not (plan.steps or keep or plan.running):
                return outcome
            with phases.phase(tell, phases.PlanBegin(plan, title)):
                whole = _carry_out(choices, outcome, lock, tell, keep, attached, located.variables, provided)
            if whole or provided is None:
                return outcome
            before, observed = observed, observe(places)
            provided.heed_ends(before, observed)
            project = provided.project
            plan = decide(observed)


def _warned(outcome: Outcome, tell: Tell) -> Outcome:
    for warning in outcome.plan.warnings:
        tell(phases.OperationWarning(warning))
    return outcome


def _carry_out(
    choices: Choices,
    outcome: Outcome,
    lock: int,
    tell: Tell,
    keep: bool,
    attached: tuple[str, ...],
    variables: Mapping[str, str],
    provided: Provided | None,
) -> bool:
    """Whether all of the plan was done: False where steps were given up, to be planned anew."""
    from pycompose.compose.control import session
    from pycompose.compose.plan.steps import RunProvider

    places, project, plan, parallel = outcome.places, outcome.project, outcome.plan, choices.parallel or 0
    with ExitStack() as held:
        runs = None
        if project is not None and any(isinstance(step.action, RunProvider) for step in plan.steps):
            from .provider_runs import ProviderRuns

            runs = ProviderRuns(
                places, project, plan, outcome.observed, tell, variables=variables, provided=provided, keep=keep
            )
            tell = held.enter_context(runs).tell
        reports = session.carry_out(
            places,
            project,
            plan,
            lock,
            keep=keep,
            parallel=parallel,
            attached=attached,
            connected=runs.connected if runs else _unheeded,
        )
        for report in held.enter_context(closing(reports)):
            tell(report)
    return not (runs and runs.superseded)


def _unheeded(_: object) -> None:
    pass


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

        provided = variables_of(self.located)

        def decide(observed: Observed) -> Plan:
            return reconcile.up(
                provided.project, observed, replace(self.options, provided=provided.run, ended=provided.ended)
            )

        title = "create" if self.options.no_start else "up"
        return apply(
            self.choices,
            self.located,
            decide,
            title,
            tell,
            keep=True,
            attached=attached,
            deadline=self.deadline,
            provided=provided,
        )


def variables_of(located: Located) -> Provided:
    """The project with the variables that its providers told last."""
    from pycompose.compose.state import generations

    from .providers import Provided, of_providers

    project = located.described
    return Provided(project, generations.newest(located.places) if of_providers(project) else None)


def _waking(choices: Choices, likely: ProjectPlaces | None) -> AbstractContextManager[Callable[[], bool]]:
    """What comes up meanwhile, unless it does already; nothing where nobody can tell for which project."""
    from pycompose.compose.control import session

    if choices.launched or likely is None:
        return nullcontext(choices.launched[1] if choices.launched else lambda: False)
    return session.waking(likely)


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
    likely = choices.launched[0] if choices.launched else None if choices.dry_run else locate.likely_places(choices)
    with _waking(choices, likely) as awake:
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
        yield PreparedUp(choices, located, project, selected, options, deadline)


def selection(choices: Choices, options: UpOptions, tell: Tell = silent) -> PreparedUp:
    """The project and its selected services as in `prepared_up`, with nothing made ready. Raises PycomposeError."""
    from pycompose.compose.plan import graph, select

    located = _target(choices, options.services, tell, remembered=False)
    located.check(options.services)
    project = graph.ordered(located.described)
    located = replace(located, project=project)
    selected = frozenset(select.chosen(project, options.services, options.no_deps))
    return PreparedUp(choices, located, project, selected, options)


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
    remove: tuple[str, ...] = (),
    no_deps: bool = False,
    timeout: float | None = None,
) -> Outcome:
    """Set how many containers services have. Those in `remove` go first; where as many are to stay, for new ones."""
    from pycompose.compose.plan import graph, reconcile

    from .image_operations import make_ready

    located = _target(choices, tuple(counts), tell)
    project = graph.ordered(located.described)
    reconcile.check_scale(project, counts)
    located = replace(located, project=project)
    digests = make_ready(choices, project, tuple(counts), None, tell, no_deps=no_deps)
    options = reconcile.UpOptions(remove=remove, no_deps=no_deps, timeout=timeout, images=digests)
    provided = variables_of(located)

    def decide(observed: Observed) -> Plan:
        return reconcile.scale(
            provided.project, observed, counts, replace(options, provided=provided.run, ended=provided.ended)
        )

    return apply(choices, located, decide, "scale", tell, keep=True, provided=provided)


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
    if not choices.dry_run:
        from pycompose.compose.control import session

        if not (outcome.plan.steps or outcome.plan.warnings):
            text = f'Warning: No resource found to remove for project "{located.places.project}".'
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
    providers = stopping_providers(located, services)

    def decide(observed: Observed) -> Plan:
        return commands.stop(located.project, observed, services, timeout, providers)

    return apply(choices, located, decide, "stop", tell)


def stopping_providers(located: Located, services: tuple[str, ...] = ()) -> frozenset[str]:
    """The services, of those named (of all, if none is), whose providers say that they can stop."""
    from .providers import of_providers

    project = located.project
    if project is None or not (names := of_providers(project, services)):
        return frozenset()
    from .provider_program import ProviderCall, stops

    return frozenset(name for name in names if stops(ProviderCall(project, project.services[name], located.variables)))


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
