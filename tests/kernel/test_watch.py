"""`watch` and `up --watch` with real containers: each action, what editors do, and who would lead a copy astray."""

from __future__ import annotations

import os
import random
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from .attached_tools import in_background, read_until
from .build_tools import Builds, build
from .service_tools import Described, until

__all__ = ["build"]  # the fixture

Begin = Callable[..., subprocess.Popen[str]]
SERVICE = "image: host, command: sleep 1000, init: true, stop_grace_period: 0s"


@pytest.fixture
def src(project: Described) -> Path:
    folder = project.file.parent / "src"
    folder.mkdir()
    return folder


@pytest.fixture
def begin(project: Described) -> Iterator[Begin]:
    """Begins a watch, and reads until it watches; each is ended."""
    with ExitStack() as held:

        def start(*arguments: str, ready: str = "Watch enabled") -> subprocess.Popen[str]:
            command = in_background(project.machine, "-p", "p", "-f", str(project.file), *(arguments or ("watch",)))
            held.callback(ended, command)
            read_until(command, ready)
            return command

        yield start


def ended(command: subprocess.Popen[str], number: int = signal.SIGINT) -> str:
    """Its output up to the end that a signal brings."""
    if command.poll() is None:
        command.send_signal(number)
    out, _ = command.communicate(timeout=120)
    assert "Traceback" not in out, out
    return out


def watching(rules: str, services: str = "", **more: str) -> str:
    extra = "".join(f", {name}: {value}" for name, value in more.items())
    return f"services:\n  web: {{{SERVICE}{extra}, develop: {{watch: [{rules}]}}}}\n{services}"


def holds(project: Described, path: str, text: str | None, service: str = "web") -> None:
    """Waits until a file of a container has this text; None: until it is not there."""
    script = f"test -e {path} && cat {path} || echo -n '(none)'"
    wanted = "(none)" if text is None else text
    until(lambda: project.inside(service, script, check=False) == wanted, 60, f"{path} is {wanted}")


def test_what_is_saved_comes_into_every_replica_and_what_goes_goes(project: Described, src: Path, begin: Begin) -> None:
    project.describe(watching("{path: ./src, action: sync, target: /srv/app, ignore: [node_modules/]}", scale="2"))
    watch = begin()
    (src / "a").write_text("one")
    assert 'Syncing service "web" after 1 changes were detected' in read_until(watch, "Syncing")
    copied = ("sh", "-c", "until test -s /srv/app/a; do sleep 0.1; done; cat /srv/app/a")
    for index in ("1", "2"):
        assert project("exec", "-T", "--index", index, "web", *copied).stdout == "one"
    # As editors save: another file takes the name.
    (src / ".a.swp").write_text("swap")
    (src / "b~").write_text("two")
    os.rename(src / "b~", src / "a")
    holds(project, "/srv/app/a", "two")
    (src / "deep/er").mkdir(parents=True)
    (src / "deep/er/c").write_text("three")
    holds(project, "/srv/app/deep/er/c", "three")
    os.rename(src / "deep", src / "flat")
    holds(project, "/srv/app/flat/er/c", "three")
    holds(project, "/srv/app/deep", None)
    (src / "node_modules").mkdir()
    (src / "node_modules/x").write_text("x")
    (src / "flat/er/c").unlink()
    (src / "flat/er").rmdir()
    holds(project, "/srv/app/flat/er", None)
    (src / "flat").rmdir()
    (src / "flat").write_text("a file now")
    holds(project, "/srv/app/flat", "a file now")
    assert project.inside("web", "ls -A /srv/app") == "a\nflat"
    out = ended(watch)
    assert watch.returncode == 130, out
    assert "Syncing" not in out or "warning" not in out, out
    assert project.states() == {"web-1": "running", "web-2": "running"}


