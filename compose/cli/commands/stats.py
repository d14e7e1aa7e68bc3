"""`stats`: what containers use, from cgroups and /proc."""

from __future__ import annotations

import json
import os
import sys
import time
from typing import TYPE_CHECKING

import click
from pycompose.compose.app.choices import Choices
from pycompose.compose.cli import subject
from pycompose.compose.cli.arguments import output_form
from pycompose.compose.cli.command import command
from pycompose.compose.cli.output.tables import decimal_size, size, table
from pycompose.compose.state import lookup, observe
from pycompose.frozen import dataclass

if TYPE_CHECKING:
    from pycompose.compose.model.observed import ObservedContainer
    from pycompose.runtime.policy.cgroup import Stats

INTERVAL = 1.0  # seconds between two measurements
UNKNOWN = "--"
TITLES = {
    "ID": "CONTAINER ID",
    "Name": "NAME",
    "CPUPerc": "CPU %",
    "MemUsage": "MEM USAGE / LIMIT",
    "MemPerc": "MEM %",
    "NetIO": "NET I/O",
    "BlockIO": "BLOCK I/O",
    "PIDs": "PIDS",
}


@dataclass(frozen=True, slots=True)
class Measured:
    """One look at one container; times in seconds of the monotonic clock."""

    at: float
    stats: Stats
    received: int | None
    sent: int | None


@command("stats")
@click.option("-a", "--all", "every", is_flag=True, help="Stopped containers too.")
@click.option("--no-stream", is_flag=True, help="Look once.")
@click.option("--no-trunc", is_flag=True, help="Print ids whole.")
@click.option("--format", "form", metavar="FORM", help="table, json, or a template.")
@click.argument("services", nargs=-1)
@click.pass_obj
def stats(
    choices: Choices, every: bool, no_stream: bool, no_trunc: bool, form: str | None, services: tuple[str, ...]
) -> None:
    """Show what containers use: processor, memory, network, disk. Live, until Ctrl-C."""
    form = output_form(form, "statsFormat")
    places = subject.places_of(choices)
    lookup.of_services(observe.containers(places), services)
    live = sys.stdout.isatty() and form != "json" and not no_stream
    before = _measure_all(places.project, observe.containers(places))
    drawn = 0
    while True:
        time.sleep(INTERVAL)  # a rate is two measurements and the time between them
        containers = [
            container for container in observe.containers(places) if not services or container.service in services
        ]
        containers = [container for container in containers if every or container.runs]
        after = _measure_all(places.project, containers)
        rows = [
            figures(container, before.get(container.id), after.get(container.id), whole=no_trunc)
            for container in containers
        ]
        if form == "json":
            for row in rows:
                click.echo(json.dumps(row, sort_keys=True, separators=(",", ":")))
            sys.stdout.flush()
        else:
            text = _as_text(form, rows)
            if live:
                columns, lines = os.get_terminal_size(sys.stdout.fileno())
                screen = [line[: columns - 1] for line in text.splitlines()[: lines - 1]]
                up = f"\033[{min(drawn, lines - 1)}A" if drawn else ""
                text = up + "\r" + "".join(f"{line}\033[K\n" for line in screen) + "\033[J"
                drawn = len(screen)
            click.echo(text, nl=False)
            sys.stdout.flush()
        if no_stream:
            return
        before = after


def _as_text(form: str, rows: list[dict[str, str]]) -> str:
    if form != "table":
        from pycompose.compose.cli.output.templates import printed

        return printed(form, rows, TITLES)
    return table(tuple(TITLES.values()), [tuple(row[head] for head in TITLES) for row in rows])


def _measure_all(name: str, containers: list[ObservedContainer]) -> dict[str, Measured]:
    from pycompose.runtime.policy.cgroup import Cgroup

    measured = {}
    for container in containers:
        if container.runs:
            received, sent = _network(container.pid or 0)
            measured[container.id] = Measured(
                time.monotonic(), Cgroup(f"{name}/{container.id}").stats(), received, sent
            )
    return measured


def _network(pid: int) -> tuple[int | None, int | None]:
    """Bytes received and sent by all links but the loopback (man 5 proc_pid_net)."""
    received = sent = 0
    try:
        with open(f"/proc/{pid}/net/dev", encoding="ascii") as file:
            for line in file.readlines()[2:]:
                link, _, numbers = line.partition(":")
                if link.strip() != "lo":
                    columns = numbers.split()
                    received, sent = received + int(columns[0]), sent + int(columns[8])
    except (OSError, ValueError, IndexError):
        return None, None
    return received, sent


def figures(
    container: ObservedContainer, before: Measured | None, after: Measured | None, *, whole: bool = False
) -> dict[str, str]:
    """One row, with the keys of `docker stats --format json`; `whole` is the id."""
    identity = {
        "ID": container.id if whole else container.id[:12],
        "Name": container.name,
        "Container": container.id[:12],
        "Service": container.service,
    }
    if after is None:
        return identity | dict.fromkeys(("CPUPerc", "MemUsage", "MemPerc", "NetIO", "BlockIO", "PIDs"), UNKNOWN)
    now = after.stats
    cpu = UNKNOWN
    if before is not None and now.cpu_ns is not None and before.stats.cpu_ns is not None and after.at > before.at:
        cpu = f"{max(now.cpu_ns - before.stats.cpu_ns, 0) / (after.at - before.at) / 1e7:.2f}%"
    limit = now.memory_limit or os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return identity | {
        "CPUPerc": cpu,
        "MemUsage": UNKNOWN if now.memory is None else f"{size(now.memory)} / {size(limit)}",
        "MemPerc": UNKNOWN if now.memory is None else f"{100 * now.memory / limit:.2f}%",
        "NetIO": _pair(after.received, after.sent),
        "BlockIO": _pair(now.read_bytes, now.write_bytes),
        "PIDs": UNKNOWN if now.pids is None else str(now.pids),
    }


def _pair(incoming: int | None, outgoing: int | None) -> str:
    return UNKNOWN if incoming is None or outgoing is None else f"{decimal_size(incoming)} / {decimal_size(outgoing)}"
