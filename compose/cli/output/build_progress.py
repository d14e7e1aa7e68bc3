"""Watching builds: a live picture in a terminal, plain lines elsewhere, JSON, or nothing; on stderr.

`Board` is pure: what happens and the time go in, lines come out. Steps are numbered over all builds of a command, as
they first appear; with several builds, each step names its own.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from collections import deque
from dataclasses import field
from types import TracebackType
from typing import Self, TextIO

from pycompose.frozen import dataclass
from pycompose.runtime.images.dockerfile.request import Happened, Step

from . import plan_progress, terminal
from .live import live

TAIL = 6  # lines of output below a step that runs


@dataclass(slots=True)
class _Shown:
    number: int
    title: str
    began: float
    state: str = "started"  # cached, done, failed
    ended: float = 0.0
    output: deque[str] = field(default_factory=lambda: deque(maxlen=TAIL))


class Board:
    """Where every step stands; `subjects` and `lines` are what `display.Screen` draws."""

    def __init__(self, now: float, *, several: bool = False) -> None:
        self.began, self.several = now, several
        self.subjects: dict[tuple[str, int], _Shown] = {}

    def take(self, name: str, happened: Happened, now: float) -> _Shown | None:
        if happened.step is None:
            return None
        shown = self.shown(name, happened.step, now)
        if happened.kind == "output":
            shown.output.append(happened.text)
        elif happened.kind in ("cached", "done", "failed"):
            shown.state, shown.ended = happened.kind, now
        return shown

    def shown(self, name: str, step: Step, now: float) -> _Shown:
        if (name, step.number) not in self.subjects:
            title = " ".join(step.title.split())
            if self.several and name:
                title = f"[{name} {title.removeprefix('[')}"
            self.subjects[name, step.number] = _Shown(len(self.subjects) + 1, title, now)
        return self.subjects[name, step.number]

    def lines(self, now: float, width: int, height: int, *, colour: bool) -> list[str]:
        every = list(self.subjects.values())
        over = sum(one.state in ("done", "cached") for one in every)
        head = f"[+] Building {now - self.began:.1f}s ({over}/{len(every)})"
        picture: list[str] = []
        for one in every:
            running = one.state == "started"
            took = f"{(now if running else one.ended) - one.began:.1f}s"
            word = "CACHED " if one.state == "cached" else "ERROR " if one.state == "failed" else ""
            tint = {"cached": "done", "done": "done", "failed": "failed"}.get(one.state, "started")
            room = max(width - len(took) - 6, 10)
            text = f"{word}{one.title}"
            text = text if len(text) <= room else text[: room - 1] + "…"
            picture.append(
                plan_progress.cut([(" => ", ""), (text.ljust(room), tint), (f" {took}", "dim")], width, colour)
            )
            if running:
                picture += [plan_progress.cut([(f" => => # {line}", "dim")], width, colour) for line in one.output]
        if height and len(picture) + 1 > height:
            picture = picture[-(height - 1) :]
        return [plan_progress.cut([(head, "bold")], width, colour), *picture]


class BuildProgress:
    """`with BuildProgress() as progress:` and `take` for everything that happens, from any thread."""

    def __init__(self, *, several: bool = False, quiet: bool = False) -> None:
        self.board = Board(time.monotonic(), several=several)
        self._out: TextIO = sys.stderr
        self._quiet = quiet or terminal.progress == "quiet"
        self._live = live() and not self._quiet
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._thread: threading.Thread | None = None
        self._screen = plan_progress.Screen(self._out, self._size, colour=terminal.coloured(self._out))

    def _size(self) -> tuple[int, int]:
        import os

        try:
            size = os.get_terminal_size(self._out.fileno())
        except (OSError, ValueError):
            return 80, 24
        return size.columns or 80, size.lines or 24

    def __enter__(self) -> Self:
        return self

    def take(self, name: str, happened: Happened) -> None:
        with self._lock:
            if happened.kind == "warning":
                terminal.warn(f"{happened.step.position}: {happened.text}" if happened.step else happened.text)
                return
            now = time.monotonic()
            shown = self.board.take(name, happened, now)
            if shown is None or self._quiet:
                return
            if not self._live:
                self._say(shown, happened, now)
            elif self._thread is None:
                self._screen.draw(self.board, now)
                self._thread = threading.Thread(target=self._move, daemon=True)
                self._thread.start()

    def _say(self, shown: _Shown, happened: Happened, now: float) -> None:
        if terminal.progress == "json":
            told = {"id": shown.title, "status": _STATUS[happened.kind], "text": happened.text}
            print(json.dumps({key: value for key, value in told.items() if value}), file=self._out, flush=True)
            return
        head, took = f"#{shown.number}", now - shown.began
        line = {
            "started": f"{head} {shown.title}",
            "cached": f"{head} {shown.title}\n{head} CACHED",
            "output": f"{head} {took:.3f} {happened.text}",
            "done": f"{head} DONE {took:.1f}s",
            "failed": f"{head} ERROR: {happened.text}".rstrip(": "),
        }[happened.kind]
        print(line, file=self._out, flush=True)

    def _move(self) -> None:
        while not self._over.wait(plan_progress.FRAME):
            with self._lock:
                if not self._over.is_set():
                    self._screen.draw(self.board, time.monotonic())

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self._over.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None
            self._screen.draw(self.board, time.monotonic(), last=True)


_STATUS = {"started": "Working", "output": "Working", "cached": "Done", "done": "Done", "failed": "Error"}
