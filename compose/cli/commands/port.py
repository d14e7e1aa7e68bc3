"""`port`: where a service's port is published, from records alone."""

from __future__ import annotations

import click
from pycompose.compose.app.choices import Choices
from pycompose.compose.cli import subject
from pycompose.compose.cli.command import command
from pycompose.compose.cli.output import terminal
from pycompose.compose.state import lookup, observe
from pycompose.errors import PycomposeError


@command("port")
@click.option("--index", type=int, default=0, metavar="N", help="The number of the container.")
@click.option("--protocol", type=click.Choice(["tcp", "udp"]), default="tcp", help="tcp (the default) or udp.")
@click.argument("service")
@click.argument("private_port", type=click.IntRange(1, 65535), metavar="PORT")
@click.pass_obj
def port(choices: Choices, index: int, protocol: str, service: str, private_port: int) -> None:
    """Say where a port of a service is published."""
    containers = observe.containers(subject.places_of(choices), ports=True)
    container = lookup.one_of(containers, service, index, running=False)
    for published in container.ports:
        if (published.target, published.protocol) == (private_port, protocol):
            host = f"[{published.host_ip}]" if ":" in published.host_ip else published.host_ip
            terminal.say(f"{host}:{published.published}")
            return
    there = ", ".join(f"{published.target}/{published.protocol}" for published in container.ports)
    message = f"no port {private_port}/{protocol} for container {container.name}{f': {there}' if there else ''}"
    raise PycomposeError(message, hint="`ps` lists what is published")
