"""Builds of services: when images are built, from what, in which order, and when containers are made anew."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from .attached_tools import in_background, read_until
from .build_tools import Builds, build
from .test_registry import registry

__all__ = ["build", "registry"]  # the fixtures


class Project:
    def __init__(self, build: Builds, text: str) -> None:
        self.build, self.file = build, build.folder / "compose.yaml"
        self.file.write_text(text)

    def __call__(self, *arguments: str, check: bool = True) -> str:
        done = self.build.run("-p", "p", "-f", str(self.file), *arguments, check=check)
        self.code = done.returncode
        return done.stdout + done.stderr

    def created(self) -> dict[str, str]:
        listed = map(json.loads, self("ps", "-a", "--format", "json").splitlines())
        return {one["Name"]: one["ID"] for one in listed}


def test_up_builds_what_is_missing_and_builds_again_only_when_asked(build: Builds) -> None:
    build.write({"Dockerfile": "FROM base\nCOPY a /a\nCMD sleep 300\n", "a": "one"})
    project = Project(
        build, "services:\n  web:\n    build: ./context\n    network_mode: none\n    stop_grace_period: 0s\n"
    )
    assert "COPY a /a" in project("up", "-d")
    first = project.created()
    assert list(first) == ["p-web-1"]
    build.write({"a": "two"})
    assert "COPY" not in project("up", "-d")
    assert project.created() == first
    assert "COPY a /a" in project("up", "-d", "--build")
    second = project.created()
    assert second != first
    assert project("exec", "-T", "web", "cat", "/a") == "two"
    said = project("up", "-d", "--build")
    assert "CACHED" in said
    assert project.created() == second
    project("down")
    assert "COPY a /a" in project("create", "--build")
    project("down")
    build.run("image", "rm", "p-web")
    assert 'image "p-web" is not on this machine' in project("up", "-d", "--no-build", check=False)
    assert project.code == 1


def test_build_takes_all_keys_of_the_file(build: Builds) -> None:
    build.write(
        {
            "sub/Other": "FROM base AS first\nARG X\nARG FROM_ENV\nRUN --mount=type=secret,id=s,target=/s "
            "cat /etc/hosts /s > /x; echo $X $FROM_ENV >> /x; df /dev/shm >> /x\n"
            "COPY --from=more m /m\nFROM base\nRUN false\n"
        }
    )
    build.write({"m": "more"}, "more")
    text = """
services:
  web:
    image: me/web:1
    build:
      context: ./context
      dockerfile: sub/Other
      target: first
      args: [X=arg, FROM_ENV]
      labels: {made: "yes"}
      tags: [me/web:2, other]
      network: none
      additional_contexts: {more: ./more}
      secrets: [s]
      extra_hosts: [somewhere=10.9.8.7]
      shm_size: 1m
      cache_from: [me/web:1]
      provenance: true
secrets:
  s: {environment: SECRET}
"""
    project = Project(build, text)
    build.machine.environment["FROM_ENV"] = "from-env"  # type: ignore[index]
    build.machine.environment["SECRET"] = "very-secret"  # type: ignore[index]
    said = project("build")
    assert "provenance has no effect" in said
    told = build.content("x", "me/web:1")
    for text in ("10.9.8.7\tsomewhere", "very-secret", "arg from-env", "1024"):
        assert text in told
    assert build.content("m", "other") == "more"
    assert build.image("me/web:2")["Config"]["Labels"] == {"made": "yes"}
    assert len({build.image(name)["Id"] for name in ("me/web:1", "me/web:2", "other")}) == 1


def test_the_command_line_goes_before_the_file(build: Builds) -> None:
    build.write({"Dockerfile": "FROM base\nARG X=default\nRUN echo $X > /x\n"})
    project = Project(build, "services:\n  web:\n    build: {context: ./context, args: {X: file}}\n")
    project("build", "--build-arg", "X=line")
    assert build.content("x", "p-web") == "line\n"
    assert "CACHED" not in project("build", "--no-cache", "--build-arg", "X=line").replace("#1 CACHED", "")
    assert "no problem found" in project("build", "--check")
    assert project("build", "--quiet", "web") == ""


def test_a_service_is_built_from_another_ones_image(build: Builds) -> None:
    build.write({"Dockerfile": "FROM base\nRUN echo of-base > /b\n"}, "one")
    build.write({"Dockerfile": "FROM parent\nRUN cat /b; echo of-app > /c\n"}, "two")
    text = """
services:
  app:
    build: {context: ./two, additional_contexts: {parent: "service:lib"}}
  lib:
    build: ./one
