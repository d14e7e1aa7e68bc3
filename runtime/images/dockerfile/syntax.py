"""A Dockerfile's text as instructions: directives, comments, continued lines, here-documents, flags. Pure text.

What an instruction means is `stages`'; here it is a word, its flags, and the rest as it was written.
Source: docs.docker.com/reference/dockerfile; where that is silent, what BuildKit does.
"""

from __future__ import annotations

import difflib
import json
import re
from dataclasses import field, replace

from pycompose.errors import Place
from pycompose.frozen import dataclass

from .errors import BuildError
from .words import expand, raw_words

INSTRUCTIONS = (
    *("ADD", "ARG", "CMD", "COPY", "ENTRYPOINT", "ENV", "EXPOSE", "FROM", "HEALTHCHECK", "LABEL", "MAINTAINER"),
    *("ONBUILD", "RUN", "SHELL", "STOPSIGNAL", "USER", "VOLUME", "WORKDIR"),
)
_DIRECTIVE = re.compile(r"#\s*([A-Za-z][A-Za-z0-9]*)\s*=(.+)$")
_HEREDOC = re.compile(r"(\d*)<<(-?)([^<]*)$")
_WITH_HEREDOC = ("ADD", "COPY", "RUN")
MAX_SIZE = 16 << 20
MOST_FLAGS = 1000  # of one instruction


@dataclass(frozen=True, slots=True)
class Heredoc:
    name: str
    content: str  # as written
    expanded: bool  # its name was not quoted
    strip_tabs: bool  # <<-

    @property
    def text(self) -> str:
        """Without the tabs that `<<-` lets one write."""
        return re.sub(r"^\t+", "", self.content, flags=re.MULTILINE) if self.strip_tabs else self.content


@dataclass(frozen=True, slots=True)
class Instruction:
    word: str  # in capitals
    rest: str  # without flags; lines joined
    position: Place
    flags: tuple[tuple[str, str | None], ...] = ()  # name -> value, None where there is no "="
    heredocs: tuple[Heredoc, ...] = ()

    def json(self) -> tuple[str, ...] | None:
        """The words of the JSON form; None for the other one."""
        if not self.rest.lstrip().startswith("["):
            return None
        try:
            listed = json.loads(self.rest)
        except (ValueError, RecursionError):
            return None
        return tuple(listed) if isinstance(listed, list) and all(isinstance(word, str) for word in listed) else None

    def words(self, escape: str) -> list[str]:
        """Sources and destination of a COPY or ADD, as they are written. Raises BuildError."""
        listed = self.json()
        written = list(listed) if listed is not None else raw_words(self.rest, escape)
        if len(written) < 2:
            raise self.fail(f"{self.word} needs at least a source and a destination")
        return written

    def fail(self, message: str, hint: str = "") -> BuildError:
        return BuildError(message, hint, self.position)

    def __str__(self) -> str:
        flags = "".join(f"--{name}{'' if value is None else '=' + value} " for name, value in self.flags)
        return f"{self.word} {flags}{self.rest}"


@dataclass(frozen=True, slots=True)
class Dockerfile:
    instructions: tuple[Instruction, ...]
    escape: str = "\\"
    directives: dict[str, str] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()


def parse(text: str, name: str = "Dockerfile") -> Dockerfile:
    """Raises BuildError."""
    if len(text) > MAX_SIZE:
        raise BuildError(f"{name} is too large")
    lines = [line.removesuffix("\r") for line in text.removeprefix("\ufeff").split("\n")]
    if lines and not lines[-1]:
        lines.pop()
    directives = _directives(lines, name)
    escape = directives.get("escape", "\\")
    continued = re.compile(re.escape(escape) + r"[ \t]*$")
    instructions: list[Instruction] = []
    warnings: list[str] = []
    at = 0
    while at < len(lines):
        first, line = at, lines[at]
        at += 1
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        whole = line.lstrip()
        pieces = [whole]
        while end := continued.search(pieces[-1]):
            pieces[-1] = pieces[-1][: end.start()]
            empty = 0
            while at < len(lines) and (not lines[at].strip() or lines[at].lstrip().startswith("#")):
                empty += not lines[at].strip()
                at += 1
            if empty:
                warnings.append(f"{name}:{first + 1}: an empty line inside an instruction")
            if at >= len(lines):
                break
            pieces.append(lines[at])
            at += 1
        whole = "".join(pieces)
        if not whole.strip():
            continue
        one = _instruction(whole.rstrip(), Place(name, first + 1), escape)
        heredocs, at = _heredocs(one, lines, at, escape)
        instructions.append(replace(one, heredocs=heredocs))
    if not instructions:
        raise BuildError(f"{name} has no instruction")
    return Dockerfile(tuple(instructions), escape, directives, tuple(warnings))


