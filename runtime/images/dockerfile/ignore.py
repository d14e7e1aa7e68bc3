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
    regex, at = "", 0
    while at < len(pattern):
        char = pattern[at]
        at += 1
        if char == "*":
            if pattern[at : at + 1] == "*":
                at += 1
                if pattern[at : at + 1] == "/":
                    at += 1
                # at the end everything below; else any number of folders, or none
                regex += ".*" if at >= len(pattern) else "(?:.*/)?"
            else:
                regex += "[^/]*"
        elif char == "?":
            regex += "[^/]"
        elif char == "[":
            end = pattern.find("]", at + 1)
            if end < 0:
                raise re.error("a ] is missing")
            inner = pattern[at:end].replace("\\", "\\\\").replace("[", "\\[")
            regex += f"[{'^' + inner[1:] if inner[:1] in '^' else inner}]"
            at = end + 1
        elif char == "\\" and at < len(pattern):
            regex += re.escape(pattern[at])
            at += 1
        else:
            regex += re.escape(char)
    return regex
