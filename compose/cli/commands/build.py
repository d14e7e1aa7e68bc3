"""`build`: the images of services from their Dockerfiles.

Rules: options are docker compose's. What they can do and this cannot is refused by name; what is deprecated there, and
means nothing there either, is passed over.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import click
from pycompose.compose.app.choices import Choices
from pycompose.compose.cli import subject
from pycompose.compose.cli.arguments import DEPRECATED, PROGRESS
from pycompose.compose.cli.command import command
from pycompose.compose.cli.drawing import Drawing
from pycompose.compose.cli.misuse import Misuse
from pycompose.compose.cli.output import terminal

if TYPE_CHECKING:
    from pycompose.compose.builds.service_builds import Overrides
    from pycompose.compose.model.project import Project

Decorator = Callable[[Any], Any]
NO_ATTESTATION = ("false", "f", "0", "none", "disabled", "disabled=true")


def refused(why: str) -> Callable[[click.Context, click.Parameter, object], None]:
    def tell(context: click.Context, option: click.Parameter, value: object) -> None:
        if value:
            raise click.UsageError(f"{option.opts[0]} is not supported: {why}", context)

    return tell


def hidden_option(
    name: str, callback: Any, *, flag: bool = False, multiple: bool = False, text: str = DEPRECATED
) -> Decorator:
    settings: dict[str, Any] = {"is_flag": flag, "multiple": multiple, "callback": callback, "help": text}
    return click.option(name, hidden=True, expose_value=False, **settings)


def no_attestations(context: click.Context, option: click.Parameter, value: object) -> None:
    texts = value if isinstance(value, tuple) else (value,)
    if any(text is not None and str(text).lower() not in NO_ATTESTATION for text in texts):
        raise click.UsageError(f"{option.opts[0]} is not supported: attestations are not made", context)


def only_builder(_: click.Context, option: click.Parameter, value: str | None) -> None:
    if value not in (None, "", "default"):
        raise click.BadParameter(f'no builder "{value}" found; there is one here, "default"', param_hint=option.opts[0])


def memory_limit(_: click.Context, option: click.Parameter, value: str | None) -> int | None:
    """Bytes; None without a limit, which 0 is, too."""
    if not value:
        return None
    from pycompose.sizes import size_in_bytes

    if (number := size_in_bytes(value)) is None:
        raise click.BadParameter(f"invalid size: {value!r}", param=option)
    return number or None


MEMORY = click.option("-m", "--memory", callback=memory_limit, metavar="SIZE", help="What each RUN step may have.")


UNATTESTED = "`false` or `none`: attestations are not made; anything else is an error."


def passed_over(_: click.Context, option: click.Parameter, value: object) -> None:
    """What docker compose takes, too, and does nothing with."""


def pairs(texts: Iterable[str], what: str) -> dict[str, str | None]:
    values: dict[str, str | None] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not name:
            raise click.BadParameter(f"{text!r} is not NAME=VALUE", param_hint=what)
        values[name] = value if equals else None
    return values


def ssh_agents(texts: Iterable[str]) -> dict[str, str]:
    agents = pairs(texts, "--ssh")
    for name, path in agents.items():
        if path is None and name != "default":
            raise Misuse(f'invalid ssh key "{name}"', "default, or ID=SOCKET")
    return {name: path or "" for name, path in agents.items()}


@command("build", interrupted="`pycompose build` again goes on")
@click.option("--build-arg", "args", multiple=True, metavar="NAME=VALUE", help="A value for an ARG.")
@click.option("--no-cache", is_flag=True, help="Take nothing that is remembered.")
@click.option("--pull", is_flag=True, help="Ask registries for newer base images.")
@click.option("--push", is_flag=True, help="Push the images when they are built.")
@click.option("-q", "--quiet", is_flag=True, help="Say nothing but what goes wrong.")
@click.option("--ssh", multiple=True, metavar="ID[=SOCKET]", help="An ssh agent for RUN --mount=type=ssh.")
@click.option("--with-dependencies", is_flag=True, help="Build what the services depend on, too.")
@click.option("--check", is_flag=True, help="Only read the Dockerfiles.")
@click.option("--print", "as_bake", is_flag=True, help="Print a file for docker buildx bake, and build nothing.")
@MEMORY
@click.option("--progress", type=click.Choice(PROGRESS), hidden=True, help="As --progress before the command.")
@hidden_option("--builder", only_builder, text="`default`, the one there is; another one is an error.")
@hidden_option("--provenance", no_attestations, text=UNATTESTED)
@hidden_option("--sbom", no_attestations, text=UNATTESTED)
@hidden_option("--compress", passed_over, flag=True)
@hidden_option("--force-rm", passed_over, flag=True)
@hidden_option("--no-rm", passed_over, flag=True)
@hidden_option("--parallel", passed_over, flag=True)
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
    as_bake: bool,
    memory: int | None,
    progress: str | None,
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
    overrides = Overrides(pairs(args, "--build-arg"), no_cache, pull, ssh_agents(ssh), memory)
    if as_bake:
        _print_bake(project, names, overrides, push=push, check=check)
        return
    terminal.progress = progress or terminal.progress
    drawing = Drawing(quiet_transfers=quiet, quiet_builds=quiet)
    built = image_operations.build_services(choices, project, names, overrides, drawing, check=check)
    if push and built:
        tags = [project.services[name].image or project.own_image(name) for name in built]
        image_operations.push_images(dict.fromkeys(tags, ""), Drawing())
    if check and not quiet:
        terminal.note("no problem found")
    elif not built and not quiet and not choices.dry_run:
        terminal.note("no service to build")


def _print_bake(project: Project, names: Iterable[str], overrides: Overrides, *, push: bool, check: bool) -> None:
    import json
    import os

    from pycompose.compose.builds import bake, service_builds
    from pycompose.compose.cli.docker_call import SPEAKS
    from pycompose.compose.model.observed import Label

    targets = service_builds.targets(project, names)
    version = {Label.VERSION: SPEAKS}
    tree = bake.bake(project, targets, names, overrides, os.environ, version, push=push, check=check)
    if targets:
        terminal.say(json.dumps(tree, indent=2, ensure_ascii=False))
