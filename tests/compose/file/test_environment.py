"""Which files and variables a project is made from: `-f`, COMPOSE_*, `.env` and env files, and who wins."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from pycompose.compose.file.loader import Options, load
from pycompose.compose.model.errors import FileError
from pycompose.compose.model.project import BindMount, Project

WEB = "services: {web: {image: 'i:${TAG-none}', volumes: ['./d:/d']}}\n"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project in `app`, and the current folder."""
    (tmp_path / "app").mkdir()
    (tmp_path / "app/compose.yaml").write_text(WEB)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def project(*files: str, environ: dict[str, str] | None = None, **more: object) -> Project:
    return load(Options(files=files, environ=environ or {}, **more)).project  # type: ignore[arg-type]


def image(*files: str, environ: dict[str, str] | None = None, **more: object) -> str | None:
    return project(*files, environ=environ, **more).services["web"].image


def test_the_shell_wins_over_env_files_and_the_last_of_those_over_the_others(folder: Path) -> None:
    (folder / "app/.env").write_text("TAG=dot")
    (folder / "one.env").write_text("TAG=one\nONE=1")
    (folder / "two.env").write_text("TAG=two-$ONE")
    assert image("app/compose.yaml") == "i:dot"
    assert image("app/compose.yaml", env_files=("one.env",)) == "i:one"
    assert image("app/compose.yaml", env_files=("one.env", "two.env")) == "i:two-1"
    assert image("app/compose.yaml", env_files=("one.env",), environ={"TAG": "shell"}) == "i:shell"
    assert image("app/compose.yaml", environ={"COMPOSE_ENV_FILES": "one.env,two.env"}) == "i:two-1"
    assert image("app/compose.yaml", environ={"COMPOSE_DISABLE_ENV_FILE": "true"}) == "i:none"
    assert image("app/compose.yaml", environ={"TAG": ""}) == "i:"


def test_pwd_is_the_current_folder_where_nobody_sets_it(folder: Path) -> None:
    (folder / "app/compose.yaml").write_text("services: {web: {image: 'i', volumes: ['${PWD}/d:/d']}}\n")
    (folder / "app/.env").write_text("PWD=/dot")
    for environ, source in (({}, f"{folder}/d"), ({"PWD": "/other"}, "/other/d")):
        (mount,) = project("app/compose.yaml", environ=environ).services["web"].mounts
        assert isinstance(mount, BindMount)
        assert mount.source == source


def test_the_project_folder_is_that_of_the_first_file_or_what_is_said(folder: Path) -> None:
    (folder / ".env").write_text("TAG=here")
    (folder / "app/over.yaml").write_text("services: {web: {tty: true}}")
    made = project("app/compose.yaml")
    assert (made.working_dir, made.name) == (f"{folder}/app", "app")
    assert made.services["web"].mounts == (BindMount(f"{folder}/app/d", "/d"),)
    assert made.services["web"].image == "i:none", "the folder's .env, not that of the current one"
    said = project("app/compose.yaml", "app/over.yaml", project_directory=".")
    assert said.services["web"].mounts == (BindMount(f"{folder}/d", "/d"),)
    assert (said.services["web"].image, said.services["web"].tty) == ("i:here", True)


def test_compose_file_and_profiles_may_stand_in_the_env_file(folder: Path) -> None:
    (folder / "extra.yaml").write_text("services: {extra: {image: x, profiles: [p]}, other: {image: x, profiles: [q]}}")
    (folder / ".env").write_text(
        "COMPOSE_FILE=app/compose.yaml;extra.yaml\nCOMPOSE_PATH_SEPARATOR=;\nCOMPOSE_PROFILES=p\n"
    )
    made = project()
    assert list(made.services) == ["web", "extra"]
    assert list(made.disabled_services) == ["other"]
    assert made.working_dir == f"{folder}/app"
    assert list(project(profiles=("q",)).services) == ["web", "other"], "--profile replaces COMPOSE_PROFILES"
    assert list(project(profiles=("*",)).services) == ["web", "extra", "other"]


