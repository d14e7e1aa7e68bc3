"""`pycompose build` and `pycompose image build`: images from Dockerfiles, for services and by hand.

Rules: options are docker compose's and docker's. What they can do and this cannot is refused by name, or told to have
no effect; nothing is passed over.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

import click
from pycompose.compose.cli.output import terminal
from pycompose.compose.cli.root import PROGRESS, Choices, Command, command

if TYPE_CHECKING:
    from pycompose.compose.builds.service_builds import Overrides, Target
    from pycompose.compose.model.project import Project
    from pycompose.runtime.images.dockerfile.request import Secret
    from pycompose.runtime.images.store import Image


Decorator = Callable[[Any], Any]


def _refused(why: str) -> Callable[[click.Context, click.Parameter, object], None]:
    def tell(context: click.Context, option: click.Parameter, given: object) -> None:
        if given:
            raise click.UsageError(f"{option.opts[0]} is not supported: {why}", context)

    return tell


def _without_effect(why: str) -> Callable[[click.Context, click.Parameter, object], None]:
    def tell(_: click.Context, option: click.Parameter, given: object) -> None:
        if given and given not in ("false", ("false",)):
            terminal.warn(f"{option.opts[0]} has no effect: {why}")

    return tell


def _option(name: str, callback: Any, *, flag: bool = False, multiple: bool = False) -> Decorator:
    return click.option(name, is_flag=flag, multiple=multiple, hidden=True, expose_value=False, callback=callback)


ATTESTATIONS = _without_effect("attestations are not made")
LIMITED = _without_effect("build steps have no limits of their own")


def _pairs(texts: Iterable[str], what: str) -> dict[str, str | None]:
    found: dict[str, str | None] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not name:
            raise click.BadParameter(f"{text!r} is not NAME=VALUE", param_hint=what)
        found[name] = value if equals else None
    return found


def _ssh(texts: Iterable[str]) -> dict[str, str]:
    return {name: path or "" for name, path in _pairs(texts, "--ssh").items()}


@command("build")
@click.option("--build-arg", "args", multiple=True, metavar="NAME=VALUE", help="A value for an ARG.")
@click.option("--no-cache", is_flag=True, help="Take nothing that is remembered.")
@click.option("--pull", is_flag=True, help="Ask registries for newer base images.")
@click.option("--push", is_flag=True, help="Push the images when they are built.")
@click.option("-q", "--quiet", is_flag=True, help="Say nothing but what goes wrong.")
@click.option("--ssh", multiple=True, metavar="ID[=SOCKET]", help="An ssh agent for RUN --mount=type=ssh.")
@click.option("--with-dependencies", is_flag=True, help="Build what the services depend on, too.")
@click.option("--check", is_flag=True, help="Only read the Dockerfiles.")
@_option("--builder", _without_effect("there is one builder"))
@_option("--memory", LIMITED)
@_option("-m", LIMITED)
@_option("--print", _refused("there are no bake files"), flag=True)
@_option("--provenance", ATTESTATIONS)
@_option("--sbom", ATTESTATIONS)
@_option("--compress", _without_effect("nothing is sent to a daemon"), flag=True)
@_option("--force-rm", _without_effect("there are no containers left of builds"), flag=True)
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
    from pycompose.compose.app import locate as projects
    from pycompose.compose.builds.service_builds import Overrides
    from pycompose.compose.state.lookup import no_such_service

    loaded = projects.load(choices, services).project
    for name in services:
        if name not in loaded.services:
            raise no_such_service(name, loaded.services)
    names = services or tuple(loaded.services)
    if with_dependencies and services:
        names = tuple(sorted(_with_needs(loaded, services)))
    overrides = Overrides(_pairs(args, "--build-arg"), no_cache, pull, _ssh(ssh))
    made = build_services(loaded, names, overrides, quiet=quiet, check=check, choices=choices)
    if push and made:
        push_images([loaded.services[name].image or f"{loaded.name}-{name}" for name in made])
    if not made and not check and not quiet:
        terminal.note("no service to build")


def _with_needs(project: Project, services: Iterable[str]) -> set[str]:
    found: set[str] = set()
    pending = list(services)
    while pending:
        name = pending.pop()
        if name in project.services and name not in found:
            found.add(name)
            pending += [need.service for need in project.services[name].depends_on]
    return found


def build_services(
    project: Project,
    names: Iterable[str],
    overrides: Overrides,
    *,
    quiet: bool = False,
    check: bool = False,
    choices: Choices | None = None,
) -> dict[str, Image]:
    """Build the images of those of the services that have a `build`, and show it; service -> image."""
    from pycompose.compose.builds import service_builds

    wanted = service_builds.targets(project, names)
    if not wanted:
        return {}
    if choices is not None and choices.dry_run:
        for target in wanted:
            click.echo(f"build {target.tags[0]} from {target.options.context}")
        return {}
    return _shown(wanted, overrides, quiet=quiet, check=check, parallel=(choices and choices.parallel) or 0)


def _shown(
    wanted: list[Target], overrides: Overrides, *, quiet: bool, check: bool = False, parallel: int = 0
) -> dict[str, Image]:
    from pycompose.compose.builds import service_builds
    from pycompose.compose.cli.output.build_progress import BuildProgress

    with BuildProgress(several=len(wanted) > 1, quiet=quiet) as progress:
        made = service_builds.build(wanted, overrides, progress.take, parallel=parallel, check=check)
    if check and not quiet:
        terminal.note("no problem found")
    for target in wanted if not quiet and not check else ():
        terminal.note(f" {target.tags[0] if target.tags else made[target.name].digest}  Built")
    return made


def push_images(names: Iterable[str]) -> None:
    from .pull import pushed

    pushed(dict.fromkeys(names, ""))


@click.command("build", cls=Command, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.option("-t", "--tag", "tags", multiple=True, metavar="NAME", help="A name for the image.")
@click.option("-f", "--file", "file", metavar="FILE", help="The Dockerfile (- is standard input).")
@click.option("--target", default="", metavar="STAGE", help="Build up to this stage.")
@click.option("--build-arg", "args", multiple=True, metavar="NAME=VALUE", help="A value for an ARG.")
@click.option("--build-context", "contexts", multiple=True, metavar="NAME=WHERE", help="One more context.")
@click.option("--label", "labels", multiple=True, metavar="NAME=VALUE", help="A label of the image.")
@click.option("--no-cache", is_flag=True, help="Take nothing that is remembered.")
@click.option("--no-cache-filter", multiple=True, metavar="STAGE", help="Take nothing remembered of these stages.")
@click.option("--cache-from", multiple=True, metavar="IMAGE", help="An image whose layers may be taken.")
@click.option("--pull", is_flag=True, help="Ask registries for newer base images.")
@click.option("--network", type=click.Choice(["default", "none", "host"]), default="default", help="Of RUN steps.")
@click.option("--add-host", "hosts", multiple=True, metavar="NAME=ADDRESS", help="A name that RUN steps know.")
@click.option("--secret", "secrets", multiple=True, metavar="id=ID,src=FILE", help="For RUN --mount=type=secret.")
@click.option("--ssh", multiple=True, metavar="ID[=SOCKET]", help="An ssh agent for RUN --mount=type=ssh.")
@click.option("--shm-size", metavar="SIZE", help="Of /dev/shm in RUN steps.")
@click.option("--ulimit", "ulimits", multiple=True, metavar="NAME=SOFT[:HARD]", help="A limit of RUN steps.")
@click.option("--platform", "platforms", multiple=True, metavar="OS/ARCH", help="Must be this machine's.")
@click.option("--iidfile", metavar="FILE", help="Write the image's id to a file.")
@click.option("--push", is_flag=True, help="Push the image when it is built.")
@click.option("--check", is_flag=True, help="Only read the Dockerfile.")
@click.option("-q", "--quiet", is_flag=True, help="Print the image's id, and nothing else.")
@click.option("--progress", type=click.Choice(PROGRESS), metavar="HOW", help="auto, tty, plain, json or quiet.")
@_option("--output", _refused("`pycompose image save` writes images to files"))
@_option("-o", _refused("`pycompose image save` writes images to files"))
@_option("--cache-to", _without_effect("what is built is remembered on this machine"), multiple=True)
@_option("--load", lambda *_: None, flag=True)
@_option("--rm", lambda *_: None, flag=True)
@_option("--force-rm", lambda *_: None, flag=True)
@_option("--builder", _without_effect("there is one builder"))
@_option("--provenance", ATTESTATIONS)
@_option("--sbom", ATTESTATIONS)
@_option("--attest", ATTESTATIONS, multiple=True)
@_option("--allow", _refused("build steps have the profile of services"), multiple=True)
@_option("--squash", _refused("layers stay apart"), flag=True)
@_option("--memory", LIMITED)
@_option("-m", LIMITED)
@_option("--cpu-shares", LIMITED)
@_option("--cgroup-parent", LIMITED)
@_option("--isolation", _without_effect("it is of Windows"))
@_option("--metadata-file", _refused("--iidfile writes the image's id"))
@click.argument("context")
def image_build(
    context: str,
    tags: tuple[str, ...],
    file: str | None,
    args: tuple[str, ...],
    secrets: tuple[str, ...],
    ssh: tuple[str, ...],
    iidfile: str | None,
    quiet: bool,
    progress: str | None,
    no_cache: bool,
    pull: bool,
    push: bool,
    check: bool,
    **given: Any,
) -> None:
    """Build an image from a Dockerfile.

    CONTEXT is a folder, a tar, a URL of a git repository (URL#REF:FOLDER) or of a tar, or - (a tar or a Dockerfile on
    standard input).
    """
    from pycompose.compose.builds.service_builds import Overrides, Target

    if progress:
        terminal.progress = progress
    if context == "-" and file == "-":
        raise click.UsageError("standard input cannot be both the context and the Dockerfile")
    local = os.path.isdir(context) or not (context == "-" or "://" in context or os.path.isfile(context))
    target = Target(
        "",
        tags,
        _options(context, file if not local else None, given),
        _secrets(secrets),
        local=file if file and file != "-" and local else "",
        dockerfile_from=sys.stdin.buffer if file == "-" else None,
        stdin=sys.stdin.buffer if context == "-" else None,
    )
    overrides = Overrides(_pairs(args, "--build-arg"), no_cache, pull, _ssh(ssh))
    made = _shown([target], overrides, quiet=quiet, check=check)
    if check:
        return
    digest = made[""].digest
    if iidfile:
        with open(iidfile, "w", encoding="ascii") as out:
            out.write(digest)
    if push:
        push_images(tags)
    if quiet or not tags:
        click.echo(digest)


def _options(context: str, file: str | None, given: Mapping[str, Any]) -> Any:
    from pycompose.compose.builds import options

    ulimits = {}
    for text in given["ulimits"]:
        name, _, both = text.partition("=")
        soft, _, hard = both.partition(":")
        if not name or not soft.lstrip("-").isdecimal() or not (hard or "0").lstrip("-").isdecimal():
            raise click.BadParameter(f"{text!r} is not NAME=SOFT[:HARD]", param_hint="--ulimit")
        ulimits[name] = int(soft), int(hard or soft)
    cached = (name for text in given["cache_from"] for name in [text.rpartition("ref=")[2]])
    return options.BuildOptions(
        context,
        dockerfile=(file or "") if file != "-" else "",
        target=given["target"],
        labels={name: value or "" for name, value in _pairs(given["labels"], "--label").items()},
        platforms=given["platforms"],
        network=given["network"],
        cache_from=tuple(cached),
        no_cache_filter=given["no_cache_filter"],
        shm_size=options.size("--shm-size", given["shm_size"]),
        ulimits=ulimits,
        extra_hosts=tuple(options.host(text) for text in given["hosts"]),
        contexts={name: value or "" for name, value in _pairs(given["contexts"], "--build-context").items()},
    )


def _secrets(texts: tuple[str, ...]) -> dict[str, Secret]:
    from pycompose.runtime.images.dockerfile.request import Secret

    found = {}
    for text in texts:
        fields = dict(item.partition("=")[::2] for item in text.split(","))
        path, variable, kind = fields.get("src") or fields.get("source"), fields.get("env"), fields.get("type")
        name = fields.get("id") or os.path.basename(path or variable or "")
        if not name or kind not in (None, "file", "env") or set(fields) - {"id", "src", "source", "env", "type"}:
            raise click.BadParameter(f"{text!r} is not id=ID,src=FILE or id=ID,env=VARIABLE", param_hint="--secret")
        if variable or kind == "env" or (not path and name in os.environ):
            variable = variable or path or name
            if variable not in os.environ:
                raise click.BadParameter(f"{variable} is not set", param_hint="--secret")
            found[name] = Secret(content=os.environb[os.fsencode(variable)])
        else:
            path = path or name
            if not os.path.isfile(path):
                raise click.BadParameter(f"{path} is not there", param_hint="--secret")
            found[name] = Secret(file=os.path.abspath(path))
    return found


@click.group()
def builder() -> None:
    """What builds remember on this machine."""


@builder.command(name="prune")
@click.option("-a", "--all", "everything", is_flag=True, hidden=True)  # docker has it; there is no less here
@click.option("-f", "--force", is_flag=True, help="Do not ask.")
def prune(everything: bool, force: bool) -> None:
    """Forget the steps of builds, with the layers that no image has, and empty the caches of RUN --mount=type=cache."""
    from pycompose.compose.builds.service_builds import forget

    if not force:
        click.confirm("Going to remove all that builds remember\nAre you sure?", abort=True, err=True)
    steps, caches = forget()
    click.echo(f"forgotten: {steps} steps, {caches} caches")
