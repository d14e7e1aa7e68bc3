"""`events`: what happens to containers, as it happens."""

from __future__ import annotations

import select
import sys
import time
from typing import TYPE_CHECKING

import click
from pycompose.compose.app.choices import Choices
from pycompose.compose.cli import subject
from pycompose.compose.cli.arguments import moment
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
    from pycompose.compose.state import event_record
    from pycompose.runtime.state.line_follower import LineFollower, files

    places = subject.places_of(choices)
    subject.check_services(choices, observe.containers(places), services)
    now = time.time()
    first, end = _nanoseconds(since, now), _nanoseconds(until, now)
    follower, path = LineFollower(), event_record.path(places)
    poll = select.poll()
    poll.register(follower, select.POLLIN)
    poll.register(sys.stdout, select.POLLERR)  # a reader that has gone
    try:
        follower.add("", path, (files(path)[0], 0) if since else None)
        while True:
            follower.folder_changed()  # before the lines are asked for: it takes word of them, too
            for _, block in follower.new():
                for event in event_record.parse(block):
                    chosen = not event.oneoff and (not services or event.service in services)
                    if chosen and event.time >= first and (not end or event.time < end):
                        terminal.say(_json(event) if as_json else _text(event))
            left = None if not end else max(0, end - time.time_ns()) // 1_000_000
            if left == 0:
                return
            if any(descriptor != follower.fileno() for descriptor, _ in poll.poll(left)):
                raise BrokenPipeError
    finally:
        follower.close()


def _nanoseconds(text: str, now: float) -> int:
    from datetime import datetime

    if not text:
        return 0
    whole = moment(text, now).decode()
    return int(datetime.fromisoformat(whole[:19] + "+00:00").timestamp()) * 1_000_000_000 + int(whole[20:29])


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
