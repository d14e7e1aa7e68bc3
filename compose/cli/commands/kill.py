"""`kill`: signals to containers."""

from __future__ import annotations

import click
from pycompose.compose.app.choices import Choices
from pycompose.compose.cli.arguments import SERVICES, UnknownWord
from pycompose.compose.cli.command import command
from pycompose.compose.cli.drawing import Drawing, shown


@command("kill", accepted=("--remove-orphans",), interrupted="`pycompose kill` again goes on")
@click.option("-s", "--signal", "word", default="SIGKILL", metavar="SIGNAL", help="Instead of SIGKILL.")
@SERVICES
@click.pass_obj
def kill(choices: Choices, word: str, services: tuple[str, ...]) -> None:
    """Send containers a signal: SIGKILL, unless -s says another."""
    from pycompose.compose.app import operations

    _check_signal(word)
    shown(choices, operations.kill(choices, services, Drawing(), signal=word))


def _check_signal(word: str) -> None:
    from pycompose.signal_names import NUMBERS, signal_number

    if signal_number(word) is None:
        from difflib import get_close_matches

        near = get_close_matches(f"SIG{word.upper().removeprefix('SIG')}", [f"SIG{name}" for name in NUMBERS], 1)
        raise UnknownWord(f"there is no signal {word!r}", near)
