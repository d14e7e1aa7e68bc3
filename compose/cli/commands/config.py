"""`config`: what the compose file means.

With `--format json` it is made for programs: what is wrong or odd in a file comes as JSON too, on stderr, one object a
line, with its path, line, column and code.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click
from pycompose.compose.app import locate
from pycompose.compose.app.choices import Choices
from pycompose.compose.cli import subject
from pycompose.compose.cli.command import command
from pycompose.compose.cli.output import terminal
from pycompose.errors import PycomposeError

if TYPE_CHECKING:
    from pycompose.compose.file.loader import Loaded, Options

LISTS = {  # the first one that is asked for is printed
    "services": "Print the names of services.",
    "volumes": "Print the names of volumes.",
    "networks": "Print the names of networks.",
    "models": "Print the models.",
    "profiles": "Print the profiles.",
    "images": "Print the images.",
    "variables": "Print the variables that the file asks for, and their defaults.",
    "environment": "Print the variables that are filled in, and their values.",
}
BEFORE_HASHES = ("services", "volumes", "networks", "models")


EARLIER = {
    "no_interpolate": ("interpolate", "Leave ${VARIABLES} as they are written."),
    "no_normalize": ("normalize", "Do not add what the file implies."),
    "no_path_resolution": ("resolve_paths", "Leave paths as they are written."),
    "no_env_resolution": ("resolve_env", "Do not read env files."),
    "no_consistency": ("check_consistency", "Do not check that what is named exists."),
}


def _flags(function: Any) -> Any:
    for name, (_, text) in reversed(EARLIER.items()):
        function = click.option(f"--{name.replace('_', '-')}", name, is_flag=True, help=text)(function)
    for name, text in reversed(LISTS.items()):
        function = click.option(f"--{name}", f"list_{name}", is_flag=True, help=text)(function)
    return function


@command(
    "config",
    groups={
        "Instead of the file": (*(f"--{name}" for name in LISTS), "--hash", "--lock-image-digests"),
        "Less than all that is done to a file": tuple(f"--{name.replace('_', '-')}" for name in EARLIER),
    },
)
@click.option("-q", "--quiet", is_flag=True, help="Only check the file.")
@click.option("--format", "form", type=click.Choice(["yaml", "json"]), help="yaml (the default) or json.")
@click.option("-o", "--output", metavar="FILE", help="Write to a file.")
@click.option(
    "--compose-version",
    "version",
    type=click.Choice(["2", "5"]),
    default="2",
    help="As docker compose 2 (the default) or 5 prints it.",
)
@_flags
@click.option("--hash", "hashes", default="", metavar="SERVICE", help="Print configuration hashes ('*': all).")
@click.option("--resolve-image-digests", is_flag=True, help="Pin each image to its digest.")
@click.option("--lock-image-digests", is_flag=True, help="Print an override file that pins each image to its digest.")
@click.argument("services", nargs=-1)
@click.pass_obj
def config(
    choices: Choices,
    /,
    quiet: bool,
    form: str | None,
    output: str | None,
    version: str,
    hashes: str,
    resolve_image_digests: bool,
    lock_image_digests: bool,
    services: tuple[str, ...],
    **switches: bool,
) -> None:
    """Check the compose file and print its canonical form, as docker compose does.

    With SERVICE: those services and what they depend on.
    """
    if form == "json":
        terminal.progress = "json"
    what = next((name for name in LISTS if switches[f"list_{name}"]), "")
    if hashes and what not in BEFORE_HASHES:
        what = "hash"
    off: dict[str, Any] = {changed: False for name, (changed, _) in EARLIER.items() if switches[name]}
    options = replace(locate.options_of(choices), **off)
    if services and (what == "variables" or not options.interpolate):
        terminal.warn(
            f"{'--variables' if what == 'variables' else '--no-interpolate'} is of the whole file: {services[0]} "
            "and what it needs are not chosen"
        )
    if what == "variables":
        text = _variables(options, form)
    elif not options.interpolate and what != "environment":
        text = _as_written(options, form, what, version, lock=lock_image_digests, pin=resolve_image_digests)
    else:
        loaded = subject.load(choices, services, options)
        if what == "hash":
            text = _hashes(loaded, hashes)
        elif what:
            text = _lines(_names(loaded, what, services, whole=choices.all_resources))
        else:
            tree = _canonical(choices, loaded, services, lock=lock_image_digests, pin=resolve_image_digests)
            text = _text(tree, form, version)
    if quiet:
        return
    data = text.encode("utf-8", "surrogateescape")  # a variable from outside may be any bytes
    if output is None:
        click.echo(data, nl=False)
        return
    try:
        with open(output, "wb") as file:
            file.write(data)
    except OSError as error:
        reason = (error.strerror or "").lower()
        raise PycomposeError(f"open {output}: {reason}", hint="is the path right, and may you write there?") from error


def _lines(names: Iterable[str]) -> str:
    return "".join(f"{name}\n" for name in names)


def _canonical(choices: Choices, loaded: Loaded, services: tuple[str, ...], *, lock: bool, pin: bool) -> dict[str, Any]:
    from pycompose.compose.file import show

    tree = loaded.tree
    if services:
        tree = show.only(tree, _chosen(loaded, services))
    if not choices.all_resources:
        tree = show.used(tree)
    return _with_digests(tree, lock=lock, pin=pin)


def _text(tree: dict[str, Any], form: str | None, version: str) -> str:
    from pycompose.compose.file import show

    if version == "5":
        tree = show.as_version_5(tree)
    return show.to_json(tree) if form == "json" else show.to_yaml(tree)


def _chosen(loaded: Loaded, services: tuple[str, ...]) -> tuple[str, ...]:
    from pycompose.compose.plan.select import chosen

    return chosen(loaded.project, services)


def _as_written(options: Options, form: str | None, what: str, version: str, *, lock: bool, pin: bool) -> str:
    """The merged files before anything is filled in."""
    from pycompose.compose.file import show
    from pycompose.compose.file.loader import unfilled
    from pycompose.compose.file.outline import outline

    files = unfilled(options)
    tree = outline(
        files.tree, files.name, files.working_dir, normalize=options.normalize, resolve_paths=options.resolve_paths
    )
    if what == "hash":
        raise click.UsageError("--hash is of what a file means: leave --no-interpolate out")
    if what:
        active = options.profiles or files.variables.get("COMPOSE_PROFILES", "").split(",")
        return _lines(_names_as_written(tree, files.name, active, what))
    tree = _with_digests(tree, lock=lock, pin=pin)
    if version == "5":
        tree = show.as_version_5(tree)
    return show.plain_json(tree) if form == "json" else show.to_yaml(tree, escape=False)


def _names_as_written(tree: dict[str, Any], project: str, active: Collection[str], what: str) -> list[str]:
    """Names in the file before anything is filled in; services are all there are, whatever their profiles."""
    from pycompose.compose.file import show

    services = {name: service or {} for name, service in (tree.get("services") or {}).items()}
    profiles = {name: service.get("profiles") or () for name, service in services.items()}
    names = {name for name, of in profiles.items() if not of or "*" in active or set(of) & set(active)}
    match what:
        case "services":
            return list(services)
        case "images":
            return [str(services[name].get("image") or f"{project}-{name}") for name in services if name in names]
        case "profiles":
            return sorted({str(profile) for of in profiles.values() for profile in of})
        case "models":
            models = show.used(show.only(tree, names)).get("models") or {}
            return [str(model["model"]) for model in models.values()]
        case _:
            return list(show.used(show.only(tree, names)).get(what) or {})


def _with_digests(tree: dict[str, Any], *, lock: bool, pin: bool) -> dict[str, Any]:
    from pycompose.compose.file import show

    if lock or pin:
        tree = show.pinned(tree, _digests(tree))
    return show.images_only(tree) if lock else tree


def _variables(options: Options, form: str | None) -> str:
    from pycompose.compose.cli.output.tables import table
    from pycompose.compose.file import emitter
    from pycompose.compose.file.loader import unfilled
    from pycompose.compose.file.variables import variables

    asked = variables(unfilled(options).tree).values()
    rows = [
        (variable.name, "true" if variable.required else "false", variable.default, variable.alternate)
        for variable in asked
    ]
    if form is None:
        return table(("NAME", "REQUIRED", "DEFAULT VALUE", "ALTERNATE VALUE"), rows)
    keys = ("Name", "DefaultValue", "PresenceValue", "Required")
    tree = {v.name: dict(zip(keys, (v.name, v.default, v.alternate, v.required), strict=True)) for v in asked}
    if form == "json":
        return json.dumps(tree, ensure_ascii=False, indent=4) + "\n\n"
    text = emitter.to_yaml(
        {name: {key.lower(): value for key, value in variable.items()} for name, variable in tree.items()}
    )
    return text.replace("\n  ", "\n    ")


def _digests(tree: dict[str, Any]) -> dict[str, str]:
    """Image -> the image with its digest, of all images of a tree."""
    from pycompose.compose.app.image_store import translated_errors
    from pycompose.compose.app.images import pinned

    images = []
    for service in tree.get("services", {}).values():
        volumes = (volume for volume in service.get("volumes", ()) if isinstance(volume, dict))
        mounted = [volume["source"] for volume in volumes if volume.get("type") == "image"]
        images += [image for image in (service.get("image"), *mounted) if image]
    if unfilled := next((image for image in images if "$" in image), None):
        raise click.UsageError(f"image {unfilled} has no digest while its variables are not filled in")
    with translated_errors():
        return pinned(images)


def _names(loaded: Loaded, what: str, services: tuple[str, ...], *, whole: bool) -> list[str]:
    """Names that the project knows; its canonical form, which takes longer, is made for models alone."""
    from pycompose.compose.model.project import VolumeMount

    project = loaded.project
    names = _chosen(loaded, services) if services else project.services
    chosen = [service for name, service in project.services.items() if name in names]
    match what:
        case "services":
            return [service.name for service in chosen]
        case "volumes":
            mounted = {m.source or "" for service in chosen for m in service.mounts if isinstance(m, VolumeMount)}
            return sorted(project.volumes if whole else mounted & project.volumes.keys())
        case "networks":
            joined = {attachment.network for service in chosen for attachment in service.networks}
            return sorted(project.networks if whole else joined & project.networks.keys())
        case "images":
            images = [service.image for service in chosen]
            hooked = dict.fromkeys(hook.image for service in chosen for hook in service.pre_start)
            return [image for image in (*images, *(image for image in hooked if image not in images)) if image]
        case "profiles":
            every = [*project.services.values(), *project.disabled_services.values()]
            return sorted({profile for service in every for profile in service.profiles})
        case "models":
            from pycompose.compose.file import show

            models = show.used(show.only(loaded.tree, names)).get("models", {}).values()
            return [str(model["model"]) for model in models if model.get("model")]
        case _:
            return [f"{key}={value}" for key, value in sorted(loaded.variables.items())]


def _hashes(loaded: Loaded, selection: str) -> str:
    from pycompose.compose.state import lookup

    services = loaded.project.services
    names = list(services) if selection == "*" else selection.split(",")
    lookup.check(names, services)
    return "".join(f"{name} {services[name].config_hash}\n" for name in sorted(names))
