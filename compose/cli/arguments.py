"""Types, options and arguments that several commands share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click

from .misuse import Misuse


class Seconds(click.ParamType):  # type: ignore[type-arg]  # a plain class before click 8.4
    """A number of seconds; -1 is without end."""

    name = "seconds"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        try:
            seconds = float(value)
        except ValueError:
            seconds = float("nan")
        if seconds == -1:
            return float(10**9)
        if not 0 <= seconds < 10**9:
            self.fail(f"{value!r} is no number of seconds", param, ctx)
        return seconds


SECONDS = Seconds()


class Switch(click.Option):
    """A switch that a variable may stand for: what is no "yes" there is a "no"."""

    def resolve_envvar_value(self, ctx: click.Context) -> str | None:
        from pycompose.compose.model.own_variables import switched_on

        value = super().resolve_envvar_value(ctx)
        return None if value is None else str(switched_on(value))


class UnknownWord(click.BadParameter):
    """A value that is none of those there are; `possibilities` are the nearest."""

    def __init__(self, message: str, possibilities: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.possibilities = possibilities


PROGRESS = ("auto", "tty", "plain", "json", "quiet")
TIMEOUT = click.option("-t", "--timeout", type=SECONDS, metavar="SECONDS", help="Before a container is killed.")
DEPRECATED = "Deprecated: passed over, as docker compose does."
SERVICES = click.argument("services", nargs=-1)


FORMAT = click.option("--format", "form", metavar="FORM", help="table, json, or a template.")


def output_form(form: str | None, setting: str = "") -> str:
    """ "table", "json", or a template; where none was asked for, that of a `setting` of docker's configuration."""
    from .output.listing import checked_form, docker_setting

    return checked_form(form if form is not None else docker_setting(setting) or "table")


def unix_time(text: str, now: float) -> float:
    """Of a time or an age (`moments.parse`). Raises Misuse."""
    from pycompose.compose.app import moments

    try:
        return moments.parse(text, now)
    except ValueError as error:
        fault = f'failed to parse value as time or duration: "{text}"'
        raise Misuse(fault, "such as 2026-01-31T12:00:00, or 42m: that long ago") from error


def moment(text: str, now: float) -> bytes:
    """As `moments.stamp` of what was written, empty for nothing. Raises Misuse."""
    from pycompose.compose.app import moments

    return moments.stamp(unix_time(text, now)) if text else b""


SCALE = 'invalid --scale option "{}". Should be SERVICE=NUM'


def counts_of(texts: tuple[str, ...], fault: str = SCALE) -> dict[str, int]:
    """`web=3` as {"web": 3}. Raises Misuse with `fault`."""
    counts = {}
    for text in texts:
        name, _, number = text.partition("=")
        if not name or not number.isdecimal():
            raise Misuse(fault.format(text), "SERVICE=NUM, such as web=3")
        counts[name] = int(number)
    return counts
