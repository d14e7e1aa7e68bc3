"""`publish` as typed, at a real registry: what is in the artifact, and what is asked before anything leaves."""

from __future__ import annotations

import hashlib
import json
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from .conftest import Real
from .hostile import Answer, Hostile, hostile
from .test_login import Run, pycompose

__all__ = ["pycompose"]
COMPOSE = """\
services:
  web:
    image: nginx  # served
    env_file:
      - path: "${HERE}.env"
      - 'b.env'   # the other
    extends: {file: deep/base.yaml, service: base}
  db: {image: postgres, env_file: a.env}
"""
BASE = "services: {base: {extends: {file: ../other.yaml, service: other}, environment: {MODE: x}}}\n"
OTHER = "services:\n  other:\n    labels: [a=b]\n"


def named(path: Path, ending: str) -> str:
    return hashlib.sha256(str(path).encode()).hexdigest() + ending


def manifest(registry: Real, name: str) -> Any:
    return json.loads(registry.skopeo("inspect", "--raw", "--tls-verify=false", f"docker://{registry.name}/{name}"))


def blob(registry: Real, repository: str, digest: str) -> str:
    with urllib.request.urlopen(f"http://{registry.name}/v2/{repository}/blobs/{digest}") as answer:
        return str(answer.read().decode())


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "compose.yaml").write_text(COMPOSE)
    (tmp_path / ".env").write_text("HERE=a\n")
    (tmp_path / "a.env").write_text("A=1\n")
    (tmp_path / "b.env").write_text("B=2\n")
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep/base.yaml").write_text(BASE)
    (tmp_path / "other.yaml").write_text(OTHER)
    return tmp_path


def test_files_are_published_as_written_with_what_they_extend_and_plain_names(
    registry: Real, project: Path, pycompose: Run
) -> None:
    done = pycompose("publish", "--with-env", "-y", f"{registry.name}/team/app:1")
    assert done.stderr.splitlines()[-2:] == [f" {registry.name}/team/app:1 {w}" for w in ("publishing", "published")]
    tree = manifest(registry, "team/app:1")
    assert tree["artifactType"] == "application/vnd.docker.compose.project"
    assert tree["config"]["mediaType"] == "application/vnd.oci.empty.v1+json"
    assert "org.opencontainers.image.created" in tree["annotations"]
    parts = {}
    for layer in tree["layers"]:
        notes = layer["annotations"]
        assert notes["com.docker.compose.version"]
        name = notes.get("com.docker.compose.file") or notes["com.docker.compose.envfile"]
        parts[name] = (layer["mediaType"], notes.get("com.docker.compose.extends"), layer["digest"])
    base, other = named(project / "deep/base.yaml", ".yaml"), named(project / "other.yaml", ".yaml")
    a, b = named(project / "a.env", ".env"), named(project / "b.env", ".env")
    assert list(parts) == ["compose.yaml", base, other, a, b]
    assert [kind.rpartition(".")[2] for kind, _, _ in parts.values()] == ["file+yaml"] * 3 + ["envfile"] * 2
    assert [extends for _, extends, _ in parts.values()] == [None, "true", "true", None, None]
    expected = COMPOSE.replace('"${HERE}.env"', a).replace("'b.env'", b).replace("a.env}", f"{a}}}")
    assert blob(registry, "team/app", parts["compose.yaml"][2]) == expected.replace("deep/base.yaml", base)
    assert blob(registry, "team/app", parts[base][2]) == BASE.replace("../other.yaml", other)
    assert blob(registry, "team/app", parts[a][2]) == "A=1\n"


def test_an_older_manifest_is_made_where_it_is_asked_for(registry: Real, project: Path, pycompose: Run) -> None:
    pycompose("publish", "-y", "--oci-version", "1.0", f"{registry.name}/app")
    tree = manifest(registry, "app:latest")
    assert "artifactType" not in tree
    assert tree["config"]["mediaType"] == "application/vnd.docker.compose.config.empty.v1+json"
    assert len(tree["layers"]) == 3, "env files go only where --with-env says so"


def test_a_registry_that_takes_no_newer_manifest_gets_the_older(project: Path, pycompose: Run) -> None:
    with hostile() as server:
        accepting(server)
        pycompose("publish", "-y", f"{server.name}/app:1")
        assert server.paths("/v2/app/manifests").count("PUT /v2/app/manifests/1") == 2
        server.answers["PUT /v2/app/manifests/1"] = Answer(b"", 403)
        assert "access denied" in pycompose("publish", "-y", f"{server.name}/app:1", code=1).stderr


def accepting(server: Hostile) -> None:
    server.answers["POST /v2/app/blobs/uploads/"] = Answer(b"", 202, {"Location": "/upload"})
    server.answers["PUT /upload"] = Answer(b"", 201)
    server.answers["PUT /v2/app/manifests/1"] = [Answer(b"", 400), Answer(b"", 201)]


QUESTIONS = [
    ("volumes: ['/etc:/here:ro']", "/etc:/here", "Are you ok to publish these bind mount declarations?"),
    ("environment: {DB_PASSWORD: hunter22}", '"DB_PASSWORD"', "Are you ok to publish these env declarations?"),
    ("environment: [API_KEY=abcdef]", '"API_KEY"', "Are you ok to publish these env declarations?"),
    ("env_file: a.env", 'service "a": env_file declared', "Are you ok to publish these env declarations?"),
    ("labels: {x: ghp_1234567890abcdefghijklmnopqrstuvwxyz}", "Github", "Are you ok to publish these sensitive data?"),
    ("labels: {x: 'AKIA1234567890ABCDEF'}", "AWS Client ID", "Are you ok to publish these sensitive data?"),
]


