"""The commands for images, as typed: what they print, what they leave, and what they say when it cannot be done."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from pycompose.runtime.images import Store

from .conftest import Real

Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def pycompose(store: Store, tmp_path: Path) -> Run:
    environment = {**os.environ, "PYCOMPOSE_STATE": store.places.state, "PYCOMPOSE_RUN": store.places.run}

    def run(*words: str, code: int = 0) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [sys.executable, "-m", "pycompose", *words],
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            cwd=tmp_path,
            timeout=120,
        )
        assert done.returncode == code, done.stderr
        assert "Traceback" not in done.stderr
        return done

    return run


def test_an_image_is_pulled_named_shown_saved_pushed_and_pruned(
    registry: Real, store: Store, layout: Path, tmp_path: Path, pycompose: Run
) -> None:
    registry.put(layout, "base:1")
    name = f"{registry.name}/base:1"
    assert pycompose("image", "pull", "-q", name).stdout == f"{name}\n"
    pycompose("image", "tag", name, "mine:2")
    (told,) = json.loads(pycompose("image", "inspect", "mine:2").stdout)
    assert told["RepoTags"] == [name, "mine:2"]
    assert told["RepoDigests"] == [f"{registry.name}/base@{registry.digest('base:1')}"]
    assert told["Architecture"] == "amd64"
    lines = pycompose("image", "history", "mine:2").stdout.splitlines()
    assert [line.split()[0] for line in lines] == ["CREATED", "layer", "layer"]
    pycompose("image", "save", "-o", "saved.tar", "mine:2")
    pycompose("image", "save", "--format", "oci-dir", "-o", "layout", "mine:2")
    pycompose("image", "rm", name, "mine:2")
    assert pycompose("image", "ls", "-q").stdout == ""
    assert pycompose("image", "load", "saved.tar").stdout == "loaded mine:2\n"
    assert pycompose("image", "ls", "-q").stdout == told["Id"] + "\n"
    assert pycompose("image", "load", "layout").stdout == "loaded mine:2\n"
    pycompose("image", "tag", "mine:2", f"{registry.name}/pushed:1")
    pycompose("image", "push", "-q", f"{registry.name}/pushed:1")
    assert registry.digest("pushed:1") == registry.digest("base:1")
    assert pycompose("image", "fsck").stdout == "all is well\n"
    assert "Total reclaimed space: 0B" in pycompose("image", "prune", "-f").stdout
    assert f"deleted: {told['Id']}" in pycompose("image", "prune", "-af").stdout
    assert store.ls() == []


def test_what_cannot_be_done_is_said_with_what_to_try(registry: Real, pycompose: Run, tmp_path: Path) -> None:
    gone = pycompose("image", "pull", f"{registry.name}/gone:1", code=1).stderr
    assert f'error: image "{registry.name}/gone:1" cannot be fetched: {registry.name}: manifest unknown (404)' in gone
    assert "hint: are the name and the tag right?" in gone
    assert "this machine" in pycompose("image", "pull", "host", code=1).stderr
    assert "invalid reference format" in pycompose("image", "pull", "NOT A NAME", code=1).stderr
    assert "not a platform" in pycompose("image", "pull", "--platform", "a/b/c/d", "x", code=1).stderr
    assert "is not on this machine" in pycompose("image", "push", "x", code=1).stderr
    assert "is not on this machine" in pycompose("image", "save", "-o", "out.tar", "x", code=1).stderr
    assert not (tmp_path / "out.tar").exists()
    assert not (tmp_path / "out.tar.part").exists()
    (tmp_path / "docker/config.json").write_text("{")
    assert "docker/config.json" not in pycompose("image", "pull", f"{registry.name}/gone:1", code=1).stderr
    (tmp_path / "xdg/pycompose").mkdir(parents=True)
    (tmp_path / "xdg/pycompose/registries.toml").write_text(f'["{registry.name}"]\nmirror = "x"\n')
    assert "may have mirrors, insecure and ca" in pycompose("image", "pull", f"{registry.name}/x", code=1).stderr


def test_damage_is_told_and_mended_by_fetching_anew(registry: Real, store: Store, layout: Path, pycompose: Run) -> None:
    registry.put(layout, "base:1")
    name = f"{registry.name}/base:1"
    pycompose("image", "pull", "-q", name)
    with open(f"{store.resolve(name).layers[0]}/etc/passwd", "a") as file:
        file.write("evil:x:0:0::/:/bin/sh\n")
    said = pycompose("image", "fsck", code=1)
    assert "its files were changed" in said.stdout
    pycompose("image", "rm", name)
    pycompose("image", "pull", "-q", name)
    pycompose("image", "fsck")


def test_config_pins_images_to_the_digests_that_their_registry_has_now(
    registry: Real, store: Store, layout: Path, tmp_path: Path, pycompose: Run
) -> None:
    registry.put(layout, "base:1")
    registry.put(layout, "base:latest")
    first, digest = f"{registry.name}/base", registry.digest("base:1")
    file = tmp_path / "compose.yaml"
    file.write_text(
        f"name: p\nservices:\n  a: {{image: '{first}:1'}}\n  b: {{image: {first}, volumes: "
        f"[{{type: image, source: '{first}:1', target: /x}}]}}\n  c: {{image: '{first}@{digest}'}}\n  d: {{build: .}}\n"
    )

    def config(*flags: str) -> dict[str, dict[str, object]]:
        return dict(json.loads(pycompose("config", "--format", "json", *flags).stdout)["services"])

    for flags in ([], ["--no-interpolate"]):
        services = config("--resolve-image-digests", *flags)
        images = {name: service.get("image") for name, service in services.items()}
        assert images == {
            "a": f"{first}:1@{digest}",
            "b": f"{first}:latest@{digest}",
            "c": f"{first}@{digest}",
            "d": None,
        }
        assert services["b"]["volumes"][0]["source"] == f"{first}:1@{digest}"  # type: ignore[index]
    locked = pycompose("config", "--lock-image-digests").stdout
    (tmp_path / "locked.yaml").write_text(locked)
    assert locked.startswith(f"services:\n  a:\n    image: {first}:1@{digest}\n  b:\n")
    assert "context" not in locked
    merged = json.loads(
        pycompose("-f", str(file), "-f", "locked.yaml", "config", "--format", "json").stdout,
    )
    assert merged["services"]["a"]["image"] == f"{first}:1@{digest}"
    assert store.ls() == []  # nothing was fetched
    file.write_text(f"services: {{a: {{image: '{first}:gone'}}, b: {{image: '{first}:1'}}}}")
    said = pycompose("config", "--resolve-image-digests", code=1)
    assert said.stdout == ""
    assert f"error: failed to resolve digest for {first}:gone: {registry.name}: manifest unknown (404)" in said.stderr
