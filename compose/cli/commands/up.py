"""`up`: the whole of a project made and started, and watched where the user stays attached."""

from __future__ import annotations

import os
import select
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

import click
from pycompose.compose.app.choices import Choices
from pycompose.compose.cli.arguments import SECONDS, Switch, counts_of
from pycompose.compose.cli.command import command
from pycompose.compose.cli.drawing import Drawing, shown
from pycompose.compose.cli.misuse import Misuse
from pycompose.compose.cli.output import terminal
from pycompose.compose.cli.remote_stack import confirm
from pycompose.compose.model.own_variables import switched_on
from pycompose.frozen import dataclass

if TYPE_CHECKING:
    from pycompose.compose.app.image_operations import ImageOptions
    from pycompose.compose.app.operations import PreparedUp
    from pycompose.compose.plan.reconcile import UpOptions

INTERRUPTED = "`pycompose up -d` goes on, `pycompose down` clears up"
PULL = click.option(
    "--pull", type=click.Choice(["always", "missing", "never"]), metavar="WHEN", help="Fetch: always, missing, never."
)


@dataclass(frozen=True, slots=True)
class Making:
    """Options that `up` and `create` have in common."""

    scales: tuple[str, ...]
    force_recreate: bool
    no_recreate: bool
    remove_orphans: bool
    pull: Literal["always", "missing", "never"] | None
    quiet_pull: bool
    build: bool
    no_build: bool
    quiet_build: bool
    yes: bool

    def choices(self, choices: Choices) -> Choices:
        """With leave to fetch what files name elsewhere, where --yes gives it."""
        return replace(choices, approve=lambda _: True) if self.yes else choices

    def options(self, services: tuple[str, ...]) -> UpOptions:
        from pycompose.compose.plan.reconcile import UpOptions

        return UpOptions(
            services=services,
            scale=counts_of(self.scales),
            force_recreate=self.force_recreate,
            no_recreate=self.no_recreate,
            remove_orphans=self.remove_orphans,
            ignore_orphans=switched_on(os.environ.get("COMPOSE_IGNORE_ORPHANS")),
        )

    def images(self) -> ImageOptions:
        from pycompose.compose.app.image_operations import ImageOptions

        return ImageOptions(self.pull, False if self.no_build else self.build or None)

    def drawing(self) -> Drawing:
        return Drawing(quiet_transfers=self.quiet_pull, quiet_builds=self.quiet_build)

    def remake(self, volume: str) -> bool:
        """Whether a volume that the file defines otherwise now is made anew: --yes, or whoever is asked says so."""
        if self.yes:
            return True
        if not sys.stdin.isatty() and not select.select([sys.stdin], [], [], 0)[0]:
            return False  # nobody is there to answer
        with suppress(click.Abort):
            question = f'Volume "{volume}" is not as the file says now. Make it anew (its data will be lost)?'
            return click.confirm(question, default=False, err=True)
        return False


@dataclass(frozen=True, slots=True)
class Watching:
    """What is followed of an attached `up`, and when it ends."""

    attached: tuple[str, ...]
    detached: tuple[str, ...]
    attach_dependencies: bool
    no_color: bool
    no_log_prefix: bool
    timestamps: bool
    abort_on_container_exit: bool
    abort_on_container_failure: bool
    exit_code_from: str | None


def shared_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """The options of `Making`, and the services."""
    orphans = "Remove containers of services that the file does not have."
    for option in reversed(
        (
            click.option("--scale", "scales", multiple=True, metavar="SERVICE=NUM", help="How many of a service."),
            click.option("--force-recreate", is_flag=True, help="Make containers anew even if nothing changed."),
            click.option("--no-recreate", is_flag=True, help="Leave containers that exist as they are."),
            click.option("--remove-orphans", cls=Switch, is_flag=True, envvar="COMPOSE_REMOVE_ORPHANS", help=orphans),
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
        "--watch",
    ),
    "When it ends": ("--abort-on-container-exit", "--abort-on-container-failure", "--exit-code-from", "--timeout"),
    "Images": ("--pull", "--quiet-pull", "--build", "--no-build", "--quiet-build"),
}


MENU = "There is no menu, and this says so: --watch watches, Ctrl-C stops."


def _without_menu(_: click.Context, __: click.Parameter, value: bool) -> None:
    if value:
        terminal.warn("--menu: there is no menu: `up --watch` watches files, Ctrl-C stops")


