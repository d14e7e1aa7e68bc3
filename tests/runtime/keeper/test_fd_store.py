"""The store of descriptors: what a keeper leaves there, the next one gets."""

from __future__ import annotations

import os
import select
from pathlib import Path

import pytest
from pycompose.runtime.keeper.fd_store import DescriptorStore
from pycompose.runtime.keeper.loop import Loop
from pycompose.runtime.linux import syscalls


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "store.sock")


def store_at(path: str) -> DescriptorStore:
    """A keeper's side; the launch of another keeper leaves a file."""
    return DescriptorStore(path, Loop(), lambda: open(f"{path}.launched", "w").close())


def test_without_a_store_nothing_is_recovered(path: str) -> None:
    assert store_at(path).recover() == {}


def test_the_next_keeper_gets_what_was_kept_and_not_what_was_dropped(path: str) -> None:
    reader, writer = os.pipe()
    before = store_at(path)
    before.keep("one", {"out": reader})
    before.keep("two", {"out": reader, "err": writer})
    before.drop("one")
    before.close()  # as if it had been killed
    os.close(reader)

    after = store_at(path)
    kept = after.recover()
    assert {name: list(fds) for name, fds in kept.items()} == {"two": ["out", "err"]}
    os.write(writer, b"still here")
    assert os.read(kept["two"]["out"], 100) == b"still here"
    for fd in (writer, *kept["two"].values()):
        os.close(fd)
    after.known("two", kept["two"])
    after.drop("two")
    after.end()
    assert not os.path.exists(path)
    os.waitpid(after.pid, 0)


def test_a_store_that_died_is_replaced_and_told_everything_again(path: str) -> None:
    reader, writer = os.pipe()
    store = store_at(path)
    store.keep("one", {"out": reader})
    os.kill(store.pid, 9)
    os.waitpid(store.pid, 0)
    store.keep("two", {"out": writer})
    store.close()
    after = store_at(path)
    kept = after.recover()
    assert sorted(kept) == ["one", "two"]
    for name in kept:
        after.known(name, kept[name])
        after.drop(name)
    for fd in (reader, writer, kept["one"]["out"], kept["two"]["out"]):
        os.close(fd)
    after.end()
    os.waitpid(after.pid, 0)


def test_a_store_without_a_keeper_has_one_launched(path: str) -> None:
    reader, writer = os.pipe()
    store = store_at(path)
    store.keep("one", {"out": reader})
    pid = store.pid
    store.close()  # as if it had been killed
    folder = os.path.dirname(path)
    handle = syscalls.inotify()
    syscalls.inotify_add(handle, folder, 0x100)  # IN_CREATE
    while not os.path.exists(f"{path}.launched"):
        assert select.select([handle], [], [], 10)[0]
        os.read(handle, 4096)
    after = store_at(path)
    kept = after.recover()
    after.known("one", kept["one"])
    after.drop("one")
    after.end()
    os.waitpid(pid, 0)
    for fd in (handle, reader, writer, *kept["one"].values()):
        os.close(fd)


def test_a_store_that_died_is_replaced_at_once(path: str) -> None:
    reader, writer = os.pipe()
    loop = Loop()
    store = DescriptorStore(path, loop, lambda: None)
    store.keep("one", {"out": reader})
    first = store.pid
    os.kill(first, 9)
    os.waitpid(first, 0)
    loop.turn()
    assert store.pid != first
    store.drop("one")
    store.end()
    for fd in (reader, writer):
        os.close(fd)
