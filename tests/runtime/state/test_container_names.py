"""A container's name is one container's on the whole machine."""

from __future__ import annotations

import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from pycompose.runtime.places import Places
from pycompose.runtime.state import container_names
from pycompose.runtime.state.container_names import NameHolder, NameInUse


@pytest.fixture
def roots(tmp_path: Path) -> Places:
    return Places(str(tmp_path / "state"), str(tmp_path / "run"))


def made(roots: Places, project: str, container_id: str) -> str:
    os.makedirs(roots.project(project).container(container_id))
    return container_id


def test_a_name_that_another_container_has_is_refused_and_says_whose_it_is(roots: Places) -> None:
    container_names.claim(roots, "web", "p", made(roots, "p", "a" * 64))
    with pytest.raises(
        NameInUse, match='container name "web" is already in use by container aaaaaaaaaaaa of project "p"'
    ) as refused:
        container_names.claim(roots, "web", "q", made(roots, "q", "b" * 64))
    assert refused.value.holder == NameHolder("p", "a" * 64)
    container_names.claim(roots, "web", "p", "a" * 64)
    assert container_names.find(roots, "web") == NameHolder("p", "a" * 64)


def test_a_name_is_free_once_it_is_released_or_its_container_is_gone(roots: Places) -> None:
    container_names.claim(roots, "web", "p", made(roots, "p", "a" * 64))
    container_names.release(roots, "web", "b" * 64)
    assert container_names.find(roots, "web") is not None, "it is not that one's"
    container_names.release(roots, "web", "a" * 64)
    assert container_names.find(roots, "web") is None
    container_names.claim(roots, "web", "p", "a" * 64)
    shutil.rmtree(roots.project("p").container("a" * 64))
    assert container_names.find(roots, "web") is None
    container_names.claim(roots, "web", "q", made(roots, "q", "b" * 64))
    assert container_names.find(roots, "web") == NameHolder("q", "b" * 64)


def test_of_many_who_want_a_name_one_gets_it(roots: Places) -> None:
    container_names.claim(roots, "web", "gone", "0" * 64)

    def attempt(number: int) -> bool:
        try:
            container_names.claim(roots, "web", "p", made(roots, "p", f"{number:064x}"))
        except NameInUse:
            return False
        return True

    with ThreadPoolExecutor(8) as threads:
        assert sum(threads.map(attempt, range(1, 33))) == 1


def test_a_name_of_any_length_can_be_had(roots: Places) -> None:
    name = "ä" * 400
    container_names.claim(roots, name, "p", made(roots, "p", "a" * 64))
    assert container_names.find(roots, name) == NameHolder("p", "a" * 64)
    container_names.release(roots, name, "a" * 64)
    assert container_names.find(roots, name) is None


def test_a_container_is_found_by_what_its_id_begins_with_if_it_is_the_only_one(roots: Places) -> None:
    for project, container_id in (("p", "a" * 64), ("q", "a" * 12 + "b" * 52), ("q", "c" * 64)):
        made(roots, project, container_id)
    assert container_names.find_id(roots, "c" * 12) == NameHolder("q", "c" * 64)
    assert container_names.find_id(roots, "a" * 13) == NameHolder("p", "a" * 64)
    assert container_names.find_id(roots, "a" * 12) is None
    assert container_names.find_id(roots, "c" * 11) is None
    assert container_names.find_id(roots, "web") is None
