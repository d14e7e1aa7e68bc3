"""The store of descriptors: what a keeper leaves there, the next one gets."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from pycompose.runtime.keeper.fd_store import DescriptorStore


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "store.sock")


def test_without_a_store_nothing_is_recovered(path: str) -> None:
    assert DescriptorStore(path).recover() == {}


def test_the_next_keeper_gets_what_was_kept_and_not_what_was_dropped(path: str) -> None:
    reader, writer = os.pipe()
    before = DescriptorStore(path)
    before.keep("one", {"out": reader})
    before.keep("two", {"out": reader, "err": writer})
    before.drop("one")
    before.close()  # as if it had been killed
    os.close(reader)

    after = DescriptorStore(path)
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
    store = DescriptorStore(path)
    store.keep("one", {"out": reader})
    os.kill(store.pid, 9)
    os.waitpid(store.pid, 0)
    store.keep("two", {"out": writer})
    store.close()
    after = DescriptorStore(path)
    kept = after.recover()
    assert sorted(kept) == ["one", "two"]
    for name in kept:
        after.known(name, kept[name])
        after.drop(name)
    for fd in (reader, writer, kept["one"]["out"], kept["two"]["out"]):
        os.close(fd)
    after.end()
    os.waitpid(after.pid, 0)