def _directives(lines: list[str], name: str) -> dict[str, str]:
    """Those at the top: the first line that is none ends them. Their lines are comments to what follows."""
    directives: dict[str, str] = {}
    for number, line in enumerate(lines, 1):
        one = _DIRECTIVE.match(line)
        if one is None or (key := one[1].lower()) not in ("syntax", "escape", "check"):
            break
        if key in directives:
            raise BuildError(f"the directive {key} is there twice", place=Place(name, number))
        value = one[2].strip()
        if not value:
            break
        if key == "escape" and value not in ("\\", "`"):
            raise BuildError(f"escape={value[:40]}: only \\ and ` can be", place=Place(name, number))
        directives[key] = value
    return directives


def _instruction(line: str, position: Place, escape: str) -> Instruction:
    word, rest = [*line.split(None, 1), ""][:2]
    upper = word.upper()
    if upper not in INSTRUCTIONS:
        near = difflib.get_close_matches(upper, INSTRUCTIONS, 1, 0.6)
        raise BuildError(
            f"unknown instruction: {word[:40]}",
            f"did you mean {near[0]}?" if near else "instructions are " + ", ".join(INSTRUCTIONS),
            position,
        )
    flags, rest = _flags(rest.strip(), escape, position)
    if not rest.strip():
        raise BuildError(f"{upper} needs at least one argument", place=position)
    return Instruction(upper, rest.strip(), position, flags)


def _flags(rest: str, escape: str, position: Place) -> tuple[tuple[tuple[str, str | None], ...], str]:
    flags: list[tuple[str, str | None]] = []
    while rest.startswith("--"):
        word = _first_word(rest, escape)
        if word == "--":
            return tuple(flags), rest[2:].lstrip()
        name, equals, value = word[2:].partition("=")
        flags.append((name.lower(), value if equals else None))
        if len(flags) > MOST_FLAGS:
            raise BuildError(f"more than {MOST_FLAGS} flags", place=position)
        rest = rest[len(word) :].lstrip()
    return tuple(flags), rest


def _first_word(text: str, escape: str) -> str:
    words = raw_words(text, escape, 1)
    return words[0] if words else ""


def _heredocs(one: Instruction, lines: list[str], at: int, escape: str) -> tuple[tuple[Heredoc, ...], int]:
    word, rest = one.word, one.rest
    if word == "ONBUILD":
        word, rest = [*rest.split(None, 1), ""][:2]
    if word.upper() not in _WITH_HEREDOC or "<<" not in rest or one.json() is not None:
        return (), at
    documents = []
    for text in raw_words(rest, escape):
        if (marker := heredoc_name(text, escape)) is None:
            continue
        name, strip, expanded = marker
        content, start = [], at
        while True:
            if at >= len(lines):
                raise one.fail(f"the here-document {name!r} has no end", f"a line that is only {name} ends it")
            line = lines[at]
            at += 1
            if (line.lstrip("\t") if strip else line) == name:
                break
            content.append(line + "\n")
            if at - start > 1_000_000:
                raise one.fail("a here-document is too long")
        documents.append(Heredoc(name, "".join(content), expanded, strip))
    return tuple(documents), at


def heredoc_name(word: str, escape: str = "\\") -> tuple[str, bool, bool] | None:
    """(name, whether tabs are stripped, whether variables are put in) of `<<NAME`; None for any other word."""
    match = _HEREDOC.match(word)
    if match is None or not match[3] or match[1] not in ("", "0"):
        return None
    try:
        name = expand(match[3], {}, escape)
    except BuildError:
        return None
    if not name or "$" in match[3]:
        return None
    return name, bool(match[2]), name == match[3]
