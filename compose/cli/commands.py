"""The commands of `pycompose`, and the options that all of them share."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import click
from pycompose.compose.errors import PycomposeError

from . import images as stores

if TYPE_CHECKING:
    from pycompose.compose.file.loader import Loaded
    from pycompose.compose.model import Project
    from pycompose.runtime.places import ProjectPlaces
    from pycompose.runtime.record import ContainerState


@dataclass(frozen=True, slots=True)
class Choices:
    """What the user said before the command's name."""

    files: tuple[str, ...] = ()
    project_name: str | None = None
    project_directory: str | None = None
    env_files: tuple[str, ...] = ()
    profiles: tuple[str, ...] = ()
    dry_run: bool = False


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("-f", "--file", "files", multiple=True, metavar="FILE", help="A compose file; later ones are merged in.")
@click.option("-p", "--project-name", metavar="NAME", help="The project's name.")
@click.option("--project-directory", metavar="FOLDER", help="What relative paths start from.")
@click.option("--env-file", "env_files", multiple=True, metavar="FILE", help="Instead of .env.")
@click.option("--profile", "profiles", multiple=True, metavar="NAME", help="A profile to enable.")
@click.option("--dry-run", is_flag=True, help="Print the plan and do nothing.")
@click.pass_context
def cli(context: click.Context, /, **choices: Any) -> None:
    """Run a compose file on this machine."""
    context.obj = Choices(**choices)


@cli.command()
def version() -> None:
    """Say which version this is."""
    from importlib.metadata import version as installed

    click.echo(f"pycompose {installed('pycompose')}")


@cli.command()
@click.option("-q", "--quiet", is_flag=True, help="Only check the file.")
@click.option("--format", "form", type=click.Choice(["yaml", "json"]), default="yaml")
@click.option("--services", "what", flag_value="services", help="Print the names of services.")
@click.option("--volumes", "what", flag_value="volumes", help="Print the names of volumes.")
@click.option("--images", "what", flag_value="images", help="Print the images.")
@click.pass_obj
def config(choices: Choices, quiet: bool, form: str, what: str | None) -> None:
    """Check the compose file and print its canonical form."""
    from pycompose.compose.file import show

    loaded = _load(choices)
    if quiet:
        return
    lists = {"services": show.service_names, "volumes": show.volume_names, "images": show.images}
    if what:
        for line in lists[what](loaded):
            click.echo(line)
    else:
        click.echo((show.to_yaml if form == "yaml" else show.to_json)(loaded).rstrip("\n"))


@cli.command()
@click.option("-a", "--all", "every", is_flag=True, help="Stopped containers too.")
@click.option("-q", "--quiet", is_flag=True, help="Print ids only.")
@click.option("--format", "form", type=click.Choice(["table", "json"]), default="table")
@click.pass_obj
def ps(choices: Choices, every: bool, quiet: bool, form: str) -> None:
    """List the project's containers."""
    from pycompose.compose.observed import Label
    from pycompose.runtime.places import Places
    from pycompose.runtime.record import read_containers

    name = choices.project_name or _load(choices).project.name
    found = sorted(read_containers(Places.default().project(name)), key=lambda container: container.name)
    if not every:
        found = [container for container in found if container.status in ("running", "paused")]
    if quiet:
        for container in found:
            click.echo(container.id)
    elif form == "json":
        for container in found:
            service = container.annotations.get(Label.SERVICE, "")
            row = {"ID": container.id, "Name": container.name, "Service": service, "State": container.status}
            click.echo(json.dumps({**row, "ExitCode": container.exit_code}))
    else:
        _table(("NAME", "SERVICE", "STATUS"), [_row(container, Label.SERVICE) for container in found])


@cli.command(name="ls")
@click.option("-a", "--all", "every", is_flag=True, help="Projects without a running container too.")
def list_projects(every: bool) -> None:
    """List the projects of this machine."""
    from pycompose.runtime.places import Places
    from pycompose.runtime.record import read_containers

    places = Places.default()
    try:
        names = sorted(os.listdir(places.projects))
    except FileNotFoundError:
        names = []
    rows: list[tuple[str, ...]] = []
    for name in names:
        found = read_containers(places.project(name))
        states = [container.status for container in found]
        if every or "running" in states:
            rows.append((name, ", ".join(f"{state}({states.count(state)})" for state in sorted(set(states)))))
    _table(("NAME", "STATUS"), rows)


