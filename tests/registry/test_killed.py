"""SIGKILL at any step that changes the store: the next run finishes the work, digests are right, nothing is left."""

from __future__ import annotations

import os
import signal
import tempfile
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import trio
from pycompose.runtime.images import Store
from pycompose.runtime.images.gc import prune, remove
from pycompose.runtime.images.registry.pull import pull
from pycompose.runtime.images.registry.push import push
from pycompose.runtime.images.verify import check
from pycompose.runtime.places import Places

from . import base_image
from .conftest import Real
from .test_push import built

STEPS = ("rename", "unlink", "mkdir", "rmdir", "symlink", "fsync")


def killed_at(step: int, work: Callable[[], Any]) -> bool:
    """Do the work in a process that dies just before the `step`th change to a file; whether it died."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            count = 0

            def dying(real: Callable[..., Any]) -> Callable[..., Any]:
                def call(*arguments: Any, **options: Any) -> Any:
                    nonlocal count
                    count += 1
                    if count == step:
                        os.kill(os.getpid(), signal.SIGKILL)
                    return real(*arguments, **options)

                return call

            for name in STEPS:
                setattr(os, name, dying(getattr(os, name)))
            work()
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    _, status = os.waitpid(pid, 0)
    assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0
    return os.WIFSIGNALED(status)


def steps(most: int) -> list[int]:
    """Each of the first ones, and then fewer and fewer."""
    found, step = [], 1
    while step < most:
        found.append(step)
        step += 1 if step < 12 else step // 6
    return found


def whole(store: Store) -> None:
    assert check(store) == []
    prune(store)  # sweeps
    assert os.listdir(f"{store.root}/work") == []
    assert os.listdir(f"{store.root}/locks") == []
    names = [name for _, _, files in os.walk(store.root) for name in files if name.startswith(".new-")]
    assert names == []


@pytest.fixture
def memory() -> Iterator[Path]:
    """A folder in memory: what is synced a thousand times need not reach a disk."""
    with tempfile.TemporaryDirectory(dir="/dev/shm" if os.path.isdir("/dev/shm") else None) as folder:
        yield Path(folder)


def fresh(folder: Path) -> Store:
    return Store(Places(str(folder / "state"), str(folder / "run")))


def test_a_pull_that_is_killed_anywhere_is_finished_by_the_next(registry: Real, tmp_path: Path, memory: Path) -> None:
    layers = [base_image.tar({f"{n}/{m}": bytes([n]) * 10_000 for m in range(3)}) for n in range(3)]
    layout = base_image.Layout()
    layout.name(layout.image(layers), "latest")
    layout.write(str(tmp_path / "layout"))
    registry.put(tmp_path / "layout", "three:1")
    name, died = f"{registry.name}/three:1", 0
    for step in steps(400):
        store = fresh(memory / str(step))
        if not killed_at(step, lambda store=store: trio.run(pull, store, name)):  # type: ignore[misc]
            break
        died += 1
        image = trio.run(pull, store, name)
        assert [os.path.basename(folder)[:4] for folder in image.layers] == [
            base_image.digest(one)[7:11] for one in reversed(layers)
        ]
        whole(store)
        remove(store, name)
        assert os.listdir(f"{store.root}/blobs") == os.listdir(f"{store.root}/layers") == []
    else:
        pytest.fail("it was never finished")
    assert died > 20


@pytest.mark.parametrize("what", ["rm", "prune"])
def test_a_removal_that_is_killed_anywhere_is_finished_by_the_next(
    registry: Real, layout: Path, memory: Path, what: str
) -> None:
    registry.put(layout, "base:1")
    name, died = f"{registry.name}/base:1", 0

    def clear(store: Store) -> None:
        if what == "prune":
            prune(store, everything=True)
        elif store.digests([name]):
            remove(store, name)

    for step in steps(400):
        store = fresh(memory / f"{what}{step}")
        trio.run(pull, store, name)
        if not killed_at(step, lambda store=store: clear(store)):  # type: ignore[misc]
            break
        died += 1
        whole(store)
        clear(store)
        prune(store, everything=True)
        assert os.listdir(f"{store.root}/blobs") == os.listdir(f"{store.root}/layers") == []
        assert store.ls() == []
    else:
        pytest.fail("it was never finished")
    assert died > 3


def test_a_push_that_is_killed_anywhere_is_finished_by_the_next(registry: Real, memory: Path) -> None:
    digests, died = set(), 0
    for step in steps(400):
        store = fresh(memory / f"push{step}")
        name = f"{registry.name}/built{step}:1"
        built(store, name)
        if not killed_at(step, lambda store=store, name=name: trio.run(push, store, name)):  # type: ignore[misc]
            break
        died += 1
        digests.add(trio.run(push, store, name))
        whole(store)
    else:
        pytest.fail("it was never finished")
    assert died > 5
    assert len(digests) == 1
