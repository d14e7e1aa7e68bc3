"""`top`: the processes inside containers, from cgroups and /proc."""

from __future__ import annotations

import os
import pwd
import time

import click
from pycompose.compose.app.choices import Choices
from pycompose.compose.cli import subject
from pycompose.compose.cli.command import command
from pycompose.compose.cli.output import terminal
from pycompose.compose.cli.output.tables import table
from pycompose.compose.state import lookup, observe


@command("top")
@click.argument("services", nargs=-1)
@click.pass_obj
def top(choices: Choices, services: tuple[str, ...]) -> None:
    """List the processes inside containers."""
    from pycompose.runtime.policy.cgroup import Cgroup

    places = subject.places_of(choices)
    containers = lookup.of_services(observe.containers(places), services)
    rows = [
        (container.service, str(container.number), *row)
        for container in containers
        if container.runs
        for pid in Cgroup(f"{places.project}/{container.id}").processes()
        if (row := process_row(pid)) is not None
    ]
    terminal.say(table(("SERVICE", "#", "UID", "PID", "PPID", "C", "STIME", "TTY", "TIME", "CMD"), rows), end="")


def process_row(pid: int) -> tuple[str, ...] | None:
    """As `ps -ef` shows a process; None if it is gone. Sources: man 5 proc_pid_stat, proc_pid_cmdline."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            name, _, rest = file.read().partition(b"(")[2].rpartition(b")")
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            line = file.read().rstrip(b"\0").replace(b"\0", b" ").decode(errors="replace")
        uid = os.stat(f"/proc/{pid}").st_uid
    except OSError:
        return None
    fields = rest.split()
    ticks = os.sysconf("SC_CLK_TCK")
    with open("/proc/uptime", encoding="ascii") as file:
        uptime = float(file.read().split()[0])
    used, age = (int(fields[11]) + int(fields[12])) / ticks, max(uptime - int(fields[19]) / ticks, 0.0)
    try:
        user = pwd.getpwuid(uid).pw_name
    except KeyError:
        user = str(uid)
    device = int(fields[4])
    minor = (device & 0xFF) | ((device >> 12) & 0xFFF00)
    began = time.localtime(time.time() - age)
    return (
        user,
        str(pid),
        fields[1].decode(),
        str(min(int(100 * used / age), 99) if age else 0),
        time.strftime("%H:%M" if age < 86400 else "%b%d", began),
        f"pts/{minor}" if device >> 8 & 0xFFF in range(136, 144) else "?",
        time.strftime("%H:%M:%S", time.gmtime(used)),
        line or f"[{name.decode(errors='replace')}]",
    )
