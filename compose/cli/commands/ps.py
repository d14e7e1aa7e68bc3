"""`ps`: the containers of a project, from records alone. Nobody need run, and nothing heavy is imported."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING

import click
from pycompose.compose.app.choices import Choices
from pycompose.compose.cli import subject
from pycompose.compose.cli.arguments import FORMAT
from pycompose.compose.cli.command import command
from pycompose.compose.cli.filters import filter_pair
from pycompose.compose.cli.misuse import Misuse
from pycompose.compose.cli.output import terminal
from pycompose.compose.cli.output.listing import Listing, label_of, labels_text
from pycompose.compose.cli.output.tables import age, shortened
from pycompose.compose.model.observed import HealthProbe, ObservedContainer, PublishedPort
from pycompose.compose.state import observe

if TYPE_CHECKING:
    from pycompose.runtime.places import ProjectPlaces

STATES = ("paused", "restarting", "removing", "running", "dead", "created", "exited")
COMMAND_WIDTH = 20
LISTING = Listing(
    {
        "Name": "NAME",
        "Image": "IMAGE",
        "Command": "COMMAND",
        "Service": "SERVICE",
        "RunningFor": "CREATED",
        "Status": "STATUS",
        "Ports": "PORTS",
    },
    (
        "CreatedAt",
        "ExitCode",
        "Health",
        "HealthLog",
        "ID",
        "Label",
        "Labels",
        "LocalVolumes",
        "Mounts",
        "Names",
        "Networks",
        "Project",
        "Publishers",
        "Size",
        "State",
    ),
    setting="psFormat",
)
EVERYWHERE = replace(LISTING, columns={"Project": "PROJECT", **LISTING.columns})
UP = ("running", "paused", "restarting")
Found = tuple["ProjectPlaces", ObservedContainer]
MOUNT_WIDTH = 15  # of a volume's name, unless --no-trunc


@command("ps")
@click.option("-a", "--all", "every", is_flag=True, help="Stopped containers too.")
@click.option("-q", "--quiet", is_flag=True, help="Print ids only.")
@click.option("--services", "only_services", is_flag=True, help="Print the names of services.")
@FORMAT
@click.option("--status", "states", multiple=True, type=click.Choice(STATES), metavar="STATE", help="Only with it.")
@click.option("--filter", "filters", multiple=True, metavar="status=STATE", help="Only those that match.")
@click.option("--no-trunc", is_flag=True, help="Print commands and ids whole.")
@click.option("--orphans/--no-orphans", default=True, help="Those of services that the file does not have, too.")
@click.option("--all-projects", is_flag=True, help="Those of every project of this machine.")
@click.argument("services", nargs=-1)
@click.pass_obj
def ps(
    choices: Choices,
    every: bool,
    quiet: bool,
    only_services: bool,
    form: str | None,
    states: tuple[str, ...],
    filters: tuple[str, ...],
    no_trunc: bool,
    orphans: bool,
    all_projects: bool,
    services: tuple[str, ...],
) -> None:
    """List the project's containers."""
    form = LISTING.form(form)
    for text in filters:
        key, value = filter_pair(text)
        if key != "status":
            raise Misuse(f"unknown filter {key}", "status=STATE")
        if value not in STATES:
            raise Misuse(f"unknown status {value}", f"one of: {', '.join(STATES)}")
        states = (*states, value)
    looked_at = _everywhere() if all_projects else _of_project(choices, services, orphans, quiet)
    listed = [(places, one) for places, one in looked_at if not services or one.service in services]
    if states:
        listed = [(places, one) for places, one in listed if one.status in states]
    elif not every:
        listed = [(places, one) for places, one in listed if one.status in UP and not one.oneoff]
    now = time.time()
    if only_services:
        for name in dict.fromkeys(container.service for _, container in listed):
            terminal.say(name)
    elif quiet:
        for _, container in listed:
            terminal.say(container.id)
    else:
        listing = EVERYWHERE if all_projects else LISTING
        arguments = [observe.arguments(places, one) for places, one in listed]
        rows = [
            as_json(one, places.project, words, now, whole=no_trunc)
            for (places, one), words in zip(listed, arguments, strict=True)
        ]
        listing.show(form, rows)


def _of_project(choices: Choices, services: tuple[str, ...], orphans: bool, quiet: bool) -> list[Found]:
    """Of the project here. Raises NoSuchService."""
    places = subject.places_of(choices)
    containers = observe.containers(places, ports=not quiet)
    services_known = {container.service for container in containers}
    if (services and not set(services) <= services_known) or not orphans:
        project = subject.existing(choices).project
        if project is not None:
            described = {*project.services, *project.disabled_services}
            if not orphans:
                containers = [container for container in containers if container.service in described]
            services_known |= described
    if services:
        from pycompose.compose.state import lookup

        lookup.check(services, services_known)
    return [(places, container) for container in containers]


