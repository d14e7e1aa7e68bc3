"""Hooks of services, run to their end: inside their container, or in one of their own; what they write is told at once.

Which hook runs when is the plan's, or the scheduler's.
"""

from __future__ import annotations

import codecs
from collections import deque
from collections.abc import Callable, Sequence

import trio
from pycompose.compose.model.pre_start import KIND
from pycompose.compose.model.project import Hook
from pycompose.compose.plan.steps import RunHook
from pycompose.errors import PycomposeError

from .host import Host, HostError, OutputLine

KEPT = 64 << 10  # bytes of what one inside a container writes are kept
LAST_LINES = 3  # that an error repeats

Tell = Callable[[str], None]


class HookFailed(PycomposeError):
    """A hook ended with another code than 0, which is the command's."""


class _WholeLines:
    """Hands over what comes in pieces as whole lines."""

    def __init__(self, tell: Tell) -> None:
        self._tell, self._left = tell, ""
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def take(self, piece: bytes, *, final: bool = False) -> None:
        whole, newline, self._left = (self._left + self._decoder.decode(piece, final)).rpartition("\n")
        if newline:
            self._tell(whole + newline)
        if final and self._left:
            self._tell(self._left)


async def run_inside(host: Host, kind: str, name: str, service: str, hook: Hook, tell: Tell) -> HookFailed | None:
    """Run one inside its container; how it failed."""
    lines = _WholeLines(tell)
    try:
        result = await host.exec_container(
            name,
            hook.command,
            environment=hook.environment,
            user=hook.user,
            working_dir=hook.working_dir,
            privileged=hook.privileged,
            output_limit=KEPT,
            tell=lines.take,
        )
    except PycomposeError as error:
        return HookFailed(f"{kind} of {name}: {error}", hint=error.hint, exit_code=error.exit_code)
    finally:
        lines.take(b"", final=True)
    if not result.exit_code:
        return None
    last = result.output.decode(errors="replace").rstrip().rpartition("\n")[2]
    hint = f"{kind} of {name}" + (f" says: {last}" if last else "")
    return HookFailed(f"{service} hook exited with status {result.exit_code}", hint=hint, exit_code=result.exit_code)


async def run_beside(host: Host, action: RunHook, tell: Tell) -> None:
    """Run a pre_start hook in its container, which is removed unless it fails. Raises HookFailed, HostError."""
    last: dict[bool, deque[str]] = {False: deque(maxlen=LAST_LINES), True: deque(maxlen=LAST_LINES)}

    def take(lines: Sequence[OutputLine]) -> None:
        for line in lines:
            if line.text.strip():
                last[line.is_error].append(line.text.strip())
        if lines:
            tell("".join(f"{line.text}\n" for line in lines))

    await host.create_hook(action.name, action.beside, action.index)
    try:
        await host.start_container(action.name)
        await host.follow_output(action.name, take)
        end = await host.await_exit(action.name)
    except BaseException:  # it could not start, or is no longer wanted: there is nothing to look at
        with trio.CancelScope(shield=True):
            await host.kill_container(action.name)
            await host.remove_container(action.name, volumes=True)
        raise
    what = f'service "{action.service}" {KIND}[{action.index}]'
    if end.exit_code:
        why = " / ".join(last[True] or last[False])
        kept = f"(hook container {action.name} retained for inspection)"
        message = f"{what} exited with code {end.exit_code}" + (f": {why}" if why else "")
        raise HookFailed(f"{message} {kept}", hint="the next `pycompose up` runs it again; `pycompose rm` removes it")
    if end.exit_code is None:
        raise HookFailed(f"{what} ended, and nobody can tell how")
    try:
        await host.remove_container(action.name, volumes=True)
    except HostError as error:  # what it was run for is done
        tell(f"{error}\n")
