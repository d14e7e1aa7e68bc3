"""`login` and `logout` as typed, at a real registry and at ones that want tokens: only good credentials are kept."""

from __future__ import annotations

import base64
import json
import os
import stat
import subprocess
import sys
import termios
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.kernel.attached_tools import OnTerminal

from .conftest import Real
from .hostile import Answer, Hostile, hostile
from .test_hostile import guarded

Run = Callable[..., "subprocess.CompletedProcess[str]"]
KEPT = {"auth": base64.b64encode(b"me:secret").decode()}


@pytest.fixture
def config(tmp_path: Path) -> Path:
    return tmp_path / "docker/config.json"


@pytest.fixture
def pycompose(tmp_path: Path) -> Run:
    environment = {
        **os.environ,
        "PYCOMPOSE_STATE": str(tmp_path / "state"),
        "PYCOMPOSE_RUN": str(tmp_path / "run"),
        "PATH": f"{tmp_path}:{os.environ['PATH']}",
    }

    def run(*words: str, typed: str = "", code: int = 0) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "pycompose", *words]
        done = subprocess.run(
            command, env=environment, input=typed, capture_output=True, text=True, cwd=tmp_path, timeout=120
        )
        assert done.returncode == code, done.stdout + done.stderr
        assert "Traceback" not in done.stderr
        return done

    return run


def tree(config: Path) -> Any:
    return json.loads(config.read_text())


def test_a_login_is_tried_and_kept_beside_what_else_is_in_the_file(
    registries: Callable[..., Real], config: Path, pycompose: Run
) -> None:
    name = registries(user="me:secret").name
    others = {"auths": {"other.example": {"auth": "eDp5"}}, "psFormat": "x", "HttpHeaders": {"a": "b"}}
    config.write_text(json.dumps(others))
    config.chmod(0o644)
    wrong = pycompose("login", "-u", "me", "--password-stdin", name, typed="wrong\n", code=1)
    assert f"login attempt to http://{name}/v2/ failed with status: 401 Unauthorized" in wrong.stderr
    assert tree(config) == others, "what is not good is not kept"
    done = pycompose("login", "-u", "me", "--password-stdin", f"http://{name}/v2/", typed="secret\r\n")
    assert done.stdout == "Login Succeeded\n"
    assert f"WARNING! Your credentials are stored unencrypted in '{config}'." in done.stderr
    assert tree(config) == {**others, "auths": {**others["auths"], name: KEPT}}  # type: ignore[dict-item]
    assert stat.S_IMODE(config.stat().st_mode) == 0o600
    assert "manifest unknown" in pycompose("image", "pull", f"{name}/x", code=1).stderr, "they are used"
    again = pycompose("login", name)
    assert again.stdout == "Authenticating with existing credentials... [Username: me]\nLogin Succeeded\n"
    assert pycompose("logout", name).stdout == f"Removing login credentials for {name}\n"
    assert tree(config) == others
    assert pycompose("logout", name).stdout == f"Removing login credentials for {name}\n"
    assert "Removing login credentials for https://index.docker.io/v1/" in pycompose("logout").stdout


def test_a_password_among_the_words_is_warned_of(registries: Callable[..., Real], config: Path, pycompose: Run) -> None:
    name = registries(user="me:secret").name
    config.unlink()
    done = pycompose("login", "-u", "me", "-p", "secret", name)
    assert "WARNING! Using --password via the CLI is insecure. Use --password-stdin." in done.stderr
    assert tree(config) == {"auths": {name: KEPT}}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--password-stdin",), "Must provide --username with --password-stdin"),
        (("-u", "me", "-p", "x", "--password-stdin"), "--password and --password-stdin are mutually exclusive"),
        (("-u", "me"), "Cannot perform an interactive login from a non TTY device"),
        ((), "Cannot perform an interactive login from a non TTY device"),
        (("-u", "me", "-p", "x", "127.0.0.1:1"), "127.0.0.1:1: cannot be reached"),
        *(
            (("-u", "me", "-p", "x", "--", host), "not a registry")
            for host in ("a..b", "bad host", "\n", "[x", "-x", "x" * 70)
        ),
    ],
)
def test_what_is_no_login_is_said(pycompose: Run, config: Path, words: tuple[str, ...], said: str) -> None:
    assert said in pycompose("login", *words, code=1).stderr
    assert tree(config) == {}


