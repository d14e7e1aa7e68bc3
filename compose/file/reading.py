"""Values of a tree as the types that attributes have. A mismatch becomes a Problem with its place; nothing raises."""

from __future__ import annotations

import difflib
import json
import re
import shlex
from collections.abc import Iterable

from pycompose.compose.errors import FileError, Position, Problem

from .merge import pairs
from .source import FALSE, FLOAT, INTEGER, TRUE, Map, Seq, Text, Tree, plain_value

SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([kmgtp]?)i?b?\Z", re.IGNORECASE)
DURATION = re.compile(r"(\d+(?:\.\d+)?)(us|µs|ms|ns|s|m|h|d|w)")
SECONDS = {
    "ns": 1e-9,
    "us": 1e-6,
    "µs": 1e-6,
    "ms": 1e-3,
    "s": 1.0,
    "m": 60.0,
    "h": 3600.0,
    "d": 86400.0,
    "w": 604800.0,
}


def suggestion(name: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(name, list(known), 1)
    return f'did you mean "{close[0]}"?' if close else ""


class Reading:
    """Gathers what is wrong in the files of one run."""

    def __init__(self) -> None:
        self.problems: list[Problem] = []
        self.warnings: list[Problem] = []
        self.warned: set[str] = set()
        self.incomplete = False  # a file that belongs to the project is missing from the tree
        self.filled = 0  # characters that interpolation has made

    def problem(self, message: str, at: Position | None, hint: str = "", code: str = "value") -> None:
        self.problems.append(Problem(message, at, hint, code))

    def unusable(self, error: FileError) -> None:
        """A file could not be taken in: what it would have defined will be missed."""
        self.problems += error.problems
        self.incomplete = True

    def warn_once(self, key: str, message: str, at: Position | None, code: str = "not-acted-on") -> None:
        if key not in self.warned:
            self.warned.add(key)
            self.warnings.append(Problem(message, at, code=code))


class Section:
    """One mapping of a file, read attribute by attribute. `name` is how messages call it: service "web"."""

    def __init__(self, reading: Reading, value: Tree, name: str, at: Position | None = None) -> None:
        self.reading = reading
        self.name = name
        if value is not None and not isinstance(value, Map):
            reading.problem(f"{name} must be a mapping", value.at, code="type")
        self.map = value if isinstance(value, Map) else Map(at)
        self.origin = self.map.at or at

    def __contains__(self, key: str) -> bool:
        return key in self.map

    def at(self, key: str) -> Position | None:
        value = self.map.get(key)
        return (value.at if isinstance(value, Text) else None) or self.map.keys_at.get(key) or self.origin

    def wrong(self, key: str, wanted: str) -> None:
        value = self.map.get(key)
        shown = f', not "{value}"' if isinstance(value, Text) else ""
        self.reading.problem(f'"{key}" of {self.name} must be {wanted}{shown}', self.at(key), code="type")

    def check_keys(self, acted: Iterable[str], kept: Iterable[str] = ()) -> dict[str, str]:
        """Unknown keys are problems; the canonical JSON of those that are known and not acted on is returned."""
        result = {}
        acted, kept = set(acted), set(kept)
        for key in self.map:
            if key in acted:
                continue
            if key.startswith("x-"):
                result[key] = canonical_json(plain_value(self.map[key]))
            elif key in kept:
                message = f'"{key}" of {self.name} is not acted on yet'
                self.reading.warn_once(key, message, self.map.keys_at.get(key))
                result[key] = canonical_json(plain_value(self.map[key]))
            else:
                at = self.map.keys_at.get(key) or self.origin
                hint = suggestion(key, acted | kept)
                self.reading.problem(f'{self.name} has no attribute "{key}"', at, hint, "unknown-key")
        return result

    def text(self, key: str) -> str | None:
        value = self.map.get(key)
        if value is None:
            return None
        if not isinstance(value, Text):
            self.wrong(key, "text")
            return None
        return str(value)

    def flag(self, key: str, default: bool = False) -> bool:
        value = self.map.get(key)
        if value is None:
            return default
        if isinstance(value, Text) and value in TRUE:
            return True
        if not (isinstance(value, Text) and value in FALSE):
            self.wrong(key, "true or false")
            return default
        return False

    def integer(self, key: str) -> int | None:
        value = self.map.get(key)
        if value is None:
            return None
        if isinstance(value, Text) and INTEGER.match(value.strip()):
            return int(value, 0) if value[:2] in ("0o", "0x") else int(value)
        self.wrong(key, "a whole number")
        return None

    def octal(self, key: str) -> int | None:
        """A mode. Plain `0440` and quoted "0440" are octal; so is 0o440; a plain 288 is decimal."""
        value = self.map.get(key)
        if isinstance(value, Text):
            try:
                if value[:2] == "0o" or value.startswith("0") or not value.plain:
                    return int(value.removeprefix("0o"), 8)
            except ValueError:
                self.wrong(key, "an octal mode")
                return None
        return self.integer(key)

    def number(self, key: str) -> float | None:
        value = self.map.get(key)
        if value is None:
            return None
        if isinstance(value, Text) and FLOAT.match(value.strip()):
            return float(value)
        self.wrong(key, "a number")
        return None

    def size(self, key: str) -> int | None:
        value = self.map.get(key)
        if value is None:
            return None
        found = size_of(value) if isinstance(value, Text) else None
        if found is None:
            self.wrong(key, 'a size such as "1500m"')
        return found

    def duration(self, key: str) -> float | None:
        value = self.map.get(key)
        if value is None:
            return None
        found = duration_of(value) if isinstance(value, Text) else None
        if found is None:
            self.wrong(key, 'a duration such as "1m30s"')
        return found

    def texts(self, key: str) -> tuple[str, ...]:
        value = self.map.get(key)
        if value is None:
            return ()
        if isinstance(value, Text):
            return (str(value),)
        if isinstance(value, Seq) and all(isinstance(item, Text) for item in value):
            return tuple(dict.fromkeys(str(item) for item in value))
        self.wrong(key, "a list of text")
        return ()

    def command(self, key: str) -> tuple[str, ...] | None:
        """Text is split as a shell would; null inherits; an empty list or text clears."""
        value = self.map.get(key)
        if value is None:
            return None
        if isinstance(value, Text):
            try:
                return tuple(shlex.split(value))
            except ValueError as error:
                self.reading.problem(f'"{key}" of {self.name}: {error}', value.at, "quotes must be closed", "command")
                return None
        if isinstance(value, Seq) and all(isinstance(item, Text) for item in value):
            return tuple(str(item) for item in value)
        self.wrong(key, "text or a list of text")
        return None

    def optional_pairs(self, key: str) -> dict[str, str | None]:
        value = pairs(self.map.get(key))
        if value is None:
            return {}
        if not isinstance(value, Map):
            self.wrong(key, "a mapping or a list of NAME=value")
            return {}
        result: dict[str, str | None] = {}
        for name, item in value.items():
            if item is None or isinstance(item, Text):
                result[name] = None if item is None else str(item)
            else:
                self.reading.problem(f'"{name}" in "{key}" of {self.name} must be text', item.at, code="type")
        return result

    def pairs(self, key: str) -> dict[str, str]:
        return {name: value or "" for name, value in self.optional_pairs(key).items()}

    def section(self, key: str) -> Section:
        return Section(self.reading, self.map.get(key), f'"{key}" of {self.name}', self.map.keys_at.get(key))

    def sections(self, key: str) -> list[tuple[str, Section]]:
        """The entries of a mapping of mappings."""
        parent = self.section(key)
        return [
            (name, Section(self.reading, value, f'{key.removesuffix("s")} "{name}"', parent.map.keys_at.get(name)))
            for name, value in parent.map.items()
        ]

    def items(self, key: str) -> list[Tree]:
        value = self.map.get(key)
        if value is None:
            return []
        if isinstance(value, Seq):
            return list(value)
        if isinstance(value, Text):
            return [value]
        self.wrong(key, "a list")
        return []

    def choice(self, key: str, allowed: tuple[str, ...]) -> str | None:
        value = self.text(key)
        if value is not None and value not in allowed:
            self.reading.problem(
                f'"{key}" of {self.name} cannot be "{value}"', self.at(key), "one of: " + ", ".join(allowed), "choice"
            )
            return None
        return value


def size_of(value: str) -> int | None:
    if value.strip() == "-1":
        return -1
    match = SIZE.match(value.strip())
    return int(float(match[1]) * 1024 ** " kmgtp".index(match[2].lower() or " ")) if match else None


def duration_of(value: str) -> float | None:
    value = value.strip()
    if FLOAT.match(value):
        return float(value)
    parts = DURATION.findall(value)
    if not parts or "".join(number + unit for number, unit in parts) != value:
        return None
    return sum(float(number) * SECONDS[unit] for number, unit in parts)


def canonical_json(value: object) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
