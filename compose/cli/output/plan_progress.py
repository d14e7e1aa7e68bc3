"""Progress of a plan: one line a container, network or volume, redrawn in place; or plain lines; or JSON.

`PlanBoard` is pure: events and the time go in, lines of text come out. `Screen` writes them to a terminal and needs to
be called again to move. Rules: everything about a step comes from its plan; what is unknown is passed over, so an older
command line can watch a newer supervisor.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence, Sized
from dataclasses import field
from typing import Protocol, TextIO

from pycompose.compose.model.fields import EMPTY
from pycompose.compose.plan.steps import (
    Action,
    AwaitCondition,
    ConfirmReady,
    ConnectNetwork,
    CreateContainer,
    CreateNetwork,
    CreateVolume,
    DisconnectNetwork,
    KillContainer,
    PauseContainer,
    Plan,
    Reason,
    RemoveContainer,
    RemoveNetwork,
    RemoveVolume,
    RenameContainer,
    RunHook,
    RunProvider,
    StartContainer,
    StopContainer,
    UnpauseContainer,
)
from pycompose.frozen import dataclass
from pycompose.plain_text import columns, fitting, one_line, padded, shortened_inside

from .terminal import json_line

SPINNER = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
FRAME = 0.1  # seconds between two pictures
BESIDE = 23  # columns of a line beside the name: sign, word and time
LEAST = 8  # columns of a name that is cut
LONGEST_END = 60  # lines of the last picture; more are told as a number
# A recreated container is made under the id of the one that it replaces.
TEMPORARY = re.compile(r"[0-9a-f]{12}_")
# What anyone expects is no cause worth a word.
EXPECTED: frozenset[Reason] = frozenset({"asked", "missing", "dependency", "naming", "created", "paused", "hook"})
COLOURS = {"done": "32", "failed": "31", "skipped": "33", "started": "36", "dim": "2", "bold": "1"}


READY = {"healthy": "Healthy", "running": "Running", "exited": "Exited"}


def words(action: Action) -> tuple[str, str]:
    """What a line says while the action is under way, and after it."""
    match action:
        case CreateNetwork() | CreateVolume():
            return "Creating", "Created"
        case CreateContainer(replaces=replaces):
            return ("Recreate", "Recreated") if replaces else ("Creating", "Created")
        case RemoveNetwork() | RemoveVolume() | RemoveContainer():
            return "Removing", "Removed"
        case StartContainer():
            return "Starting", "Started"
        case RunHook():
            return "Running", "Exited"
        case RunProvider(verb="down"):
            return "Removing", "Removed"
        case RunProvider(verb="up"):
            return "Creating", "Created"
        case StopContainer() | RunProvider():
            return "Stopping", "Stopped"
        case KillContainer():
            return "Killing", "Killed"
        case RenameContainer():
            return "Recreate", "Recreated"
        case ConnectNetwork():
            return "Connecting", "Connected"
        case DisconnectNetwork():
            return "Disconnecting", "Disconnected"
        case PauseContainer():
            return "Pausing", "Paused"
        case UnpauseContainer():
            return "Unpausing", "Unpaused"
        case AwaitCondition(condition="service_completed_successfully"):
            return "Waiting", "Exited"
        case AwaitCondition(condition="service_started"):
            return "Waiting", "Started"
        case AwaitCondition(condition="service_healthy"):
            return "Waiting", "Healthy"
        case AwaitCondition():
            return "Waiting", "Running"
    return "Working", "Done"  # of a later version


def subjects(action: Action) -> tuple[str, ...]:
    """The lines that an action is about: "Container web-1"."""
    match action:
        case CreateNetwork(network):
            return (f"Network {network.name}",)
        case CreateVolume(volume):
            return (f"Volume {volume.name}",)
        case RemoveNetwork(name):
            return (f"Network {name}",)
        case RemoveVolume(name):
            return (f"Volume {name}",)
        case RenameContainer(_, new_name):
            return (f"Container {new_name}",)
        case AwaitCondition(containers=names):
            return tuple(f"Container {name}" for name in names)
        case ConfirmReady():
            return ()
        case RunProvider(service):
            return (f"Service {service}",)
    name = str(getattr(action, "name", ""))
    replaces = getattr(action, "replaces", None)
    return (f"Container {TEMPORARY.sub('', name, count=1) if replaces else name}",)


@dataclass(slots=True)
class _Subject:
    name: str
    left: int = 0  # steps that are not over
    state: str = "waiting"  # waiting, started, done, failed, skipped
    word: str = ""
    cause: str = ""
    began: float | None = None
    ended: float | None = None
    now: list[str] = field(default_factory=list)  # steps under way
    first: bool = True  # nothing of it is over
    replaced: bool = False  # it is made anew, and has not got its name yet


class PlanBoard:
    """Where every subject of a plan stands."""

    def __init__(self, plan: Plan, title: str, now: float) -> None:
        self.title, self.began = title, now
        self.ended: float | None = None
        self._actions = {step.id: step.action for step in plan.steps}
        self.subjects: dict[str, _Subject] = {}
        for step in plan.steps:
            for name in subjects(step.action):
                subject = self.subjects.setdefault(name, _Subject(name))
                subject.left += 1
                subject.replaced |= bool(getattr(step.action, "replaces", None))
                if not subject.cause and step.reason not in EXPECTED:
                    subject.cause = step.cause
        names = (f"Container {name}" for name in plan.running)
        self.running = [
            _Subject(name, state="done", word="Running", began=now, ended=now)
            for name in names
            if name not in self.subjects
        ]  # what the plan leaves as it is
        self.subjects |= {subject.name: subject for subject in self.running}

    def take(self, step: str, state: str, cause: str, now: float, ready: Mapping[str, str] = EMPTY) -> list[_Subject]:
        """One event of a step; the subjects that it changed. `ready`: container -> how it is that was waited for."""
        action = self._actions.get(step)
        changed = []
        for name in subjects(action) if action is not None else ():
            subject = self.subjects[name]
            before = subject.word
            during, after = words(action) if action is not None else ("", "")
            if subject.replaced:  # making it anew is one thing, of several steps
                during = after = "Recreate"
                if isinstance(action, RenameContainer) and state == "done":
                    subject.replaced, after = False, "Recreated"
            if subject.began is None:
                subject.began = now
            if state == "started":
                subject.now.append(step)
                subject.state, subject.word = "started", during
            else:
                subject.left -= 1
                subject.first = False
                if step in subject.now:
                    subject.now.remove(step)
                if subject.state == "failed":
                    continue
                if state == "done":
                    subject.word = READY.get(ready.get(name.partition(" ")[2], ""), after)
                    subject.state = "done" if not subject.left else "started" if subject.now else "waiting"
                elif state == "failed":
                    subject.state, subject.word, subject.cause = "failed", "Error", cause
                else:
                    subject.state, subject.word, subject.cause = "skipped", "Skipped", cause
                subject.ended = now
            if (subject.word, subject.replaced) != (before, True) or subject.state in ("failed", "skipped"):
                changed.append(subject)
        return changed

    def say(self, name: str, text: str) -> list[_Subject]:
        """What is said about a subject while something of it is under way; the subject, if it is."""
        subject = self.subjects.get(name)
        if subject is None or subject.state != "started":
            return []
        subject.word = text
        return [subject]

    def finish(self, now: float) -> None:
        self.ended = now

    @property
    def done(self) -> int:
        return sum(subject.state == "done" for subject in self.subjects.values())

    def lines(self, now: float, width: int, height: int, *, colour: bool) -> list[str]:
        """The picture: at most `height` lines (0: as many as there are), none wider than `width`."""
        # What is over and what waits makes room for what happens; the order stays.
        order = {"failed": 0, "skipped": 1, "started": 2, "waiting": 3, "done": 4}
        every = list(self.subjects.values())
        shown = every
        if height and len(every) + 1 > height:
            places = sorted(range(len(every)), key=lambda at: (order[every[at].state], at))[: max(height - 2, 0)]
            shown = [every[at] for at in sorted(places)]
        end = now if self.ended is None else self.ended
        total = seconds(end - self.began)
        head = f"[+] {self.title} {self.done}/{len(every)}"
        picture = [cut([(head, "bold"), (f"  {total}", "dim")], width, colour)]
        labels = _labels([subject.name for subject in every], width - BESIDE)
        longest = max(map(columns, labels.values()), default=0)
        picture += [self._line(subject, labels[subject.name], now, longest, width, colour) for subject in shown]
        if len(shown) < len(every):
            hidden = len(every) - len(shown)
            picture.append(cut([(f"   … and {hidden} more", "dim")], width, colour))
        return picture

    def _line(self, subject: _Subject, label: str, now: float, longest: int, width: int, colour: bool) -> str:
        spin = SPINNER[int(now / FRAME) % len(SPINNER)]
        mark = {"done": "✔", "failed": "✘", "skipped": "-", "started": spin, "waiting": "·"}[subject.state]
        over = subject.state in ("done", "failed", "skipped")
        tint = {"waiting": "dim"}.get(subject.state, subject.state)
        took = "" if subject.began is None else seconds(((subject.ended if over else None) or now) - subject.began)
        parts = [
            (f" {mark} ", tint),
            (padded(label, longest + 2), ""),
            (subject.word.ljust(10), tint),
            (took.rjust(7), "dim"),
        ]
        if subject.cause:
            parts.append((f"  {subject.cause.partition(chr(10))[0]}", "failed" if subject.state == "failed" else "dim"))
        return cut(parts, width, colour)


def _labels(names: Sequence[str], room: int) -> dict[str, str]:
    """Names as there is room for: `Container p-web-1`, else `p-web-1`, else a part of that."""
    if all(columns(name) <= room for name in names):
        return {name: name for name in names}
    return {name: shortened_inside(name.partition(" ")[2], max(room, LEAST)) for name in names}


def seconds(count: float) -> str:
    """A time that something took, as people read it."""
    if count < 60:
        return f"{max(count, 0):.1f}s"
    minutes, seconds = divmod(int(count), 60)
    return f"{minutes}m{seconds:02d}s" if minutes < 60 else f"{minutes // 60}h{minutes % 60:02d}m"


def cut(parts: Sequence[tuple[str, str]], width: int, colour: bool) -> str:
    """The parts one after another, in their colours, cut before the last column (a full line would wrap)."""
    line, room = "", max(width - 1, 1)
    for text, tint in parts:
        text = fitting(one_line(text), room)
        room -= columns(text)
        line += f"\033[{COLOURS[tint]}m{text}\033[0m" if colour and tint and text.strip() else text
    return line.rstrip()


ESCAPE = re.compile(r"\033\[[0-9;]*m")


class Picture(Protocol):
    """What a screen draws; `subjects` are what lines are about."""

    @property
    def subjects(self) -> Sized: ...

    def lines(self, now: float, width: int, height: int, *, colour: bool) -> list[str]: ...


class Screen:
    """Pictures on a terminal, each over the one before. `size` gives (columns, lines) and is asked each time."""

    def __init__(self, out: TextIO, size: Callable[[], tuple[int, int]], *, colour: bool) -> None:
        self._out, self._size, self._colour = out, size, colour
        self._drawn: list[int] = []  # lengths of the lines on the screen

    def erase(self) -> None:
        """Take the picture away, so that something else can be written in its place."""
        width, height = self._size()
        self._out.write(self._up(width, height) + "\r\033[J")
        self._out.flush()
        self._drawn = []

    def _up(self, width: int, height: int) -> str:
        # A terminal that became narrower has wrapped what was there.
        above = sum(max(1, -(-length // max(width, 1))) for length in self._drawn)
        return f"\033[{min(above, height)}A" if above else ""

    def draw(self, board: Picture, now: float, *, last: bool = False) -> None:
        width, height = self._size()
        limit = max(height - 1, 2)
        if last and len(board.subjects) < LONGEST_END:
            limit = 0
        picture = board.lines(now, width, limit, colour=self._colour)
        up = self._up(width, height)
        self._out.write("\033[?25l" + up + "\r" + "".join(f"{line}\033[K\n" for line in picture) + "\033[J")
        if last:
            self._out.write("\033[?25h")
        self._out.flush()
        self._drawn = [columns(ESCAPE.sub("", line)) for line in picture]

    def leave(self) -> None:
        """Give the cursor back."""
        self._out.write("\033[?25h")
        self._out.flush()


def plain(subject: _Subject) -> str:
    """One line, as docker compose writes it where nobody watches."""
    text = f" {subject.name} {subject.word}"
    if subject.state == "skipped" and subject.cause:
        return f"{text}: {subject.cause}"
    has_cause = subject.cause and (subject.state == "failed" or (subject.first and subject.state == "started"))
    return f"{text} ({subject.cause})" if has_cause else text


def as_json(subject: _Subject) -> str:
    """One object a line, with docker compose's keys."""
    status = {"done": "Done", "failed": "Error", "skipped": "Warning"}.get(subject.state, "Working")
    row: dict[str, str] = {"id": subject.name, "status": status, "text": subject.word}
    if subject.cause:
        row["details"] = subject.cause
    return json_line(row)