def _everywhere() -> list[Found]:
    """Of every project of this machine."""
    import os

    from pycompose.runtime.places import Places

    roots = Places.default()
    names = sorted(os.listdir(roots.projects)) if os.path.isdir(roots.projects) else []
    return [
        (places, container)
        for places in map(roots.project, names)
        for container in observe.containers(places, roots, ports=True)
    ]


def status(container: ObservedContainer, now: float) -> str:
    """As docker says it: "Up 3 minutes (healthy)", "Exited (0) 2 seconds ago"."""
    code = "?" if container.exit_code is None else container.exit_code
    match container.status:
        case "created":
            return "Created"
        case "restarting":
            return f"Restarting ({code}) {age(now - (container.finished or now))} ago"
        case "exited" | "dead":
            when = f" {age(now - (container.finished or now))} ago" if container.finished else ""
            return f"{container.status.capitalize()} ({code}){when}" + (
                " (out of memory)" if container.oom_killed else ""
            )
        case "paused":
            return f"Up {age(now - (container.started or now))} (Paused)"
        case _:
            health = {"starting": " (health: starting)", "": ""}.get(container.health, f" ({container.health})")
            return f"Up {age(now - (container.started or now))}{health}"


def ports(published: Iterable[PublishedPort]) -> str:
    """ "0.0.0.0:8786-8787->8786-8787/tcp, …": neighbours are told as a range; one that is not published is "80/tcp"."""
    groups: list[list[PublishedPort]] = []
    for port in sorted(published, key=lambda p: (p.host_ip, p.protocol, p.target, p.published)):
        last = groups[-1][-1] if groups else None
        if (
            last is not None
            and (last.host_ip, last.protocol) == (port.host_ip, port.protocol)
            and port.target == last.target + 1
            and port.published == (last.published + 1 if last.published else 0)
        ):
            groups[-1].append(port)
        else:
            groups.append([port])
    texts = []
    for group in groups:
        first, last = group[0], group[-1]
        host = f"[{first.host_ip}]" if ":" in first.host_ip else first.host_ip
        outer = str(first.published) if first is last else f"{first.published}-{last.published}"
        inner = str(first.target) if first is last else f"{first.target}-{last.target}"
        texts.append(f"{host}:{outer}->{inner}/{first.protocol}" if first.published else f"{inner}/{first.protocol}")
    return ", ".join(texts)


def _probe(probe: HealthProbe) -> dict[str, object]:
    """As docker's `State.Health.Log`."""
    from datetime import UTC, datetime

    start, end = (datetime.fromtimestamp(at, UTC).isoformat() for at in (probe.started, probe.ended))
    return {"Start": start, "End": end, "ExitCode": probe.exit_code, "Output": probe.output}


def as_json(
    container: ObservedContainer, name: str, arguments: Iterable[str], now: float, *, whole: bool = False
) -> dict[str, object]:
    """The keys of `docker compose ps --format json`; without `whole` what is long is cut as there."""
    line = " ".join(arguments)
    labels = {key: value for key, value in container.labels.items() if key != observe.OWN}
    volumes = list(dict.fromkeys(container.volumes.values()))
    listed = [*container.unpublished, *container.ports]
    return {
        "Command": f'"{line if whole else shortened(line, COMMAND_WIDTH)}"',
        "CreatedAt": time.strftime("%Y-%m-%d %H:%M:%S %z %Z", time.localtime(container.created)),
        "ExitCode": container.exit_code if container.exit_code is not None or container.status == "exited" else 0,
        "Health": container.health,
        "HealthLog": list(map(_probe, container.supervision.probes)),
        "ID": container.id if whole else container.id[:12],
        "Image": container.image,
        "Label": label_of(labels),
        "Labels": labels_text(labels),
        "LocalVolumes": str(len(volumes)),
        "Mounts": ",".join(volume if whole else shortened(volume, MOUNT_WIDTH) for volume in volumes),
        "Name": container.name,
        "Names": container.name,
        "Networks": ",".join(container.networks),
        "Ports": ports(listed),
        "Project": name,
        "Publishers": [
            {"URL": p.host_ip, "TargetPort": p.target, "PublishedPort": p.published, "Protocol": p.protocol}
            for p in listed
        ],
        "RunningFor": f"{age(now - container.created)} ago",
        "Service": container.service,
        "Size": "0B",
        "State": container.status,
        "Status": status(container, now),
    }
