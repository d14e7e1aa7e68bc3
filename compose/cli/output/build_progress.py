"""Progress of builds: a picture for a terminal, plain lines, or JSON.

`BuildBoard` is pure: what happens and the time go in, lines come out. Steps are numbered over all builds of a command,
as they first appear; with several builds, each step names its own.
"""

from __future__ import annotations

from collections import deque
from dataclasses import field

from pycompose.frozen import dataclass
from pycompose.plain_text import fitting, one_line, padded
from pycompose.runtime.images.dockerfile.request import BuildStep, Happened

from . import plan_progress
from .terminal import json_line

STATUS = {"started": "Working", "output": "Working", "cached": "Done", "done": "Done", "failed": "Error"}
TAIL = 6  # lines of output below a step that runs


@dataclass(slots=True)
class _Shown:
    number: int
    title: str
    began: float
    state: str = "started"  # cached, done, failed
    ended: float = 0.0
    output: deque[str] = field(default_factory=lambda: deque(maxlen=TAIL))


class BuildBoard:
    """Where every step stands; `subjects` and `lines` are what `display.Screen` draws."""

    def __init__(self, now: float, *, several: bool = False) -> None:
        self.began, self.several = now, several
        self.subjects: dict[tuple[str, int], _Shown] = {}

    def as_lines(self, name: str, happened: Happened, now: float, *, as_json: bool) -> list[str]:
        """Take what happened; the lines that say it where nobody sees the picture."""
        step = self.take(name, happened, now)
        if step is None:
            return []
        if as_json:
            row = {"id": step.title, "status": STATUS[happened.kind], "text": happened.text}
            return [json_line({key: value for key, value in row.items() if value})]
        head, took = f"#{step.number}", now - step.began
        match happened.kind:
            case "started":
                return [f"{head} {step.title}"]
            case "cached":
                return [f"{head} {step.title}", f"{head} CACHED"]
            case "output":
                return [f"{head} {took:.3f} {happened.text}"]
            case "done":
                return [f"{head} DONE {took:.1f}s"]
            case _:
                return [f"{head} ERROR: {happened.text}".rstrip(": ")]

    def take(self, name: str, happened: Happened, now: float) -> _Shown | None:
        if happened.step is None:
            return None
        shown = self.shown(name, happened.step, now)
        if happened.kind == "output":
            shown.output.append(happened.text)
        elif happened.kind in ("cached", "done", "failed"):
            shown.state, shown.ended = happened.kind, now
        return shown

    def shown(self, name: str, step: BuildStep, now: float) -> _Shown:
        if (name, step.number) not in self.subjects:
            title = " ".join(step.title.split())
            if self.several and name:
                title = f"[{name} {title.removeprefix('[')}"
            self.subjects[name, step.number] = _Shown(len(self.subjects) + 1, title, now)
        return self.subjects[name, step.number]

    def lines(self, now: float, width: int, height: int, *, colour: bool) -> list[str]:
        every = list(self.subjects.values())
        over = sum(step.state in ("done", "cached") for step in every)
        head = f"[+] Building {now - self.began:.1f}s ({over}/{len(every)})"
        picture: list[str] = []
        for step in every:
            running = step.state == "started"
            took = f"{(now if running else step.ended) - step.began:.1f}s"
            word = "CACHED " if step.state == "cached" else "ERROR " if step.state == "failed" else ""
            tint = {"cached": "done", "done": "done", "failed": "failed"}.get(step.state, "started")
            room = max(width - len(took) - 6, 10)
            text = one_line(f"{word}{step.title}")
            text = fitting(text, room, "…")
            picture.append(
                plan_progress.cut([(" => ", ""), (padded(text, room), tint), (f" {took}", "dim")], width, colour)
            )
            if running:
                picture += [plan_progress.cut([(f" => => # {line}", "dim")], width, colour) for line in step.output]
        if height and len(picture) + 1 > height:
            picture = picture[-(height - 1) :]
        return [plan_progress.cut([(head, "bold")], width, colour), *picture]

    def finish(self, now: float) -> None:
        """Nothing: how long it took ends with the last picture."""
