"""config and version: what the compose file means, and what this program is."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click
from pycompose.compose.errors import PycomposeError

from . import project
from .root import Choices, command

if TYPE_CHECKING:
    from pycompose.compose.file.loader import Loaded

NOT_ACTED_ON = (
    "--no-consistency",
    "--no-interpolate",
    "--no-normalize",
    "--no-path-resolution",
    "--no-env-resolution",
    "--resolve-image-digests",
    "--lock-image-digests",
    "--models",
    "--variables",
)


@command("config", accepted=NOT_ACTED_ON)
@click.option("-q", "--quiet", is_flag=True, help="Only check the file.")
@click.option(
    "--format", "form", type=click.Choice(["yaml", "json"]), default="yaml", help="yaml (the default) or json."
)
@click.option("--services", "what", flag_value="services", help="Print the names of services.")
@click.option("--volumes", "what", flag_value="volumes", help="Print the names of volumes.")
@click.option("--networks", "what", flag_value="networks", help="Print the names of networks.")
@click.option("--images", "what", flag_value="images", help="Print the images.")
@click.option("--profiles", "what", flag_value="profiles", help="Print the profiles.")
@click.option("--environment", "what", flag_value="environment", help="Print the variables that are filled in.")
@click.option("--hash", "hashes", metavar="SERVICE", help="Print services' configuration hashes ('*': all).")
@click.option("-o", "--output", metavar="FILE", help="Write to a file.")
@click.argument("services", nargs=-1)
@click.pass_obj
def config(
    choices: Choices,
    quiet: bool,
    form: str,
    what: str | None,
    hashes: str | None,
    output: str | None,
    services: tuple[str, ...],
) -> None:
    """Check the compose file and print its canonical form."""
    from pycompose.compose.file import show

    loaded = project.load(choices, services)
    if quiet:
        return
    if hashes is not None:
        text = _hashes(loaded, hashes)
    elif what:
        text = "".join(f"{line}\n" for line in _names(loaded, what))
    else:
        if services:
            loaded = _only(loaded, services)
        text = (show.to_yaml if form == "yaml" else show.to_json)(loaded).rstrip("\n") + "\n"
    if output is None:
        click.echo(text, nl=False)
        return
    try:
        with open(output, "w", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise PycomposeError(f"{output} cannot be written: {error.strerror}") from error


def _only(loaded: Loaded, services: tuple[str, ...]) -> Loaded:
    from dataclasses import replace

    from .records import no_such_service

    known = loaded.tree.get("services", {})
    for name in services:
        if name not in known:
            raise no_such_service(name, known)
    return replace(loaded, tree={**loaded.tree, "services": {name: known[name] for name in known if name in services}})


def _names(loaded: Loaded, what: str) -> list[str]:
    import os

    described = loaded.project
    every = [*described.services.values(), *described.disabled_services.values()]
    match what:
        case "services":
            return list(described.services)
        case "volumes":
            return list(described.volumes)
        case "networks":
            return list(described.networks)
        case "images":
            found = (s.image or (f"{described.name}-{s.name}" if s.build else "") for s in described.services.values())
            return [image for image in found if image]
        case "profiles":
            return sorted({profile for service in every for profile in service.profiles})
        case _:
            return sorted(f"{key}={value}" for key, value in os.environ.items())


def _hashes(loaded: Loaded, wanted: str) -> str:
    from .records import no_such_service

    known = loaded.project.services
    names = list(known) if wanted == "*" else wanted.split(",")
    for name in names:
        if name not in known:
            raise no_such_service(name, known)
    return "".join(f"{name} {known[name].config_hash}\n" for name in names)


def version_text(*, short: bool = False) -> str:
    from pycompose import __version__

    return __version__ if short else f"pycompose {__version__}"


@command("version")
@click.option("-f", "--format", "form", type=click.Choice(["pretty", "json"]), default="pretty", help="pretty or json.")
@click.option("--short", is_flag=True, help="The number alone.")
def version(form: str, short: bool) -> None:
    """Say which version this is."""
    if form == "json":
        click.echo(json.dumps({"version": version_text(short=True)}))
    else:
        click.echo(version_text(short=short))
