"""Compose files from registries and git repositories, as typed: meaning, questions, and that nothing gets out."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from pycompose.runtime.images.dockerfile import git_command
from pycompose.runtime.images.dockerfile.errors import BuildError
from pycompose.runtime.images.dockerfile.fetched import git

from .base_image import digest
from .conftest import Real, need
from .hostile import Answer, Hostile, hostile
from .test_login import Run, pycompose

__all__ = ["pycompose"]
ARTIFACT = "application/vnd.docker.compose.project"
FILE = "application/vnd.docker.compose.file+yaml"
ENV = "application/vnd.docker.compose.envfile"
TEXT = b"services: {a: {image: x}}"


def services(done: subprocess.CompletedProcess[str]) -> Any:
    return json.loads(done.stdout)["services"]


def test_what_is_published_is_read_again(registry: Real, tmp_path: Path, pycompose: Run) -> None:
    (tmp_path / "a.env").write_text("FROM_FILE=1\n")
    (tmp_path / "base.yaml").write_text("services: {base: {labels: {l: '2'}}}")
    (tmp_path / "compose.yaml").write_text(
        "services: {a: {image: x, env_file: a.env, extends: {file: base.yaml, service: base}}}"
    )
    (tmp_path / "more.yaml").write_text("services: {a: {image: 'y:${TAG:-1}'}}")
    name = f"{registry.name}/team/app:1"
    pycompose("-f", "compose.yaml", "-f", "more.yaml", "publish", "-y", "--with-env", name)
    for one in ("a.env", "base.yaml", "compose.yaml", "more.yaml"):
        (tmp_path / one).unlink()
    done = pycompose("-f", f"oci://{name}", "config", "--format", "json")
    assert json.loads(done.stdout)["name"] == "app"
    service = services(done)["a"]
    assert (service["image"], service["labels"], service["environment"]) == ("y:1", {"l": "2"}, {"FROM_FILE": "1"})
    pinned = f"oci://{registry.name}/team/app@{registry.digest('team/app:1')}"
    assert services(pycompose("-f", pinned, "config", "--format", "json"))["a"]["image"] == "y:1"
    (tmp_path / "more.yaml").write_text("services: {a: {image: z}}")
    assert services(pycompose("-f", pinned, "-f", "more.yaml", "config", "--format", "json"))["a"]["image"] == "z"
    gone = pycompose("-f", f"oci://{registry.name}/none", "config", code=1).stderr
    assert "manifest unknown (404)" in gone


@pytest.mark.parametrize("form", ["include: ['{}']", "services: {{b: {{extends: {{file: '{}', service: a}}}}}}"])
def test_what_a_file_names_elsewhere_is_asked_about(registry: Real, tmp_path: Path, pycompose: Run, form: str) -> None:
    path = tmp_path / "compose.yaml"
    path.write_text("services: {a: {image: x}}")
    pycompose("publish", f"{registry.name}/app")
    path.write_text(form.format(f"oci://{registry.name}/app"))
    for typed in ("", "n\n"):
        refused = pycompose("config", typed=typed, code=1).stderr
        assert f"includes files from remote sources:\n  - oci://{registry.name}/app" in refused
        assert "compose.yaml:1:" in refused
        assert "operation cancelled by user" in refused
    assert not (tmp_path / "state/remote/names").exists(), "nothing is fetched before the answer"
    assert "x" in pycompose("config", typed="y\n").stdout
    assert "remote sources" in pycompose("config", code=1).stderr, "each time, for a tag may lead elsewhere by now"


@pytest.fixture
def leave(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYCOMPOSE_REMOTE", "1")


@pytest.mark.usefixtures("leave")
def test_leave_can_be_given_by_a_variable(leave: None, evil: Hostile, tmp_path: Path, pycompose: Run) -> None:
    serve(evil, (FILE, TEXT, {}))
    (tmp_path / "compose.yaml").write_text(f"include: ['oci://{evil.name}/app']")
    assert "image: x" in pycompose("config").stdout


def test_commands_on_what_exists_need_no_registry(evil: Hostile, tmp_path: Path, pycompose: Run) -> None:
    serve(evil, (FILE, TEXT, {}))
    name = f"oci://{evil.name}/app"
    pycompose("-f", name, "config")
    evil.answers.clear()
    (tmp_path / "compose.yaml").write_text(f"include: ['{name}']")
    before = len(evil.asked)
    pycompose("-f", name, "ps")
    pycompose("ps")
    assert len(evil.asked) == before
    pycompose("-f", name, "config", code=1)


def test_up_fetches_with_leave_alone(evil: Hostile, tmp_path: Path, pycompose: Run) -> None:
    serve(evil, (FILE, b"services: {a: {image: host}}", {}))
    (tmp_path / "compose.yaml").write_text(f"name: t\ninclude: ['oci://{evil.name}/app']")
    assert "cancelled" in pycompose("up", "--dry-run", code=1).stderr
    pycompose("up", "--dry-run", "-y")
    pycompose("create", "--dry-run", "-y")


def test_variables_of_a_file_from_elsewhere_are_shown_before_anything_is_made(
    evil: Hostile, tmp_path: Path, pycompose: Run
) -> None:
    text = b"services: {a: {image: host, environment: {A: '${NAME:?}', B: '${B:-b}', C: '$C', D: '${D:-d}'}}}"
    serve(evil, (FILE, text, {}))
    (tmp_path / "values").write_text("NAME=n\nB=x\n")
    name = f"oci://{evil.name}/app"
    for command in ("up", "create", "run"):
        words = (
            "-f",
            name,
            "--env-file",
            "values",
            "--dry-run",
            command,
            *(("-e", "C=typed", "a", "true") if command == "run" else ()),
        )
        refused = pycompose(*words, code=1).stderr
        assert f'Your compose stack "{name}" is stored in "{tmp_path}/state/remote/' in refused
        assert "\nFound the following variables in configuration:\nVARIABLE   VALUE " in refused
        lines = [" ".join(line.split()) for line in refused.splitlines()]
        assert "B x environment no b" in lines
        assert ("C typed command-line no" if command == "run" else "C <unset> none no") in lines
        assert "D d compose file no d" in lines
        assert "NAME n environment yes" in lines
        assert "Do you want to proceed with these variables? [Y/n]: " in refused
        assert "operation cancelled by user" in refused
        pycompose(*words, typed="y\n")
        at = words.index(command) + 1
        assert "Do you want" not in pycompose(*words[:at], "-y", *words[at:]).stderr


def test_copies_that_nobody_uses_are_pruned(evil: Hostile, tmp_path: Path, pycompose: Run) -> None:
    def fetch(image: str) -> str:
        serve(evil, (FILE, b"services: {a: {image: %s}}" % image.encode(), {}))
        pycompose("-f", f"oci://{evil.name}/app", "config")
        return max(remote.glob("[0-9a-f]*/app"), key=lambda path: path.stat().st_mtime).parent.name

    def aged(path: Path, days: float) -> None:
        os.utime(path, (time.time() - days * 86400,) * 2)

    def left() -> set[str]:
        pycompose("system", "prune", "-f")
        return {path.name for path in remote.iterdir()} - {"names"}

    remote = tmp_path / "state/remote"
    first = fetch("x")
    second = fetch("y")
    assert left() == {first, second}, "a command may be about to use what was fetched now"
    third = fetch("z")
    for copy in (first, second, third):
        aged(remote / copy, 1)
    generations = tmp_path / "state/projects/p/generations"
    generations.mkdir(parents=True)
    (generations / "g.json").write_text(json.dumps({"config_files": [f"{remote}/{first}/app/compose.yaml"]}))
    assert left() == {first, third}, "one is a project's, one is what the name leads to"
    (record,) = (remote / "names").iterdir()
    aged(record, 31)
    pycompose("-f", f"oci://{evil.name}/app", "ps")
    assert left() == {first, third}, "a command on what exists has named it"
    aged(record, 31)
    assert left() == {first}


@pytest.fixture
def evil() -> Iterator[Hostile]:
    with hostile() as server:
        yield server


def serve(server: Hostile, *parts: tuple[str, bytes, dict[str, str]], **more: Any) -> None:
    layers = []
    for kind, data, notes in parts:
        server.blob(digest(data), data)
        layers.append({"mediaType": kind, "digest": digest(data), "size": len(data), "annotations": notes})
    config = {"mediaType": "application/vnd.oci.empty.v1+json", "digest": digest(b"{}"), "size": 2}
    tree = {"schemaVersion": 2, "artifactType": ARTIFACT, "config": config, "layers": layers, **more}
    server.manifest("latest", json.dumps(tree).encode())


NAMES = ["../../x", "/etc/x", "..", ".", "", "a/b", "a\\..\\b", "x\0y", "compose.yaml", "n\nx", "x" * 300]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kind", [FILE, ENV])
def test_no_name_in_an_artifact_leaves_its_folder(
    evil: Hostile, tmp_path: Path, pycompose: Run, name: str, kind: str
) -> None:
    notes = {"com.docker.compose.file": name, "com.docker.compose.envfile": name, "com.docker.compose.extends": "true"}
    serve(evil, (FILE, TEXT, {"com.docker.compose.file": name}), (kind, b"services: {}", notes))
    said = pycompose("-f", f"oci://{evil.name}/app", "config", code=1).stderr
    assert "a file whose name is not plain" in said
    assert [str(path) for path in (tmp_path / "state/remote").iterdir()] == [], "nothing of it stays"


def test_two_files_of_one_name_are_refused(evil: Hostile, pycompose: Run) -> None:
    notes = {"com.docker.compose.envfile": "x.env"}
    serve(evil, (FILE, TEXT, {}), (ENV, b"A=1", notes), (ENV, b"A=2", notes))
    assert "not plain" in pycompose("-f", f"oci://{evil.name}/app", "config", code=1).stderr


def test_what_is_no_project_is_refused(evil: Hostile, pycompose: Run) -> None:
    def said() -> str:
        return pycompose("-f", f"oci://{evil.name}/app", "config", code=1).stderr

    serve(evil, (FILE, TEXT, {}), artifactType="application/x")
    assert "is not of type application/vnd.docker.compose.project, but application/x" in said()
    serve(evil, (ENV, b"A=1", {"com.docker.compose.envfile": "x.env"}))
    assert "has no compose file in it" in said()
    serve(evil, (FILE, TEXT, {}))
    evil.blob(digest(TEXT), TEXT.replace(b"x", b"y"))
    assert "is not what its digest says" in said()
    evil.blob(digest(TEXT), Answer(TEXT, endless=True))
    assert "more than its" in said()
    layer = {"mediaType": FILE, "digest": digest(TEXT), "size": 1 << 40}
    serve(evil, layers=[layer])
    assert "larger than 64 MiB" in said()
    serve(evil, layers=[{**layer, "size": -1}])
    assert "a bad size" in said()
    serve(evil, layers=[{**layer, "digest": "sha256:../../x"}])
    assert "not a sha256 digest" in said()
    evil.manifest("latest", b"[]")
    assert "not valid" in said()
    wrong = f"oci://{evil.name}/app@{digest(b'other')}"
    evil.manifest(digest(b"other"), b"{}")
    assert "not what its digest says" in pycompose("-f", wrong, "config", code=1).stderr


# Git


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    """A folder whose files a web server gives out, and its address: git's plain protocol needs no more."""
    need("git")
    folder = tmp_path / "served"
    folder.mkdir()
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield folder, f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def commit(folder: Path, name: str, files: dict[str, str], links: dict[str, str] | None = None) -> str:
    """Make a repository, or one commit more of it; the commit."""
    tree = folder.parent / f"tree-{name}"
    environment = {**os.environ, "GIT_CONFIG_GLOBAL": os.devnull, "HOME": str(folder.parent)}

    def run(*words: str) -> str:
        done = subprocess.run(
            ["git", "-c", "user.name=a", "-c", "user.email=a@b.example", *words],
            cwd=tree, env=environment, check=True, capture_output=True, text=True,
        )  # fmt: skip
        return done.stdout.strip()

    tree.mkdir(exist_ok=True)
    if not (tree / ".git").exists():
        run("init", "-q", "-b", "main")
    for path, text in files.items():
        (tree / path).parent.mkdir(parents=True, exist_ok=True)
        (tree / path).write_text(text)
    for path, target in (links or {}).items():
        (tree / path).symlink_to(target)
    run("add", "-A")
    run("commit", "-q", "-m", "x")
    bare = folder / f"{name}.git"
    if not bare.exists():
        run("clone", "-q", "--bare", ".", str(bare))
    else:
        run("push", "-q", str(bare), "main")
    subprocess.run(["git", "update-server-info"], cwd=bare, env=environment, check=True)
    return run("rev-parse", "HEAD")


