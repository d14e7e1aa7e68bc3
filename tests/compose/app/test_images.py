"""Which images are fetched before services are made, by the file's policies and the user's."""

from __future__ import annotations

import io
import json
import os
import tarfile
import time
from pathlib import Path

import pytest
from pycompose.compose.app import images
from pycompose.compose.file.loader import Options, load
from pycompose.compose.model.project import Project
from pycompose.errors import PycomposeError
from pycompose.runtime.images import Store
from pycompose.runtime.images.gc import remove
from pycompose.runtime.places import Places


@pytest.fixture(autouse=True)
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    monkeypatch.setenv("PYCOMPOSE_STATE", str(tmp_path / "state"))
    monkeypatch.setenv("PYCOMPOSE_RUN", str(tmp_path / "run"))
    return Store(Places.default())


def keep(store: Store, *names: str, architecture: str = "amd64") -> None:
    """Images without layers."""
    with store.working() as work:
        config = {"architecture": architecture, "os": "linux", "rootfs": {"diff_ids": []}}
        store.add(names, json.dumps(config).encode(), [], work, manifest=b'{"layers": []}')


def loaded(tmp_path: Path, services: str) -> Project:
    (tmp_path / "compose.yaml").write_text(f"services: {{{services}}}")
    options = Options(files=(str(tmp_path / "compose.yaml"),), project_name="p", environ={})
    return load(options).project


def due(project: Project, *services: str, policy: str | None = None, now: float | None = None) -> list[str]:
    return [one.image for one in images.to_fetch(project, services, policy=policy, now=now)]


def test_what_is_missing_is_fetched_and_what_is_here_is_not(tmp_path: Path, store: Store) -> None:
    keep(store, "here:1")
    project = loaded(tmp_path, "a: {image: 'here:1'}, b: {image: 'gone:1'}, c: {image: host}, d: {image: 'gone:1'}")
    assert [(one.image, one.services) for one in images.to_fetch(project)] == [("gone:1", ("b", "d"))]
    assert due(project, "a") == []
    assert due(project, policy="always") == ["here:1", "gone:1"]
    assert due(project, policy="never") == []


def test_an_image_that_a_service_builds_is_fetched_for_no_other(tmp_path: Path, store: Store) -> None:
    mounting = "{image: host, volumes: [{type: image, source: 'app:1', target: /app}]}"
    project = loaded(
        tmp_path, f"a: {{image: 'app:1'}}, m: {mounting}, b: {{image: 'app:1', build: .}}, c: {{build: .}}"
    )
    assert due(project, "a") == []
    assert due(project, "m", policy="always") == []
    assert images.needed_builds(project, ["a", "m", "c"]) == ["b"]
    fetches, skipped = images.to_pull(project, ["a", "m"])
    assert (fetches, skipped) == ([], {"app:1": "Built by b"})
    keep(store, "app:1")
    assert images.needed_builds(project, ["a", "m"]) == []
    assert due(project, "a", policy="always") == []


def test_images_of_pre_start_hooks_are_made_ready_with_their_services(tmp_path: Path, store: Store) -> None:
    hooks = "pre_start: [{command: a, image: 'tool:1'}, {command: b, image: host}, {command: c, image: 'own:1'}]"
    project = loaded(tmp_path, f"a: {{image: host, {hooks}}}, b: {{image: 'own:1', build: .}}, c: {{image: 'c:1'}}")
    assert due(project, "a") == ["tool:1"]
    assert images.needed_builds(project, ["a"]) == ["b"]
    assert [one.image for one in images.to_pull(project, ["a"])[0]] == ["tool:1"]
    with pytest.raises(images.ImagesMissing, match="tool:1"):
        images.ready(project, ["a"])
    keep(store, "tool:1", "own:1")
    assert due(project, "a") == []
    assert images.ready(project, ["a"]) == {}


@pytest.mark.parametrize(
    ("policy", "wanted"),
    [("always", True), ("never", False), ("missing", False), ("if_not_present", False), ("build", False)],
)
def test_a_policy_of_the_file_says_whether_an_image_that_is_here_is_fetched(
    tmp_path: Path, store: Store, policy: str, wanted: bool
) -> None:
    keep(store, "here:1")
    project = loaded(tmp_path, f"a: {{image: 'here:1', pull_policy: {policy}}}")
    assert due(project) == (["here:1"] if wanted else [])


