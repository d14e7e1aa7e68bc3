"""Calls in docker's manner: as its client's plugin (`docker compose`), as `docker-compose`, or as `pycompose compose`.

The client calls a plugin with its own options, the plugin's name and what was typed after it
(docker/cli, docs/extend/cli_plugins.md). Rules: a call that is not such is left as it is, at next to no cost; the
client's daemon is never spoken to, and a call that is meant for another machine is refused.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from pycompose.errors import PycomposeError
from pycompose.frozen import dataclass

if TYPE_CHECKING:
    import socket

NAME = "docker-compose"  # of the file that docker's client calls
METADATA = "docker-cli-plugin-metadata"
COMPLETE = ("__complete", "__completeNoDesc")
SPEAKS = "5.5.0"  # the docker compose whose command line this is; scripts compare it
VALUED = {  # docker's options before `compose`
    "--config": "--config",
    "-c": "--context",
    "--context": "--context",
    "-H": "--host",
    "--host": "--host",
    "-l": "--log-level",
    "--log-level": "--log-level",
    "--tlscacert": "--tlscacert",
    "--tlscert": "--tlscert",
    "--tlskey": "--tlskey",
}
SWITCHES = ("-D", "--debug", "--tls", "--tlsverify")
HERE = {"--context": ("", "default"), "--host": ("", "unix:///var/run/docker.sock", "unix:///run/docker.sock")}


class AnotherMachine(PycomposeError):
    """A call whose containers were to be on a machine that is not this one."""

    def __init__(self, option: str, value: str) -> None:
        super().__init__(
            f"{option} {value}: containers run on this machine, and no other is spoken to",
            hint="leave the option out, or run it over there",
        )


@dataclass(frozen=True, slots=True)
class Call:
    """A call: the program's name as its user knows it, and the arguments that are ours."""

    program: str
    arguments: tuple[str, ...]

    @property
    def speaks_docker(self) -> bool:
        """Whether the caller takes us for docker compose, and may compare its version."""
        return self.program != "pycompose"


def read_call(path: str, arguments: Sequence[str], environ: Mapping[str, str]) -> Call:
    """The call of the program at `path` with `arguments`. Raises AnotherMachine."""
    left = list(arguments)
    if os.path.basename(path) != NAME:
        return Call("pycompose", tuple(left[1:] if left[:1] == ["compose"] else left))
    plugged = "DOCKER_CLI_PLUGIN_ORIGINAL_CLI_COMMAND" in environ
    while left and (taken := _option_of_docker(left)):
        left = left[taken:]
    if left[:1] == ["compose"]:
        left = left[1:]
    elif left[:1] in (["help"], *([word] for word in COMPLETE)) and left[1:2] == ["compose"]:
        del left[1]  # `docker help compose`, and the TAB key
    return Call("docker compose" if plugged else NAME, tuple(left))


def _option_of_docker(words: Sequence[str]) -> int:
    """How many of the first words are an option of docker's client."""
    name, equals, value = words[0].partition("=")
    if name in SWITCHES:
        return 1
    if name not in VALUED:
        return 0
    if not equals:
        value = words[1] if len(words) > 1 else ""
    option = VALUED[name]
    if value not in HERE.get(option, (value,)):
        raise AnotherMachine(option, value)
    if option == "--config":
        os.environ["DOCKER_CONFIG"] = value  # credentials are there
    return 1 if equals else 2


def metadata() -> str:
    """What docker's client asks of each file in its folders of plugins."""
    import json

    from pycompose import __version__

    fields = {
        "SchemaVersion": "0.1.0",
        "Vendor": "pycompose",
        "Version": __version__,
        "ShortDescription": "Compose files without a daemon (pycompose)",
    }
    return json.dumps(fields, indent=2)


def end_with_client(environ: Mapping[str, str]) -> socket.socket | None:
    """Have the kernel interrupt this process when docker's client says so: it closes the socket that it names.

    The client does so where a signal reached it alone; from a terminal, a signal reaches both. Nothing waits for it
    here: the end of the connection is a signal by itself (F_SETSIG, man 2 fcntl).
    """
    name = environ.get("DOCKER_CLI_PLUGIN_SOCKET", "")
    if not name:
        return None
    import socket

    client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        client.connect(f"\0{name[1:]}" if name.startswith("@") else name)
    except OSError:  # it is gone: so will we be, by its signal or its terminal's
        client.close()
        return None
    import fcntl  # docker's client alone needs it

    fcntl.fcntl(client, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(client, fcntl.F_SETSIG, signal.SIGINT)
    fcntl.fcntl(client, fcntl.F_SETFL, fcntl.fcntl(client, fcntl.F_GETFL) | os.O_ASYNC)
    return client