def test_a_git_repository_is_a_compose_file(served: tuple[Path, str], tmp_path: Path, pycompose: Run) -> None:
    folder, address = served
    files = {"compose.yaml": "services: {a: {image: one}}", "deep/compose.yml": "services: {b: {image: two}}"}
    first = commit(folder, "app", files)
    commit(folder, "app", {"compose.yaml": "services: {a: {image: three}}"})
    url = f"{address}/app.git"

    def read(name: str) -> Any:
        return json.loads(pycompose("-f", name, "config", "--format", "json").stdout)

    assert (read(url)["name"], read(url)["services"]["a"]["image"]) == ("app", "three")
    assert read(f"{url}#{first}")["services"]["a"]["image"] == "one"
    assert read(f"{url}#main:deep")["services"]["b"]["image"] == "two"
    assert read(f"{url}#:deep/compose.yml")["services"]["b"]["image"] == "two"
    (tmp_path / "compose.yaml").write_text(f"include: ['{url}#main']\n")
    assert "remote sources" in pycompose("config", code=1).stderr
    assert "three" in pycompose("config", typed="y\n").stdout
    assert "there is no compose file in it" in pycompose("-f", f"{url}#main:none", "config", code=1).stderr
    assert "git fetch" in pycompose("-f", f"{url}#no-such-branch", "config", code=1).stderr


