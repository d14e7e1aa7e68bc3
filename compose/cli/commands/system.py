"""`system`: what pycompose has on this machine's disk, of all projects, and removal of what nobody uses."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click
from pycompose.compose.app.choices import Choices
from pycompose.compose.app.image_store import ask_store, translated_errors
from pycompose.compose.cli.arguments import FORMAT
from pycompose.compose.cli.machine_command import MachineGroup
from pycompose.compose.cli.output import terminal
from pycompose.compose.cli.output.listing import Listing
from pycompose.compose.cli.output.tables import decimal_size

if TYPE_CHECKING:
    from pycompose.runtime.places import Places

LISTING = Listing(
    {"Type": "TYPE", "TotalCount": "TOTAL", "Active": "ACTIVE", "Size": "SIZE", "Reclaimable": "RECLAIMABLE"}
)


@click.group(cls=MachineGroup)
def system() -> None:
    """This machine: disk space, and what nobody uses."""


@system.command(name="df", harmless=True)
@FORMAT
@click.option("-v", "--verbose", is_flag=True, help="Each image, container, volume and layer of builds by itself.")
def disk_space(form: str | None, verbose: bool) -> None:
    """Say what images, containers, volumes and the memory of builds take on the disk."""
    from pycompose.compose.app import disk_usage
    from pycompose.runtime.places import Places

    form = LISTING.form(form)
    if verbose:
        from pycompose.compose.cli import disk_tables

        with translated_errors():
            details = disk_usage.details(Places.default())
        disk_tables.show(form, details)
        return
    with translated_errors():
        kinds = disk_usage.of_machine(Places.default())
    rows = []
    for one in kinds:
        share = f" ({100 * one.reclaimable // one.size}%)" if one.size else ""
        rows.append(
            {
                "Type": one.kind,
                "TotalCount": str(one.total),
                "Active": str(one.active),
                "Size": decimal_size(one.size),
                "Reclaimable": f"{decimal_size(one.reclaimable)}{share}",
            }
        )
    LISTING.show(form, rows)


@system.command(name="prune")
@click.option("-a", "--all", "everything", is_flag=True, help="All images that no container uses, with a name too.")
@click.option("--volumes", is_flag=True, help="Anonymous volumes that no container uses, too.")
@click.option("-f", "--force", is_flag=True, help="Do not ask.")
def prune(everything: bool, volumes: bool, force: bool) -> None:
    """Remove stopped containers of all projects, unused networks, images without a name, and what builds remember.

    Compose files from elsewhere (`-f oci://…`) that no project was made of, and not named for a month, go, too.
    """
    from pycompose.compose.app import network_operations, remote_copies
    from pycompose.compose.builds.service_builds import forget
    from pycompose.runtime.images import gc
    from pycompose.runtime.places import Places

    from .volume import remove_unused, unused_volumes

    if not force:
        images = "all images that no container uses" if everything else "all images without a name"
        what = ["all stopped containers", "all networks that no container is made for", images, "what builds remember"]
        lines = "".join(f"  - {line}\n" for line in [*what, *(["anonymous volumes without use"] if volumes else [])])
        click.confirm(f"WARNING! This will remove:\n{lines}Are you sure you want to continue?", abort=True, err=True)
    roots = Places.default()
    freed = _remove_stopped(roots)
    with translated_errors():
        _told("Networks", network_operations.prune(roots, network_operations.unused(roots)))
        if volumes:
            gone, size = remove_unused(unused_volumes(False))
            freed += size
            _told("Volumes", gone)
        forget()
        pruned = gc.prune(ask_store(), everything)
    copies, size = remote_copies.prune(roots)
    freed += size
    _told("Compose files from elsewhere", copies)
    _told("Images", list(pruned.said))
    terminal.say(f"Total reclaimed space: {decimal_size(freed + pruned.freed)}")


def _remove_stopped(roots: Places) -> int:
    """Bytes that the stopped containers of all projects had written."""
    from pycompose.compose.app import disk_usage, inspection, operations
    from pycompose.compose.state.generations import newest

    stopped = [one for one in inspection.everyone(roots) if one.container.status in ("created", "exited", "dead")]
    freed, gone = 0, []
    for places in {one.places.project: one.places for one in stopped}.values():
        theirs = [one.container for one in stopped if one.places.project == places.project]
        if newest(places) is None:
            terminal.warn(f"project {places.project}: nothing is on record of its file, so its containers stay")
            continue
        sizes = {container.id: disk_usage.written(places.container(container.id)) for container in theirs}
        operations.rm(Choices(project_name=places.project))
        left = {one.container.id for one in inspection.everyone(roots)}
        gone += [container_id for container_id in sizes if container_id not in left]
        freed += sum(size for container_id, size in sizes.items() if container_id not in left)
    _told("Containers", gone)
    return freed


def _told(kind: str, names: list[str]) -> None:
    if names:
        terminal.say(f"Deleted {kind}:\n" + "\n".join(names) + "\n")
