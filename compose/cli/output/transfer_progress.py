"""Progress of transfers: a line an image and, below it, one for each layer that moves; or plain lines; or JSON.

`TransferBoard` is pure: events and the time go in, lines of text come out. `Screen` draws it.
"""

from __future__ import annotations

from dataclasses import field
from typing import TYPE_CHECKING

from pycompose.frozen import dataclass
from pycompose.plain_text import columns, padded, shortened_inside

from .plan_progress import BESIDE, FRAME, LEAST, SPINNER, cut, seconds
from .terminal import json_line

if TYPE_CHECKING:
    from pycompose.runtime.images.registry.progress import Transfer

BAR = 24  # columns of a layer's bar
WINDOW = 3.0  # seconds that a rate is measured over
WORDS = {
    "pull": ("Pulling", "Pulled", "Downloading", "Unpacking", "Pull complete", "Already exists"),
    "push": ("Pushing", "Pushed", "Pushing", "Finishing", "Pushed", "Layer already exists"),
}


def size(count: float) -> str:
    for unit in ("B", "kB", "MB"):
        if count < 1000:
            return f"{count:.0f}{unit}" if unit == "B" else f"{count:.3g}{unit}"
        count /= 1000
    return f"{count:.3g}GB"


class _Rate:
    """Bytes a second, over the last seconds."""

    def __init__(self) -> None:
        self._seen: list[tuple[float, int]] = []

    def take(self, now: float, done: int) -> None:
        if not self._seen or now - self._seen[-1][0] >= FRAME:
            self._seen.append((now, done))
            while len(self._seen) > 2 and now - self._seen[0][0] > WINDOW:
                self._seen.pop(0)

    def value(self, now: float) -> float:
        if len(self._seen) < 2 or now - self._seen[-1][0] > WINDOW:
            return 0.0
        (then, before), (_, done) = self._seen[0], self._seen[-1]
        return (done - before) / max(self._seen[-1][0] - then, 0.001)


@dataclass(slots=True)
class _Part:
    state: str = "waiting"
    done: int = 0
    total: int = 0
    text: str = ""
    rate: _Rate = field(default_factory=_Rate)


@dataclass(slots=True)
class _One:
    image: str
    state: str = "waiting"  # waiting, started, done, failed, skipped
    text: str = ""
    began: float | None = None
    ended: float | None = None
    parts: dict[str, _Part] = field(default_factory=dict)
    rate: _Rate = field(default_factory=_Rate)

    @property
    def done(self) -> int:
        return sum(part.done for part in self.parts.values() if part.state != "here")

    @property
    def total(self) -> int:
        return sum(part.total for part in self.parts.values() if part.state != "here")


