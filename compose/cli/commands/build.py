"""`build`: the images of services from their Dockerfiles.

Rules: options are docker compose's. What they can do and this cannot is refused by name, or told to have no effect;
nothing is passed over.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import click
from pycompose.compose.app.choices import Choices
from pycompose.compose.cli import subject
from pycompose.compose.cli.command import command
from pycompose.compose.cli.drawing import Drawing
from pycompose.compose.cli.output import terminal

if TYPE_CHECKING:
    pass

Decorator = Callable[[Any], Any]


def refused(why: str) -> Callable[[click.Context, click.Parameter, object], None]:
    def tell(context: click.Context, option: click.Parameter, value: object) -> None:
        if value:
            raise click.UsageError(f"{option.opts[0]} is not supported: {why}", context)

    return tell


def without_effect(why: str) -> Callable[[click.Context, click.Parameter, object], None]:
    def tell(_: click.Context, option: click.Parameter, value: object) -> None:
        if value and value not in ("false", ("false",)):
            terminal.warn(f"{option.opts[0]} has no effect: {why}")

    return tell


def hidden_option(name: str, callback: Any, *, flag: bool = False, multiple: bool = False) -> Decorator:
    return click.option(name, is_flag=flag, multiple=multiple, hidden=True, expose_value=False, callback=callback)


ATTESTATIONS = without_effect("attestations are not made")
LIMITED = without_effect("build steps have no limits of their own")


def pairs(texts: Iterable[str], what: str) -> dict[str, str | None]:
    values: dict[str, str | None] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not name:
            raise click.BadParameter(f"{text!r} is not NAME=VALUE", param_hint=what)
        values[name] = value if equals else None
    return values


def ssh_agents(texts: Iterable[str]) -> dict[str, str]:
    return {name: path or "" for name, path in pairs(texts, "--ssh").items()}


@command("build", interrupted="`pycompose build` again goes on")
@click.option("--build-arg", "args", multiple=True, metavar="NAME=VALUE", help="A value for an ARG.")
@click.option("--no-cache", is_flag=True, help="Take nothing that is remembered.")
@click.option("--pull", is_flag=True, help="Ask registries for newer base images.")
@click.option("--push", is_flag=True, help="Push the images when they are built.")
@click.option("-q", "--quiet", is_flag=True, help="Say nothing but what goes wrong.")
@click.option("--ssh", multiple=True, metavar="ID[=SOCKET]", help="An ssh agent for RUN --mount=type=ssh.")
@click.option("--with-dependencies", is_flag=True, help="Build what the services depend on, too.")
@click.option("--check", is_flag=True, help="Only read the Dockerfiles.")
@hidden_option("--builder", without_effect("there is one builder"))
@hidden_option("--memory", LIMITED)
@hidden_option("-m", LIMITED)
@hidden_option("--print", refused("there are no bake files"), flag=True)
@hidden_option("--provenance", ATTESTATIONS)
@hidden_option("--sbom", ATTESTATIONS)
@hidden_option("--compress", without_effect("nothing is sent to a daemon"), flag=True)
@hidden_option("--force-rm", without_effect("there are no containers left of builds"), flag=True)
@click.argument("services", nargs=-1)
@click.pass_obj
def build(
    choices: Choices,
    /,
    args: tuple[str, ...],
    no_cache: bool,
    pull: bool,
    push: bool,
    quiet: bool,
    ssh: tuple[str, ...],
    with_dependencies: bool,
    check: bool,
    services: tuple[str, ...],
) -> None:
    """Build the images of services that have a `build`."""
    from pycompose.compose.app import image_operations
    from pycompose.compose.builds.service_builds import Overrides
    from pycompose.compose.state import lookup

    project = subject.load(choices, services).project
    lookup.check(services, project.services)
    names = services or tuple(project.services)
    if with_dependencies and services:
        from pycompose.compose.plan.select import chosen

        names = tuple(sorted(chosen(project, services)))
    overrides = Overrides(pairs(args, "--build-arg"), no_cache, pull, ssh_agents(ssh))
    drawing = Drawing(quiet_transfers=quiet, quiet_builds=quiet)
    built = image_operations.build_services(choices, project, names, overrides, drawing, check=check)
    if push and built:
        tags = [project.services[name].image or project.own_image(name) for name in built]
        image_operations.push_images(dict.fromkeys(tags, ""), Drawing())
    if check and not quiet:
        terminal.note("no problem found")
    elif not built and not quiet and not choices.dry_run:
        terminal.note("no service to build")
