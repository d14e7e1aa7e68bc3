"""Every attribute of the specification: short and long forms mean the same, and `config` loses nothing of them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from pycompose.compose.file import show
from pycompose.compose.file.canonical import project_tree
from pycompose.compose.file.loader import Loaded, Options, load
from pycompose.compose.file.service import ACTED, KEPT
from pycompose.compose.model.codec import from_json, to_json
from pycompose.compose.model.project import Project

FILES = Path(__file__).parent / "files"
ENVIRON = {"INHERITED": "from outside", "FROM": "from outside"}


def loaded(path: Path) -> Loaded:
    return load(Options(files=(str(path),), profiles=("*",), environ=ENVIRON))


def written(name: str) -> dict[str, Any]:
    """The data of a file as it stands, with its folder for @."""
    found = yaml.safe_load((FILES / name).read_text().replace("@", str(FILES)))
    assert isinstance(found, dict)
    return found


def placed(tmp_path: Path, name: str) -> Path:
    """A copy of a file with its folder for @, and what it reads beside it."""
    for other in ("web.env", "web.labels"):
        shutil.copy(FILES / other, tmp_path)
    path = tmp_path / name
    path.write_text((FILES / name).read_text().replace("@", str(FILES)))
    return path


@pytest.mark.parametrize("name", ["short.yaml", "long.yaml"])
def test_every_attribute_is_used(name: str) -> None:
    used = {key for service in written(name)["services"].values() for key in service if not key.startswith("x-")}
    resolved = (
        {"env_file", "extends", "label_file"} if name == "long.yaml" else set()
    )  # `config` shows what comes of them
    assert used | resolved == ACTED | KEPT
    assert len(used | resolved) == 93


def test_short_forms_mean_what_long_ones_do(tmp_path: Path) -> None:
    short, long = loaded(FILES / "short.yaml").project, loaded(placed(tmp_path, "long.yaml")).project
    assert project_tree(short) == project_tree(long)


@pytest.mark.parametrize("name", ["long.yaml", "full.yaml"])
def test_nothing_of_a_canonical_file_is_lost(tmp_path: Path, name: str) -> None:
    found = loaded(placed(tmp_path, name)).tree
    wanted = written(name)
    for kind in wanted:
        if isinstance(wanted[kind], dict):
            for key in wanted[kind]:
                assert found[kind][key] == wanted[kind][key], f"{kind} {key}"
    assert found == wanted


@pytest.mark.parametrize("name", ["short.yaml", "long.yaml", "full.yaml"])
@pytest.mark.parametrize("write", [show.to_yaml, show.to_json])
def test_what_config_prints_is_printed_again(tmp_path: Path, name: str, write: Any) -> None:
    first = loaded(placed(tmp_path, name))
    shown = write(first.tree)
    (tmp_path / "again.yaml").write_text(shown)
    again = loaded(tmp_path / "again.yaml")
    assert again.tree == first.tree
    assert write(again.tree) == shown
    assert json.loads(show.to_json(again.tree)) == json.loads(show.to_json(first.tree))


@pytest.mark.parametrize("name", ["long.yaml", "full.yaml"])
def test_a_project_is_the_same_after_its_record(tmp_path: Path, name: str) -> None:
    project = loaded(placed(tmp_path, name)).project
    assert from_json(Project, to_json(project)) == project


def test_what_is_not_acted_on_is_told_once_with_its_place() -> None:
    said = [w for w in loaded(FILES / "short.yaml").warnings if w.code == "not-acted-on"]
    assert {w.message.split('"')[1] for w in said} == KEPT
    assert len(said) == len({w.message for w in said})
    assert all(w.position is not None and w.position.line > 1 for w in said)
