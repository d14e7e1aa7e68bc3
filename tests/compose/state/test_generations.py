"""Resolved projects on record: kept under their digest, the newest told from those that are only referred to."""

from __future__ import annotations

from pathlib import Path

import pytest
from pycompose.compose.model.project import Project, Service
from pycompose.compose.state import generations
from pycompose.errors import PycomposeError
from pycompose.runtime.places import ProjectPlaces


@pytest.fixture
def places(tmp_path: Path) -> ProjectPlaces:
    return ProjectPlaces("p", str(tmp_path / "state"), str(tmp_path / "run"))


def project(image: str) -> Project:
    return Project("p", "/", (), services={"web": Service("web", image=image)})


def test_a_kept_project_is_read_by_its_digest(places: ProjectPlaces) -> None:
    digest = generations.keep(places, project("a"))
    assert generations.read(places, digest) == project("a")
    assert generations.keep(places, project("a")) == digest


def test_one_that_is_only_acted_with_does_not_become_the_newest(places: ProjectPlaces) -> None:
    generations.keep(places, project("a"))
    digest = generations.keep(places, project("b"), newest=False)
    assert generations.newest(places) == project("a")
    assert generations.read(places, digest) == project("b")
    generations.keep(places, project("b"))
    assert generations.newest(places) == project("b")


def test_no_digest_is_a_project_of_nothing(places: ProjectPlaces) -> None:
    assert generations.read(places, "").services == {}


def test_one_that_is_not_on_record_is_an_error(places: ProjectPlaces) -> None:
    with pytest.raises(PycomposeError, match="cannot be read"):
        generations.read(places, "ab")