"""
    project = Project(build, text)
    said = project("build", "app")
    assert "of-base" in said
    assert "[app 2/2] RUN cat /b" in said
    assert build.content("b", "p-app") == "of-base\n"
    build.write({"Dockerfile": "FROM base\nRUN echo changed > /b\n"}, "one")
    assert "changed" in project("build")
    assert build.content("b", "p-app") == "changed\n"


def test_builds_that_wait_for_each_other_are_an_error(build: Builds) -> None:
    text = """
services:
  a: {build: {context: ., additional_contexts: {x: "service:b"}}}
  b: {build: {context: ., additional_contexts: {x: "service:a"}}}
"""
    said = Project(build, text)("build", check=False)
    assert "dependency cycle detected: " in said
    assert "-> a" in said


def test_services_are_built_side_by_side(build: Builds) -> None:
    wait = "while [ ! -e /c/{other} ]; do sleep 0.05; done"
    text = "FROM base\nRUN --mount=type=cache,target=/c touch /c/{own}; " + wait + "\n"
    for own, other in (("one", "two"), ("two", "one")):
        build.write({"Dockerfile": text.format(own=own, other=other)}, own)
    project = Project(build, "services:\n  one: {build: ./one}\n  two: {build: ./two}\n")
    said = project("build")
    assert "[one 2/2] RUN" in said
    assert " Image p-two Built" in said


def test_what_two_builds_need_is_done_once(build: Builds) -> None:
    build.write(
        {"Dockerfile": "FROM base\nRUN --mount=type=cache,target=/c echo x >> /c/f; sleep 0.3; wc -l < /c/f > /n\n"}
    )
    project = Project(build, "services:\n  one: {build: ./context}\n  two: {build: ./context}\n")
    project("build")
    assert build.content("n", "p-one") == build.content("n", "p-two") == "1\n"
    assert build.image("p-one")["Id"] == build.image("p-two")["Id"]


def test_a_dockerfile_can_be_inline_or_lie_outside(build: Builds) -> None:
    build.write({"a": "a", "x": "x"})
    (build.folder / "Outside").write_text("FROM scratch\nCOPY a /from-outside\n")
    text = """
services:
  one:
    build:
      context: ./context
      dockerfile_inline: |
        FROM scratch
        COPY a /inline
  two: {build: {context: ./context, dockerfile: ../Outside}}