def test_a_thousand_files_are_one_batch(project: Described, src: Path, begin: Begin) -> None:
    project.describe(watching("{path: ./src, action: sync, target: /srv/app}"))
    watch = begin()
    for number in range(1000):
        (src / f"f{number}").write_text(str(number))
    until(lambda: project.inside("web", "ls /srv/app 2>/dev/null | wc -l") == "1000", 60)
    out = ended(watch, signal.SIGTERM)
    assert watch.returncode == 143
    assert out.count("Syncing") == 1
    assert 'Syncing service "web" after 1000 changes were detected' in out


def test_restarts_and_hooks_come_after_the_copy(project: Described, src: Path, begin: Begin) -> None:
    (src / "conf").write_text("0")
    command = "[sh, -c, 'cat /srv/hooked/h > /srv/done; echo from the hook of $$WHO']"
    hook = f"{{command: {command}, environment: {{WHO: web}}}}"
    (src / "hooked").mkdir()
    (src / "again").mkdir()
    project.describe(
        watching(
            "{path: ./src/conf, action: sync+restart, target: /srv/conf}, "
            f"{{path: ./src/hooked, action: sync+exec, target: /srv/hooked, exec: {hook}}}, "
            "{path: ./src/again, action: restart}"
        )
    )
    watch = begin()
    first = project.inside("web", "stat -c %Y /proc/1; cat /proc/1/stat").split()[-30:]
    (src / "conf").write_text("1")
    read_until(watch, 'service(s) ["web"] restarted')
    holds(project, "/srv/conf", "1")
    assert project.inside("web", "stat -c %Y /proc/1; cat /proc/1/stat").split()[-30:] != first
    (src / "hooked/h").write_text("h")
    read_until(watch, "from the hook of web")
    holds(project, "/srv/done", "h")
    (src / "again/x").write_text("x")
    read_until(watch, 'service(s) ["web"] restarted')
    assert "Syncing" not in ended(watch)


def test_what_cannot_be_copied_is_told_and_the_watch_goes_on(project: Described, src: Path, begin: Begin) -> None:
    (src / "sealed").mkdir()
    (src / "open").mkdir()
    project.describe(
        watching(
            "{path: ./src/sealed, action: sync, target: /sealed}, {path: ./src/open, action: sync, target: /srv/open}",
            volumes="['kept:/sealed:ro']",
        )
        + "volumes: {kept: {}}\n"
    )
    watch = begin()
    (src / "sealed/x").write_text("x")
    assert "mounted read-only" in read_until(watch, "Error handling changed files")
    (src / "open/y").write_text("y")
    holds(project, "/srv/open/y", "y")
    project("down", "-t", "0")
    out, _ = watch.communicate(timeout=60)
    assert (watch.returncode, "no containers any more" in out) == (0, True), out


