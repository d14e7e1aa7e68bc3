"""Input of an `attach`: what is typed goes into the container's stdin, or its terminal, until the keys that detach.

A thread of its own reads: the command's waits for output. It ends with the process.
"""

from __future__ import annotations

import os
import select
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress

from pycompose.errors import PycomposeError

USUAL_KEYS = "ctrl-p,ctrl-q"  # docker's


class DetachKeys:
    """Looks for a sequence of keys in what is typed."""

    def __init__(self, keys: bytes) -> None:
        self._keys, self._matched = keys, b""

    def take(self, typed: bytes) -> tuple[bytes, bool]:
        """(what is to be passed on, whether the sequence was complete); its beginning is held back until it is not."""
        passed = bytearray()
        for number in typed:
            key = bytes([number])
            if not self._keys.startswith(self._matched + key):
                passed += self._matched
                self._matched = b""
            if self._keys.startswith(self._matched + key):
                self._matched += key
                if self._matched == self._keys:
                    return bytes(passed), True
            else:
                passed += key
        return bytes(passed), False


def keys_of(text: str) -> bytes:
    """The bytes of "ctrl-p,ctrl-q", "ctrl-a,d". Raises PycomposeError for what is no key."""
    keys = b""
    for word in text.split(","):
        letter = word.strip().lower().removeprefix("ctrl-")
        controlled = letter != word.strip().lower()
        if (
            len(letter) != 1
            or not letter.isascii()
            or (controlled and letter not in "abcdefghijklmnopqrstuvwxyz@[\\]^_")
        ):
            raise PycomposeError(
                f'"{word}" in --detach-keys is no key', hint='a key is a letter, or as in "ctrl-p,ctrl-q"', exit_code=1
            )
        keys += bytes([ord(letter.upper()) & 0x1F]) if controlled else word.strip().encode()
    return keys


def chosen_keys(text: str | None) -> bytes:
    """Those of --detach-keys; else `detachKeys` of the user's configuration of docker's client, or docker's own."""
    from .output.listing import docker_setting

    return keys_of(text if text is not None else docker_setting("detachKeys") or USUAL_KEYS)


@contextmanager
def passed_on(
    target: int, keys: bytes, terminal: bool, detached: Callable[[], None], source: int = 0
) -> Iterator[None]:
    """Pass on what comes from `source` to `target` while the body runs.

    Where both are terminals, the caller's is raw meanwhile, and `detached` is called at the keys.
    """
    from pycompose.runtime.client.process import as_one_terminal

    keyboard = terminal and os.isatty(source)
    looked_for = DetachKeys(keys) if keyboard else None

    def copy() -> None:
        with suppress(OSError):
            while typed := os.read(source, 1 << 16):
                leaves = False
                if looked_for is not None:
                    typed, leaves = looked_for.take(typed)
                _write(target, typed)
                if leaves:
                    detached()
                    return

    with as_one_terminal(source, target) if keyboard else nullcontext():
        threading.Thread(target=copy, daemon=True).start()
        yield


def _write(target: int, typed: bytes) -> None:
    while typed:
        try:
            typed = typed[os.write(target, typed) :]
        except BlockingIOError:  # it reads slowly
            select.select([], [target], [])