TIMEOUT = click.option("-t", "--timeout", type=float, metavar="SECONDS", help="Before a container is killed.")
SERVICES = click.argument("services", nargs=-1)


@cli.command()
@click.option("-d", "--detach", is_flag=True, help="Do not stay attached.")
@click.option("--wait", is_flag=True, help="Wait until services run or are healthy; does not stay attached.")
@click.option("--wait-timeout", type=float, metavar="SECONDS", help="How long to wait.")
@click.option("--scale", "scales", multiple=True, metavar="SERVICE=NUM", help="How many containers of a service.")
@click.option("--no-deps", is_flag=True, help="Leave out what the services depend on.")
@click.option("--no-start", is_flag=True, help="Make containers and do not start them.")
@click.option("--force-recreate", is_flag=True, help="Make containers anew even if nothing changed.")
@click.option("--no-recreate", is_flag=True, help="Leave containers that exist as they are.")
@click.option("-V", "--renew-anon-volumes", is_flag=True, help="Do not go on with anonymous volumes.")
@click.option("--remove-orphans", is_flag=True, help="Remove containers of services that the file does not have.")
@TIMEOUT
@SERVICES
@click.pass_obj
def up(
    choices: Choices,
    detach: bool,
    wait: bool,
    wait_timeout: float | None,
    scales: tuple[str, ...],
    no_deps: bool,
    no_start: bool,
    force_recreate: bool,
    no_recreate: bool,
    renew_anon_volumes: bool,
    remove_orphans: bool,
    timeout: float | None,
    services: tuple[str, ...],
) -> None:
    """Make and start containers, and whatever they need."""
    from pycompose.compose import images, reconcile

    from . import acting, watching

    if force_recreate and no_recreate:
        raise click.UsageError("--force-recreate and --no-recreate contradict each other")
    options = reconcile.UpOptions(
        services=services,
        scale=_counts(scales),
        no_deps=no_deps,
        force_recreate=force_recreate,
        no_recreate=no_recreate,
        remove_orphans=remove_orphans,
        wait=wait,
        wait_timeout=wait_timeout,
        timeout=timeout,
        no_start=no_start,
        renew_anonymous_volumes=renew_anon_volumes,
    )
    places, project = _target(choices, services, remembered=False)
    wanted = _needed(project)
    options = replace(options, images=images.ready(wanted, services, no_deps=no_deps))
    acting.run(places, wanted, lambda seen: reconcile.up(wanted, seen, options), dry_run=choices.dry_run, keep=True)
    if detach or wait or no_start or choices.dry_run:
        return
    try:
        watching.print_logs(places, (), follow=True, tail=None)
    except KeyboardInterrupt:
        click.echo("stopping; once more to leave it running", err=True)
        acting.run(places, wanted, lambda seen: reconcile.stop(wanted, seen, (), timeout), dry_run=False)
        raise


@cli.command()
@click.option("-v", "--volumes", is_flag=True, help="Remove volumes too.")
@click.option("--remove-orphans", is_flag=True, help="Remove containers of services that the file does not have.")
@TIMEOUT
@SERVICES
@click.pass_obj
def down(
    choices: Choices, volumes: bool, remove_orphans: bool, timeout: float | None, services: tuple[str, ...]
) -> None:
    """Stop and remove containers and networks."""
    from pycompose.compose import reconcile

    from . import acting

    places, project = _target(choices, services)
    options = reconcile.DownOptions(services, volumes, remove_orphans, timeout)
    acting.run(places, project, lambda seen: reconcile.down(project, seen, options), dry_run=choices.dry_run)
    if not choices.dry_run:
        acting.shut_down_if_empty(places)


