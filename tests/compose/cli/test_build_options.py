"""Options of `build`: each of docker compose is done, or is an error; `--print` prints a bake file as there."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Run = Callable[..., tuple[int, str, str]]

FILE = """
name: bk
services:
  web:
    build:
      context: .
      dockerfile: D
      args: {A: "1", B: , Z: file}
      target: t
      labels: {l: v, com.docker.compose.project: other}
      tags: ["x:1"]
      cache_from: [y]
      cache_to: [type=inline]
      no_cache: true
      pull: true
      secrets: [s, {source: e, target: other}]
      ssh: [default]
      network: host
      extra_hosts: ["h=1.2.3.4", "h=1.2.3.5"]
      shm_size: 64m
      platforms: [linux/amd64]
      additional_contexts: {r: ./r, d: "service:db"}
      ulimits: {nofile: 10, nproc: {soft: 1, hard: 2}}
      provenance: "mode=max"
      sbom: false
  db: {build: {dockerfile_inline: "FROM x\\n"}, image: me/db, platform: linux/amd64}
  plain: {image: z}
secrets: {s: {file: ./s}, e: {environment: HOME}}
"""


@pytest.fixture
def file(places: Path) -> Path:
    (places / "compose.yaml").write_text(FILE)
    (places / "s").write_text("")
    return places


def bake(run: Run, *words: str) -> Any:
    code, out, err = run("build", "--print", *words)
    assert (code, err) == (0, "")
    return json.loads(out)


def labels(service: str) -> dict[str, str]:
    keys = ("project", "service", "version")
    return {f"com.docker.compose.{key}": value for key, value in zip(keys, ("bk", service, "5.5.0"), strict=True)}


def test_a_build_is_printed_as_docker_composes_bake_file(run: Run, file: Path) -> None:
    tree = bake(run)
    assert tree["group"] == {"default": {"targets": ["db", "web"]}}
    assert tree["target"]["db"] == {
        "context": str(file),
        "dockerfile-inline": "FROM x\n",
        "labels": labels("db"),
        "tags": ["me/db"],
        "platforms": ["linux/amd64"],
        "output": ["type=docker"],
    }
    web = {
        "context": str(file),
        "contexts": {"r": f"{file}/r", "d": "target:db"},
        "dockerfile": f"{file}/D",
        "args": {"A": "1", "Z": "file"},
        "labels": labels("web") | {"l": "v"},
        "tags": ["x:1", "bk-web"],
        "cache-from": ["y"],
        "cache-to": ["type=inline"],
        "target": "t",
        "secret": [f"id=s,type=file,src={file}/s", "id=other,type=env,env=HOME"],
        "ssh": ["default="],
        "platforms": ["linux/amd64"],
        "pull": True,
        "no-cache": True,
        "network": "host",
        "shm-size": "67108864",
        "ulimits": ["nofile=10", "nproc=1:2"],
        "extra-hosts": {"h": "1.2.3.4,1.2.3.5"},
        "attest": ["type=provenance,mode=max"],
        "output": ["type=docker"],
    }
    assert tree["target"]["web"] == web
    assert list(tree["target"]["web"]) == list(web)


@pytest.mark.usefixtures("file")
def test_what_the_command_line_says_is_in_the_bake_file(run: Run) -> None:
    tree = bake(run, "--pull", "--no-cache", "--push", "--build-arg", "Z=1", "--ssh", "a=/s", "db")
    assert tree["group"] == {"default": {"targets": ["db"]}}
    db = tree["target"]["db"]
    assert (db["args"], db["pull"], db["no-cache"], db["ssh"]) == ({"Z": "1"}, True, True, ["a=/s"])
    assert db["output"] == ["type=registry"]
    checked = bake(run, "--check", "db")["target"]["db"]
    assert (checked["call"], "output" in checked) == ("lint", False)
    assert sorted(bake(run, "web")["target"]) == ["db", "web"]  # web is built from db
    assert run("build", "--print", "plain") == (0, "", "")


@pytest.mark.usefixtures("file")
@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--provenance", "max"), "--provenance is not supported: attestations are not made"),
        (("--provenance=true",), "--provenance is not supported: attestations are not made"),
        (("--sbom", "true"), "--sbom is not supported: attestations are not made"),
        (("--builder", "other"), 'no builder "other" found; there is one here, "default"'),
        (("--memory", "much"), 'invalid argument "much" for "-m, --memory" flag: invalid size: \'much\''),
        (("--progress", "fancy"), 'unsupported --progress value "fancy"'),
    ],
)
def test_what_cannot_be_done_is_an_error(run: Run, words: tuple[str, ...], said: str) -> None:
    code, out, err = run("build", *words)
    assert (code, out) == (1, "")
    assert said in err


@pytest.mark.usefixtures("file")
def test_what_means_nothing_in_docker_compose_either_is_taken(run: Run) -> None:
    words = "--compress=false --force-rm --no-rm --parallel --builder default --provenance=false --sbom none -m 0"
    assert sorted(bake(run, *words.split(), "--progress", "plain")["target"]) == ["db", "web"]
