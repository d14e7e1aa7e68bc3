"""The project of a command on containers that exist: by its file where that can be read, else as on record."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from pycompose.compose.app import locate
from pycompose.compose.app.choices import Choices
from pycompose.compose.model.errors import FileError
from pycompose.compose.state import generations

FILE = """
name: x
services:
  web:
    image: "${IMAGE:?}"
    env_file: web.env
    label_file: web.labels
    secrets: [token]
    depends_on: [db]
  db: {image: host}
secrets: {token: {environment: TOKEN}}
"""


@pytest.fixture
def file(places: Path) -> Path:
    path = places / "compose.yaml"
    path.write_text(FILE)
    return path


@pytest.fixture
def kept(file: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file, of which an `up` kept a record with everything there."""
    (file.parent / "web.env").write_text("A=1\n")
    (file.parent / "web.labels").write_text("a=1\n")
    with monkeypatch.context() as environment:
        environment.setenv("IMAGE", "host")
        environment.setenv("TOKEN", "t")
        located = locate.target(Choices())
    generations.keep(located.places, located.described)
    for name in ("web.env", "web.labels"):
        os.unlink(file.parent / name)
    return file


def test_what_only_making_needs_may_be_missing(file: Path) -> None:
    with pytest.raises(FileError):
        locate.target(Choices())
    located = locate.existing(Choices())
    assert located.places.project == "x"
    assert [need.service for need in located.described.services["web"].depends_on] == ["db"]
    assert located.warnings == ()


def test_services_are_as_on_record_where_a_variable_is_gone_and_their_order_is_the_files(kept: Path) -> None:
    kept.write_text(FILE.replace("depends_on: [db]", "depends_on: [cache]") + "x-more: 1\n")
    kept.write_text(kept.read_text().replace("  db: {", "  cache: {image: host}\n  db: {"))
    located = locate.existing(Choices())
    web = located.described.services["web"]
    assert (web.image, [need.service for need in web.depends_on]) == ("host", ["cache"])
    assert list(located.described.services) == ["web", "cache", "db"]


def test_an_env_file_that_may_name_the_project_is_needed_unless_that_is_said(kept: Path) -> None:
    with pytest.raises(FileError, match=r"gone\.env"):
        locate.existing(Choices(env_files=("gone.env",)))
    assert locate.existing(Choices(project_name="x", env_files=("gone.env",))).places.project == "x"


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace("image: host", "imagee: host"),
        lambda text: text.replace("[token]", "[token"),
        lambda text: text.replace("[db]", "[db, gone]"),
        lambda text: text.replace("depends_on: [db]", "extends: {file: gone.yaml, service: s}"),
        lambda text: text + "include: [gone.yaml]\n",
        lambda text: text.replace("{image: host}", "{image: host, depends_on: [web]}"),
    ],
)
def test_a_file_that_is_wrong_is_told_and_the_project_is_as_on_record(kept: Path, change: object) -> None:
    kept.write_text(change(FILE))  # type: ignore[operator]
    located = locate.existing(Choices())
    assert located.places.project == "x"
    assert located.described.services["web"].environment == {"A": "1"}
    assert "compose.yaml:" in str(located.warnings[0])
    assert "records of the last `up`" in str(located.warnings[-1])


def test_a_file_that_is_wrong_is_an_error_where_nothing_is_on_record(file: Path) -> None:
    file.write_text(FILE.replace("[token]", "[token"))
    with pytest.raises(FileError, match=r"compose\.yaml:"):
        locate.existing(Choices())


def test_a_service_that_is_not_there_is_an_error(kept: Path) -> None:
    with pytest.raises(FileError, match="no such service: nope"):
        locate.existing(Choices(), ("nope",))


def test_a_project_whose_name_cannot_be_told_is_an_error(kept: Path) -> None:
    kept.write_text(FILE.replace("name: x", "name: ${NAME}").replace("[token]", "[token"))
    with pytest.raises(FileError):
        locate.existing(Choices())
    assert locate.existing(Choices(project_name="x")).described.services


def test_a_file_that_is_named_and_gone_is_an_error(kept: Path) -> None:
    with pytest.raises(FileError, match=r"other\.yaml"):
        locate.existing(Choices(files=("other.yaml",)))