@pytest.mark.parametrize("target", ["/etc/hostname", "../../../../../../etc/hostname"])
@pytest.mark.parametrize(("link", "inner"), [("compose.yaml", ""), ("out", "out")])
def test_no_link_in_a_repository_leads_to_a_file_of_this_machine(
    served: tuple[Path, str], pycompose: Run, target: str, link: str, inner: str
) -> None:
    folder, address = served
    commit(folder, "evil", {"x": "y"}, {link: target})
    said = pycompose("-f", f"{address}/evil.git#main:{inner}", "config", code=1).stderr
    assert "its compose file is not in the repository" in said or "there is no compose file in it" in said
    assert Path("/etc/hostname").read_text().strip() not in said.replace(address, "")


def test_a_repository_that_is_too_large_is_refused(served: tuple[Path, str], tmp_path: Path) -> None:
    folder, address = served
    commit(folder, "app", {"zeros": "0" * (2 << 20), "compose.yaml": "services: {}"})
    with pytest.raises(BuildError, match="its files are larger than 1 MiB"):
        git(f"{address}/app.git", str(tmp_path), largest=1 << 20)
    commit(folder, "noise", {"noise": os.urandom(1 << 20).hex()})
    with pytest.raises(BuildError, match="git fetch"):
        git(f"{address}/noise.git", str(tmp_path), largest=1 << 20)
    git(f"{address}/noise.git", str(tmp_path), largest=4 << 20)


