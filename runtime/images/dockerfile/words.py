"""Words of a Dockerfile: quotes, escapes and `$VARIABLES`, as its reference has them. Pure text.

`expand` makes one word of a text (quotes are taken away, variables are put in); `split` makes several, at blanks
outside quotes; `raw_words` only splits, and leaves quotes and variables as they are.
Operators: ${x:-y} ${x-y} ${x:+y} ${x+y} ${x:?y} ${x?y} ${x#p} ${x##p} ${x%p} ${x%%p} ${x/p/r} ${x//p/r}; a `p` is a
pattern (`wildcards`), and so is what follows `#`, `%` or `/` in any nesting.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from .errors import BuildError
from .wildcards import Wildcard

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*|[0-9]+|[@*#?\-$!]")
BLANKS = " \t\n\r\f\v"
_PIECES = re.compile(f"[{BLANKS}]+|[^{BLANKS}]+")
DEEPEST = 100  # variables in one another's operands
LARGEST = 16_000_000  # characters that a text may become: ARG after ARG can double


def expand(text: str, values: Mapping[str, str], escape: str = "\\") -> str:
    """The text with quotes taken away and variables put in. Raises BuildError."""
    return _Lexer(text, values, escape).word("")


def split(text: str, values: Mapping[str, str], escape: str = "\\") -> list[str]:
    """The words of a text after expansion; what an unquoted variable holds is split, too. Raises BuildError."""
    lexer = _Lexer(text, values, escape)
    lexer.word("")
    return lexer.finish()


def expand_document(text: str, values: Mapping[str, str], escape: str = "\\") -> str:
    """A here-document with variables put in: quotes are text, an escape protects `$` and itself. Raises BuildError."""
    lexer, document = _Lexer(text, values, escape), ""
    while lexer.at < len(text):
        char = text[lexer.at]
        if char == "$":
            document += lexer.dollar()
            continue
        if char == escape and text[lexer.at + 1 : lexer.at + 2] in ("$", escape):
            lexer.at += 1
            char = text[lexer.at : lexer.at + 1]
        document += char
        lexer.at += 1
    return document


def raw_words(text: str, escape: str = "\\", most: int = 0) -> list[str]:
    """Split at blanks that are neither quoted nor escaped; nothing is taken away. With `most` only the first words."""
    words, here, quote, at = [], "", "", 0
    while at < len(text):
        char = text[at]
        if char == escape and quote != "'" and at + 1 < len(text):
            here += text[at : at + 2]
            at += 2
            continue
        if quote:
            quote = "" if char == quote else quote
        elif char in "'\"":
            quote = char
        elif char in BLANKS:
            if here:
                words.append(here)
                if len(words) == most:
                    return words
            here = ""
            at += 1
            continue
        here += char
        at += 1
    return [*words, here] if here else words


class _Lexer:
    def __init__(self, text: str, values: Mapping[str, str], escape: str, depth: int = 0) -> None:
        self.text, self.values, self.escape, self.depth = text, values, escape, depth
        self.at = self.size = 0
        self.words: list[str] = []
        self.here: list[str] | None = None  # pieces of the word that is being made; None between words

    def finish(self) -> list[str]:
        if self.here is not None:
            self.words.append("".join(self.here))
            self.here = None
        return self.words

    def _add(self, text: str, *, quoted: bool) -> str:
        self.size += len(text)
        if self.size > LARGEST:
            raise BuildError(f"{self.text[:100]!r} becomes longer than {LARGEST >> 20} million characters")
        if quoted or not any(blank in text for blank in BLANKS):
            if text or quoted:
                self.here = [] if self.here is None else self.here
                self.here.append(text)
            return text
        for piece in _PIECES.findall(text):
            if piece[0] in BLANKS:
                self.finish()
            else:
                self.here = [] if self.here is None else self.here
                self.here.append(piece)
        return text

    def word(self, stop: str) -> str:
        """Up to an unquoted character of `stop`, which is not taken, or to the end."""
        expanded = ""
        while self.at < len(self.text):
            char = self.text[self.at]
            if char in stop:
                return expanded
            if char == "'":
                expanded += self._single()
            elif char == '"':
                expanded += self._double()
            elif char == "$":
                expanded += self._add(self.dollar(), quoted=False)
            elif char == self.escape:
                self.at += 1
                if self.at < len(self.text):
                    expanded += self._add(self.text[self.at], quoted=True)
                    self.at += 1
            else:
                expanded += self._add(char, quoted=False)
                self.at += 1
        if stop:
            raise BuildError(f"a {stop!r} is missing in {self.text[:100]!r}")
        return expanded

    def _single(self) -> str:
        end = self.text.find("'", self.at + 1)
        if end < 0:
            raise BuildError(f"a closing ' is missing in {self.text[:100]!r}")
        inner = self.text[self.at + 1 : end]
        self.at = end + 1
        return self._add(inner, quoted=True)

    def _double(self) -> str:
        self.at += 1
        expanded = self._add("", quoted=True)
        while self.at < len(self.text):
            char = self.text[self.at]
            if char == '"':
                self.at += 1
                return expanded
            if char == "$":
                expanded += self._add(self.dollar(), quoted=True)
                continue
            if char == self.escape:
                after = self.text[self.at + 1 : self.at + 2]
                if after in ('"', "$", self.escape) and after:
                    char = after
                    self.at += 1
            expanded += self._add(char, quoted=True)
            self.at += 1
        raise BuildError(f'a closing " is missing in {self.text[:100]!r}')

    def dollar(self) -> str:
        self.at += 1
        if self.text[self.at : self.at + 1] != "{":
            match = _NAME.match(self.text, self.at)
            if match is None:
                return "$"
            self.at = match.end()
            return self.values.get(match[0], "")
        start = self.at
        self.at += 1
        match = _NAME.match(self.text, self.at)
        if match is None:
            raise self._unclear(start)
        name, self.at = match[0], match.end()
        value = self.values.get(name)
        rest = self.text[self.at : self.at + 2]
        if rest.startswith("}"):
            self.at += 1
            return value or ""
        if rest.startswith(":") and rest[1:2] in ("-", "+", "?"):
            operator, missing = rest[1], not value
            self.at += 2
        elif rest[:1] in ("-", "+", "?"):
            operator, missing = rest[0], value is None
            self.at += 1
        elif rest[:1] in ("#", "%"):
            operator = rest[:2] if rest[1:2] == rest[0] else rest[0]
            self.at += len(operator)
            return _trimmed(value or "", operator, self._inner("}", raw=True))
        elif rest[:1] == "/":
            every = rest[1:2] == "/"
            self.at += 2 if every else 1
            pattern = self._inner("/", raw=True)
            replacement = self._inner("}")
            return Wildcard(pattern).replaced(value or "", replacement, every=every) if pattern else value or ""
        else:
            raise self._unclear(start)
        operand = self._inner("}")
        if operator == "-":
            return operand if missing else value or ""
        if operator == "+":
            return "" if missing else operand
        if missing:
            raise BuildError(f"{name}: {operand or 'is not set, or empty'}")
        return value or ""

    def _inner(self, stop: str, *, raw: bool = False) -> str:
        """An operand up to `stop`, which is taken. A raw one keeps its escapes: it is a pattern."""
        if self.depth >= DEEPEST:
            raise BuildError(f"more than {DEEPEST} variables in one another in {self.text[:100]!r}")
        inner = _Lexer(self.text, self.values, self.escape, self.depth + 1)
        inner.at = self.at
        if raw:
            operand = ""
            while inner.at < len(self.text) and self.text[inner.at] != stop:
                char = self.text[inner.at]
                if char == "$":
                    operand += inner.dollar()
                elif char in "'\"":
                    operand += re.sub(r"([*?\\])", r"\\\1", inner._single() if char == "'" else inner._double())
                elif char == self.escape:
                    operand += "\\" + self.text[inner.at + 1 : inner.at + 2]
                    inner.at += 2
                else:
                    operand += char
                    inner.at += 1
            if inner.at >= len(self.text):
                raise BuildError(f"a {stop!r} is missing in {self.text[:100]!r}")
        else:
            operand = inner.word(stop)
        self.at = inner.at + 1
        return operand

    def _unclear(self, start: int) -> BuildError:
        return BuildError(
            f"{self.text[start - 1 : start + 40]!r} is not understood",
            "${name}, with one of :- - :+ + :? ? # ## % %% / // after the name",
        )


def _trimmed(value: str, operator: str, pattern: str) -> str:
    longest = len(operator) == 2
    if operator[0] == "#":
        length = Wildcard(pattern).prefix(value, longest=longest)
        return value[length:] if length > 0 else value
    length = Wildcard(pattern).suffix(value, longest=longest)
    return value[: len(value) - length] if length > 0 else value
