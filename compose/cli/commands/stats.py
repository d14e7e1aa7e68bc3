"""`stats`: what containers use, from cgroups and /proc."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import click
from pycompose.compose.app.choices import Choices
from pycompose.compose.app.measurements import Measured, measure_all
from pycompose.compose.cli import subject
from pycompose.compose.cli.arguments import output_form
from pycompose.compose.cli.command import command
from pycompose.compose.cli.output.tables import decimal_size, size, table
from pycompose.compose.state import lookup, observe
from pycompose.plain_text import columns as columns_of
from pycompose.plain_text import fitting

if TYPE_CHECKING:
    from pycompose.compose.model.observed import ObservedContainer

INTERVAL = 1.0  # seconds between two measurements
UNKNOWN = "--"
LEFT_OUT = ("ID", "BlockIO", "NetIO", "PIDs", "MemPerc")  # where a terminal is narrow, one after the other
NAME_ROOM = 9  # columns of a name that is cut, at least
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
    before = measure_all(places, observe.containers(places))
    drawn = 0
    while True:
        time.sleep(INTERVAL)  # a rate is two measurements and the time between them
        containers = [
            container for container in observe.containers(places) if not services or container.service in services
        ]
        containers = [container for container in containers if every or container.runs]
        after = measure_all(places, containers)
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
                if form == "table":
                    text = fitted(rows, columns - 1)
                screen = [fitting(line, columns - 1) for line in text.splitlines()[: lines - 1]]
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
    return _table(tuple(TITLES), rows)


def _table(heads: Sequence[str], rows: Sequence[Mapping[str, str]]) -> str:
    return table([TITLES[head] for head in heads], [[row[head] for head in heads] for row in rows])


def fitted(rows: Sequence[Mapping[str, str]], room: int) -> str:
    """The table for a terminal with `room` columns: names are cut first, then what is needed least is left out."""
    heads, names = list(TITLES), max((columns_of(row["Name"]) for row in rows), default=0)
    for left_out in ("", *LEFT_OUT):
        heads = [head for head in heads if head != left_out]
        text = _table(heads, rows)
        excess = max(map(columns_of, text.splitlines())) - room
        if excess <= 0:
            return text
        if names - excess >= NAME_ROOM:
            break
    kept = max(names - excess, NAME_ROOM)
    return _table(heads, [{**row, "Name": fitting(row["Name"], kept, "…")} for row in rows])


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
    cpu, limit = after.cpu_percent(before), after.memory_limit
    return identity | {
        "CPUPerc": UNKNOWN if cpu is None else f"{cpu:.2f}%",
        "MemUsage": UNKNOWN if now.memory is None else f"{size(now.memory)} / {size(limit)}",
        "MemPerc": UNKNOWN if now.memory is None else f"{100 * now.memory / limit:.2f}%",
        "NetIO": _pair(after.received, after.sent),
        "BlockIO": _pair(now.read_bytes, now.write_bytes),
        "PIDs": UNKNOWN if now.pids is None else str(now.pids),
    }


def _pair(incoming: int | None, outgoing: int | None) -> str:
    return UNKNOWN if incoming is None or outgoing is None else f"{decimal_size(incoming)} / {decimal_size(outgoing)}"