"""
    Project(build, text)("build")
    assert build.content("inline", "p-one") == "a"
    assert build.content("from-outside", "p-two") == "a"


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ("network: other", "a build cannot join it"),
        ("entitlements: [security.insecure]", "entitlement 'security.insecure'"),
        ("platforms: [linux/mips]", "only images of this machine"),
        ("context: ./nothing", "no such folder"),
        ("target: nothing", "no stage 'nothing'"),
        ('additional_contexts: {x: "service:none"}', '"none", which is not defined'),
        ("dockerfile: nothing", "there is no nothing"),
        ("odd: 1", "odd"),
    ],
)
def test_what_cannot_be_built_is_told_with_its_service(build: Builds, keys: str, message: str) -> None:
    build.write({"Dockerfile": "FROM base\n"})
    lines = keys if "context:" in keys else f"context: ./context\n      {keys}"
    project = Project(build, f"services:\n  web:\n    build:\n      {lines}\n")
    said = project("build", check=False)
    assert project.code != 0
    assert message in said
    assert "web" in said


def test_a_failing_step_names_the_service_the_line_and_what_it_said(build: Builds) -> None:
    build.write({"Dockerfile": "FROM base\nRUN echo because; exit 3\n"})
    project = Project(build, "services:\n  web: {build: ./context, network_mode: none}\n")
    said = project("up", "-d", check=False)
    assert 'service "web": Dockerfile:2: [2/2] RUN echo because; exit 3' in said
    assert "exit code 3\n  | because" in said
    assert project.code == 1


def test_a_dry_run_builds_nothing(build: Builds) -> None:
    build.write({"Dockerfile": "FROM base\n"})
    project = Project(build, "services:\n  web: {build: ./context, network_mode: none}\n")
    assert "would build image p-web" in project("up", "-d", "--dry-run")
    assert "build p-web" in project("build", "--dry-run")
    assert "p-web" not in build.run("image", "ls").stdout


def test_without_a_service_to_build_it_says_so(build: Builds) -> None:
    project = Project(build, "services:\n  web: {image: base}\n")
    assert "no service to build" in project("build")
    assert "no such service: wbe" in project("build", "wbe", check=False)


def test_an_image_is_built_on_one_of_a_registry_pushed_and_run_from_there(build: Builds, registry: str) -> None:
    build.run("image", "tag", "base", f"{registry}/base")
    build.run("image", "push", f"{registry}/base")
    build.run("image", "rm", f"{registry}/base")
    dockerfile = f"FROM {registry}/base\nRUN echo built > /made\nCMD sleep 300\n"
    top = build.write({"Dockerfile": dockerfile})
    name = f"{registry}/me/app"
    said = build.run("image", "build", "-t", name, "--push", str(top)).stderr
    assert f"#1 [1/2] FROM {registry}/base" in said
    assert "#1 DONE" in said
    first = build.image(name)["Id"]
    build.run("image", "rm", name)
    build.run("builder", "prune", "-f")
    project = Project(build, f"services:\n  web: {{image: {name}, network_mode: none, stop_grace_period: 0s}}\n")
    project("up", "-d")
    assert project("exec", "-T", "web", "cat", "/made") == "built\n"
    assert build.image(name)["Id"] == first
    assert build.run("image", "fsck").stdout == "all is well\n"
    project("down")
    assert "cannot be reached" in build.fails("FROM localhost:1/x\n")


def test_what_builds_remember_can_be_forgotten(build: Builds) -> None:
    text = "FROM base AS s\nRUN --mount=type=cache,target=/c echo x > /c/f; echo only-here > /s\n"
    build(text)
    build("FROM base\nRUN echo y > /y\n")
    build.run("image", "prune", "-f")
    assert "only-here" in build.look("sh", "-c", f"cat {build.machine.state}/images/layers/*/s")
    assert "forgotten: 2 steps, 1 caches" in build.run("builder", "prune", "-f").stdout
    assert build.look("sh", "-c", f"ls {build.machine.state}/images/layers/*/s || echo gone") == "gone\n"
    assert build.look("sh", "-c", f"ls {build.machine.state}/images/mounts | grep -v lock || echo none") == "none\n"
    assert build.content("y") == "y\n"


def test_where_overlays_cannot_be_it_says_so(build: Builds) -> None:
    build.machine.environment["PYCOMPOSE_STORAGE"] = "vfs"  # type: ignore[index]
    said = build.fails("FROM base\nRUN true\n")
    assert "cannot hold an overlay" in said
    assert "PYCOMPOSE_STORAGE" in said


LATE = ("up", "--wait", "--wait-timeout", "2")
WEB = "services: {{web: {{{}, command: sleep 300, network_mode: none, stop_grace_period: 0s}}}}\n"
NEVER_ANSWERS = "import socket; listener = socket.create_server(('127.0.0.1', 5999)); print(1, flush=True); input()"


def test_the_deadline_of_a_wait_counts_builds(build: Builds) -> None:
    build.write({"Dockerfile": "FROM base\nRUN sleep 50\nCMD sleep 300\n"})
    project = Project(build, WEB.format("build: ./context"))
    said = project(*LATE, check=False)
    assert project.code == 1
    assert "application not healthy after 2s: images not ready" in said
    assert project("ls", "-aq") == ""


def test_the_deadline_of_a_wait_counts_pulls(build: Builds) -> None:
    listening = build.machine.entering(sys.executable, "-c", NEVER_ANSWERS)
    with subprocess.Popen(listening, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as registry:
        assert registry.stdout is not None
        registry.stdout.readline()
        project = Project(build, WEB.format("image: '127.0.0.1:5999/x'"))
        said = project(*LATE, check=False)
        registry.communicate(b"\n")
    assert project.code == 1
    assert "application not healthy after 2s: images not ready" in said


def test_the_deadline_of_a_wait_counts_the_time_in_which_another_command_acts(build: Builds) -> None:
    project = Project(build, WEB.format("image: base, pre_start: [{command: sleep 50}]"))
    first = in_background(build.machine, "-p", "p", "-f", str(project.file), "up", "-d")
    read_until(first, "pre_start-0 Running")
    said = project(*LATE, check=False)
    assert project.code == 1
    assert "application not healthy after 2s: another command acted on the project" in said
    first.terminate()
    first.communicate(timeout=20)
    assert list(project.created()) == ["p-web-1"]
    project("down")


def test_memory_is_a_limit_of_each_step(build: Builds) -> None:
    limit = "cat /sys/fs/cgroup/memory.max 2>/dev/null || cat /sys/fs/cgroup/memory/memory.limit_in_bytes"
    build.write({"Dockerfile": f"FROM base\nRUN ({limit}) > /limit\n"})
    project = Project(build, "services:\n  web:\n    build: ./context\n")
    project("build", "--memory", "64m")
    assert build.content("limit", "p-web") == f"{64 << 20}\n"