@pytest.mark.parametrize(
    ("said", "environ", "top", "name"),
    [
        ("by-flag", {"COMPOSE_PROJECT_NAME": "by-shell"}, "name: by-file", "by-flag"),
        (None, {"COMPOSE_PROJECT_NAME": "by-shell"}, "name: by-file", "by-shell"),
        (None, {"X": "1"}, "name: by-file-$X", "by-file-1"),
        (None, {}, "", "app"),
    ],
)
def test_the_name_of_a_project(folder: Path, said: str | None, environ: dict[str, str], top: str, name: str) -> None:
    (folder / "app/compose.yaml").write_text(f"{top}\n{WEB.replace('TAG-none', 'COMPOSE_PROJECT_NAME')}")
    made = project("app/compose.yaml", project_name=said, environ=environ)
    assert (made.name, made.services["web"].image) == (name, f"i:{name}")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"files": ("none.yaml",)}, "none.yaml: no such file or directory"),
        ({"files": ("/none.yaml",)}, "open /none.yaml: no such file or directory"),
        ({"files": ("app/compose.yaml",), "env_files": ("none.env",)}, "none.env"),
        ({"files": ("app/compose.yaml",), "project_name": "My App"}, 'invalid project name "My App": must consist'),
        ({"files": ("app/compose.yaml",), "environ": {"COMPOSE_PROJECT_NAME": "_x"}}, 'try "x"'),
        ({"project_directory": "/"}, "no configuration file provided: not found"),
    ],
)
def test_what_cannot_be_found_is_told(folder: Path, options: dict[str, object], said: str) -> None:
    with pytest.raises(FileError) as caught:
        load(Options(**options))  # type: ignore[arg-type]
    assert said in "\n".join(str(p) for p in caught.value.problems)


def test_a_name_that_cannot_be_one_is_told_with_its_place(folder: Path) -> None:
    (folder / "app/compose.yaml").write_text("name: My App\n" + WEB)
    assert project("app/compose.yaml").name == "myapp"
    (folder / "app/compose.yaml").write_text("name: '!!'\n" + WEB)
    with pytest.raises(FileError, match=r'compose\.yaml:1:7: invalid project name "!!": must consist only'):
        project("app/compose.yaml")
    (folder / "app/compose.yaml").write_text("name: []\n" + WEB)
    with pytest.raises(FileError, match="name must be a string"):
        project("app/compose.yaml")


def test_env_files_of_a_service_build_on_each_other_and_may_be_missing(folder: Path) -> None:
    (folder / "app/one.env").write_text("A=1\nB='$A'\n")
    (folder / "app/two.env").write_text("C=$A-$TAG\nB=two\n")
    (folder / "app/raw.env").write_text("D='$A' # x\n#no\nTAG\n")
    (folder / "app/compose.yaml").write_text(
        "services:\n  web:\n    image: x\n    environment: {A: own, E: , F: }\n    env_file:\n"
        "      - one.env\n      - path: two.env\n      - {path: raw.env, format: raw}\n"
        "      - {path: none.env, required: false}\n"
    )
    found = project("app/compose.yaml", environ={"TAG": "t", "F": "f"}).services["web"].environment
    assert found == {"A": "own", "B": "two", "C": "own-t", "D": "'$A' # x", "TAG": "t", "E": None, "F": "f"}


@pytest.mark.parametrize("written", ["[FOO]", "{FOO: }", "{FOO: null}"])
def test_a_name_without_a_value_is_the_callers_or_unset(folder: Path, written: str) -> None:
    (folder / "e.env").write_text("FOO=from the file")
    (folder / "compose.yaml").write_text(
        f"services:\n  web:\n    image: x\n    env_file: e.env\n    environment: {written}\n"
        f"    build: {{context: ., args: {written}}}\n    post_start: [{{command: x, environment: {written}}}]\n"
    )
    options = Options(files=("compose.yaml",), environ={})
    unset, known = load(options), load(replace(options, environ={"FOO": ""}))
    for loaded, value in ((unset, None), (known, "")):
        web = loaded.project.services["web"]
        assert web.build is not None
        assert [web.environment, web.build.args, web.post_start[0].environment] == [{"FOO": value}] * 3
        tree = loaded.tree["services"]["web"]
        assert tree["environment"] == {"FOO": value}
        assert tree["build"].get("args") == (None if value is None else {"FOO": value}), "as docker compose prints it"
    hashes = {loaded.project.services["web"].config_hash for loaded in (unset, known)}
    assert len(hashes) == 2
