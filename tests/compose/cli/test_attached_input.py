"""Keys that detach: which bytes they are, and how they are told from what is typed for the container."""

from __future__ import annotations

import os
import pty
import threading

import pytest
from pycompose.compose.cli.attached_input import DetachKeys, keys_of, passed_on
from pycompose.errors import PycomposeError


@pytest.mark.parametrize(
    ("text", "keys"),
    [("ctrl-p,ctrl-q", b"\x10\x11"), ("ctrl-a,d", b"\x01d"), ("CTRL-@", b"\0"), ("ctrl-[", b"\x1b"), ("x", b"x")],
)
def test_keys_are_named_as_docker_names_them(text: str, keys: bytes) -> None:
    assert keys_of(text) == keys


@pytest.mark.parametrize("text", ["", "ctrl-", "ctrl-1", "ab", "ctrl-p,", "ctrl-ä"])
def test_what_is_no_key_is_refused(text: str) -> None:
    with pytest.raises(PycomposeError, match="no key"):
        keys_of(text)


@pytest.mark.parametrize(
    ("typed", "passed", "left"),
    [
        ([b"ls\n"], b"ls\n", False),
        ([b"ls\x10\x11more"], b"ls", True),
        ([b"a\x10", b"\x11"], b"a", True),
        ([b"a\x10", b"b"], b"a\x10b", False),
        ([b"\x10\x10\x11"], b"\x10", True),
        ([b"\x11"], b"\x11", False),
    ],
)
def test_only_the_whole_sequence_detaches_and_nothing_else_is_lost(
    typed: list[bytes], passed: bytes, left: bool
) -> None:
    looking = DetachKeys(b"\x10\x11")
    answers = [looking.take(chunk) for chunk in typed]
    assert b"".join(chunk for chunk, _ in answers) == passed
    assert answers[-1][1] is left


def test_a_terminal_is_raw_meanwhile_and_its_keys_detach() -> None:
    keyboard, ours = pty.openpty()
    master, inside = pty.openpty()
    detached = threading.Event()
    with passed_on(master, b"\x10\x11", True, detached.set, ours):
        os.write(keyboard, b"ls\n")
        assert os.read(inside, 10) == b"ls\n"
        os.write(keyboard, b"\x10\x11")
        assert detached.wait(10)
    for fd in (keyboard, ours, master, inside):
        os.close(fd)


def test_what_is_piped_in_is_passed_on_as_it_is() -> None:
    source, writer = os.pipe()
    reader, target = os.pipe()
    with passed_on(target, b"\x10\x11", True, lambda: None, source):
        os.write(writer, b"a\x10\x11b")
        assert os.read(reader, 10) == b"a\x10\x11b"
        os.close(writer)
    for fd in (source, reader, target):
        os.close(fd)
