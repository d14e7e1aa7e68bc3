"""`events`: what happens to containers, as it happens."""

from __future__ import annotations

import select
import sys
from collections.abc import Mapping

import click
from pycompose.compose.app.choices import Choices
from pycompose.compose.cli import subject
from pycompose.compose.cli.command import command
from pycompose.compose.cli.subject import check_services
from pycompose.compose.state import observe


@command("events")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
@click.argument("services", nargs=-1)
@click.pass_obj
def events(choices: Choices, as_json: bool, services: tuple[str, ...]) -> None:
    """Print what happens to containers, as it happens, until Ctrl-C."""
    import json
    from datetime import datetime

    places = subject.places_of(choices)
    check_services(choices, observe.containers(places), services)
    before: Mapping[str, tuple[str, str]] | None = None
    poll = select.poll()
    poll.register(sys.stdout, select.POLLERR)  # a reader that has gone
    verbs = {"created": "create", "running": "start", "exited": "die", "paused": "pause", "restarting": "die"}
    while True:
        found = {s.id: s for s in observe.containers(places) if not services or s.service in services}
        after: Mapping[str, tuple[str, str]] = {i: (s.status, s.health) for i, s in found.items()}
        if before is not None:
            told = [
                (i, s, verbs.get(s.status, s.status))
                for i, s in found.items()
                if before.get(i, ("", ""))[0] != s.status
            ]
            told += [
                (i, s, f"health_status: {s.health}")
                for i, s in found.items()
                if s.health and before.get(i, ("", ""))[1] != s.health
            ]
            told = [
                (i, s, "unpause" if v == "start" and before.get(i, ("",))[0] == "paused" else v) for i, s, v in told
            ]
            for container_id, seen, verb in told:
                when = datetime.now()
                attributes = {"name": seen.name, "image": seen.image}
                if as_json:
                    tree = {"time": when.isoformat(), "type": "container", "action": verb, "id": container_id}
                    click.echo(json.dumps({**tree, "service": seen.service, "attributes": attributes}))
                else:
                    shown = ", ".join(f"{key}={value}" for key, value in attributes.items())
                    click.echo(f"{when} container {verb} {container_id} ({shown})")
            for container_id in before.keys() - after.keys():
                if as_json:
                    tree = {"time": datetime.now().isoformat(), "type": "container", "action": "destroy"}
                    click.echo(json.dumps({**tree, "id": container_id}))
                else:
                    click.echo(f"{datetime.now()} container destroy {container_id}")
            sys.stdout.flush()
        before = after
        if poll.poll(100):
            raise BrokenPipeError
