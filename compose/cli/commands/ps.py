"""`ps`: the containers of a project, from records alone. Nobody need run, and nothing heavy is imported."""

from __future__ import annotations

import json
import shlex
import time
from collections.abc import Iterable

import click
from pycompose.compose.app import locate
from pycompose.compose.app.choices import Choices
from pycompose.compose.cli.command import command
from pycompose.compose.cli.options import output_form
from pycompose.compose.cli.output.tables import age, shortened, table
from pycompose.compose.state import lookup
from pycompose.compose.state.lookup import Published, Seen

STATES = ("paused", "restarting", "removing", "running", "dead", "created", "exited")
COMMAND_WIDTH = 20


@command("ps")
@click.option("-a", "--all", "every", is_flag=True, help="Stopped containers too.")
@click.option("-q", "--quiet", is_flag=True, help="Print ids only.")
@click.option("--services", "only_services", is_flag=True, help="Print the names of services.")
@click.option("--format", "form", default="table", metavar="FORM", help="table (the default) or json.")
@click.option("--status", "states", multiple=True, type=click.Choice(STATES), metavar="STATE", help="Only with it.")
@click.option("--filter", "filters", multiple=True, metavar="status=STATE", help="Only those that match.")
@click.option("--no-trunc", is_flag=True, help="Print commands and ids whole.")
@click.option("--orphans/--no-orphans", default=True, help="Those of services that the file does not have, too.")
@click.argument("services", nargs=-1)
@click.pass_obj
def ps(
    choices: Choices,
    every: bool,
    quiet: bool,
    only_services: bool,
    form: str,
    states: tuple[str, ...],
    filters: tuple[str, ...],
    no_trunc: bool,
    orphans: bool,
    services: tuple[str, ...],
) -> None:
    """List the project's containers."""
    form = output_form(form)
    for text in filters:
        key, _, value = text.partition("=")
        if key != "status" or value not in STATES:
            raise click.BadParameter(f"{text!r} is not status=STATE, with one of {', '.join(STATES)}")
        states = (*states, value)
    places = locate.places_of(choices)
    found = lookup.containers(places, ports=not quiet)
    known = {seen.service for seen in found}
    if (services and not set(services) <= known) or not orphans:
        _, wanted = locate.target(choices)
        if wanted is not None:
            described = {*wanted.services, *wanted.disabled_services}
            if not orphans:
                found = [seen for seen in found if seen.service in described]
            known |= described
    for name in services:
        if name not in known:
            raise lookup.no_such_service(name, known)
    found = [seen for seen in found if not services or seen.service in services]
    if states:
        found = [seen for seen in found if seen.state in states]
    elif not every:
        found = [seen for seen in found if seen.state in ("running", "paused", "restarting") and not seen.oneoff]
    now = time.time()
    if only_services:
        for name in dict.fromkeys(seen.service for seen in found):
            click.echo(name)
    elif quiet:
        for seen in found:
            click.echo(seen.id)
    elif form == "json":
        for seen in found:
            click.echo(json.dumps(as_json(seen, places.project, lookup.arguments(places, seen), now)))
    else:
        rows = [row(seen, lookup.arguments(places, seen), now, whole=no_trunc) for seen in found]
        click.echo(table(("NAME", "IMAGE", "COMMAND", "SERVICE", "CREATED", "STATUS", "PORTS"), rows), nl=False)


def row(seen: Seen, arguments: Iterable[str], now: float, *, whole: bool = False) -> tuple[str, ...]:
    told = " ".join(arguments)
    return (
        seen.name,
        seen.image,
        f'"{told if whole else shortened(told, COMMAND_WIDTH)}"',
        seen.service,
        f"{age(now - seen.record.created)} ago",
        status(seen, now),
        ports(seen.ports),
    )


def status(seen: Seen, now: float) -> str:
    """As docker says it: "Up 3 minutes (healthy)", "Exited (0) 2 seconds ago"."""
    record = seen.record
    code = "?" if record.exit_code is None else record.exit_code
    match seen.state:
        case "created":
            return "Created"
        case "restarting":
            return f"Restarting ({code}) {age(now - record.finished)} ago"
        case "exited" | "dead":
            when = f" {age(now - record.finished)} ago" if record.finished else ""
            return f"{seen.state.capitalize()} ({code}){when}" + (" (out of memory)" if record.oom_killed else "")
        case "paused":
            return f"Up {age(now - record.started)} (Paused)"
        case _:
            health = {"starting": " (health: starting)", "": ""}.get(seen.health, f" ({seen.health})")
            return f"Up {age(now - record.started)}{health}"


def ports(published: Iterable[Published]) -> str:
    """ "0.0.0.0:8786-8787->8786-8787/tcp, …": neighbours are told as a range."""
    groups: list[list[Published]] = []
    for port in sorted(published, key=lambda p: (p.host_ip, p.protocol, p.target, p.port)):
        last = groups[-1][-1] if groups else None
        if (
            last is not None
            and (last.host_ip, last.protocol) == (port.host_ip, port.protocol)
            and (port.target, port.port) == (last.target + 1, last.port + 1)
        ):
            groups[-1].append(port)
        else:
            groups.append([port])
    told = []
    for group in groups:
        first, last = group[0], group[-1]
        host = f"[{first.host_ip}]" if ":" in first.host_ip else first.host_ip
        outer = str(first.port) if first is last else f"{first.port}-{last.port}"
        inner = str(first.target) if first is last else f"{first.target}-{last.target}"
        told.append(f"{host}:{outer}->{inner}/{first.protocol}")
    return ", ".join(told)


def as_json(seen: Seen, name: str, arguments: Iterable[str], now: float) -> dict[str, object]:
    """The keys of `docker compose ps --format json`."""
    record = seen.record
    return {
        "Command": f'"{shlex.join(arguments)}"',
        "CreatedAt": time.strftime("%Y-%m-%d %H:%M:%S %z %Z", time.localtime(record.created)),
        "ExitCode": record.exit_code if record.exit_code is not None or seen.state == "exited" else 0,
        "Health": seen.health,
        "ID": seen.id,
        "Image": seen.image,
        "Labels": ",".join(f"{key}={value}" for key, value in record.annotations.items() if key != lookup.OWN),
        "Name": seen.name,
        "Names": seen.name,
        "Networks": ",".join(seen.networks),
        "Ports": ports(seen.ports),
        "Project": name,
        "Publishers": [
            {"URL": p.host_ip, "TargetPort": p.target, "PublishedPort": p.port, "Protocol": p.protocol}
            for p in seen.ports
        ],
        "RunningFor": f"{age(now - record.created)} ago",
        "Service": seen.service,
        "State": seen.state,
        "Status": status(seen, now),
    }