def test_what_two_repositories_share_is_a_project_of_each(
    served: tuple[Path, str], evil: Hostile, pycompose: Run
) -> None:
    folder, address = served
    commit(folder, "one", {"compose.yaml": "services: {a: {image: x}}"})
    (folder / "two.git").symlink_to("one.git")
    for name in ("one", "two"):
        assert f"name: {name}" in pycompose("-f", f"{address}/{name}.git", "config").stdout
    serve(evil, (FILE, TEXT, {}))
    for path, answer in list(evil.answers.items()):
        evil.answers[path.replace("/v2/app/", "/v2/other/")] = answer
    for name in ("app", "other"):
        assert f"name: {name}" in pycompose("-f", f"oci://{evil.name}/{name}", "config").stdout


def test_no_folder_of_a_fragment_leads_out(served: tuple[Path, str], tmp_path: Path, pycompose: Run) -> None:
    folder, address = served
    commit(folder, "app", {"compose.yaml": "services: {a: {image: one}}"})
    (tmp_path / "compose.yaml").write_text("services: {mine: {image: x}}")
    for inner in ("../../../..", "../..", str(tmp_path), "../app/../../../../compose.yaml"):
        said = pycompose("-f", f"{address}/app.git#main:{inner}", "config", code=1).stderr
        assert "not in the repository" in said or "there is no compose file" in said


@pytest.mark.parametrize(
    "url", ["git@-oProxyCommand=touch pwned:x/y.git", "ssh://git@-oProxyCommand=x/y.git", "http://h.example/x.git#-u"]
)
def test_an_address_is_no_option(tmp_path: Path, pycompose: Run, url: str) -> None:
    assert "no such repository" in pycompose("-f", url, "config", code=1).stderr
    with pytest.raises(BuildError):
        git(url, str(tmp_path))
    assert not (tmp_path / "pwned").exists()


