"""Output of a container's run for the supervisor, line by line, while it is written."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing

import trio
from pycompose.compose.engine.host import OutputLine
from pycompose.runtime.state.line_follower import LineFollower
from pycompose.runtime.state.logs import LogLines


async def followed_output(log: str, gone: trio.Event, tell: Callable[[Sequence[OutputLine]], None]) -> None:
    """Hand over the lines of a log, as they come, until the run that writes it is over."""
    lines = LogLines()

    def pass_on(key: str | None = None) -> None:
        for _, block in follower.new(key):
            tell([OutputLine(text.decode(errors="replace"), err) for _, err, text in lines.take(block)])

    async def listen() -> None:
        while True:
            pass_on()
            await trio.lowlevel.wait_readable(follower.fileno())

    with closing(LineFollower()) as follower:
        follower.add("", log, (log, 0))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(listen)
            await gone.wait()
            nursery.cancel_scope.cancel()
        pass_on("")  # whether or not it was heard of
    tell([OutputLine(text.decode(errors="replace")) for text in lines.unfinished()])
