"""The config hash: what of a file and of the files it names makes a container anew, and what the plan calls it."""

from __future__ import annotations

import os
import tracemalloc
from pathlib import Path

from pycompose.compose.file.loader import Options, load
from pycompose.compose.model.observed import Observed, ObservedContainer
from pycompose.compose.model.project import Project
from pycompose.compose.plan.reconcile import up

FILE = """
services:
  a:
    image: x
    configs: [app.conf]
    secrets: [key]
    env_file: [a.env, {path: late.env, required: false}]
configs: {app.conf: {file: ./app.conf}}
secrets: {key: {file: ./key}}
"""


def loaded(folder: Path, text: str = FILE, **environ: str) -> Project:
    (folder / "compose.yaml").write_text(text)
    for name in ("app.conf", "key", "a.env"):
        if not (folder / name).exists():
            (folder / name).write_text(f"{name.partition('.')[0].upper()}=1\n")
    return load(Options(files=(str(folder / "compose.yaml"),), project_name="p", environ=environ)).project


def cause(before: Project, after: Project) -> str:
    """Why `up` of `after` makes the container of `before` anew; empty where it does not."""
    service = before.services["a"]
    container = ObservedContainer(
        "1" * 64,
        "p-a-1",
        "a",
        1,
        "running",
        config_hash=service.config_hash,
        hash_parts=service.hash_parts,
        networks=("p_default",),
    )
    plan = up(after, Observed("p", (container,)))
    causes = {step.cause for step in plan.steps if "p-a-1" in step.id}
    return next((one for one in causes if one.startswith("configuration changed")), "")


def test_nothing_changes_where_nothing_changed(tmp_path: Path) -> None:
    before = loaded(tmp_path)
    for name in ("app.conf", "key", "a.env"):
        os.utime(tmp_path / name, (0, 0))
    assert cause(before, loaded(tmp_path)) == ""


def test_a_changed_config_is_a_cause_by_its_name(tmp_path: Path) -> None:
    before = loaded(tmp_path)
    (tmp_path / "app.conf").write_text("other")
    assert cause(before, loaded(tmp_path)) == "configuration changed: config app.conf"


def test_a_changed_secret_is_a_cause_by_its_name(tmp_path: Path) -> None:
    before = loaded(tmp_path)
    (tmp_path / "key").write_text("other")
    assert cause(before, loaded(tmp_path)) == "configuration changed: secret key"


def test_content_and_a_variables_value_count_as_a_file_does(tmp_path: Path) -> None:
    text = FILE.replace("file: ./app.conf", "content: one").replace("file: ./key", "environment: KEY")
    before = loaded(tmp_path, text, KEY="1")
    assert cause(before, loaded(tmp_path, text.replace("one", "two"), KEY="1")).endswith(": config app.conf")
    assert cause(before, loaded(tmp_path, text, KEY="2")).endswith(": secret key")


def test_a_changed_env_file_is_named_where_a_variable_changed(tmp_path: Path) -> None:
    before = loaded(tmp_path)
    (tmp_path / "a.env").write_text("# a comment\nA=1\n")
    assert cause(before, loaded(tmp_path)) == ""
    (tmp_path / "a.env").write_text("A=2\n")
    assert cause(before, loaded(tmp_path)) == "configuration changed: env file a.env, environment"
    (tmp_path / "a.env").write_text("A=1\n")
    (tmp_path / "late.env").write_text("LATE=1\n")
    assert cause(before, loaded(tmp_path)) == "configuration changed: env file late.env, environment"


def test_a_file_at_another_place_with_the_same_content_changes_nothing(tmp_path: Path) -> None:
    before = loaded(tmp_path)
    (tmp_path / "app.conf").rename(tmp_path / "moved.conf")
    assert cause(before, loaded(tmp_path, FILE.replace("./app.conf", "./moved.conf"))) == ""


def test_what_is_no_file_does_not_hold_us_up(tmp_path: Path) -> None:
    before = loaded(tmp_path)
    (tmp_path / "app.conf").unlink()
    os.mkfifo(tmp_path / "app.conf")
    assert "config app.conf" not in loaded(tmp_path).services["a"].hash_parts
    (tmp_path / "app.conf").unlink()
    (tmp_path / "app.conf").mkdir()
    assert cause(before, loaded(tmp_path)) == "configuration changed: config app.conf"


def test_a_large_file_is_not_held_in_memory(tmp_path: Path) -> None:
    loaded(tmp_path)
    with open(tmp_path / "key", "wb") as file:
        file.truncate(64 << 20)
    tracemalloc.start()
    parts = loaded(tmp_path).services["a"].hash_parts
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert "secret key" in parts
    assert peak < 8 << 20


def test_what_does_not_make_a_container_is_not_hashed(tmp_path: Path) -> None:
    before = loaded(tmp_path)
    for more in ("deploy: {replicas: 3}", "pull_policy: never", "build: .", "profiles: [a]\n    depends_on: []"):
        text = FILE.replace("    image: x\n", f"    image: x\n    {more}\n")
        (tmp_path / "compose.yaml").write_text(text)
        after = load(Options(files=(str(tmp_path / "compose.yaml"),), project_name="p", profiles=("a",))).project
        assert after.services["a"].config_hash == before.services["a"].config_hash, more