def test_links_lead_no_copy_out_of_the_container_nor_a_file_of_this_machine_in(
    project: Described, src: Path, begin: Begin, tmp_path: Path
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_text("secret")
    (src / "d").mkdir()
    (src / "d/kept").write_text("1")
    project.describe(watching("{path: ./src, action: sync, target: /srv/app, initial_sync: true}"))
    begin()
    holds(project, "/srv/app/d/kept", "1")
    # In the container: its folder leads to where the folder of this machine lies, and to its own root of procfs.
    project.inside(
        "web", f"rm -r /srv/app/d && mkdir -p {outside} && ln -s {outside} /srv/app/d; ln -s /proc/1/root /srv/app/r"
    )
    (src / "d/kept").write_text("2")
    holds(project, f"{outside}/kept", "2")
    assert sorted(os.listdir(outside)) == ["secret"]
    (src / "r").mkdir()
    (src / "r/x").write_text("x")
    # On this machine: a file becomes a link to one that was never to be copied.
    (src / "link").symlink_to(outside / "secret")
    (src / "d/kept").unlink()
    (src / "d/kept").symlink_to(outside / "secret")
    (src / "whole").symlink_to(outside)
    until(lambda: project.inside("web", "readlink /srv/app/whole", check=False) == str(outside), 60)
    until(lambda: project.inside("web", "readlink /srv/app/link", check=False) == f"{outside}/secret", 60)
    (outside / "later").write_text("later")
    (src / "end").write_text("end")
    holds(project, "/srv/app/end", "end")
    assert project.inside("web", f"readlink {outside}/kept") == f"{outside}/secret"
    assert sorted(os.listdir(outside)) == ["later", "secret"]


def test_a_removal_follows_no_link_and_leaves_what_is_mounted(project: Described, src: Path, begin: Begin) -> None:
    for name in ("linked", "mounted"):
        (src / name).mkdir()
        (src / name / "x").write_text("x")
    project.describe(
        watching(
            "{path: ./src, action: sync, target: /srv/app, initial_sync: true}", volumes="['v:/srv/app/mounted/v']"
        )
        + "volumes: {v: {}}\n"
    )
    begin()
    holds(project, "/srv/app/linked/x", "x")
    project.inside("web", "mkdir /srv/other && echo kept > /srv/other/x; echo v > /srv/app/mounted/v/data")
    project.inside("web", "rm -r /srv/app/linked && ln -s ../other /srv/app/linked")
    (src / "linked/x").unlink()
    for name in ("linked", "mounted"):
        subprocess.run(["rm", "-rf", str(src / name)], check=True)
    holds(project, "/srv/app/mounted/x", None)
    holds(project, "/srv/app/linked", None)
    assert (
        project.inside(
            "web", "cat /srv/other/x /srv/app/mounted/v/data; grep -c ' /srv/app/mounted/v ' /proc/self/mountinfo"
        )
        == "kept\nv\n1"
    )


def test_a_stopped_container_has_what_was_saved_when_it_starts(project: Described, src: Path, begin: Begin) -> None:
    project.describe(watching("{path: ./src, action: sync, target: /srv/app}"))
    assert "start" in project("--dry-run", "watch").stdout
    assert project.states() == {}
    project("up", "-d")
    watch = begin("watch", "--no-up", "web")
    project("stop")
    (src / "a").write_text("one")
    read_until(watch, "Syncing")
    (src / "b").write_text("two")
    read_until(watch, "Syncing")  # what came first is there then
    project("start")
    holds(project, "/srv/app/a", "one")
    assert watch.poll() is None


def test_an_end_by_the_watch_is_no_end_that_aborts(project: Described, src: Path, begin: Begin) -> None:
    project.describe(watching("{path: ./src, action: sync+restart, target: /srv/app}"))
    up = begin("up", "--watch", "--abort-on-container-exit")
    for text in ("one", "two", "three"):
        (src / "a").write_text(text)
        read_until(up, 'service(s) ["web"] restarted')
        holds(project, "/srv/app/a", text)
    assert up.poll() is None


def test_up_watches_too(project: Described, src: Path, begin: Begin) -> None:
    project.describe(watching("{path: ./src, action: sync+restart, target: /srv/app}"))
    up = begin("up", "--watch", ready=" ⦿ Watch enabled")
    (src / "a").write_text("one")
    read_until(up, ' ⦿ service(s) ["web"] restarted')
    holds(project, "/srv/app/a", "one")
    (src / "a").write_text("two")
    read_until(up, ' ⦿ service(s) ["web"] restarted')
    holds(project, "/srv/app/a", "two")
    ended(up)
    assert up.returncode == 0
    assert project.states() == {"web-1": "exited"}


def test_a_watch_of_nothing_and_a_second_one_are_refused(project: Described, src: Path, begin: Begin) -> None:
    project.describe(f"services:\n  web: {{{SERVICE}}}\n")
    done = project("watch", check=False)
    assert done.returncode == 1
    assert "none of the selected services is configured for watch, consider setting a 'develop' section" in done.stderr
    assert project("up", "--watch", check=False).returncode == 1
    assert project.states() == {}
    project.describe(watching("{path: ./src, action: rebuild}"))
    refused = project("watch", check=False)
    assert 'can\'t watch service "web" with action rebuild without a build context' in refused.stderr
    project.describe(watching("{path: ./src, action: sync, target: /srv/app}, {path: ., action: restart}"))
    watch = begin()
    second = project("watch", "--no-up", check=False)
    assert second.returncode == 1
    assert 'cannot take exclusive lock for project "p": process with PID' in second.stderr
    ended(watch)


REBUILT = """
services:
  web:
    build: ./context
    network_mode: none
    stop_grace_period: 0s
    develop: {watch: [{path: ./context/a, action: rebuild}, {path: ./context, action: sync, target: /c, ignore: [a]}]}
  other: {image: base, command: sleep 300, network_mode: none, stop_grace_period: 0s}
"""


@pytest.mark.parametrize("command", ["watch", "up"])
def test_a_rebuild_makes_that_service_anew_and_removes_the_image_that_it_replaced(build: Builds, command: str) -> None:
    build.write({"Dockerfile": "FROM base\nCOPY a /a\nCMD sleep 300\n", "a": "one"})
    file = build.folder / "compose.yaml"
    file.write_text(REBUILT)
    project = Described(build.machine, file)
    watch = in_background(build.machine, "-p", "p", "-f", str(file), *(("up", "-w") if command == "up" else ("watch",)))
    try:
        read_until(watch, "Watch enabled")
        first, before = project.ps(), len(project("image", "ls", "-q").stdout.split())
        build.write({"a": "two"})
        said = read_until(watch, 'service(s) ["web"] successfully built')
        assert 'Rebuilding service(s) ["web"] after changes were detected...' in said
        until(lambda: project("exec", "-T", "web", "cat", "/a", check=False).stdout == "two", 60)
        second = project.ps()
        assert second["web-1"]["ID"] != first["web-1"]["ID"]
        assert second["other-1"]["ID"] == first["other-1"]["ID"]
        until(lambda: len(project("image", "ls", "-q").stdout.split()) == before, 60)
        build.write({"Dockerfile": "FROM base\nRUN false\n"})
        build.write({"a": "three"})
        read_until(watch, "Build failed. Error: ")
        build.write({"b": "b"})
        until(lambda: project("exec", "-T", "web", "cat", "/c/b", check=False).stdout == "b", 60)
        assert watch.poll() is None
    finally:
        ended(watch)
        project("down", "-t", "0")


def test_after_a_storm_of_changes_both_sides_are_the_same(project: Described, src: Path, begin: Begin) -> None:
    arrived = project.file.parent / "arrived"
    arrived.mkdir()
    project.describe(watching("{path: ./src, action: sync, target: /arrived}", volumes="['./arrived:/arrived']"))
    begin()
    chance = random.Random(1)
    for _ in range(1500):
        folder = chance.choice([path for path in (src, *src.rglob("*")) if path.is_dir()])
        name = folder / f"n{chance.randrange(12)}"
        with suppress(OSError):  # what cannot be done to it just now
            match chance.randrange(10):
                case 0 | 1 | 2 | 3 | 4:
                    (folder / "new").write_text(str(chance.random()))
                    (folder / "new").rename(name)
                case 5 | 6:
                    (name / "deep").mkdir(parents=True)
                    (name / "deep/x").write_text("x")
                case 7 if folder != src:
                    subprocess.run(["rm", "-r", str(folder)], check=True)
                case 8 if folder != src:
                    folder.rename(src / f"m{chance.randrange(8)}")
                case _:
                    name.unlink()

    def listed(top: Path) -> dict[str, str]:
        return {str(path.relative_to(top)): "" if path.is_dir() else path.read_text() for path in top.rglob("*")}

    until(lambda: listed(arrived) == listed(src), 60, "both are the same", despite=(OSError,))
