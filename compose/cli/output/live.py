"""Watching a plan being carried out: a live picture, plain lines, JSON or nothing, on stderr.

A thread redraws the picture, because whoever waits for the supervisor cannot. What is drawn is `display`'s.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from types import TracebackType
from typing import Self, TextIO

from pycompose.compose.control.protocol import Notice, Report
from pycompose.compose.plan.steps import Plan

from . import plan_progress, terminal


def stream() -> TextIO:
    """Where progress is written."""
    return sys.stdout if os.environ.get("COMPOSE_STATUS_STDOUT", "").lower() in ("1", "true") else sys.stderr


def live() -> bool:
    """Whether progress is a picture that moves."""
    if terminal.progress == "auto":
        return stream().isatty() and terminal.ansi != "never" and os.environ.get("TERM") != "dumb"
    return terminal.progress == "tty"


def size(out: TextIO) -> tuple[int, int]:
    """(columns, lines) of the terminal."""
    try:
        found = os.get_terminal_size(out.fileno())
    except (OSError, ValueError):
        return 80, 24
    return found.columns or 80, found.lines or 24


class Progress:
    """`with Progress(plan, "up") as progress:` and `take` for each answer of the supervisor."""

    def __init__(self, plan: Plan, title: str, *, plain: bool = False) -> None:
        self.board = plan_progress.Board(plan, title, time.monotonic())
        self._out = stream()
        self._live = live() and bool(plan.steps) and not plain
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._thread: threading.Thread | None = None
        self._screen = plan_progress.Screen(self._out, lambda: size(self._out), colour=terminal.coloured(self._out))

    def __enter__(self) -> Self:
        if self._live:
            self._screen.draw(self.board, time.monotonic())
            self._thread = threading.Thread(target=self._move, daemon=True)
            self._thread.start()
        return self

    def _move(self) -> None:
        while not self._over.wait(plan_progress.FRAME):
            with self._lock:
                if not self._over.is_set():
                    self._screen.draw(self.board, time.monotonic())

    def take(self, report: Report) -> None:
        with self._lock:
            if isinstance(report, Notice):
                terminal.warn(report.text)
                return
            changed = self.board.take(report.step, report.state, report.cause, time.monotonic())
            if not self._live and terminal.progress != "quiet":
                write = plan_progress.as_json if terminal.progress == "json" else plan_progress.plain
                for subject in changed:
                    print(write(subject), file=self._out, flush=True)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self._over.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None
            self.board.finish(time.monotonic())
            self._screen.draw(self.board, time.monotonic(), last=True)
