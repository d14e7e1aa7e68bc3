"""`kill`: signals to containers."""

from __future__ import annotations

import click
from pycompose.compose.app.choices import Choices
from pycompose.compose.cli.arguments import SERVICES, Switch, UnknownWord
from pycompose.compose.cli.command import command
from pycompose.compose.cli.drawing import Drawing, shown
from pycompose.compose.cli.output.terminal import note


@command("kill", interrupted="`pycompose kill` again goes on")
@click.option("-s", "--signal", "word", default="SIGKILL", metavar="SIGNAL", help="Instead of SIGKILL.")
@click.option(
    "--remove-orphans",
    cls=Switch,
    is_flag=True,
    envvar="COMPOSE_REMOVE_ORPHANS",
    help="Kill and remove containers of services that the file does not have, too.",
)
@SERVICES
@click.pass_obj
def kill(choices: Choices, word: str, remove_orphans: bool, services: tuple[str, ...]) -> None:
    """Send containers a signal: SIGKILL, unless -s says another."""
    from pycompose.compose.app import operations

    _check_signal(word)
    outcome = operations.kill(choices, services, Drawing(), signal=word, remove_orphans=remove_orphans)
    if not outcome.plan.steps:
        note("no container to kill")
    shown(choices, outcome)


def _check_signal(word: str) -> None:
    from pycompose.signal_names import NUMBERS, signal_number

    if signal_number(word) is None:
        from difflib import get_close_matches

        near = get_close_matches(f"SIG{word.upper().removeprefix('SIG')}", [f"SIG{name}" for name in NUMBERS], 1)
        raise UnknownWord(f"there is no signal {word!r}", near)
