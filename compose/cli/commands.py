"""The commands of `pycompose`, and the options that all of them share."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click
from pycompose.compose.errors import PycomposeError

if TYPE_CHECKING:
    from pycompose.compose.file.loader import Loaded
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


@cli.command()
@click.option("-d", "--detach", is_flag=True, help="Do not stay attached.")
@click.argument("services", nargs=-1)
@click.pass_obj
def up(choices: Choices, detach: bool, services: tuple[str, ...]) -> None:
    """Bring services up. So far only with --dry-run, which looks at containers and not at networks or volumes."""
    from pycompose.compose import linux_host, reconcile
    from pycompose.compose.plan import render
    from pycompose.runtime.places import Places

    if not choices.dry_run:
        not_there_yet("up without --dry-run")
    project = _load(choices, services).project
    observed = linux_host.observe(Places.default().project(project.name))
    click.echo(render(reconcile.up(project, observed, reconcile.UpOptions(services=services))).rstrip("\n"))


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


def not_there_yet(command: str) -> None:
    """A command that is planned: a clear error instead of half a deed."""
    raise PycomposeError(f"{command} is not there yet", hint="this version checks files and lists containers")


def _planned(name: str) -> None:
    settings = {"ignore_unknown_options": True}

    @cli.command(name=name, context_settings=settings, help="Not there yet.")
    @click.argument("rest", nargs=-1, type=click.UNPROCESSED)
    def command(rest: tuple[str, ...]) -> None:
        not_there_yet(name)


for _name in ("down", "scale", "logs", "exec"):
    _planned(_name)
