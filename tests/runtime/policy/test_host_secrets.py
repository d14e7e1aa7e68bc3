"""Which of the machine's files the image `host` hides and shows."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from pycompose.runtime.policy import host_secrets
from pycompose.runtime.policy.host_secrets import HostView, settled


@pytest.mark.parametrize(
    ("hidden", "shown", "expected"),
    [
        (["/root"], [], HostView(("/root",), ())),
        (["/root", "/root/.ssh"], [], HostView(("/root",), ())),
        (["/root"], ["/srv/app"], HostView(("/root",), ())),
        (["/root"], ["/root/app"], HostView(("/root",), ("/root/app",))),
        (["/root", "/root/.ssh"], ["/root"], HostView(("/root/.ssh",), ())),
        (["/root", "/root/app/.ssh"], ["/root/app"], HostView(("/root", "/root/app/.ssh"), ("/root/app",))),
        (["/root"], ["/root/a", "/root/a/b"], HostView(("/root",), ("/root/a",))),
        (["/home", "/home/me/.ssh"], ["/home/me", "/home/me/.ssh/known"], None),
        (["/a"], ["/"], HostView(("/a",), ())),
        (["/ab"], ["/abc"], HostView(("/ab",), ())),
    ],
)
def test_of_what_is_hidden_and_shown_the_nearest_decides(
    hidden: list[str], shown: list[str], expected: HostView | None
) -> None:
    expected = expected or HostView(("/home", "/home/me/.ssh"), ("/home/me", "/home/me/.ssh/known"))
    assert settled(hidden, shown) == settled(reversed(hidden), reversed(shown)) == expected


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """One with three people, and Python in the system's folders."""
    people = [(0, "/root"), (1000, "/home/ann"), (1001, "/home/bob"), (1002, "/srv/people/cy")]
    monkeypatch.setattr(host_secrets, "_people", lambda: people)
    monkeypatch.setattr(host_secrets, "python_folders", lambda homes: ["/usr"])
    host_secrets._view.cache_clear()


@pytest.mark.usefixtures("machine")
def test_homes_are_hidden_and_that_of_the_projects_owner_without_its_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host_secrets, "_owner", lambda folder: 1000)
    view = host_secrets.view(("/state",), "/srv/project")
    assert {"/root", "/home", "/srv/people/cy", "/state"} <= set(view.hidden)
    assert {f"/home/ann/{name}" for name in (".ssh", ".aws", ".netrc", ".npmrc", ".kube")} <= set(view.hidden)
    assert "/home/ann" in view.shown
    assert "/home/bob" not in view.shown


@pytest.mark.usefixtures("machine")
def test_the_home_of_root_is_hidden_though_the_project_is_roots(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host_secrets, "_owner", lambda folder: 0)
    view = host_secrets.view((), "/root/project", ("/root/data", "/etc/shadow"))
    assert {"/root/project", "/root/data"} == set(view.shown)
    assert "/root" in view.hidden
    assert "/etc/shadow" not in view.hidden
    assert {"/etc/gshadow", "/var/log", "/var/spool"} <= set(view.hidden)
    assert {f"/var/lib/{name}" for name in ("docker", "containerd", "containers")} <= set(view.hidden)


def test_the_python_that_runs_this_is_shown_and_no_whole_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    home = Path(os.path.realpath(tmp_path))
    for name in ("bin", "lib", "secret"):
        (home / name).mkdir()
    monkeypatch.setattr(sys, "prefix", str(home))
    monkeypatch.setattr(sys, "path", ["/first/is/the/callers", str(home), str(home / "lib")])
    folders = host_secrets.python_folders([str(home)])
    assert {str(home / "bin"), str(home / "lib")} <= set(folders)
    assert not {str(home), str(home / "secret"), "/first/is/the/callers"} & set(folders)
    assert os.path.realpath(sys.base_prefix) in folders


@pytest.mark.parametrize(
    ("path", "expected"),
    [("/root", True), ("/home/me", True), ("/srv/people/me", True), ("/opt/app", True)]
    + [
        (path, False)
        for path in ("/", "/usr/games", "/var/lib/x", "/bin", "/home", "/run/x", "/nonexistent", "/dev/null")
    ],
)
def test_no_folder_of_the_system_is_taken_for_a_home(path: str, expected: bool) -> None:
    assert host_secrets._is_home(path) == expected


def test_what_not_everybody_may_read_is_found_with_private_keys(tmp_path: Path) -> None:
    for name, mode in (("a.conf", 0o644), ("b.secret", 0o640), ("tls/server.key", 0o644), ("tls/server.pem", 0o644)):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("")
        (tmp_path / name).chmod(mode)
    (tmp_path / "closed").mkdir(mode=0o750)
    (tmp_path / "closed" / "inner").write_text("")
    (tmp_path / "link").symlink_to("b.secret")
    folders: dict[str, int] = {}
    found = {path.removeprefix(f"{tmp_path}/") for path in host_secrets._unreadable(str(tmp_path), True, folders)}
    assert found == {"b.secret", "tls/server.key", "closed"}
    assert set(folders) == {str(tmp_path), str(tmp_path / "tls")}


@pytest.mark.parametrize(
    "name", ["id_rsa", "id_ed25519", "server.key", "tls-key.pem", "ssh_host_rsa_key", "privkey1.pem"]
)
def test_private_keys_are_known_by_their_names(name: str) -> None:
    assert host_secrets.PRIVATE_KEYS.fullmatch(name)
    assert not host_secrets.PRIVATE_KEYS.fullmatch(name + ".pub")


def test_threads_that_ask_at_once_look_through_the_machine_once(monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[str] = []

    def look(folder: str, deep: bool, folders: dict[str, int]) -> Iterator[str]:
        looked.append(folder)
        folders[folder] = host_secrets._changed(folder)
        time.sleep(0.05)  # the others ask meanwhile
        yield f"{folder}/secret"

    monkeypatch.setattr(host_secrets, "_SECRETS", host_secrets._Secrets())
    monkeypatch.setattr(host_secrets, "_unreadable", look)
    with ThreadPoolExecutor(4) as threads:
        views = list(threads.map(lambda _: host_secrets.view(("/state",)), range(4)))
    assert looked == ["/etc", "/var/lib"]
    assert len(set(views)) == 1


def test_a_look_holds_until_something_new_begins(monkeypatch: pytest.MonkeyPatch) -> None:
    people = [(0, "/root")]
    monkeypatch.setattr(host_secrets, "_SECRETS", host_secrets._Secrets())
    monkeypatch.setattr(host_secrets, "_people", lambda: iter(people))
    before = host_secrets.view(("/state",))
    people.append((1234, "/data/of/somebody"))
    assert host_secrets.view(("/state",)) == before
    host_secrets.look_again()
    assert "/data/of/somebody" in host_secrets.view(("/state",)).hidden
