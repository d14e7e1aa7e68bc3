"""What a file means here is what it means to docker compose: `config --format json` of both, compared.

Every file of the examples and tests, and random ones in both syntaxes with overrides. Where a `docker compose` of
version 2 or later is installed (or DOCKER_COMPOSE names one) every difference is listed; those that stay are explained
in docker_compose.py and docs/compose-file.md. `config` of docker compose needs no daemon.
"""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pycompose.compose.model.errors import FileError

from .docker_compose import ABSENT, Refused, compared, differences, installed
from .random_files import files

ROOT = Path(__file__).resolve().parents[3]
FILES = sorted([*ROOT.glob("examples/*/compose.yaml"), *(Path(__file__).parent / "files").glob("*.yaml")])
ENVIRON = {"PATH": os.environ["PATH"], "HOME": "/root", "TOKEN": "a token"}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_a_file_means_what_it_means_to_docker_compose(tmp_path: Path, path: Path) -> None:
    docker = installed()
    folder = shutil.copytree(path.parent, tmp_path / "files")
    file = folder / path.name
    file.write_text(re.sub("@(?=/)", str(folder), file.read_text()))  # ours write @/ for the folder that they are in
    try:
        left = compared(docker, (file,), ENVIRON)
    except Refused as refusal:
        if not re.search("validating |failed to cast", str(refusal)):
            raise
        pytest.skip(f"this docker compose does not know all of it: {refusal}")
    assert not left, "docker compose -> here\n" + "\n".join(left)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])
@given(files(), st.sampled_from(["one", "override", "document", "extends"]))
def test_a_random_file_means_the_same(
    tmp_path_factory: pytest.TempPathFactory, parts: tuple[dict[str, Any], dict[str, Any]], how: str
) -> None:
    docker = installed()
    base, over = parts
    folder = tmp_path_factory.mktemp("random")
    written = (folder / "compose.yaml", folder / "override.yaml")
    (folder / "one.env").write_text("ONE=1\nTWO='a b'\n")
    if how == "extends":
        base = {**base, "services": {**base["services"], "other": {"extends": {"service": "web"}, **over}}}
    text = yaml.safe_dump(base, sort_keys=False)
    override = yaml.safe_dump({"services": {"web": over}}, sort_keys=False)
    written[0].write_text(text + (f"---\n{override}" if how == "document" else ""))
    written[1].write_text(override)
    try:
        left = compared(docker, written if how == "override" else written[:1], ENVIRON)
    except Refused:
        return  # we may take more than it does
    except FileError as error:
        pytest.fail(f"docker compose accepts this ({how})\n{error}\n{written[0].read_text()}\n{override}")
    assert not left, "\n".join(["docker compose -> here", *left, how, written[0].read_text(), override])


def test_differences_are_told_by_their_place() -> None:
    theirs = {"a": 1, "b": {"c": [1, 2]}, "d": True, "e": 1}
    ours = {"a": 1, "b": {"c": [1, 3]}, "d": 1, "f": 1}
    assert list(differences(theirs, ours)) == [
        ("b.c.1", 2, 3),
        ("d", True, 1),
        ("e", 1, ABSENT),
        ("f", ABSENT, 1),
    ]
    assert [place for place, _, _ in differences({"a": 1, "b": 2}, {"b": 2, "a": 1})] == [" (order)"]