@command("up", groups=GROUPS, interrupted=INTERRUPTED)
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
@click.option("-w", "--watch", is_flag=True, help="Carry changes of files into containers, as the file says (develop).")
@click.option("--menu", is_flag=True, hidden=True, expose_value=False, callback=_without_menu, help=MENU)
@shared_options
@click.pass_context
def up(
    context: click.Context,
    /,
    services: tuple[str, ...],
    detach: bool,
    wait: bool,
    wait_timeout: float | None,
    no_deps: bool,
    no_start: bool,
    always_recreate_deps: bool,
    renew_anon_volumes: bool,
    timeout: float | None,
    watch: bool,
    **more: Any,
) -> None:
    """Make and start containers, and whatever they need. Without -d, follow them until Ctrl-C."""
    conflicts(context)
    making = Making(**{name: more[name] for name in Making.__slots__})
    choices = making.choices(context.obj)
    confirm(choices, yes=making.yes)
    watching = Watching(**{name: more[name] for name in Watching.__slots__})
    options = replace(
        making.options(services),
        no_deps=no_deps,
        wait=wait,
        wait_timeout=wait_timeout,
        timeout=timeout,
        no_start=no_start,
        renew_anonymous_volumes=renew_anon_volumes,
    )
    if detach or wait or no_start or choices.dry_run:
        make(choices, making, options, recreate_dependencies=always_recreate_deps)
        return

    from pycompose.compose.app import operations
    from pycompose.compose.cli.attached_up import Attached

    with operations.prepared_up(
        choices,
        options,
        making.images(),
        making.drawing(),
        recreate_dependencies=always_recreate_deps,
        remake=making.remake,
    ) as prepared:
        follow = _followed(prepared, services, watching)
        source = watching.exit_code_from or ""
        prepared.located.check((source,) if source else ())
        named = frozenset(services) or follow or prepared.selected
        attached = Attached(prepared, follow, named | ({source} if source else set()), source)
        attached.abort_on_failure = watching.abort_on_container_failure
        attached.abort_on_exit = (watching.abort_on_container_exit or bool(source)) and not attached.abort_on_failure
        attached.watch = watch
        code = attached.run(
            prefix=not watching.no_log_prefix, colour=not watching.no_color, timestamps=watching.timestamps
        )
    context.exit(code)


def make(choices: Choices, making: Making, options: UpOptions, *, recreate_dependencies: bool = False) -> None:
    """Bring a project up in the background."""
    from pycompose.compose.app import operations

    outcome = operations.up(
        choices,
        options,
        making.images(),
        making.drawing(),
        recreate_dependencies=recreate_dependencies,
        remake=making.remake,
    )
    shown(choices, outcome)


ATTACHED = (
    "cannot be combined with --abort-on-container-exit, --abort-on-container-failure, --attach, --attach-dependencies "
    "or --watch"
)


def conflicts(context: click.Context) -> None:
    """As docker compose refuses them, in its words and its order."""

    def given(name: str) -> bool:
        return bool(context.params.get(name))

    aborts = given("abort_on_container_exit") or (given("exit_code_from") and not given("abort_on_container_failure"))
    follows = given("attached") or given("attach_dependencies") or aborts
    bound = follows or given("abort_on_container_failure") or given("watch")
    waits_below_zero = (context.params.get("wait_timeout") or 0) < 0
    clashes = {
        "--abort-on-container-failure cannot be combined with --abort-on-container-exit": aborts
        and given("abort_on_container_failure"),
        "--wait cannot be combined with --abort-on-container-exit, --attach or --attach-dependencies": given("wait")
        and follows,
        "--build and --no-build are incompatible": given("build") and given("no_build"),
        f"--wait {ATTACHED}": given("wait") and bound,
        f"--detach {ATTACHED}": given("detach") and bound,
        "--no-recreate and --renew-anon-volumes are incompatible": given("no_recreate") and given("renew_anon_volumes"),
        "--force-recreate and --no-recreate are incompatible": given("force_recreate") and given("no_recreate"),
        "--always-recreate-deps and --no-recreate are incompatible": given("always_recreate_deps")
        and given("no_recreate"),
        "--no-build and --watch are incompatible": given("no_build") and given("watch"),
        "cannot combine --attach and --attach-dependencies": given("attached") and given("attach_dependencies"),
        "--wait-timeout must be a non-negative integer": waits_below_zero,
    }
    for message, clash in clashes.items():
        if clash:
            raise Misuse(message, context=context)
    orphans_both_ways(context, removed=given("remove_orphans"))


def orphans_both_ways(context: click.Context, *, removed: bool) -> None:
    """Raises Misuse where orphans are to be removed and ignored."""
    if removed and switched_on(os.environ.get("COMPOSE_IGNORE_ORPHANS")):
        raise Misuse("cannot combine COMPOSE_IGNORE_ORPHANS and --remove-orphans", context=context)


def _followed(prepared: PreparedUp, services: tuple[str, ...], watching: Watching) -> frozenset[str]:
    """The services whose lines are shown."""
    prepared.located.check((*watching.attached, *watching.detached))
    if watching.attached:
        chosen = set(watching.attached)
    else:
        named = prepared.selected if watching.attach_dependencies or not services else set(services)
        chosen = {name for name in named if prepared.project.services[name].attach}
    return frozenset(chosen - set(watching.detached))