@pytest.fixture
def typing(tmp_path: Path) -> Iterator[Callable[..., OnTerminal]]:
    """pycompose on terminals, as somebody types it."""
    terminals: list[OnTerminal] = []
    environment = {**os.environ, "PYCOMPOSE_STATE": str(tmp_path / "state"), "PYCOMPOSE_RUN": str(tmp_path / "run")}

    def begin(*words: str) -> OnTerminal:
        terminals.append(OnTerminal([sys.executable, "-m", "pycompose", *words], environment))
        return terminals[-1]

    yield begin
    for terminal in terminals:
        terminal.kill()


def test_name_and_password_are_typed_and_the_password_is_not_shown(
    registries: Callable[..., Real], config: Path, typing: Callable[..., OnTerminal], pycompose: Run
) -> None:
    name = registries(user="me:secret").name
    terminal = typing("login", name)
    terminal.until("Username: ")
    terminal.press(b" me \r")
    terminal.until("Password: ")
    terminal.press(b"wrong\r")
    assert terminal.end() == 1
    assert tree(config) == {}
    terminal = typing("login", "-u", "me", name)
    terminal.until("Password: ")
    terminal.press(b"secret\r")
    assert terminal.end() == 0
    assert "Username" not in terminal.seen
    assert "secret" not in terminal.seen
    assert terminal.seen.endswith("Login Succeeded\r\n")
    assert tree(config) == {"auths": {name: KEPT}}
    again = typing("login", name)
    assert again.end() == 0
    assert "Authenticating with existing credentials... [Username: me]" in again.seen
    assert pycompose("logout", name).stdout == f"Removing login credentials for {name}\n"
    assert tree(config) == {"auths": {}}


@pytest.mark.parametrize(("key", "code"), [(b"\x03", 130), (b"\x04", 130)])
def test_who_breaks_off_has_a_terminal_as_before_and_no_login(
    config: Path, typing: Callable[..., OnTerminal], key: bytes, code: int
) -> None:
    for named in (False, True):
        terminal = typing("login", "127.0.0.1:1")
        before = termios.tcgetattr(terminal.master)
        terminal.until("Username: ")
        if named:
            terminal.press(b"me\r")
            terminal.until("Password: ")
        reader = os.dup(terminal.master)
        assert terminal.break_off(key) == code
        assert termios.tcgetattr(reader) == before, "it echoes again"
        os.close(reader)
        assert terminal.seen.endswith("\r\n"), "the shell's prompt has a line of its own"
        assert "Traceback" not in terminal.seen
    terminal = typing("login", "127.0.0.1:1")
    terminal.until("Username: ")
    terminal.press(b"\r")
    terminal.until("username is required")
    assert terminal.end() == 1
    assert tree(config) == {}


@pytest.mark.parametrize("end", ["", "\n", "\r\n"])
def test_a_piped_password_may_have_an_end_of_line(
    registries: Callable[..., Real], config: Path, pycompose: Run, end: str
) -> None:
    name = registries(user="me:secret").name
    pycompose("login", "-u", "me", "--password-stdin", name, typed=f"secret{end}")
    assert tree(config) == {"auths": {name: KEPT}}
    for typed in (f"secret\n{end or 'x'}", f" secret{end}"):
        pycompose("login", "-u", "me", "--password-stdin", name, typed=typed, code=1)


