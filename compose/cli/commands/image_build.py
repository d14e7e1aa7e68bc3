"""`image build`: an image from a Dockerfile, by hand.

Rules: options are docker's. What they can do and this cannot is refused by name.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click
from pycompose.compose.cli.arguments import PROGRESS
from pycompose.compose.cli.drawing import Drawing
from pycompose.compose.cli.machine_command import MachineCommand
from pycompose.compose.cli.output import terminal

from .build import MEMORY, hidden_option, no_attestations, only_builder, pairs, passed_over, refused, ssh_agents

if TYPE_CHECKING:
    from pycompose.runtime.images.dockerfile.request import Secret


@click.command(
    "build",
    cls=MachineCommand,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)
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
@hidden_option("--output", refused("`pycompose image save` writes images to files"))
@hidden_option("-o", refused("`pycompose image save` writes images to files"))
@hidden_option("--cache-to", refused("what is built is remembered on this machine"), multiple=True)
@hidden_option("--load", passed_over, flag=True)
@hidden_option("--rm", passed_over, flag=True)
@hidden_option("--force-rm", passed_over, flag=True)
@hidden_option("--builder", only_builder)
@hidden_option("--provenance", no_attestations)
@hidden_option("--sbom", no_attestations)
@hidden_option("--attest", no_attestations, multiple=True)
@hidden_option("--allow", refused("build steps have the profile of services"), multiple=True)
@hidden_option("--squash", refused("layers stay apart"), flag=True)
@MEMORY
@hidden_option("--cpu-shares", refused("--memory is the limit that build steps can have"))
@hidden_option("--cgroup-parent", refused("--memory is the limit that build steps can have"))
@hidden_option("--isolation", refused("it is of Windows"))
@hidden_option("--metadata-file", refused("--iidfile writes the image's id"))
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
    memory: int | None,
    **settings: Any,
) -> None:
    """Build an image from a Dockerfile.

    CONTEXT is a folder, a tar, a URL of a git repository (URL#REF:FOLDER) or of a tar, or - (a tar or a Dockerfile on
    standard input).
    """
    from pycompose.compose.app import image_operations
    from pycompose.compose.builds.service_builds import Overrides, Target

    if progress:
        terminal.progress = progress
    if context == "-" and file == "-":
        raise click.UsageError("standard input cannot be both the context and the Dockerfile")
    local = os.path.isdir(context) or not (context == "-" or "://" in context or os.path.isfile(context))
    target = Target(
        "",
        tags,
        _options(context, file if not local else None, settings),
        _secrets(secrets),
        local=file if file and file != "-" and local else "",
        dockerfile_from=sys.stdin.buffer if file == "-" else None,
        stdin=sys.stdin.buffer if context == "-" else None,
    )
    overrides = Overrides(pairs(args, "--build-arg"), no_cache, pull, ssh_agents(ssh), memory)
    drawing = Drawing(quiet_transfers=quiet, quiet_builds=quiet)
    built = image_operations.build_targets([target], overrides, drawing, check=check)
    if check:
        if not quiet:
            terminal.note("no problem found")
        return
    digest = built[""].digest
    if iidfile:
        with open(iidfile, "w", encoding="ascii") as out:
            out.write(digest)
    if push:
        image_operations.push_images(dict.fromkeys(tags, ""), Drawing())
    if quiet or not tags:
        terminal.say(digest)


def _options(context: str, file: str | None, settings: Mapping[str, Any]) -> Any:
    from pycompose.compose.builds import options

    ulimits = {}
    for text in settings["ulimits"]:
        name, _, both = text.partition("=")
        soft, _, hard = both.partition(":")
        if not name or not soft.lstrip("-").isdecimal() or not (hard or "0").lstrip("-").isdecimal():
            raise click.BadParameter(f"{text!r} is not NAME=SOFT[:HARD]", param_hint="--ulimit")
        ulimits[name] = int(soft), int(hard or soft)
    cached = (name for text in settings["cache_from"] for name in [text.rpartition("ref=")[2]])
    return options.BuildOptions(
        context,
        dockerfile=(file or "") if file != "-" else "",
        target=settings["target"],
        labels={name: value or "" for name, value in pairs(settings["labels"], "--label").items()},
        platforms=settings["platforms"],
        network=settings["network"],
        cache_from=tuple(cached),
        no_cache_filter=settings["no_cache_filter"],
        shm_size=options.size("--shm-size", settings["shm_size"]),
        ulimits=ulimits,
        extra_hosts=tuple(options.host(text) for text in settings["hosts"]),
        contexts={name: value or "" for name, value in pairs(settings["contexts"], "--build-context").items()},
    )


def _secrets(texts: tuple[str, ...]) -> dict[str, Secret]:
    from pycompose.runtime.images.dockerfile.request import Secret

    secrets = {}
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
            secrets[name] = Secret(content=os.environb[os.fsencode(variable)])
        else:
            path = path or name
            if not os.path.isfile(path):
                raise click.BadParameter(f"{path} is not there", param_hint="--secret")
            secrets[name] = Secret(file=os.path.abspath(path))
    return secrets