@cli.command()
@click.option("--no-deps", is_flag=True, help="Leave out what the services depend on.")
@click.argument("scales", nargs=-1, required=True, metavar="SERVICE=NUM...")
@click.pass_obj
def scale(choices: Choices, no_deps: bool, scales: tuple[str, ...]) -> None:
    """Set how many containers services have."""
    from pycompose.compose import images, reconcile

    from . import acting

    counts = _counts(scales)
    places, project = _target(choices, tuple(counts))
    wanted = _needed(project)
    options = reconcile.UpOptions(no_deps=no_deps, images=images.ready(wanted, tuple(counts), no_deps=no_deps))
    acting.run(
        places,
        wanted,
        lambda seen: reconcile.scale(wanted, seen, counts, options),
        dry_run=choices.dry_run,
        keep=True,
    )


@cli.command()
@TIMEOUT
@SERVICES
@click.pass_obj
def stop(choices: Choices, timeout: float | None, services: tuple[str, ...]) -> None:
    """Stop containers."""
    _act(choices, services, "stop", services, timeout)


@cli.command()
@SERVICES
@click.pass_obj
def start(choices: Choices, services: tuple[str, ...]) -> None:
    """Start containers that exist."""
    _act(choices, services, "start", services)


@cli.command()
@click.option("--no-deps", is_flag=True, help="Leave alone what depends on the services.")
@TIMEOUT
@SERVICES
@click.pass_obj
def restart(choices: Choices, no_deps: bool, timeout: float | None, services: tuple[str, ...]) -> None:
    """Stop containers and start them again."""
    _act(choices, services, "restart", services, timeout, no_deps)


@cli.command()
@click.option("-s", "--signal", default="SIGKILL", metavar="SIGNAL", help="Instead of SIGKILL.")
@SERVICES
@click.pass_obj
def kill(choices: Choices, signal: str, services: tuple[str, ...]) -> None:
    """Send containers a signal."""
    _act(choices, services, "kill", services, signal)


@cli.command()
@SERVICES
@click.pass_obj
def pause(choices: Choices, services: tuple[str, ...]) -> None:
    """Freeze containers."""
    _act(choices, services, "pause", services)


@cli.command()
@SERVICES
@click.pass_obj
def unpause(choices: Choices, services: tuple[str, ...]) -> None:
    """Let frozen containers go on."""
    _act(choices, services, "unpause", services)


@cli.command()
@click.option("-f", "--force", is_flag=True, help="Do not ask.")
@click.option("-s", "--stop", "halt", is_flag=True, help="Stop containers that run, and remove them too.")
@click.option("-v", "--volumes", is_flag=True, help="Remove their anonymous volumes too.")
@SERVICES
@click.pass_obj
def rm(choices: Choices, force: bool, halt: bool, volumes: bool, services: tuple[str, ...]) -> None:
    """Remove stopped containers."""
    if not (force or choices.dry_run):
        click.confirm("Remove the stopped containers?", abort=True, err=True)
    _act(choices, services, "rm", services, stop=halt, volumes=volumes)


@cli.command()
@click.option("-f", "--follow", is_flag=True, help="Go on while containers run.")
@click.option("-n", "--tail", default="all", metavar="NUM", help="The last lines of each container only.")
@SERVICES
@click.pass_obj
def logs(choices: Choices, follow: bool, tail: str, services: tuple[str, ...]) -> None:
    """Print what containers wrote."""
    from . import watching

    if tail != "all" and not tail.isdecimal():
        raise click.BadParameter(f"{tail!r} is no number and not 'all'", param_hint="--tail")
    watching.print_logs(_places(choices), services, follow=follow, tail=None if tail == "all" else int(tail))


