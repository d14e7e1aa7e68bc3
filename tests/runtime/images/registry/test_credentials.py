"""Credentials for a registry come from Docker's config.json and its helpers; no registry gets another's."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from pycompose.runtime.images.errors import ImageError
from pycompose.runtime.images.registry.credentials import Credentials, find

HOST = "registry.example:5000"
MINE = Credentials("me", "pass:word")
AUTH = {"auth": base64.b64encode(b"me:pass:word").decode()}


@pytest.fixture
def asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Credentials for a registry, with that config.json."""

    def find_in(tree: object, registry: str = HOST) -> Credentials | None:
        text = tree if isinstance(tree, str) else json.dumps(tree)
        (tmp_path / "config.json").write_text(text)
        return find(registry, {"DOCKER_CONFIG": str(tmp_path)})

    return find_in


@pytest.fixture
def helper(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Put a credential helper on PATH; what it was asked for is in the file `asked`."""
    monkeypatch.setenv("PATH", str(tmp_path))

    def install(name: str, answer: object, code: int = 0) -> Path:
        told = answer if isinstance(answer, str) else json.dumps(answer)
        program = tmp_path / f"docker-credential-{name}"
        # only what a shell has built in: nothing else is on that PATH
        program.write_text(
            f"#!/bin/sh\nread -r server\necho \"$1 $server\" > {tmp_path}/asked\necho '{told}'\nexit {code}"
        )
        program.chmod(0o755)
        return tmp_path / "asked"

    return install


def test_without_a_file_there_are_none(tmp_path: Path) -> None:
    assert find(HOST, {"DOCKER_CONFIG": str(tmp_path / "missing")}) is None


@pytest.mark.parametrize("key", [HOST, f"https://{HOST}", f"https://{HOST}/v1/", f"{HOST}/v2/"])
def test_a_registry_is_found_by_its_host_however_its_key_is_written(asked: Any, key: str) -> None:
    assert asked({"auths": {key: AUTH}}) == MINE


@pytest.mark.parametrize("key", ["registry.example", "registry.example:5001", "x.registry.example:5000", f"x/{HOST}"])
def test_another_registrys_credentials_are_not_given(asked: Any, key: str) -> None:
    assert asked({"auths": {key: AUTH}}) is None


@pytest.mark.parametrize("key", ["https://index.docker.io/v1/", "docker.io", "registry-1.docker.io"])
def test_docker_hub_has_several_names(asked: Any, key: str) -> None:
    assert asked({"auths": {key: AUTH}}, "docker.io") == MINE
    assert asked({"auths": {key: AUTH}}) is None


@pytest.mark.parametrize(
    ("entry", "credentials"),
    [
        ({"username": "me", "password": "x"}, Credentials("me", "x")),
        ({**AUTH, "identitytoken": "t"}, Credentials("me", "pass:word", "t")),
        ({"auth": base64.b64encode(b"me:x\0\0").decode()}, Credentials("me", "x")),
        ({}, None),
        ({"username": "", "password": "x"}, None),
        ({"username": 5, "password": "x"}, None),
        ("text", None),
    ],
)
def test_an_entry_is_a_name_and_a_password_or_a_token(
    asked: Any, entry: object, credentials: Credentials | None
) -> None:
    assert asked({"auths": {HOST: entry}}) == credentials


@pytest.mark.parametrize("text", ["{", "[]", '{"auths": {"registry.example:5000": {"auth": "!!"}}}'])
def test_what_cannot_be_read_is_an_error_that_names_the_file(asked: Any, tmp_path: Path, text: str) -> None:
    with pytest.raises(ImageError, match=str(tmp_path / "config.json")):
        asked(text)


@pytest.mark.parametrize("tree", [{"credHelpers": {HOST: "one"}}, {"credsStore": "one"}])
def test_a_helper_is_asked_for_the_server_by_name(asked: Any, helper: Any, tree: Mapping[str, Any]) -> None:
    question = helper("one", {"Username": "me", "Secret": "s"})
    assert asked({**tree, "auths": {HOST: AUTH}}) == Credentials("me", "s")
    assert question.read_text() == f"get {HOST}\n"


def test_docker_hub_is_asked_for_by_its_old_address(asked: Any, helper: Any) -> None:
    question = helper("one", {"Username": "<token>", "Secret": "t"})
    assert asked({"credsStore": "one"}, "docker.io") == Credentials(identity_token="t")
    assert question.read_text() == "get https://index.docker.io/v1/\n"


def test_a_registrys_own_helper_is_the_last_word_and_the_store_is_not(asked: Any, helper: Any) -> None:
    helper("none", "credentials not found in native keychain", 1)
    assert asked({"credHelpers": {HOST: "none"}, "auths": {HOST: AUTH}}) is None
    assert asked({"credsStore": "none", "auths": {HOST: AUTH}}) == MINE


@pytest.mark.parametrize(("answer", "code"), [("broken", 1), ("no JSON", 0), ({"Username": "me"}, 0), ([], 0)])
def test_a_helper_that_fails_is_named(asked: Any, helper: Any, answer: object, code: int) -> None:
    helper("one", answer, code)
    with pytest.raises(ImageError, match="docker-credential-one"):
        asked({"credsStore": "one"})


@pytest.mark.parametrize("name", ["missing", "../evil", "a/b", "-x", 5])
def test_only_programs_on_path_are_helpers(asked: Any, helper: Any, name: object) -> None:
    with pytest.raises(ImageError):
        asked({"credsStore": name})


def test_a_secret_is_not_in_what_python_prints() -> None:
    assert "pass:word" not in repr(MINE)
