"""The machine that shows progress: a picture that a thread redraws, lines where nobody watches, JSON, or nothing.

What is drawn, and in which words, is a board's; this decides when and where. It goes to stderr, or to stdout where
COMPOSE_STATUS_STDOUT asks for that.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Protocol, Self, TextIO

from pycompose.compose.model.own_variables import switched_on
from pycompose.plain_text import visible

from . import terminal
from .plan_progress import FRAME, Picture, Screen


class Movable(Picture, Protocol):
    def finish(self, now: float) -> None: ...


def stream() -> TextIO:
    """Where progress is written."""
    if not switched_on(os.environ.get("COMPOSE_STATUS_STDOUT")):
        return sys.stderr
    replaced = sys.stdout is not sys.__stdout__
    if replaced:
        return sys.stdout
    sys.stdout.flush()
    return terminal.lossy(1, sys.stdout.encoding)


def live() -> bool:
    """Whether progress is a picture that moves."""
    if terminal.progress == "auto":
        return stream().isatty() and terminal.ansi != "never" and os.environ.get("TERM") != "dumb"
    return terminal.progress == "tty"


class Live:
    """`with Live(board) as live:` and `update` for all that happens, from any thread.

    `plain`: lines even on a terminal. `quiet`: nothing.
    """

    def __init__(self, board: Movable, *, plain: bool = False, quiet: bool = False) -> None:
        self._board, self._out = board, stream()
        self._quiet = quiet or terminal.progress == "quiet"
        self._moves = live() and not plain and not self._quiet
        self._lock, self._over = threading.Lock(), threading.Event()
        self._thread: threading.Thread | None = None
        self._screen = Screen(self._out, lambda: terminal.size(self._out), colour=terminal.coloured(self._out))

    def __enter__(self) -> Self:
        with self._lock:
            self._begin()
        return self

    def _begin(self) -> None:
        if self._moves and self._thread is None and len(self._board.subjects):
            self._screen.draw(self._board, time.monotonic())
            thread = threading.Thread(target=self._move, daemon=True)
            try:
                thread.start()
            except RuntimeError:  # the system has no more threads: lines will do
                self._moves = False
                return
            self._thread = thread

    def _move(self) -> None:
        while not self._over.wait(FRAME):
            with self._lock:
                if not self._over.is_set():
                    self._screen.draw(self._board, time.monotonic())

    def update(self, change: Callable[[float], Iterable[str]]) -> None:
        """Have `change`, which is given the time, alter the board; the lines that it returns are for who sees none."""
        with self._lock:
            lines = change(time.monotonic())
            if self._moves:
                self._begin()
            elif not self._quiet:
                for line in lines:
                    print(visible(line), file=self._out, flush=True)

    def interject(self, write: Callable[[], None]) -> None:
        """Have `write` say something that stays above the picture."""
        with self._lock:
            if self._thread is not None:
                self._screen.erase()
            write()
            if self._thread is not None:
                self._screen.draw(self._board, time.monotonic())

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self._over.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None
            self._board.finish(time.monotonic())
            self._screen.draw(self._board, time.monotonic(), last=True)
