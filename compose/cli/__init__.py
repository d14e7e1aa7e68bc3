"""The command line. `main` turns every error of ours into a text and an exit code, once.

Rules: commands import what they need when they run, so that looking at a project loads neither the engine nor the
network; nothing imports this folder. A person never sees a traceback, unless PYCOMPOSE_DEBUG asks for it.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import click

INTERRUPTED = 130  # 128 + SIGINT
PIPE_CLOSED = 141  # 128 + SIGPIPE


def main(arguments: list[str] | None = None) -> int:
    """Run one command; the process's exit code."""
    import click
    from pycompose.errors import PycomposeError

    from .root import cli

    try:
        code = cli.main(args=arguments, prog_name="pycompose", standalone_mode=False)
        sys.stdout.flush()
        return code if isinstance(code, int) else 0  # of `context.exit`
    except click.exceptions.Exit as leave:
        return leave.exit_code
    except PycomposeError as error:
        _tell(error)
        return error.exit_code
    except click.ClickException as error:
        _tell_usage(error)
        return error.exit_code
    except (KeyboardInterrupt, click.Abort):
        return INTERRUPTED
    except BrokenPipeError:
        # What is left in the buffers has no reader, and the interpreter must not complain when it ends.
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 1)
        return PIPE_CLOSED
    except Exception as error:
        if os.environ.get("PYCOMPOSE_DEBUG"):
            raise
        from .output import terminal

        terminal.error(f"something unexpected happened: {type(error).__name__}: {error}", _where_it_is_written(error))
        return 1


def _tell(error: Exception) -> None:
    from .output import terminal

    problems = getattr(error, "problems", ())
    for warning in getattr(error, "warnings", ()) if terminal.progress == "json" else ():
        terminal.problem(warning, "warning")
    for problem in problems:
        terminal.problem(problem, "error")
    if not problems:
        terminal.error(str(error), getattr(error, "hint", ""))


def _tell_usage(error: click.ClickException) -> None:
    import re

    from .output import terminal

    text, guess = error.format_message().rstrip("."), ""
    if found := re.search(r"[. ]+\(?Did you mean (?:one of: )?(.*?)\?\)?$", text):
        text, guess = text[: found.start()], found[1]
    possibilities = list(getattr(error, "possibilities", None) or ())
    if possibilities:
        guess = " or ".join(possibilities[:3])
        text = text.partition(" (Possible")[0]
    hint = f"did you mean {guess}?" if guess else ""
    context = getattr(error, "ctx", None)
    if not hint and context is not None:
        hint = f"`{context.command_path} --help` lists what there is"
    text = text.rstrip(".")
    terminal.error(text[:1].lower() + text[1:] if text[1:2].islower() else text, hint)


def _where_it_is_written(error: Exception) -> str:
    """Keep the traceback in the run folder; the hint that says where."""
    import traceback

    from pycompose.runtime.places import Places

    run = Places.default().run
    try:
        os.makedirs(run, mode=0o700, exist_ok=True)
        path = f"{run}/crash.log"
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
            traceback.print_exception(error, file=file)
    except OSError:
        return "PYCOMPOSE_DEBUG=1 shows where"
    return f"this is a fault of pycompose; the details are in {path}"
