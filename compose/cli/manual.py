"""The manual page, in man(7), from the same tables as the help: commands, options, variables."""

from __future__ import annotations

import re
from collections.abc import Iterator

import click
from pycompose.compose.model import own_variables

from .root import SECTIONS, cli

HEAD = """.TH PYCOMPOSE 1 "" "pycompose" "User Commands"
.SH NAME
pycompose \\- runs the containers of a compose file on this machine, without a daemon
.SH SYNOPSIS
.B pycompose
[\\fIOPTIONS\\fR] \\fICOMMAND\\fR ...
.SH DESCRIPTION
Reads a compose file as docker compose does, and runs what it says: containers, networks, volumes. Commands, flags,
words and exit codes are docker compose's.
"""
TAIL = """.SH EXIT STATUS
0, or 1 for an error, wrong usage included; 130 and 143 where a signal ended the command.
.B exec
and
.B run
end with the command's own code, or 125, 126 or 127 where it cannot be started.
.SH FILES
.TP
compose.yaml, compose.yml, docker-compose.yml, docker-compose.yaml
The file that is read, in this folder or one above it, with compose.override.yaml beside it.
.TP
\\&.env
Variables for the file.
.TP
/var/lib/pycompose, /run/pycompose
Projects, images and volumes; sockets and locks.
.TP
~/.docker/config.json
Credentials, and the user's own forms of listings.
.SH SEE ALSO
.B pycompose help
\\fICOMMAND\\fR
"""


def page() -> str:
    """The whole page."""
    root = click.Context(cli, info_name="pycompose")
    parts = [HEAD, ".SH OPTIONS\n", *_options(cli, root), ".SH COMMANDS\n"]
    for section in SECTIONS:
        parts.append(f".SS {section}\n")
        parts += [text for name in cli.list_commands(root) for text in _command(name, root, section)]
    parts.append(".SH ENVIRONMENT\n")
    for table in (own_variables.OF_PROJECT, own_variables.OF_PROCESS, own_variables.OF_COMMANDS):
        parts += [f".TP\n.B {name}\n{_plain(text)}\n" for name, text in table.items()]
    return "".join([*parts, TAIL])


def _command(name: str, root: click.Context, section: str) -> Iterator[str]:
    from .root import COMMANDS

    command = cli.get_command(root, name)
    if command is None or COMMANDS[name][2] != section:
        return
    yield from _described(command, click.Context(command, info_name=name, parent=root))


def _described(command: click.Command, context: click.Context) -> Iterator[str]:
    usage = " ".join(command.collect_usage_pieces(context))
    path = context.command_path.partition(" ")[2]
    yield f".TP\n.B {_escaped(path)}\n{_escaped(usage)}\n.br\n"
    yield f"{_plain(command.get_short_help_str(200))}\n"
    options = list(_options(command, context))
    if options:
        yield "".join([".RS\n", *options, ".RE\n"])
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            if (below := command.get_command(context, name)) is not None:
                yield from _described(below, click.Context(below, info_name=name, parent=context))


def _options(command: click.Command, context: click.Context) -> Iterator[str]:
    for parameter in command.get_params(context):
        if isinstance(parameter, click.Option) and (record := parameter.get_help_record(context)) is not None:
            yield f".TP\n.B {_escaped(record[0])}\n{_plain(record[1])}\n"


def _plain(text: str) -> str:
    """A paragraph: Markdown's marks taken off, and nothing that man(7) would take for a request."""
    return _escaped(re.sub(r"`([^`]*)`", r"\1", " ".join(text.split())))


def _escaped(text: str) -> str:
    text = text.replace("\\", "\\e").replace("-", "\\-")
    text = "".join(letter if letter.isascii() else f"\\[u{ord(letter):04X}]" for letter in text)
    return f"\\&{text}" if text.startswith((".", "'")) else text