def test_a_link_to_the_file_stays_one_and_a_broken_file_is_left_alone(
    registries: Callable[..., Real], config: Path, tmp_path: Path, pycompose: Run
) -> None:
    name = registries(user="me:secret").name
    config.rename(tmp_path / "elsewhere.json")
    config.symlink_to(tmp_path / "elsewhere.json")
    pycompose("login", "-u", "me", "--password-stdin", name, typed="secret")
    assert config.is_symlink()
    assert tree(tmp_path / "elsewhere.json") == {"auths": {name: KEPT}}
    for text in ("{", "[]", '{"auths": []}'):
        config.write_text(text)
        assert "config.json" in pycompose("login", "-u", "me", "--password-stdin", name, typed="secret", code=1).stderr
        assert config.read_text() == text
    assert "could not erase credentials" in pycompose("logout", name).stderr


@pytest.mark.parametrize("section", ["credsStore", "credHelpers"])
def test_a_helper_keeps_them_instead_of_the_file(
    registries: Callable[..., Real], config: Path, tmp_path: Path, pycompose: Run, section: str
) -> None:
    name = registries(user="me:secret").name
    program = tmp_path / "docker-credential-one"
    kept = tmp_path / "kept"
    program.write_text(
        f"#!/bin/sh\ncase $1 in store) cat > {kept} ;; get) cat {kept} 2>/dev/null || "
        f"{{ echo credentials not found; exit 1; }} ;; erase) read -r n; echo $n > {tmp_path}/erased; rm {kept} ;; esac"
    )
    program.chmod(0o755)
    settings = {section: "one" if section == "credsStore" else {name: "one"}}
    config.write_text(json.dumps({**settings, "auths": {name: KEPT}}))
    done = pycompose("login", "-u", "me", "--password-stdin", name, typed="secret")
    assert (done.stdout, "WARNING" in done.stderr) == ("Login Succeeded\n", False)
    assert json.loads(kept.read_text()) == {"ServerURL": name, "Username": "me", "Secret": "secret"}
    assert tree(config) == {**settings, "auths": {name: {}}}, "no secret stays in the file"
    pycompose("logout", name)
    assert (tmp_path / "erased").read_text() == f"{name}\n"
    assert tree(config) == {**settings, "auths": {}}


@pytest.fixture
def guard() -> Iterator[Hostile]:
    with hostile() as server:
        guarded(server, f'Bearer realm="{server.address}/token",service="reg"', "Bearer abc")
        server.answers["GET /v2/"] = lambda headers: (
            Answer() if headers.get("authorization") == "Bearer abc" else guarded_answer(server)
        )
        yield server


def guarded_answer(server: Hostile) -> Answer:
    challenge = f'Bearer realm="{server.address}/token",service="reg"'
    return Answer(b"", 401, {"WWW-Authenticate": challenge})


def test_a_token_server_is_asked_and_its_lasting_token_is_kept_instead_of_the_password(
    guard: Hostile, config: Path, pycompose: Run
) -> None:
    basic = "Basic " + base64.b64encode(b"me:secret").decode()
    guard.answers["GET /token"] = lambda headers: (
        Answer(b'{"token": "abc", "refresh_token": "lasting"}')
        if headers.get("authorization") == basic
        else Answer(b'{"errors": [{"message": "incorrect username or password"}]}', 401)
    )
    pycompose("login", "-u", "me", "--password-stdin", guard.name, typed="wrong", code=1)
    assert tree(config) == {}
    pycompose("login", "-u", "me", "--password-stdin", guard.name, typed="secret")
    assert [path for path in guard.paths("/token") if "account=me" in path and "offline_token=true" in path]
    auth = base64.b64encode(b"me:").decode()
    assert tree(config) == {"auths": {guard.name: {"auth": auth, "identitytoken": "lasting"}}}
    guard.answers["POST /token"] = Answer(b'{"access_token": "abc"}')
    assert pycompose("login", guard.name).stdout.endswith("Login Succeeded\n")


def test_two_logins_at_once_lose_neither(registries: Callable[..., Real], config: Path, tmp_path: Path) -> None:
    names = [registries(user="me:secret").name for _ in range(2)]
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", "pycompose", "login", "-u", "me", "-p", "secret", name],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for name in names
    ]
    assert [process.wait(120) for process in processes] == [0, 0]
    assert set(tree(config)["auths"]) == set(names)
