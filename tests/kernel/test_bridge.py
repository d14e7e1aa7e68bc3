"""bridge and alpha generate: transformations that run as containers, and compose files of containers."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path

import pytest

from .build_tools import Builds, build
from .test_registry import registry

__all__ = ["build", "registry"]  # the fixtures

TRANSFORMATION = """\
FROM base
LABEL com.docker.compose.bridge=transformation
COPY transform /transform
COPY templates /templates
RUN chmod 4755 /templates/b && mkdir /templates/odd && mknod -m 666 /templates/odd/null c 1 3 && chown -R 5:5 /templates
CMD sh /transform
"""
SCRIPT = """\
cat /in/compose.yaml > /out/model
cat /templates/b /templates/code > /out/templates
id -u > /out/user
echo $LICENSE_AGREEMENT >> /out/user
echo said
exit $(cat /templates/code)
"""
FILE = """\
name: p
services:
  web:
    image: base
    command: sleep 300
    stop_grace_period: 0s
    ports: ["8080"]
    expose: ["9000"]
    secrets: [s]
    volumes: ["./html:/html", "data:/data"]
    networks: {inner: {aliases: [w]}}
    environment: {MONEY: "a$$b"}
    depends_on: [db]
    scale: 2
  db: {image: base, command: sleep 300, stop_grace_period: 0s, network_mode: none}
secrets: {s: {file: ./secret}}
volumes: {data: , unused: }
networks: {inner: {internal: true}}
"""


@pytest.fixture
def project(build: Builds, tmp_path: Path) -> Builds:
    build.write({"Dockerfile": TRANSFORMATION, "transform": SCRIPT, "templates/code": "0", "templates/b": "b"})
    build.run("image", "build", "-t", "me/transform:1", str(tmp_path / "context"))
    (tmp_path / "compose.yaml").write_text(FILE)
    (tmp_path / "secret").write_text("very secret")
    (tmp_path / "html").mkdir()
    return build


def test_a_project_is_converted_by_images_that_run_as_containers(project: Builds, tmp_path: Path) -> None:
    out, file = tmp_path / "out", str(tmp_path / "compose.yaml")

    def convert(*words: str, check: bool = True) -> str:
        done = project.run("-f", file, "bridge", "convert", "-t", "me/transform:1", "-o", str(out), *words, check=check)
        return done.stdout + done.stderr

    assert "said" in convert()
    model = (out / "model").read_text()
    assert model.startswith("name: p\nservices:\n  db:\n")
    for text in ("content: very secret", '    expose:\n      - "8080"\n      - "9000"\n', "MONEY: a$b\n"):
        assert text in model
    assert "unused" not in model
    assert ((out / "templates").read_text(), (out / "user").read_text()) == ("b0", "0\ntrue\n")
    assert "was not confirmed" in convert(check=False)
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "code").write_text("7")
    (out / "old").write_text("")
    done = project.run(
        "-f",
        file,
        "bridge",
        "convert",
        "-t",
        "me/transform:1",
        "-o",
        str(out),
        "-y",
        "--templates",
        str(mine),
        check=False,
    )
    assert (done.returncode, sorted(path.name for path in out.iterdir())) == (7, ["model", "templates", "user"])
    assert project.run("ls", "-aq").stdout == ""  # nothing is left of the containers
    (out / "stays").write_text("")
    assert "is not there" in convert("-y", "--templates", "/nowhere", check=False)
    assert (out / "stays").exists()


def test_transformations_are_listed_and_made_ones_own(project: Builds, tmp_path: Path) -> None:
    assert project.run("bridge", "transformations", "ls", "-q").stdout == "me/transform:1\n"
    (row,) = json.loads(project.run("bridge", "transformations", "list", "--format", "json").stdout)
    assert (row["Repository"], row["Tag"]) == ("me/transform", "1")
    assert "IMAGE ID" in project.run("bridge", "transformations", "list").stdout
    mine = tmp_path / "mine"
    said = project.run("bridge", "transformations", "create", "--from", "me/transform:1", str(mine))
    assert said.stdout == f'Transformer created in "{mine}"\n'
    assert (mine / "templates/b").read_text() == "b"
    # What lies in a folder of the caller's is theirs, and nothing that any user of this machine could use as root.
    status = (mine / "templates/b").stat()
    assert (stat.S_IMODE(status.st_mode), status.st_uid) == (0o755, os.getuid())
    assert "odd/null: devices are not copied" in said.stderr
    assert list((mine / "templates/odd").iterdir()) == []
    assert "COPY templates /templates" in (mine / "Dockerfile").read_text()
    again = project.run("bridge", "transformations", "create", "-f", "base", str(mine), check=False)
    assert f"error: output folder {mine} already exists" in again.stderr
    none = project.run("bridge", "transformations", "create", "-f", "base", str(tmp_path / "none"), check=False)
    assert "has no folder /templates" in none.stderr
    assert not (tmp_path / "none").exists()


def test_a_file_of_containers_makes_them_again(project: Builds, tmp_path: Path) -> None:
    project.run("-f", str(tmp_path / "compose.yaml"), "up", "-d")
    try:
        ids = project.run("-p", "p", "ps", "-q", "web").stdout.split()
        done = project.run(
            "alpha", "generate", "--name", "other", "--project-dir", str(tmp_path), ids[0][:12], "p-web-2"
        )
        assert done.stderr == "generate command is EXPERIMENTAL\n"
        (tmp_path / "other.yaml").write_text(done.stdout)
        tree = json.loads(project.run("-f", str(tmp_path / "other.yaml"), "config", "--format", "json").stdout)
        web = tree["services"]["web"]
        assert (tree["name"], sorted(tree["services"]), web["scale"]) == ("other", ["web"], 2)
        assert (web["image"], web["environment"], "depends_on" in web) == ("base", {"MONEY": "a$$b"}, False)
        assert "source: ./html" in done.stdout
        assert tree["networks"]["inner"] == {"name": "other_inner", "ipam": {}, "internal": True}
        assert sorted(tree["volumes"]) == ["data"]
        both = json.loads(project.run("alpha", "generate", "--format", "json", "p-web-1", "p-db-1").stdout)
        assert (list(both["services"]["web"]["depends_on"]), "name" in both) == (["db"], False)
        project.run("-f", str(tmp_path / "other.yaml"), "up", "-d")
        assert len(project.run("-p", "other", "ps", "-q").stdout.split()) == 2
        project.run("-p", "other", "down", "-v")
    finally:
        project.run("-p", "p", "down", "-v")
