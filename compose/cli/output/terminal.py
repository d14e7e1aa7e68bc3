"""Text for a person: colours only where somebody sees them, warnings and errors on stderr.

What the user asked for (`ansi`, `progress`, `verbose`) is set before a command runs. Nothing here decides what is said.
Rule: what is shown may be a stranger's, so control characters are spelled out here (`plain_text`), and nobody else
writes to a person but logs and data that were asked for as they are.
"""

from __future__ import annotations

import errno
import io
import os
import sys
from typing import TYPE_CHECKING, Any, Literal, TextIO

from pycompose.plain_text import visible

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pycompose.compose.model.errors import Problem

CODES = {
    "red": "31",
    "green": "32",
    "yellow": "33",
    "blue": "34",
    "magenta": "35",
    "cyan": "36",
    "dim": "2",
    "bold": "1",
}

ansi = "auto"  # never, always, auto
progress = "auto"  # auto, tty, plain, json, quiet
verbose = False  # each step of a plan is told as in its trace


class _Lossy(io.FileIO):
    """A file whose disk may be full or gone: what cannot be written to it is lost. A pipe without a reader is not."""

    def write(self, data: Any, /) -> int:
        try:
            return super().write(data)
        except BrokenPipeError:
            raise
        except OSError:
            return memoryview(data).nbytes


def lossy(descriptor: int, encoding: str = "utf-8") -> TextIO:
    """A stream for what is said of work that must go on to its end, wherever that is written."""
    buffer = io.BufferedWriter(_Lossy(descriptor, "w", closefd=False))
    return io.TextIOWrapper(buffer, encoding, errors="backslashreplace", line_buffering=True)


def coloured(stream: TextIO) -> bool:
    """Whether escape sequences for colours may be written to `stream` (no-color.org, and --ansi)."""
    if ansi != "auto":
        return ansi == "always"
    return not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb" and stream.isatty()


def size(out: TextIO) -> tuple[int, int]:
    """(columns, lines) of the terminal."""
    try:
        columns, lines = os.get_terminal_size(out.fileno())
    except (OSError, ValueError):
        return 80, 24
    return columns or 80, lines or 24


def paint(text: str, colour: str, on: bool) -> str:
    return f"\033[{CODES[colour]}m{text}\033[0m" if on and text else text


def warn(text: str) -> None:
    if progress == "json":
        _json({"warning": True, "message": text})
    else:
        print(f"{paint('warning:', 'yellow', coloured(sys.stderr))} {visible(text)}", file=sys.stderr)


def error(text: str, hint: str = "") -> None:
    if progress == "json":
        _json({"error": True, "message": text} | ({"hint": hint} if hint else {}))
        return
    on = coloured(sys.stderr)
    print(f"{paint('error:', 'red', on)} {visible(text)}", file=sys.stderr)
    for line in hint.splitlines():
        print(f"{paint('hint:', 'cyan', on)} {visible(line)}", file=sys.stderr)


def problem(one: Problem, severity: Literal["error", "warning"]) -> None:
    """What is wrong or odd in a file. As JSON it is for editors: one object a line, always with the same keys."""
    if progress == "json":
        at = one.position
        place = (
            {"path": at.path, "line": at.line, "column": at.column} if at else dict.fromkeys(("path", "line", "column"))
        )
        row = {"severity": severity, **place, "message": one.message, "hint": one.hint, "code": one.code}
        _json({severity: True, **row})
    elif severity == "error":
        error(f"{one.position}: {one.message}" if one.position else one.message, one.hint)
    else:
        warn(str(one))


def note(text: str) -> None:
    """A line beside the output proper; silent where the user asked for quiet."""
    if progress == "json":
        _json({"message": text})
    elif progress != "quiet":
        print(visible(text), file=sys.stderr)


def say(text: str, end: str = "\n") -> None:
    """What a command was asked for, on standard output; control characters in it are spelled out."""
    import click

    try:
        click.echo(visible(text) + end, nl=False)
    except OSError as error:
        error.filename = error.filename or "/dev/stdout"
        raise


def confirmed(question: str, *, usual: bool = False) -> bool:
    """Whether the answer is yes; without an answer it is no. The question goes to stderr: stdout may be a file's.

    An empty line on a terminal is the `usual` answer.
    """
    print(f"{visible(question)} {'[Y/n]' if usual else '[y/N]'}: ", end="", file=sys.stderr, flush=True)
    try:
        answer = sys.stdin.readline()
    except KeyboardInterrupt:
        end_line()
        raise
    if not sys.stdin.isatty():
        print(file=sys.stderr)
    elif answer == "\n":
        return usual
    return answer.strip().lower() in ("y", "yes", "true", "1", "t", "on")


def end_line() -> None:
    """Below the ^C that a terminal shows."""
    if sys.stderr.isatty() and progress not in ("json", "quiet"):
        print(file=sys.stderr)


def leave_if_hung_up() -> None:
    """Let output to a terminal that is gone go nowhere, rather than be an error at each line."""
    for descriptor in (1, 2):
        try:
            os.get_terminal_size(descriptor)
        except OSError as error:
            if error.errno == errno.EIO:  # another file says ENOTTY (drivers/tty/tty_io.c, hung_up_tty_ioctl)
                nowhere = os.open(os.devnull, os.O_WRONLY)
                os.dup2(nowhere, descriptor)
                os.close(nowhere)


def json_line(message: Mapping[str, object]) -> str:
    """One object as programs are told of work: nothing between its tokens, and nothing but ASCII in it."""
    import json

    return json.dumps(message, separators=(",", ":"))


def _json(message: Mapping[str, object]) -> None:
    print(json_line(message), file=sys.stderr)


def version_text(*, short: bool = False, for_docker: bool = False) -> str:
    """`for_docker`: in docker compose's words, for scripts that took us for it and compare the number."""
    from pycompose import __version__

    if for_docker:
        from pycompose.compose.cli.docker_call import SPEAKS

        return SPEAKS if short else f"Docker Compose version v{SPEAKS} (pycompose {__version__})"
    return __version__ if short else f"pycompose {__version__}"
