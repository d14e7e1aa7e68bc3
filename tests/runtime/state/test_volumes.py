"""Volumes appear whole, take on content once, and stay while they are used, whoever is killed when."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest
from pycompose.runtime.files import union
from pycompose.runtime.places import Places
from pycompose.runtime.state import usage, volumes
from pycompose.runtime.state.volumes import VolumeError, Volumes


@pytest.fixture
def places(tmp_path: Path) -> Places:
    return Places(str(tmp_path / "s"), str(tmp_path / "r"))


@pytest.fixture
def layer(tmp_path: Path) -> str:
    for n in range(5):
        (tmp_path / f"layer/data/{n}").mkdir(parents=True)
        (tmp_path / f"layer/data/{n}/f").write_text(str(n))
    return str(tmp_path / "layer")


def content(store: Volumes, name: str) -> list[str]:
    return sorted(os.listdir(store.path(name)))


def test_a_copy_that_is_cut_off_is_begun_again(places: Places, layer: str, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Volumes(places)
    store.create("v")
    pid = os.fork()
    if pid == 0:
        real = union._copy_regular

        def dies(source: int, target: int, name: str) -> None:
            real(source, target, name)
            os._exit(9)

        union._copy_regular = dies
        store.mount("v", "/data", layers=(layer,))
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 9
    assert content(store, "v") == []
    store.mount("v", "/data", layers=(layer,))
    assert content(store, "v") == ["0", "1", "2", "3", "4"]
    assert sorted(os.listdir(os.path.dirname(store.path("v")))) == ["_data", "volume.json"]


def test_content_is_taken_on_once(places: Places, layer: str, tmp_path: Path) -> None:
    store = Volumes(places)
    store.create("v")
    store.mount("v", "/data/0", layers=(layer,))
    os.unlink(f"{store.path('v')}/f")
    store.mount("v", "/data", layers=(layer,))
    assert content(store, "v") == []
    store.create("full")
    Path(store.path("full"), "mine").write_text("x")
    store.mount("full", "/data", layers=(layer,))
    assert content(store, "full") == ["mine"]


def test_two_first_uses_at_once_make_one_copy(places: Places, layer: str) -> None:
    Volumes(places).create("v")
    failures: list[BaseException] = []

    def use() -> None:
        try:
            mine = Volumes(places)
            mine.create("v")
            mine.mount("v", "/data", layers=(layer,))
            assert len(content(mine, "v")) == 5
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=use) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


def test_links_of_the_image_are_resolved_inside_it(places: Places, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_text("s")
    image = tmp_path / "image"
    (image / "real").mkdir(parents=True)
    (image / "real/in").write_text("i")
    (image / "link").symlink_to("/real")
    (image / "round").symlink_to("round")
    (image / "out").symlink_to(outside)
    (image / "up").symlink_to("../../../../real")
    store = Volumes(places)
    for path, found in (
        ("/link", ["in"]),
        ("/round", []),
        ("/out", []),
        ("/up", ["in"]),
        ("/no", []),
        ("/real/in", []),
    ):
        store.create("v")
        store.mount("v", path, layers=(str(image),))
        assert content(store, "v") == found, path
        store.remove("v")


def test_what_is_used_is_not_removed(places: Places) -> None:
    store = Volumes(places)
    store.create("v")
    folder = places.project("p").container("c")
    os.makedirs(folder)
    usage.write(folder, usage.Uses(volumes=("v",)))
    with pytest.raises(VolumeError, match="project p"):
        store.remove("v")
    os.unlink(f"{folder}/{usage.FILE}")
    store.remove("v")
    store.remove("v")
    assert store.list() == []


@pytest.mark.parametrize("name", ["", "..", "a/b", ".hidden", "x" * 300, "a\0b"])
def test_a_name_is_checked_before_it_is_a_path(places: Places, name: str) -> None:
    with pytest.raises(VolumeError):
        Volumes(places).create(name)


@pytest.mark.parametrize(
    "options",
    [
        {"type": "nfs", "o": "addr=x", "device": ":/x"},
        {"size": "5"},
        {"type": "none", "device": "/x"},
        {"type": "none", "o": "bind", "device": "x"},
    ],
)
def test_options_that_are_not_there_are_refused(options: dict[str, str]) -> None:
    with pytest.raises(VolumeError):
        volumes.check_options(options)


def test_a_failure_while_it_is_made_leaves_nothing(places: Places, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(volumes, "_record", full)
    with pytest.raises(OSError, match="space"):
        Volumes(places).create("v")
    assert [name for name in os.listdir(places.volumes) if name != ".lock"] == []


def test_who_may_not_look_is_not_told_that_there_are_none(places: Places, monkeypatch: pytest.MonkeyPatch) -> None:
    assert Volumes(places).list() == []
    Volumes(places).create("v")

    def refuse(path: str) -> list[str]:
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr(os, "listdir", refuse)
    with pytest.raises(PermissionError):
        Volumes(places).list()
