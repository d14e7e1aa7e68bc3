"""`up`: the whole of a project made and started, and watched where the user stays attached."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click
from pycompose.compose.app import locate as projects
from pycompose.compose.app.choices import Choices
from pycompose.compose.cli.attached_up import CANCELLED, Attached
from pycompose.compose.cli.command import command
from pycompose.compose.cli.options import SECONDS
from pycompose.compose.cli.output import terminal
from pycompose.compose.state import lookup
from pycompose.errors import PycomposeError

if TYPE_CHECKING:
    from pycompose.compose.model.project import Project
    from pycompose.compose.plan.reconcile import UpOptions
    from pycompose.runtime.places import ProjectPlaces

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
    context.exit(begin(context.obj, services, **given))


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
    lookup.check(names, project.services)


def begin(choices: Choices, services: tuple[str, ...], **given: Any) -> int:
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
    from pycompose.compose.cli import image_progress

    return image_progress.make_ready(
        choices,
        project,
        services,
        no_deps=bool(given.get("no_deps")),
        policy=given["pull"],
        quiet=bool(given["quiet_pull"]),
        build=False if given["no_build"] else given["build"] or None,
        quiet_build=bool(given["quiet_build"]),
    )