@pytest.mark.parametrize(
    ("policy", "seconds"), [("daily", 86400), ("weekly", 604800), ("every_90m", 5400), ("every_1d12h", 129600)]
)
def test_an_image_is_fetched_again_when_its_time_has_come(
    tmp_path: Path, store: Store, policy: str, seconds: int
) -> None:
    keep(store, "here:1")
    project = loaded(tmp_path, f"a: {{image: 'here:1', pull_policy: {policy}}}")
    now = time.time()
    assert due(project, now=now + seconds - 60) == []
    assert due(project, now=now + seconds + 60) == ["here:1"]


def test_an_image_for_another_platform_is_as_good_as_missing(tmp_path: Path, store: Store) -> None:
    keep(store, "here:1", architecture="arm64")
    project = loaded(
        tmp_path, "a: {image: 'here:1', platform: linux/arm64}, b: {image: 'here:1', platform: linux/amd64}"
    )
    assert due(project, "a") == []
    assert due(project, "b") == ["here:1"]
    with pytest.raises(PycomposeError, match="linux/arm64 and linux/amd64"):
        images.to_fetch(project, policy="always")


def test_a_service_without_a_platform_has_the_user_s(
    tmp_path: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep(store, "here:1", architecture="arm64")
    project = loaded(tmp_path, "a: {image: 'here:1'}, b: {image: 'here:2', platform: linux/386}")
    monkeypatch.setenv("DOCKER_DEFAULT_PLATFORM", "linux/amd64")
    assert [fetch.platform for fetch in images.to_fetch(project)] == ["linux/amd64", "linux/386"]
    monkeypatch.setenv("DOCKER_DEFAULT_PLATFORM", "linux/arm64")
    assert due(project) == ["here:2"]


def test_what_can_be_built_need_not_be_fetched(tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text("FROM scratch\n")
    project = loaded(
        tmp_path, "a: {build: .}, b: {build: ., image: 'mine:1'}, c: {build: ., image: 'x:1', pull_policy: build}"
    )
    (one,) = images.to_fetch(project)
    assert (one.image, one.optional) == ("mine:1", True)
    pulled, skipped = images.to_pull(project, project.services)
    assert [one.image for one in pulled] == ["mine:1"]
    assert skipped == {"p-a": "Can be built", "x:1": "Can be built"}


def test_pull_fetches_what_is_here_too_unless_the_file_or_the_user_says_missing(tmp_path: Path, store: Store) -> None:
    keep(store, "one:1", "two:2", "three:latest")
    project = loaded(
        tmp_path,
        "a: {image: 'one:1'}, b: {image: 'two:2', pull_policy: missing},"
        " c: {image: 'three:latest', pull_policy: missing}",
    )
    pulled, skipped = images.to_pull(project, project.services)
    assert [one.image for one in pulled] == ["one:1", "three:latest"]
    assert skipped == {"two:2": "Already here"}
    assert len(images.to_pull(project, project.services, "always")[0]) == 3


def test_an_image_in_an_archive_is_named_by_its_path(tmp_path: Path, store: Store) -> None:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        manifest = [{"Config": "c.json", "RepoTags": [f"{name}:1"], "Layers": []} for name in ("one", "two")]
        files = {"c.json": json.dumps({"rootfs": {"diff_ids": []}}), "manifest.json": json.dumps(manifest)}
        for name, text in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(text)
            archive.addfile(entry, io.BytesIO(text.encode()))
    (tmp_path / "saved.tar").write_bytes(out.getvalue())
    project = loaded(tmp_path, "a: {image: 'docker-archive:./saved.tar:one:1'}, b: {image: 'docker-archive:saved.tar'}")
    assert project.services["a"].image == f"docker-archive:{tmp_path}/saved.tar:one:1"
    one, both = images.to_fetch(project)
    assert images.fetch([one], lambda _: None) == []
    assert list(images.ready(project, ["a"])) == ["a"]
    (failure,) = images.fetch([both], lambda _: None)
    assert failure.error.message == f"{tmp_path}/saved.tar: more than one image"
    os.unlink(tmp_path / "saved.tar")
    assert due(project, "a") == [], "what was taken in is enough"
    assert [found.name for found in store.ls()] == [f"docker-archive:{tmp_path}/saved.tar:one:1"]
    remove(store, f"docker-archive:{tmp_path}/saved.tar:one:1")
    assert store.ls() == []


def test_a_service_of_a_provider_needs_no_image(tmp_path: Path, store: Store) -> None:
    project = loaded(tmp_path, "a: {provider: {type: cloud}}, b: {image: host, depends_on: [a]}")
    assert due(project) == []
    assert images.ready(project) == {}
