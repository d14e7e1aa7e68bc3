"""Patterns of `.dockerignore` and of `--exclude`. Pure text.

A line is a path with `*`, `?`, `[…]` (none matches a slash) and `**` (any number of folders); `!` takes back what a
line before it left out; the last line that matches a path, or a folder above it, decides. `#` begins a comment.
Source: docs.docker.com/build/concepts/context; moby/patternmatcher, where that is silent.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable

from pycompose.frozen import dataclass

from .errors import BuildError


@dataclass(frozen=True, slots=True)
class Pattern:
    regex: re.Pattern[str]
    kept: bool  # it began with "!"


@dataclass(frozen=True, slots=True)
class Ignore:
    patterns: tuple[Pattern, ...] = ()

    def leaves_out(self, path: str) -> bool:
        """Whether the path (relative, without a leading slash) is left out."""
        if not self.patterns:
            return False
        parts = path.split("/")
        prefixes = ["/".join(parts[: count + 1]) for count in range(len(parts))]
        out = False
        for pattern in self.patterns:
            # one that would change nothing need not be tried
            if pattern.kept == out and any(pattern.regex.fullmatch(prefix) for prefix in prefixes):
                out = not pattern.kept
        return out

    @property
    def takes_back(self) -> bool:
        """Whether something in a folder that is left out may be kept."""
        return any(pattern.kept for pattern in self.patterns)


NOTHING = Ignore()


def read(text: str, name: str = ".dockerignore") -> Ignore:
    """The patterns of a file. Raises BuildError."""
    lines = text.removeprefix("\ufeff").splitlines()
    return patterns((line for line in lines if not line.startswith("#")), name)


def patterns(lines: Iterable[str], name: str = "--exclude") -> Ignore:
    """Raises BuildError for what is no pattern."""
    kept_patterns = []
    for number, line in enumerate(lines, 1):
        text = line.strip()
        if not text:
            continue
        kept = text.startswith("!")
        text = text.removeprefix("!").strip()
        if kept and not text:
            raise BuildError(f"{name}: line {number}: a single ! is no pattern")
        text = posixpath.normpath(text).lstrip("/") or "."
        if text == ".":
            continue  # nothing can leave the context's root out
        try:
            kept_patterns.append(Pattern(re.compile(_regex(text)), kept))
        except re.error as error:
            raise BuildError(f"{name}: {line.strip()!r} is no pattern: {error}") from error
    return Ignore(tuple(kept_patterns))


def glob(pattern: str) -> re.Pattern[str]:
    """A pattern as a regular expression for `fullmatch`. Raises BuildError."""
    try:
        return re.compile(_regex(pattern), re.DOTALL)
    except re.error as error:
        raise BuildError(f"{pattern!r} is no pattern: {error}") from error


def _regex(pattern: str) -> str:
    """Never goes back further than to the last star of its kind: where one before it can match in several ways, the
    first leaves most to what follows, so that is atomic. A dozen stars would take hours otherwise."""
    groups: list[list[str]] = [[]]  # between `**`
    for piece in _pieces(pattern):
        if piece == _ANY:
            groups.append([])
        else:
            groups[-1].append(piece)
    if any(group[-1:] != ["/"] for group in (groups[1:-1] if not groups[0] else groups[:-1])):
        # `**` right after a name: what is before it may have to give up what it matched
        if sum(group.count(_STAR) for group in groups) + len(groups) > MOST_ODD:
            raise re.error("too many stars beside ** that is not between slashes")
        return "(?:.*/)?".join("".join("[^/]*" if piece == _STAR else piece for piece in group) for group in groups)
    *earlier, last = groups
    regex = "".join(f"{'(?>(?:.*?/)??' if at else '(?>'}{_group(group)})" for at, group in enumerate(earlier))
    return regex + ("(?:.*/)?" if earlier else "") + _group(last, free=True)


def _group(pieces: list[str], *, free: bool = False) -> str:
    """What is between two `**`. With `free` the last star may match in any way, for the end is to be reached."""
    first, *parts = _split(pieces)
    regex = "".join(first)
    for at, part in enumerate(parts):
        literal = "".join(part)
        regex += f"[^/]*{literal}" if free and at == len(parts) - 1 else f"(?>[^/]*?{literal})"
    return regex


def _split(pieces: list[str]) -> list[list[str]]:
    parts: list[list[str]] = [[]]
    for piece in pieces:
        if piece == _STAR:
            parts.append([])
        else:
            parts[-1].append(piece)
    return parts


MOST_ODD = 4  # stars of any kind
_STAR, _ANY = "*", "**"  # of one part of a path; of any number of folders


def _pieces(pattern: str) -> list[str]:
    """Regular expressions of one character each, of everything below at the end, and stars."""
    pieces: list[str] = []
    at = 0
    while at < len(pattern):
        char = pattern[at]
        at += 1
        if char == "*":
            if pattern[at : at + 1] != "*":
                pieces.append(_STAR)
                continue
            at += 1 + (pattern[at + 1 : at + 2] == "/")
            if at >= len(pattern):
                pieces.append(".*")  # at the end everything below
            elif pieces[-1:] != [_ANY]:
                pieces.append(_ANY)
        elif char == "?":
            pieces.append("[^/]")
        elif char == "[":
            end = pattern.find("]", at + 1)
            if end < 0:
                raise re.error("a ] is missing")
            inner = pattern[at:end].replace("\\", "\\\\").replace("[", "\\[")
            pieces.append(f"[{'^' + inner[1:] if inner[:1] in '^' else inner}]")
            at = end + 1
        else:
            if char == "\\" and at < len(pattern):
                char = pattern[at]
                at += 1
            pieces.append(re.escape(char))
    return pieces
