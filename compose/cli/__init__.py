"""The command line. `main` turns every error of ours into a text and an exit code, once.

Rules: commands import what they need when they run, so that looking at a project loads neither the engine nor the
network; nothing imports this folder. A person never sees a traceback, unless PYCOMPOSE_DEBUG asks for it.
"""

from __future__ import annotations

import errno
import os
import resource
import signal
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import ModuleType

    from pycompose.compose.app.choices import Launched
    from pycompose.errors import PycomposeError

PIPE_CLOSED = 141  # 128 + SIGPIPE
# What a machine refuses, and no fault of ours.
REFUSALS = (errno.EPERM, errno.EACCES, errno.EROFS, errno.EIO)


def main(arguments: list[str] | None = None) -> int:
    """Run one command; the process's exit code."""
    from .light_click import import_click, put_off_inspect

    put_off_inspect()
    _make_ordinary()
    from pycompose.errors import PycomposeError, SystemRefused

    from .early_start import launched
    from .interrupts import interrupted_code

    words = sys.argv[1:] if arguments is None else arguments
    try:
        with launched(words) as helpers:
            import_click()
            code = _run(words, helpers)
            sys.stdout.flush()
        return code if isinstance(code, int) else 0  # of `context.exit`
    except _of_click().Exit as leave:
        return int(leave.exit_code)
    except PycomposeError as error:
        _tell(error)
        return error.exit_code
    except _of_click().ClickException as error:
        from . import usage_errors

        usage_errors.show(error, words)
        return 1  # as docker compose: usage is no exception
    except (KeyboardInterrupt, _of_click().Abort):
        return interrupted_code()
    except BrokenPipeError:
        # What is left in the buffers has no reader, and the interpreter must not complain when it ends.
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 1)
        return PIPE_CLOSED
    except Exception as error:
        if os.environ.get("PYCOMPOSE_DEBUG"):
            raise
        if _is_refusal(error):
            refusal = SystemRefused(error)
            _tell(refusal)
            return refusal.exit_code
        from .output import terminal

        terminal.error(f"something unexpected happened: {type(error).__name__}: {error}", _where_it_is_written(error))
        return 1


def _of_click() -> ModuleType:
    """Its exceptions, looked up once something is raised: an interrupt may come before click is there."""
    import click.exceptions

    return click.exceptions


def _run(arguments: list[str], helpers: Launched | None) -> object:
    """Run the command that was called for, in docker's manner or ours."""
    from . import docker_call

    call = docker_call.read_call(sys.argv[0], arguments, os.environ)
    first = call.arguments[:1]
    if first == (docker_call.METADATA,):
        from .output.terminal import say

        say(docker_call.metadata())
        return 0
    client = docker_call.end_with_client(os.environ) if call.speaks_docker else None
    from .root import cli

    try:
        if first and first[0] in docker_call.COMPLETE:
            from .commands.completion import answer_docker

            answer_docker(call.arguments[1:], described=first[0] == docker_call.COMPLETE[0])
            return 0
        return cli.main(args=list(call.arguments), prog_name=call.program, standalone_mode=False, obj=helpers)
    finally:
        if client is not None:
            client.close()


def _is_refusal(error: Exception) -> bool:
    from pycompose import shortages

    return bool(shortages.number(error)) or (isinstance(error, OSError) and error.errno in REFUSALS)


def _make_ordinary() -> None:
    """Have what every command takes for granted, however this process was started: descriptors 0 to 2, ends of
    children that can be waited for, and as many descriptors as are allowed."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest number that is free
    sys.stdin = sys.stdin or os.fdopen(0, closefd=False)
    sys.stdout = sys.stdout or os.fdopen(1, "w", closefd=False)
    if sys.stderr is sys.__stderr__:  # a plan is not left in its middle because its progress cannot be written
        from .output.terminal import lossy

        sys.stderr = lossy(2, sys.stderr.encoding if sys.stderr else "utf-8")
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _tell(error: PycomposeError) -> None:
    from .output import terminal

    problems = getattr(error, "problems", ())
    for warning in getattr(error, "warnings", ()) if terminal.progress == "json" else ():
        terminal.problem(warning, "warning")
    for problem in problems:
        terminal.problem(problem, "error")
    if not problems:
        terminal.error(str(error), error.hint)


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
