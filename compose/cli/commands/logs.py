"""logs, attach, wait and events: what containers say and what becomes of them."""

from __future__ import annotations

import os
import select
import sys
import time
from typing import TYPE_CHECKING

import click
from pycompose.compose.app import locate
from pycompose.compose.cli.root import Choices, command
from pycompose.compose.state import lookup
from pycompose.errors import PycomposeError

if TYPE_CHECKING:
    from pycompose.compose.state.lookup import Seen
    from pycompose.runtime.places import ProjectPlaces


def moment(text: str, now: float) -> bytes:
    """A time as the log writes it, of "2026-01-31T12:00:00Z", "42m" (that long ago) or seconds since the epoch."""
    import re
    from datetime import UTC, datetime

    if not text:
        return b""
    units = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
    if re.fullmatch(r"(\d+(\.\d+)?(ms|[smhd]))+", text):
        seconds = now - sum(float(n) * units[u] for n, _, u in re.findall(r"(\d+(\.\d+)?)(ms|[smhd])", text))
    elif re.fullmatch(r"\d+(\.\d+)?", text):
        seconds = float(text)
    else:
        try:
            parsed = datetime.fromisoformat(re.sub(r"(\.\d{6})\d+", r"\1", text))
        except ValueError as error:
            raise click.BadParameter(f"{text!r} is neither a time (2026-01-31T12:00:00) nor an age (42m)") from error
        seconds = parsed.timestamp()
    return (datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.%f") + "000Z").encode()


@command("logs")
@click.option("-f", "--follow", is_flag=True, help="Go on while containers run.")
@click.option("-t", "--timestamps", is_flag=True, help="Put the time before each line.")
@click.option("-n", "--tail", default="all", metavar="NUM", help="Only the last lines of each container.")
@click.option("--since", default="", metavar="WHEN", help="Not what is older: a time, or an age as 42m.")
@click.option("--until", default="", metavar="WHEN", help="Not what is newer.")
@click.option("--no-log-prefix", is_flag=True, help="Do not put the container's name before each line.")
@click.option("--no-color", is_flag=True, help="No colours.")
@click.option("--index", type=int, default=0, metavar="N", help="Only the container with that number.")
@click.argument("services", nargs=-1)
@click.pass_obj
def logs(
    choices: Choices,
    follow: bool,
    timestamps: bool,
    tail: str,
    since: str,
    until: str,
    no_log_prefix: bool,
    no_color: bool,
    index: int,
    services: tuple[str, ...],
) -> None:
    """Print what containers wrote, in the order of time."""
    from pycompose.compose.cli.output.log_follower import Following, Printer, manner

    if tail != "all" and not tail.lstrip("-").isdecimal():
        raise click.BadParameter(f"{tail!r} is no number and not 'all'", param_hint="--tail")
    last = None if tail == "all" or int(tail) < 0 else int(tail)
    places = locate.places_of(choices)
    found = lookup.containers(places)
    _check(choices, found, services)
    if index and len(services) != 1:
        raise click.UsageError("--index needs one service")

    def chosen(seen: Seen) -> bool:
        return (not services or seen.service in services) and (not index or seen.number == index)

    now = time.time()
    how = manner(prefix=not no_log_prefix, colour=not no_color, timestamps=timestamps)
    printer = Printer(places.project, how)
    alone = [seen for seen in found if chosen(seen)]
    if len(alone) == 1 and not follow:  # nobody's lines have to be put between
        printer.all(alone[0], places, last, moment(since, now), moment(until, now))
        return
    following = Following(
        places, chosen, printer, since=moment(since, now), until=moment(until, now), tail=last, ended=None
    )
    following.begin()
    try:
        while follow and following.turn():
            pass
    finally:
        following.close()


def _check(choices: Choices, found: list[Seen], services: tuple[str, ...]) -> None:
    """A service is known by its containers, or by the file."""
    known = {seen.service for seen in found}
    if set(services) <= known:
        return
    _, described = locate.target(choices)
    known |= {*described.services, *described.disabled_services} if described is not None else set()
    for name in services:
        if name not in known:
            raise lookup.no_such_service(name, known)


@command("wait")
@click.option("--down-project", is_flag=True, help="Take the project down when the first has stopped.")
@click.argument("services", nargs=-1, required=True)
@click.pass_context
def wait(context: click.Context, /, down_project: bool, services: tuple[str, ...]) -> None:
    """Wait until containers have stopped; print their exit codes and end with the last one."""
    places = locate.places_of(context.obj)
    found = lookup.of_services(lookup.containers(places), services)
    poll, pidfds, codes = select.poll(), {}, []
    for seen in found:
        if seen.runs:
            try:
                pidfds[fd := os.pidfd_open(seen.record.pid)] = seen
            except ProcessLookupError:
                codes.append(_code_of(places, seen))
            else:
                poll.register(fd, select.POLLIN)
        elif seen.record.exit_code is not None:
            codes.append(seen.record.exit_code)
            click.echo(seen.record.exit_code)
    if not found or (not pidfds and not codes):
        raise PycomposeError(f"no container of {', '.join(services)} runs", exit_code=1)
    while pidfds and not (down_project and codes):
        for fd, _ in poll.poll():
            poll.unregister(fd)
            os.close(fd)
            codes.append(_code_of(places, pidfds.pop(fd)))
            click.echo(codes[-1])
    if down_project:
        from pycompose.compose.cli import run_plan
        from pycompose.compose.plan import reconcile

        home, known = locate.target(context.obj)
        run_plan.run(context.obj, home, known, lambda there: reconcile.down(known, there), "down")
        run_plan.shut_down_if_empty(home)
    context.exit(codes[-1] if codes else 0)


def _code_of(places: ProjectPlaces, seen: Seen) -> int:
    """The exit code of a process that has just gone; the keeper may be about to write it."""
    from pycompose.runtime.state.container_record import read_container

    end = time.monotonic() + 3
    while True:
        record = read_container(places, seen.id)
        if record is None or record.exit_code is not None or time.monotonic() > end:
            return 42 if record is None or record.exit_code is None else record.exit_code
        time.sleep(0.01)


@command("attach", accepted=("--detach-keys=", "--sig-proxy="))
@click.option("--index", type=int, default=0, metavar="N", help="The number of the container.")
@click.option("--no-stdin", is_flag=True, help="Only listen.")
@click.argument("service")
@click.pass_context
def attach(context: click.Context, /, index: int, no_stdin: bool, service: str) -> None:
    """Follow one container's output from now on; ends, with its exit code, when it does."""
    from datetime import UTC, datetime

    from pycompose.compose.cli.output.log_follower import Following, Printer, manner

    places = locate.places_of(context.obj)
    seen = lookup.one_of(lookup.containers(places), service, index)
    codes: list[int | None] = []
    printer = Printer(places.project, manner(prefix=False, colour=False, timestamps=False))
    following = Following(
        places,
        lambda other: other.id == seen.id,
        printer,
        since=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f000Z").encode(),
        ended=lambda _, code, again: None if again else codes.append(code),
    )
    following.begin()
    try:
        while following.turn() and not codes:
            pass
    finally:
        following.close()
    context.exit((codes[0] if codes else 0) or 0)


@command("events")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
@click.argument("services", nargs=-1)
@click.pass_obj
def events(choices: Choices, as_json: bool, services: tuple[str, ...]) -> None:
    """Print what happens to containers, as it happens, until Ctrl-C."""
    import json
    from datetime import datetime

    places = locate.places_of(choices)
    _check(choices, lookup.containers(places), services)
    before: dict[str, tuple[str, str]] | None = None
    poll = select.poll()
    poll.register(sys.stdout, select.POLLERR)  # a reader that has gone
    verbs = {"created": "create", "running": "start", "exited": "die", "paused": "pause", "restarting": "die"}
    while True:
        found = {s.id: s for s in lookup.containers(places) if not services or s.service in services}
        after = {i: (s.state, s.health) for i, s in found.items()}
        if before is not None:
            told = [
                (i, s, verbs.get(s.state, s.state)) for i, s in found.items() if before.get(i, ("", ""))[0] != s.state
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
