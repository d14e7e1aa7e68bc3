"""The other half of `image`: pull, push, save, tag, history, prune, fsck. No supervisor is asked."""

from __future__ import annotations

import json

import click
from pycompose.compose.app.image_store import ask_store, translated_errors
from pycompose.compose.cli.drawing import Drawing
from pycompose.compose.cli.image_options import NAMES, output_file
from pycompose.compose.cli.machine_command import MachineCommand
from pycompose.compose.cli.output import terminal
from pycompose.compose.cli.output.byte_count import counting
from pycompose.compose.cli.output.tables import decimal_size, table
from pycompose.errors import PycomposeError


@click.command("pull", cls=MachineCommand)
@click.option("--platform", metavar="OS/ARCH", help="Instead of this machine's.")
@click.option("-q", "--quiet", is_flag=True, help="Print the image's name only.")
@NAMES
def pull(platform: str | None, quiet: bool, names: tuple[str, ...]) -> None:
    """Fetch images from their registries."""
    from pycompose.compose.app import image_operations, images

    fetches = [images.Fetch(name, (), platform or "") for name in dict.fromkeys(names)]
    if failures := image_operations.fetch(fetches, Drawing(quiet_transfers=quiet)):
        raise image_operations.FetchFailed(failures)
    if quiet:
        for name in names:
            terminal.say(name)


@click.command("push", cls=MachineCommand)
@click.option("-q", "--quiet", is_flag=True, help="Show nothing while it goes on.")
@NAMES
def push(quiet: bool, names: tuple[str, ...]) -> None:
    """Push images to the registries that their names say."""
    from pycompose.compose.app import image_operations

    image_operations.push_images(dict.fromkeys(names, ""), Drawing(quiet_transfers=quiet))


@click.command("tag", cls=MachineCommand)
@click.argument("name")
@click.argument("target")
def tag(name: str, target: str) -> None:
    """Give an image another name."""
    with translated_errors():
        ask_store().tag(name, target)


@click.command("save", cls=MachineCommand)
@click.option("-o", "--output", metavar="FILE", help="A file; standard output without it.")
@click.option(
    "--format",
    "form",
    type=click.Choice(["docker", "oci", "oci-dir"]),
    default="docker",
    help="docker (docker load reads it), oci (a layout in a tar) or oci-dir (a layout in the folder OUTPUT).",
)
@NAMES
def save(output: str | None, form: str, names: tuple[str, ...]) -> None:
    """Write images to an archive that docker, skopeo and `image load` read."""
    from pycompose.runtime.images import save

    if form == "oci-dir":
        if output is None:
            raise click.UsageError("name the folder: -o FOLDER")
        with translated_errors(), counting("saving") as progress:
            save.save_layout(ask_store(), names, output, progress)
        return
    with translated_errors(), counting("saving") as progress, output_file(output) as out:
        save.save(ask_store(), names, out, oci=form == "oci", progress=progress)


@click.command("history", cls=MachineCommand, harmless=True)
@click.option("--no-trunc", is_flag=True, help="Whole instructions.")
@click.option("--format", "form", type=click.Choice(["table", "json"]), default="table")
@click.argument("name")
def history(no_trunc: bool, form: str, name: str) -> None:
    """Show what an image's layers were made by, the newest first."""
    with translated_errors():
        store = ask_store()
        image = store.resolve(name)
        tree = {} if image.is_host else json.loads(store.config(name))
    layers = iter(tree.get("rootfs", {}).get("diff_ids") or [])
    rows = []
    for entry in tree.get("history") or []:
        layer = None if entry.get("empty_layer") else store.layer(next(layers, "sha256:" + "0" * 64))
        rows.append((str(entry.get("created") or ""), str(entry.get("created_by") or ""), layer.size if layer else 0))
    for diff_id in layers:  # layers that nothing is said of
        layer = store.layer(diff_id)
        rows.append(("", diff_id[:19], layer.size if layer else 0))
    rows.reverse()
    if form == "json":
        for created, by, size in rows:
            terminal.say(terminal.json_line({"CreatedAt": created, "CreatedBy": by, "Size": size}))
        return
    cells = [
        (c[:19].replace("T", " "), by if no_trunc or len(by) < 60 else by[:59] + "…", decimal_size(s))
        for c, by, s in rows
    ]
    terminal.say(table(("CREATED", "CREATED BY", "SIZE"), cells), end="")


@click.command("prune", cls=MachineCommand)
@click.option(
    "-a", "--all", "everything", is_flag=True, help="All that no container uses, not only those without a name."
)
@click.option("-f", "--force", is_flag=True, help="Do not ask.")
def prune(everything: bool, force: bool) -> None:
    """Remove images that have no name, and what interrupted pulls left."""
    from pycompose.runtime.images import gc

    what = "all images that no container uses" if everything else "all images without a name"
    if not force:
        click.confirm(f"Going to remove {what}\nAre you sure?", abort=True, err=True)
    with translated_errors():
        gone = gc.prune(ask_store(), everything)
    for line in gone.said:
        terminal.say(line)
    terminal.say(f"Total reclaimed space: {decimal_size(gone.freed)}")


@click.command("fsck", cls=MachineCommand, harmless=True)
def fsck() -> None:
    """Verify every digest in the image store: blobs, layers, configurations."""
    from pycompose.runtime.images.verify import check

    with translated_errors():
        faults = check(ask_store())
    for line in faults:
        terminal.say(line)
    if faults:
        hint = "remove the images that are named (image rm -f) and fetch them again"
        raise PycomposeError(f"{len(faults)} things are damaged", hint=hint)
    terminal.say("all is well")


COMMANDS = (pull, push, tag, save, history, prune, fsck)
