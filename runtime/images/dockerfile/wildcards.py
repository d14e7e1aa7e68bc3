"""Patterns of `*`, `?` and `\\`-escaped characters in `${x#p}` and its kin, matched in time that grows with the text.

A pattern is an automaton whose states are the bits of one number, so that nothing is tried twice (Glushkov's, of a
chain; Navarro and Raffinot, "Flexible Pattern Matching in Strings", chapter 4). A regular expression would go back: it
takes hours for a dozen stars. Pure text.
"""

from __future__ import annotations


class Wildcard:
    """One pattern. What it may begin with, what it may end with, and where it is in a text."""

    def __init__(self, pattern: str) -> None:
        self._forward = _Chain(_elements(pattern))
        self._backward = _Chain(_elements(pattern)[::-1])

    def prefix(self, text: str, *, longest: bool) -> int:
        """The length of the shortest, or longest, beginning of the text that it matches; -1 if it matches none."""
        return self._forward.reach(text, 0, longest=longest)

    def suffix(self, text: str, *, longest: bool) -> int:
        """As `prefix`, of ends of the text."""
        return self._backward.reach(text[::-1], 0, longest=longest)

    def replaced(self, text: str, replacement: str, *, every: bool) -> str:
        """The text with the first match, or every one, replaced: each the leftmost, and as long as can be."""
        starts = self._backward.ends(text[::-1])  # where a match begins, counted from the end
        parts, at, size = [], 0, len(text)
        while at <= size:
            if not starts[size - at]:
                parts.append(text[at : at + 1])
                at += 1
                continue
            length = self._forward.reach(text, at, longest=True)
            parts.append(replacement)
            if not every:
                return "".join(parts) + text[at + length :]
            if length == 0:
                parts.append(text[at : at + 1])
            at += max(length, 1)
            if at == size and length:
                break  # the empty end of what was just replaced is no match of its own
        return "".join(parts)


def _elements(pattern: str) -> list[str | None]:
    """Characters that stand for themselves, "" for any one, None for any number of any."""
    elements: list[str | None] = []
    at = 0
    while at < len(pattern):
        char = pattern[at]
        if char == "*":
            if not elements or elements[-1] is not None:
                elements.append(None)
        elif char == "?":
            elements.append("")
        else:
            if char == "\\" and at + 1 < len(pattern):
                at += 1
            elements.append(pattern[at])
        at += 1
    return elements


class _Chain:
    """States 0 … n: how many of the elements are matched. Bit i of a number is state i."""

    def __init__(self, elements: list[str | None]) -> None:
        self._stars = sum(1 << at for at, element in enumerate(elements) if element is None)
        self._any = sum(1 << at for at, element in enumerate(elements) if element == "")
        self._chars: dict[str, int] = {}
        for at, element in enumerate(elements):
            if element:
                self._chars[element] = self._chars.get(element, 0) | 1 << at
        self._end = 1 << len(elements)
        self._first = self._closed(1)

    def _closed(self, states: int) -> int:
        """A star may match nothing; two are never side by side."""
        return states | (states & self._stars) << 1

    def _after(self, states: int, char: str) -> int:
        return self._closed((states & (self._any | self._chars.get(char, 0))) << 1 | states & self._stars)

    def reach(self, text: str, at: int, *, longest: bool) -> int:
        states, length = self._first, 0 if self._first & self._end else -1
        if length == 0 and not longest:
            return 0
        for count in range(at, len(text)):
            states = self._after(states, text[count])
            if not states:
                break
            if states & self._end:
                length = count + 1 - at
                if not longest:
                    break
        return length

    def ends(self, text: str) -> list[bool]:
        """For each place in the text, 0 … its length, whether a match that began anywhere before ends there."""
        states, places = self._first, [bool(self._first & self._end)]
        for char in text:
            states = self._after(states, char) | self._first
            places.append(bool(states & self._end))
        return places