class TransferBoard:
    """Where every image stands. `verb` is pull or push."""

    def __init__(self, verb: str, images: list[str], now: float) -> None:
        self.verb, self.began = verb, now
        self.ended: float | None = None
        self._numbers_told = 0.0
        self.subjects: dict[str, _One] = {image: _One(image) for image in images}
        (self._during, self._after, self._moving, self._finishing, self._complete, self._here) = WORDS[verb]

    def take(self, event: Transfer, now: float) -> bool:
        """Whether the event changes more than numbers."""
        one = self.subjects.setdefault(event.image, _One(event.image))
        if not event.part:
            changed = one.state != event.state
            one.state, one.text = event.state, event.text
            if event.state == "started":
                one.began = now
            if event.state in ("done", "failed"):
                one.ended = now
            return changed
        part = one.parts.setdefault(event.part, _Part())
        changed = part.state != event.state
        part.state, part.text, part.total = event.state, event.text, event.total
        part.done = event.total if event.state in ("done", "here", "finishing") else event.done
        part.rate.take(now, part.done)
        one.rate.take(now, one.done)
        return changed

    def as_lines(self, event: Transfer, now: float, *, as_json: bool) -> list[str]:
        """Take an event; the lines that say it where nobody sees the picture. Numbers alone: ten times a second."""
        changed = self.take(event, now)
        if not as_json:
            line = self.plain(event) if changed else ""
            return [line] if line else []
        if not changed and now - self._numbers_told < FRAME:
            return []
        self._numbers_told = self._numbers_told if changed else now
        return [self.as_json(event)]

    def skip(self, image: str, why: str, now: float, *, as_json: bool = False) -> list[str]:
        """An image that is left out; the line that says so where nobody sees the picture."""
        one = self.subjects.setdefault(image, _One(image))
        one.state, one.text, one.ended = "skipped", why, now
        return [f" Image {image}  Skipped  {why}"] if not as_json else []

    def finish(self, now: float) -> None:
        self.ended = now

    def lines(self, now: float, width: int, height: int, *, colour: bool) -> list[str]:
        """The picture: at most `height` lines (0: as many as there are), none wider than `width`."""
        every = list(self.subjects.values())
        over = sum(one.state in ("done", "skipped") for one in every)
        end = now if self.ended is None else self.ended
        head = [(f"[+] {self.verb} {over}/{len(every)}", "bold"), (f"  {seconds(end - self.began)}", "dim")]
        picture = [cut(head, width, colour)]
        longest = min(max((columns(one.image) for one in every), default=0), max(width - BESIDE, LEAST))
        room = (height - 1 - len(every)) if height else 1 << 30
        shown = every if not height or len(every) < height else every[: max(height - 2, 0)]
        for one in shown:
            picture.append(self._image(one, now, longest, width, colour))
            if one.state in ("started", "failed") and self.ended is None:
                # What moves comes first where there is no room for all.
                order = {"started": 0, "retrying": 0, "finishing": 1, "waiting": 2}
                parts = [(name, part) for name, part in one.parts.items() if part.state in order]
                if len(parts) > room:
                    parts = sorted(parts, key=lambda pair: order[pair[1].state])[: max(room, 0)]
                room -= len(parts)
                picture += [self._part(name, part, now, width, colour) for name, part in parts]
        if len(shown) < len(every):
            picture.append(cut([(f"   … and {len(every) - len(shown)} more", "dim")], width, colour))
        return picture

    def _image(self, one: _One, now: float, longest: int, width: int, colour: bool) -> str:
        spin = SPINNER[int(now / FRAME) % len(SPINNER)]
        mark = {"done": "✔", "failed": "✘", "skipped": "-", "started": spin}.get(one.state, "·")
        tint = one.state if one.state in ("done", "failed", "skipped", "started") else "dim"
        took = "" if one.began is None else seconds((one.ended or now) - one.began)
        parts = [
            (f" {mark} ", tint),
            (padded(shortened_inside(one.image, longest), longest + 2), ""),
            (self._word(one).ljust(8), tint),
        ]
        parts.append((took.rjust(7), "dim"))
        if one.state == "started" and one.total:
            moved = f"  {size(one.done)} / {size(one.total)}"
            rate = one.rate.value(now)
            parts.append((moved + (f"  {size(rate)}/s" if rate and one.done < one.total else ""), ""))
        elif one.state in ("failed", "skipped") and one.text:
            parts.append((f"  {one.text.partition(chr(10))[0]}", tint if one.state == "failed" else "dim"))
        return cut(parts, width, colour)

    def _word(self, one: _One) -> str:
        words = {"done": self._after, "failed": "Error", "skipped": "Skipped", "started": self._during}
        return words.get(one.state, "Waiting")

    def _part(self, name: str, part: _Part, now: float, width: int, colour: bool) -> str:
        spin = SPINNER[int(now / FRAME) % len(SPINNER)]
        if part.state == "waiting":
            return cut([(f"   · {short(name)} Waiting", "dim")], width, colour)
        word = {"finishing": self._finishing, "retrying": "Retrying"}.get(part.state, self._moving)
        full = int(BAR * part.done / part.total) if part.total else 0
        bar = f"[{'━' * full}{' ' * (BAR - full)}]"
        rate = part.rate.value(now)
        text = f" {size(part.done):>7} / {size(part.total)}" + (
            f"  {size(rate)}/s" if rate and part.state == "started" else ""
        )
        parts = [(f"   {spin} ", "started"), (f"{short(name)} {word:<11} ", ""), (bar, "started"), (text, "dim")]
        if part.state == "retrying":
            parts.append((f"  {part.text.partition(chr(10))[0]}", "failed"))
        return cut(parts, width, colour)

    def plain(self, event: Transfer) -> str:
        """One line, where nobody watches; empty for what is not worth one."""
        one = self.subjects[event.image]
        if not event.part:
            detail = f"  {event.text.partition(chr(10))[0]}" if event.text and event.state in ("done", "failed") else ""
            return f" Image {event.image} {self._word(one)}{detail}" if one.state != "waiting" else ""
        if event.state in ("done", "here"):
            word = self._complete if event.state == "done" else self._here
            return f" {short(event.part)} {word} {size(event.total)}"
        if event.state == "retrying":
            return f" {short(event.part)}  Retrying  {event.text.partition(chr(10))[0]}"
        return ""

    def as_json(self, event: Transfer) -> str:
        """One object, with docker compose's keys."""
        one = self.subjects[event.image]
        if not event.part:
            status = {"done": "Done", "failed": "Error", "skipped": "Warning"}.get(event.state, "Working")
            row: dict[str, object] = {"id": f"Image {event.image}", "status": status, "text": self._word(one)}
            return json_line(row | ({"details": event.text} if event.text else {}))
        words = {"waiting": "Waiting", "here": self._here, "started": self._moving, "retrying": "Retrying"}
        word = words.get(event.state) or (self._complete if event.state == "done" else self._finishing)
        status = "Done" if event.state in ("done", "here") else "Working"
        row = {"id": short(event.part), "parent_id": f"Image {event.image}", "status": status, "text": word}
        row |= {"current": one.parts[event.part].done, "total": event.total}
        if event.total:
            row["percent"] = int(100 * one.parts[event.part].done / event.total)
        return json_line(row | ({"details": event.text} if event.text else {}))


def short(digest: str) -> str:
    return digest.removeprefix("sha256:")[:12]
