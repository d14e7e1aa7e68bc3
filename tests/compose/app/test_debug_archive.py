"""The archive of a project's records holds what looks for a fault, and no secret that was planted."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

from pycompose.compose.app import debug_archive
from pycompose.compose.model.project import FileSource, Project, Service
from pycompose.compose.state import generations
from pycompose.runtime.places import Places, ProjectPlaces

SECRET = 'pl4nted"s3cret'
OTHER = "of-a-file"


def _places(folder: Path) -> ProjectPlaces:
    places = Places(str(folder / "state"), str(folder / "run")).project("p")
    secret = folder / "secret"
    secret.write_text(f"{OTHER}\n")
    project = Project(
        "p",
        "/",
        (),
        services={"web": Service("web", environment={"PASSWORD": SECRET}, command=("login", f"--with={SECRET}"))},
        secrets={"a": FileSource("a", "p_a", content=SECRET), "b": FileSource("b", "p_b", file=str(secret))},
    )
    Path(places.run).mkdir(parents=True)
    generations.keep(places, project)
    container = Path(places.container("c1"))
    container.mkdir(parents=True)
    config = {"process": {"args": ["login", "--keep"], "env": [f"PASSWORD={SECRET}"], "cwd": "/"}}
    (container / "config.json").write_text(json.dumps(config))
    (container / "log").write_text(f"started with {SECRET}\nread {OTHER}\nhttp://me:hunter2@registry/v2\n")
    Path(places.run, "trace").write_text(json.dumps({"step": "start web", "cause": f"said {SECRET}"}) + "\n")
    Path(places.run, "keeper.log").write_text("2026-01-01T00:00:00Z it runs\n")
    return places


def _members(places: ProjectPlaces) -> dict[str, str]:
    out = io.BytesIO()
    debug_archive.write(places, out)
    out.seek(0)
    with tarfile.open(fileobj=out) as archive:
        return {one.name: file.read().decode() for one in archive if (file := archive.extractfile(one))}


def test_no_planted_secret_is_in_it(tmp_path: Path) -> None:
    for name, text in _members(_places(tmp_path)).items():
        for secret in (SECRET, json.dumps(SECRET)[1:-1], OTHER, "hunter2"):
            assert secret not in text, name


def test_records_traces_and_logs_are_in_it(tmp_path: Path) -> None:
    members = _members(_places(tmp_path))
    config = json.loads(members["p/containers/c1/config.json"])
    assert config["process"]["args"] == ["login", "--keep"]
    assert config["process"]["env"] == ["PASSWORD=(left out)"]
    assert "started with (left out)" in members["p/containers/c1/log"]
    assert "start web" in members["p/trace"]
    assert "it runs" in members["p/keeper.log"]
    assert any(name.startswith("p/generations/") for name in members)


def test_of_a_long_log_the_last_whole_lines_are_taken(tmp_path: Path) -> None:
    places = _places(tmp_path)
    with open(f"{places.container('c1')}/log", "a", encoding="utf-8") as log:
        log.write(f"{SECRET}\n" * (debug_archive.LARGEST // len(SECRET)) + "the end\n")
    log_text = _members(places)["p/containers/c1/log"]
    assert log_text.endswith("the end\n")
    assert log_text.startswith(f"{debug_archive.LEFT_OUT}\n")


def test_a_project_without_records_makes_an_empty_archive(tmp_path: Path) -> None:
    assert _members(Places(str(tmp_path / "s"), str(tmp_path / "r")).project("p")) == {}
