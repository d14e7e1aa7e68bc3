"""Arguments as docker compose's parser (pflag) reads them, put into the words that click understands.

A switch may have a value (`--build=false`, `-d=true`, `-qa=false`), and the value of a short option may stand after "="
(`-p=name`). Rules: only the spelling is changed; what is wrong otherwise is left to click to say.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import click

from .offered_words import offer_words
from .output import terminal

if TYPE_CHECKING:
    from click.parser import _OptionParser

WORDS: Mapping[str, bool] = {  # Go's strconv.ParseBool
    **dict.fromkeys(("1", "t", "T", "true", "True", "TRUE"), True),
    **dict.fromkeys(("0", "f", "F", "false", "False", "FALSE"), False),
}


NARROWEST = 24  # columns of a help


class HelpLines(click.HelpFormatter):
    """A help whose names of options take half of a narrow terminal at most."""

    def write_dl(self, rows: Iterable[tuple[str, str]], col_max: int = 30, col_spacing: int = 2) -> None:
        super().write_dl(rows, min(col_max, self.width // 2), col_spacing)


class GoArguments(click.Command):
    """A command whose switches take a value after "=", and for whose words the TAB key offers what there is."""

    def __init__(self, *arguments: Any, **more: Any) -> None:
        super().__init__(*arguments, **more)
        offer_words(self.params)

    def get_help(self, ctx: click.Context) -> str:
        """As wide as the terminal, also where click would have fifty columns at least."""
        import shutil

        room = min(shutil.get_terminal_size().columns, ctx.max_content_width or 80) - 2
        formatter = HelpLines(width=max(room, NARROWEST))
        self.format_help(ctx, formatter)
        return formatter.getvalue().rstrip("\n")

    def make_parser(self, ctx: click.Context) -> _OptionParser:
        parser = super().make_parser(ctx)
        for option in self.get_params(ctx):
            if isinstance(option, click.Option) and option.is_bool_flag:
                parser.add_option(option, [_denial(option)], option.name, action="store_const", const=False)
        return parser

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        words = spelled(args, self.get_params(ctx), interspersed=ctx.allow_interspersed_args)
        try:
            return super().parse_args(ctx, list(words))
        except click.UsageError as error:
            from .usage_errors import in_docker_words

            said = in_docker_words(error, ctx, words)
            said.ctx = said.ctx or ctx
            raise said from error


class GoGroup(GoArguments, click.Group):
    """A group whose commands are read so, too."""

    command_class = GoArguments

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if not args and self.no_args_is_help and not ctx.resilient_parsing:
            terminal.say(ctx.get_help())
            ctx.exit()
        return super().parse_args(ctx, args)


def spelled(arguments: Iterable[str], parameters: Iterable[click.Parameter], *, interspersed: bool) -> list[str]:
    """The arguments for click. Raises Misuse for a switch whose value is neither true nor false."""
    options = {name: one for one in parameters if isinstance(one, click.Option) for name in one.opts}
    words: list[str] = []
    left = list(arguments)
    while left:
        argument = left.pop(0)
        if argument == "--" or not argument.startswith("-") or argument == "-":
            words.append(argument)
            if argument == "--" or not interspersed:
                return words + left
            continue
        needs_value = _long(argument, options, words) if argument.startswith("--") else _short(argument, options, words)
        if needs_value and left:
            words[-1] = _full(words[-1], options)
            words.append(left.pop(0))
    return words


def _long(argument: str, options: Mapping[str, click.Option], words: list[str]) -> bool:
    """Whether the next argument is its value."""
    name, equals, value = argument.partition("=")
    option = options.get(name)
    if option is None or not option.is_flag:
        words.append(argument)
        return option is not None and not equals
    words += _switch(option, name, value if equals else "true")
    return False


def _short(argument: str, options: Mapping[str, click.Option], words: list[str]) -> bool:
    """Whether the next argument is the value of the last of these short options."""
    for at in range(1, len(argument)):
        name, rest = f"-{argument[at]}", argument[at + 1 :]
        option = options.get(name)
        if option is None:
            words.append(f"-{argument[at:]}")
            return False
        if not option.is_flag:
            words += [_full(name, options), rest.removeprefix("=")] if rest else [name]
            return not rest
        if rest.startswith("="):
            words += _switch(option, name, rest[1:])
            return False
        words.append(_full(name, options))
    return False


def _full(name: str, options: Mapping[str, click.Option]) -> str:
    """The long name of an option: for a short one click first imports what finds similar words, 2 ms each time."""
    return next((full for full in options[name].opts if full.startswith("--")), name)


def _switch(option: click.Option, name: str, value: str) -> list[str]:
    if value not in WORDS:
        from .usage_errors import invalid_argument

        raise invalid_argument(value, option, f'strconv.ParseBool: parsing "{value}": invalid syntax', "true or false")
    if WORDS[value]:
        return [name]
    return [_denial(option)] if option.is_bool_flag else []


def _denial(option: click.Option) -> str:
    """A spelling of "not this switch" that nobody types, and that is near to nothing anybody means."""
    return f"--:{(option.name or '').encode().hex()}"
