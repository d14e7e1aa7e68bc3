"""Wrong usage in words: what docker compose says of it, and what was probably meant.

Imported only where there is something to tell.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import click

from .arguments import Seconds
from .misuse import Misuse
from .output import terminal

# Options with words of their own for a value that they cannot have.
VALUES = {
    "--pull": 'invalid --pull option "{}"',
    "--progress": 'unsupported --progress value "{}"',
    "--format": 'unsupported format "{}"',
    "--rmi": 'invalid value for --rmi: "{}"',
}
COUNTED_BY_DOCKER = ("cp", "publish", "wait")  # their arguments; others' are by cobra, as all of compose's


def show(error: click.ClickException, arguments: Sequence[str]) -> None:
    """Print what is wrong with `arguments`, with a hint."""
    possibilities = list(getattr(error, "possibilities", None) or ())
    hint = f"did you mean {' or '.join(possibilities[:3])}?" if possibilities else getattr(error, "hint", "")
    context: click.Context | None = getattr(error, "ctx", None)
    if isinstance(error, click.NoSuchOption):
        text = _unknown_flag(error.option_name)
        hint = _other_place(error.option_name, context, arguments) or hint
    else:
        text = error.format_message().rstrip(".")
    if not hint and context is not None:
        hint = f"`{context.command_path} --help` lists what there is"
    terminal.error(text[:1].lower() + text[1:] if text[1:2].islower() else text, hint)


def in_docker_words(error: click.UsageError, context: click.Context, words: Sequence[str]) -> click.UsageError:
    """What the arguments `words` of a command are refused for, as docker compose says it (pflag, cobra, docker/cli)."""
    if isinstance(error, click.NoSuchOption):
        return error
    if isinstance(error, click.BadOptionUsage):
        name = error.option_name
        return Misuse(f"flag needs an argument: {name if name.startswith('--') else f'{name[1:]!r} in {name}'}")
    values, surplus = _typed(context, words)
    if isinstance(error, click.MissingParameter) or (type(error) is click.UsageError and surplus):
        return _wrong_count(context, values, surplus) or error
    if isinstance(error, click.BadParameter) and error.param is not None:
        return wrong_value(error, error.param, context, values.get(error.param.name or ""))
    return error


def invalid_argument(value: str, option: click.Parameter, reason: str, hint: str = "") -> Misuse:
    """As pflag says it."""
    names = ", ".join(sorted({max(option.opts, key=len), *(name for name in option.opts if len(name) == 2)}, key=len))
    return Misuse(f'invalid argument "{value}" for "{names}" flag: {reason}', hint)


def _typed(context: click.Context, words: Sequence[str]) -> tuple[dict[str, object], list[str]]:
    """What was typed, by the parameters' names, and the words that are too many."""
    values, left, _ = context.command.make_parser(context).parse_args(list(words))
    return dict(values), left


def wrong_value(
    error: click.BadParameter, param: click.Parameter, context: click.Context, typed: object = None
) -> Misuse:
    """A value that was typed, or stands in a variable, that a parameter cannot have."""
    values = typed if isinstance(typed, (list, tuple)) else (typed,)
    value = next((one for one in values if isinstance(one, str) and not _fits(one, param, context)), None)
    number = isinstance(param.type, (click.types.IntParamType, click.types.FloatParamType, Seconds))
    from_variable = "" if value is not None else param.resolve_envvar_value(context) or ""
    if from_variable and number:
        return Misuse(f'{param.envvar} must be an integer (found: "{from_variable}")')
    shown = value or from_variable or next((one for one in values if isinstance(one, str)), "")
    syntax = f'strconv.ParseInt: parsing "{shown}": invalid syntax'
    if isinstance(param, click.Argument):
        return Misuse(syntax.replace("ParseInt", "ParseUint") if number else error.message)
    hint = f"one of: {', '.join(param.type.choices)}" if isinstance(param.type, click.Choice) else ""
    for name in param.opts:
        if name in VALUES and hint:
            return Misuse(VALUES[name].format(shown), hint)
    reason = syntax if number else "it is none of those there are" if hint else error.message
    return invalid_argument(shown, param, reason, hint)


def _fits(value: str, param: click.Parameter, context: click.Context) -> bool:
    try:
        param.type.convert(value, param, context)
    except click.BadParameter:
        return False
    return True


def _wrong_count(context: click.Context, values: Mapping[str, object], surplus: Sequence[str]) -> Misuse | None:
    """Where there are too few arguments, or too many."""
    arguments = [one for one in context.command.params if isinstance(one, click.Argument)]
    least = sum(one.required for one in arguments)
    most = None if any(one.nargs == -1 for one in arguments) else len(arguments)
    words = [values.get(one.name or "") for one in arguments]
    count = len(surplus) + sum(len(one) if isinstance(one, (list, tuple)) else isinstance(one, str) for one in words)
    if count >= least and not surplus:
        return None
    name, exact = context.command_path, least == most
    by_docker = context.info_name in COUNTED_BY_DOCKER or (context.parent and context.parent.parent)
    if most == 0:
        return Misuse(f"{name!r} accepts no arguments" if by_docker else f'unknown command "{surplus[0]}" for "{name}"')
    if by_docker:
        wanted = "requires" if exact else "requires at least" if count < least else "requires at most"
        number = least if exact or count < least else most
        return Misuse(f"{name!r} {wanted} {number} argument{'' if number == 1 else 's'}")
    if most is not None and least < most and least:
        return Misuse(f"accepts between {least} and {most} arg(s), received {count}")
    if count < least:
        return Misuse(f"requires at least {least} arg(s), only received {count}")
    return Misuse(f"accepts at most {most} arg(s), received {count}")


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