def test_other_protocols_are_not_spoken(tmp_path: Path, pycompose: Run) -> None:
    pwned = tmp_path / "pwned"
    for url in (
        f"ext::sh -c touch% {pwned}",
        f"file://{tmp_path}/x.git",
        "https://h.example/compose.yaml",
        "ftp://h/x.git",
    ):
        pycompose("-f", url, "config", code=1)
    assert not pwned.exists()
    with pytest.raises(BuildError, match="not allowed"):
        git(f"ext::sh -c touch% {pwned}", str(tmp_path))
    with pytest.raises(BuildError, match="not allowed"):
        git(f"file://{tmp_path}", str(tmp_path))


def test_a_password_in_an_address_is_not_printed(served: tuple[Path, str], pycompose: Run, tmp_path: Path) -> None:
    _, address = served
    url = f"{address.replace('//', '//me:hunter2@')}/none.git"
    assert "hunter2" not in pycompose("-f", url, "config", code=1).stderr
    (tmp_path / "compose.yaml").write_text(f"include: ['{url}']")
    said = pycompose("config", code=1).stderr
    assert "***@127.0.0.1" in said
    assert "hunter2" not in said


@pytest.fixture
def configured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's own configuration of git, from now on."""
    path = tmp_path / "gitconfig"
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(path))
    return path


def test_programs_that_the_user_has_configured_do_not_run_over_a_strangers_files(
    served: tuple[Path, str], configured: Path, tmp_path: Path
) -> None:
    folder, address = served
    pwned, hooks = tmp_path / "pwned", tmp_path / "template/hooks"
    touch = f"sh -c 'touch {pwned}; cat'"
    commit(folder, "evil", {"compose.yaml": "services: {}", "x": "y", ".gitattributes": "* filter=f diff=f merge=f"})
    hooks.mkdir(parents=True)
    for name in ("post-checkout", "reference-transaction", "post-index-change"):
        (hooks / name).write_text(f"#!/bin/sh\ntouch {pwned}\n")
        (hooks / name).chmod(0o755)
    configured.write_text(
        f'[filter "f"]\nsmudge = "{touch}"\nclean = "{touch}"\nrequired\n'
        f"[init]\ntemplateDir = {tmp_path}/template\n"
        f'[core]\nhooksPath = {hooks}\nfsmonitor = "{touch}"\n'
    )
    for largest in (0, 1 << 30):
        checkout = git(f"{address}/evil.git", str(tmp_path), largest=largest)
        assert Path(checkout.folder, "x").read_text() == "y"
    assert not pwned.exists()


def test_how_the_user_reaches_servers_counts(served: tuple[Path, str], configured: Path, tmp_path: Path) -> None:
    folder, address = served
    commit(folder, "app", {"compose.yaml": "services: {}"})
    (tmp_path / "more").write_text(f'[url "{address}/"]\ninsteadOf = https://git.example/\n')
    configured.write_text(f"[include]\npath = {tmp_path}/more\n")
    assert Path(git("https://git.example/app.git", str(tmp_path)).folder, "compose.yaml").exists()


def test_a_server_that_says_nothing_is_given_up_and_no_helper_of_git_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    need("git")
    monkeypatch.setattr(git_command, "PATIENCE", 1.0)
    monkeypatch.setenv("TEST_OF_SILENCE", str(tmp_path))
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        for scheme in ("http", "git"):
            with pytest.raises(BuildError, match=f"{scheme}://127.*git fetch: nothing came for 1 s"):
                git(f"{scheme}://127.0.0.1:{port}/x.git", str(tmp_path))
    for _ in range(600):
        if not (left := [path for path in Path("/proc").glob("[0-9]*") if ours(path, tmp_path)]):
            break
        time.sleep(0.1)  # one that was killed has not ended yet
    assert left == []


def ours(process: Path, tmp_path: Path) -> bool:
    try:
        return f"TEST_OF_SILENCE={tmp_path}".encode() in (process / "environ").read_bytes()
    except OSError:
        return False


def test_without_git_that_is_said(pycompose: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(BuildError, match="there is no git on this machine"):
        git("https://h.example/x.git", str(tmp_path))
