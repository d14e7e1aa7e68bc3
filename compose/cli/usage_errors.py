"""Wrong usage in words: what docker compose says of it, and what was probably meant.

Imported only where there is something to tell.
"""

from __future__ import annotations

from collections.abc import Sequence

import click

from .output import terminal


def show(error: click.ClickException, arguments: Sequence[str]) -> None:
    """Print what is wrong with `arguments`, with a hint."""
    possibilities = list(getattr(error, "possibilities", None) or ())
    hint = f"did you mean {' or '.join(possibilities[:3])}?" if possibilities else ""
    context: click.Context | None = getattr(error, "ctx", None)
    if isinstance(error, click.NoSuchOption):
        text = _unknown_flag(error.option_name)
        hint = _other_place(error.option_name, context, arguments) or hint
    else:
        text = error.format_message().rstrip(".")
    if not hint and context is not None:
        hint = f"`{context.command_path} --help` lists what there is"
    terminal.error(text[:1].lower() + text[1:] if text[1:2].islower() else text, hint)


def _unknown_flag(name: str) -> str:
    """As pflag says it (spf13/pflag, errors.go)."""
    return f"unknown flag: {name}" if name.startswith("--") else f"unknown shorthand flag: {name[1:]!r} in {name}"


def _other_place(name: str, context: click.Context | None, arguments: Sequence[str]) -> str:
    """The hint for an option of the program that stands behind a command, or one of a command that stands before it."""
    if context is None:
        return ""
    program = context.find_root()
    if context is not program:
        if name not in _options_of(program.command):
            return ""
        return f"{name} goes before the command: {program.info_name} {name} … {context.info_name}"
    assert isinstance(program.command, click.Group)
    for word in arguments:
        if (command := program.command.get_command(program, word)) is not None:
            after = f"{name} goes after the command: {program.info_name} {word} {name}"
            return after if name in _options_of(command) else ""
    return ""


def _options_of(command: click.Command) -> set[str]:
    return {name for parameter in command.params if isinstance(parameter, click.Option) for name in parameter.opts}