@pytest.mark.parametrize(("section", "shown", "question"), QUESTIONS)
def test_what_may_be_a_secret_is_asked_about_and_no_answer_is_no(
    tmp_path: Path, pycompose: Run, section: str, shown: str, question: str
) -> None:
    (tmp_path / "a.env").write_text("")
    (tmp_path / "compose.yaml").write_text(f"services: {{a: {{image: x, {section}}}}}")
    for typed in ("n\n", ""):
        refused = pycompose("publish", "--dry-run", "r.example/app", typed=typed, code=130)
        assert shown in refused.stderr
        assert question in refused.stderr
        assert "app published" not in refused.stderr
    assert "r.example/app published" in pycompose("publish", "--dry-run", "r.example/app", typed="y\n").stderr
    assert question not in pycompose("publish", "--dry-run", "-y", "r.example/app").stderr


def test_secrets_in_files_that_are_named_and_in_contents_are_asked_about(tmp_path: Path, pycompose: Run) -> None:
    (tmp_path / "key").write_text("-----BEGIN RSA PRIVATE KEY-----\nabc\n-----END RSA PRIVATE KEY-----\n")
    (tmp_path / "compose.yaml").write_text("services: {a: {image: x}}\nsecrets: {k: {file: ./key}}\n")
    assert "Private Key" in pycompose("publish", "--dry-run", "r.example/app", code=130).stderr
    (tmp_path / "compose.yaml").write_text(
        "services: {a: {image: x}}\nconfigs: {c: {content: hello}, d: {content: '${X}'}}\n"
    )
    said = pycompose("publish", "--dry-run", "r.example/app", code=130).stderr
    assert 'config "c"\nAre you ok to publish these config contents?' in said


def test_variables_that_are_filled_in_elsewhere_are_no_secret(tmp_path: Path, pycompose: Run) -> None:
    (tmp_path / "compose.yaml").write_text(
        "services: {a: {image: x, environment: {PASSWORD: '${PASSWORD}', TOKEN: , MODE: fast}}}"
    )
    pycompose("publish", "--dry-run", "r.example/app")


def test_what_cannot_be_published_is_said(tmp_path: Path, pycompose: Run) -> None:
    path = tmp_path / "compose.yaml"
    path.write_text("services: {a: {build: .}, b: {build: .}, c: {image: x}}")
    said = pycompose("publish", "-y", "--dry-run", "r.example/app", code=1).stderr
    assert "your Compose stack cannot be published as it only contains a build section for service(s):\n" in said
    assert '- "a"\n- "b"\n' in said
    path.write_text("include: [other.yaml]\nservices: {a: {image: x}}")
    (tmp_path / "other.yaml").write_text("services: {}")
    said = pycompose("publish", "-y", "--dry-run", "r.example/app", code=1).stderr
    assert "compose.yaml:1:1: cannot publish compose file with local includes" in said
    path.write_text("services: {a: {image: x}}")
    assert "name a tag" in pycompose("publish", "-y", f"r.example/app@sha256:{'0' * 64}", code=1).stderr
    assert "invalid reference format" in pycompose("publish", "-y", "NOT A NAME", code=1).stderr
    assert path.read_text() == "services: {a: {image: x}}"


def test_images_are_pinned_to_what_their_registry_has(
    registry: Real, layout: Path, tmp_path: Path, pycompose: Run
) -> None:
    registry.put(layout, "base:1")
    (tmp_path / "compose.yaml").write_text(f"services: {{a: {{image: '{registry.name}/base:1'}}}}")
    pycompose("publish", "-y", "--resolve-image-digests", f"{registry.name}/app")
    last = manifest(registry, "app:latest")["layers"][-1]
    assert last["annotations"]["com.docker.compose.file"] == "image-digests.yaml"
    assert f"{registry.name}/base:1@{registry.digest('base:1')}" in blob(registry, "app", last["digest"])


def test_images_go_along_where_the_whole_application_is_published(
    registry: Real, layout: Path, tmp_path: Path, pycompose: Run
) -> None:
    registry.put(layout, "base:1")
    (tmp_path / "compose.yaml").write_text(f"services: {{a: {{image: '{registry.name}/base:1'}}, b: {{image: host}}}}")
    pycompose("publish", "-y", "--app", f"{registry.name}/app:1")
    image = registry.digest("base:1")
    assert registry.digest(f"app@{image}") == image
    digests = [
        path.parent.name for path in registry.folder.glob("data/**/repositories/app/_manifests/**/sha256/*/link")
    ]
    (index,) = {
        text
        for one in digests
        if "subject"
        in (
            text := registry.skopeo(
                "inspect", "--raw", "--tls-verify=false", f"docker://{registry.name}/app@sha256:{one}"
            )
        )
    }
    tree = json.loads(index)
    assert [entry["digest"] for entry in tree["manifests"]] == [image]
    assert tree["subject"]["digest"] == registry.digest("app:1")