@cli.command(name="exec", context_settings={"allow_interspersed_args": False})
@click.option("-T", "--no-tty", is_flag=True, help="Without a terminal.")
@click.option("-d", "--detach", is_flag=True, help="Do not wait for it.")
@click.option("-e", "--env", "environment", multiple=True, metavar="KEY=VALUE", help="A variable for it.")
@click.option("-u", "--user", default="", help="Run it as this user.")
@click.option("-w", "--workdir", "folder", default="", help="Run it in this folder.")
@click.option("--index", type=int, default=0, help="The number of the container, where there are several.")
@click.option("--privileged", is_flag=True, help="With all capabilities.")
@click.argument("service")
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
@click.pass_context
def execute(
    context: click.Context,
    /,
    no_tty: bool,
    detach: bool,
    service: str,
    command: tuple[str, ...],
    **options: Any,
) -> None:
    """Run a command in a running container."""
    from . import watching

    terminal = not (no_tty or detach) and os.isatty(0) and os.isatty(1)
    places = _places(context.obj)
    context.exit(watching.execute(places, service, command, terminal=terminal, detach=detach, **options))


def _act(choices: Choices, services: tuple[str, ...], name: str, *arguments: Any, **options: Any) -> None:
    """Carry out the plan that `reconcile.<name>` makes."""
    from pycompose.compose import reconcile

    from . import acting

    places, project = _target(choices, services)
    decide = getattr(reconcile, name)
    acting.run(places, project, lambda seen: decide(project, seen, *arguments, **options), dry_run=choices.dry_run)


def _target(
    choices: Choices, services: tuple[str, ...] = (), *, remembered: bool = True
) -> tuple[ProjectPlaces, Project | None]:
    """The project and its places; without a compose file, as the last `up` had it (None if there was none).

    With `remembered`, a project that -p names and no -f describes is the one of its last `up`, whatever file lies here.
    """
    from pycompose.compose.errors import FileError
    from pycompose.compose.file.loader import normal_name
    from pycompose.runtime.places import Places

    from . import acting

    if remembered and choices.project_name and not choices.files and not os.environ.get("COMPOSE_FILE"):
        places = Places.default().project(choices.project_name)
        if (known := acting.newest_generation(places)) is not None:
            return places, known
    try:
        project = _load(choices, services).project
        return Places.default().project(project.name), project
    except FileError as error:
        none_there = error.problems[0].message.startswith("no compose file in ")
        folder = os.path.basename(os.path.abspath(choices.project_directory or "."))
        name = choices.project_name or os.environ.get("COMPOSE_PROJECT_NAME") or normal_name(folder)
        if choices.files or not none_there or not name or normal_name(name) != name:
            raise
        places = Places.default().project(name)
        if not os.path.isdir(places.state):
            raise
        return places, acting.newest_generation(places)


def _places(choices: Choices) -> ProjectPlaces:
    """The project's places; a file is read only where -p does not say the name."""
    from pycompose.runtime.places import Places

    return Places.default().project(choices.project_name) if choices.project_name else _target(choices)[0]


def _needed(project: Project | None) -> Project:
    if project is None:
        raise PycomposeError("no compose file, and no earlier `up` to go by", hint="name one with -f")
    return project


def _counts(scales: tuple[str, ...]) -> dict[str, int]:
    counts = {}
    for text in scales:
        name, _, number = text.partition("=")
        if not name or not number.isdecimal():
            raise click.BadParameter(f"{text!r} is not SERVICE=NUM")
        counts[name] = int(number)
    return counts


def _load(choices: Choices, services: tuple[str, ...] = ()) -> Loaded:
    """The project of the compose files; warnings go to stderr."""
    from pycompose.compose.file.loader import Options, load

    loaded = load(
        Options(
            files=choices.files,
            project_name=choices.project_name,
            project_directory=choices.project_directory,
            env_files=choices.env_files,
            profiles=choices.profiles,
            environ=dict(os.environ),
        ),
        services,
    )
    for warning in loaded.warnings:
        click.echo(f"warning: {warning}", err=True)
    return loaded


def _row(container: ContainerState, service: str) -> tuple[str, ...]:
    status = container.status
    if status == "exited":
        status += f" ({'?' if container.exit_code is None else container.exit_code})"
    return container.name, container.annotations.get(service, ""), status


def _table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> None:
    widths = [max(len(row[column]) for row in [head, *rows]) for column in range(len(head))]
    for row in [head, *rows]:
        click.echo("   ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip())


for _command in (stores.image, stores.project_images, stores.volume, stores.project_volumes):
    cli.add_command(_command)
