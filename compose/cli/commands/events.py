"""`events`: what happens to containers, as it happens."""

from __future__ import annotations

import select
import sys
import time
from typing import TYPE_CHECKING

import click
from pycompose.compose.app.choices import Choices
from pycompose.compose.cli import subject
from pycompose.compose.cli.arguments import unix_time
from pycompose.compose.cli.command import command
from pycompose.compose.cli.output import terminal
from pycompose.compose.state import observe

if TYPE_CHECKING:
    from pycompose.compose.state.event_record import ContainerEvent


@command("events")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
@click.option("--since", default="", metavar="WHEN", help="Also what is on record since: a time, or an age as 42m.")
@click.option("--until", default="", metavar="WHEN", help="End then.")
@click.argument("services", nargs=-1)
@click.pass_obj
def events(choices: Choices, as_json: bool, since: str, until: str, services: tuple[str, ...]) -> None:
    """Print what happens to containers, as it happens, until Ctrl-C."""
    from pycompose.compose.app import event_stream

    places = subject.places_of(choices)
    subject.check_services(choices, observe.containers(places), services)
    now = time.time()
    first, end = _nanoseconds(since, now), _nanoseconds(until, now)
    reader_gone = (sys.stdout.fileno(), select.POLLERR)
    for event in event_stream.events(places, services, first, end, reader_gone):
        terminal.say(_json(event) if as_json else _text(event))
    if end is None or time.time_ns() < end - 1_000_000:
        raise BrokenPipeError


def _nanoseconds(text: str, now: float) -> int | None:
    from pycompose.compose.app import moments

    return moments.nanoseconds(unix_time(text, now)) if text else None


def _time(event: ContainerEvent) -> tuple[str, int, str]:
    """Local time to the second, nanoseconds, the zone."""
    local = time.localtime(event.time // 1_000_000_000)
    zone = time.strftime("%z", local)
    return time.strftime("%Y-%m-%dT%H:%M:%S", local), event.time % 1_000_000_000, f"{zone[:3]}:{zone[3:]}"


def _json(event: ContainerEvent) -> str:
    import json

    second, fraction, zone = _time(event)
    tree = {
        "action": event.action,
        "attributes": event.shown,
        "id": event.id,
        "service": event.service,
        "time": f"{second}.{fraction:09d}".rstrip("0").rstrip(".") + ("Z" if zone == "+00:00" else zone),
        "type": "container",
    }
    return json.dumps(tree, separators=(",", ":"), ensure_ascii=False)


def _text(event: ContainerEvent) -> str:
    second, fraction, _ = _time(event)
    attributes = ", ".join(f"{key}={value}" for key, value in event.shown.items())
    return f"{second.replace('T', ' ')}.{fraction // 1000:06d} container {event.action} {event.id} ({attributes})"
