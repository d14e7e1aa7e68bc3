"""RUN steps: what they run as, what they get, what becomes of what they write, and what is left when they end badly."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from .build_tools import Builds, build
from .service_tools import until

__all__ = ["build"]  # the fixture


def test_steps_have_the_environment_the_user_and_the_folder_that_were_said(build: Builds) -> None:
    said = build(
        "FROM base\nARG WHO=nobody\nARG TARGETARCH\nENV GREETING=hi WHO2=$WHO\nWORKDIR /work/here\n"
        "RUN echo $GREETING $WHO $WHO2 $TARGETARCH; env | head -50; echo at $PWD\n"
        "USER app\nRUN id; echo home $HOME\n"
        'SHELL ["/bin/sh", "-euc"]\nRUN echo shell $0; echo $-\n',
        "--build-arg",
        "WHO=me",
    )
    assert "hi me me amd64" in said or "hi me me arm64" in said
    assert "at /work/here" in said
    assert "uid=1234(app) gid=1234" in said
    assert "home /home/app" in said
    assert build.image()["Config"]["User"] == "app"
    assert build.image()["Config"]["WorkingDir"] == "/work/here"
    assert "ARG" not in str(build.image()["Config"])


def test_a_layer_holds_what_a_step_wrote_and_nothing_of_ours(build: Builds) -> None:
    build(
        "FROM base\nRUN echo x > /made; rm /bin/wc; mkdir -p /etc/conf; chmod 700 /etc/conf; cat /etc/hosts > /dev/null"
    )
    found = build.files()
    assert found["made"] == "f644 0:0 2"
    assert found["bin/wc"].startswith("c")
    assert found["etc/conf"].startswith("d700")
    assert set(found) == {"made", "bin", "bin/wc", "etc", "etc/conf"}


def test_a_step_that_writes_nothing_makes_no_layer(build: Builds) -> None:
    build("FROM base\nRUN true\n")
    assert len(build.layers()) == 1


def test_the_profile_is_the_one_of_services(build: Builds) -> None:
    said = build(
        "FROM base\nRUN cat /proc/self/status; ls /proc/self/fd; cat /proc/kcore > /kcore || true; "
        "echo 1 > /proc/sys/kernel/panic || echo refused\n"
    )
    assert "CapEff:\t00000000a80425fb" in said
    assert "Seccomp:\t2" in said
    assert "refused" in said
    assert build.files()["kcore"].endswith(" 0")


def test_each_kind_of_mount_is_there_for_its_step_and_leaves_nothing(build: Builds) -> None:
    secret = build.folder / "key"
    secret.write_text("topsecret\n")
    dockerfile = (
        "FROM base AS other\nRUN echo from-other > /o\n"
        "FROM base\n"
        "RUN --mount=type=secret,id=key --mount=type=secret,id=key,target=/k,mode=0444,uid=5 "
        "--mount=type=secret,id=key,env=KEY --mount=type=cache,target=/cache --mount=type=tmpfs,target=/scratch "
        "--mount=type=bind,source=in,target=/in --mount=from=other,source=/o,target=/o "
        "--mount=from=other,target=/whole --mount=type=secret,id=absent "
        "cat /run/secrets/key; stat -c %a:%u /k; echo env $KEY; echo more >> /cache/f; wc -l /cache/f; "
        "touch /scratch/x; "
        "cat /in/a /o /whole/o; ls /in; touch /in/new || echo read-only; touch /made\n"
        "RUN ls -a / /run; echo done > /end\n"
    )
    arguments = ("--secret", f"id=key,src={secret}")
    said = build(dockerfile, *arguments, **{"in/a": "in-context\n", ".dockerignore": "in/hidden\n", "in/hidden": "x"})
    for text in ("topsecret", "444:5", "env topsecret", "1 /cache/f", "in-context", "from-other", "read-only"):
        assert text in said
    assert "hidden" not in said
    assert set(build.files(-2)) == {"made"}
    found = {path for number in (-1, -2) for path in build.files(number)}
    assert found == {"made", "end"}
    assert "topsecret" not in build.look("sh", "-c", f"cat {build.machine.state}/images/configs/*.json")
    again = build(dockerfile + "RUN --mount=type=cache,target=/cache cat /cache/f; echo again > /again\n", *arguments)
    assert "more" in again


def test_a_folder_of_a_cache_is_found_inside_it_whatever_steps_put_there(build: Builds) -> None:
    secret = build.folder / "secret"
    secret.mkdir()
    (secret / "key").write_text("the host's")
    cache = "RUN --mount=type=cache,id=c,target=/c"
    inner = "RUN --mount=type=cache,id=c,source=sub,target=/d"
    said = build(
        f"FROM base\n{inner} echo mine >/d/file\n"
        f"{cache} cat /c/sub/file; rm -r /c/sub; mkdir -p /c{secret}; ln -s {secret} /c/sub\n"
        f"{inner} ls -A /d; echo more >/d/more\n{cache} cat /c{secret}/more\n"
    )
    assert "mine" in said
    assert "key" not in said
    assert "more" in said
    assert [path.name for path in secret.iterdir()] == ["key"]


def test_a_secret_that_is_required_and_missing_is_an_error(build: Builds) -> None:
    said = build.fails("FROM base\nRUN --mount=type=secret,id=key,required=true true\n")
    assert "Dockerfile:2: secret 'key' is not given" in said
    assert "--secret id=key" in said


def test_what_a_mounted_folder_is_written_does_not_reach_the_context(build: Builds) -> None:
    build("FROM base\nRUN --mount=target=/in,rw echo x > /in/new; ls /in; touch /out\n", **{"a": "a"})
    assert not (build.folder / "context" / "new").exists()
    assert set(build.files()) == {"out"}


def test_here_documents_are_scripts_and_standard_input(build: Builds) -> None:
    build(
        "FROM base\nENV X=y\nRUN <<EOF\necho $X > /a\necho two >> /a\nEOF\n"
        "RUN cat <<ONE > /b && cat <<'TWO' > /c\none $X\nONE\ntwo $X\nTWO\n"
        "RUN <<EOF\n#!/bin/cat\nprinted\nEOF\n"
    )
    assert build.content("a") == "y\ntwo\n"
    assert build.content("b") == "one y\n"
    assert build.content("c") == "two $X\n"


def test_a_step_without_network_has_none_and_one_with_it_is_on_a_bridge(build: Builds) -> None:
    said = build("FROM base\nRUN --network=none cat /proc/net/dev /etc/hosts\nRUN cat /proc/net/dev /etc/resolv.conf\n")
    assert said.count("eth0") == 1
    assert "nameserver 127.0.0.11" in said


def test_names_can_be_added_for_steps(build: Builds) -> None:
    assert "10.1.2.3\tother" in build("FROM base\nRUN cat /etc/hosts\n", "--add-host", "other=10.1.2.3")


def test_a_step_that_fails_tells_its_last_lines_its_code_and_its_line(build: Builds) -> None:
    said = build.fails("FROM base\nRUN true\n\nRUN echo before; echo why >&2; exit 7\n")
    assert "Dockerfile:4: [3/3] RUN echo before" in said
    assert "exit code 7" in said
    assert "  | before\n  | why" in said


def test_what_came_before_a_failure_is_remembered(build: Builds) -> None:
    build.fails("FROM base\nRUN echo first > /first\nRUN false\n")
    said = build("FROM base\nRUN echo first > /first\nRUN true\n")
    assert "RUN echo first > /first\n#2 CACHED" in said


@pytest.mark.parametrize(
    ("flag", "message"),
    [
        ("--security=insecure", "--security=insecure is not supported"),
        ("--device=x", "--device is not supported"),
        ("--network=other", "default, none and host"),
        ("--mount=type=ssh,required", "no ssh agent"),
        ("--frobnicate", "does not know --frobnicate"),
    ],
)
def test_what_a_step_cannot_have_is_refused_by_name(build: Builds, flag: str, message: str) -> None:
    said = build.fails(f"FROM base\nRUN {flag} true\n")
    assert "Dockerfile:2: " in said
    assert message in said


def test_a_program_that_is_not_there_is_an_error_with_its_line(build: Builds) -> None:
    said = build.fails('FROM base\nRUN ["/no/such", "x"]\n')
    assert "Dockerfile:2: " in said
    assert "/no/such" in said


def test_stages_that_do_not_need_each_other_run_side_by_side(build: Builds) -> None:
    # Each waits for the other: one after another they would never end.
    wait = "while [ ! -e /c/{other} ]; do sleep 0.05; done"
    stage = "FROM base AS {own}\nRUN --mount=type=cache,target=/c touch /c/{own}; " + wait + "; touch /{own}\n"
    one, two = stage.format(own="one", other="two"), stage.format(own="two", other="one")
    build(f"{one}{two}FROM base\nCOPY --from=one /one /\nCOPY --from=two /two /\n")
    assert "two" in build.files()


def _begun(build: Builds, context: Path) -> subprocess.Popen[str]:
    """A build whose step has said that it has begun."""
    made = subprocess.Popen(
        build.machine.entering_pycompose("image", "build", str(context)),
        env=dict(build.machine.environment),
        stderr=subprocess.PIPE,
        text=True,
    )
    assert made.stderr is not None
    said = []
    while "begun" not in (line := made.stderr.readline()):
        said.append(line)
        assert line, f"it ended before its step began: {said}"
    return made


def test_a_build_killed_at_any_moment_is_finished_by_the_next_one(build: Builds) -> None:
    top = build.write({"Dockerfile": "FROM base\nRUN echo one > /one\nCOPY a /a\nRUN echo two > /two\n", "a": "a"})
    for moment in (0.1, 0.2, 0.3, 0.4, 0.5, 0.7, 0.9):
        killed = subprocess.Popen(
            build.machine.entering_pycompose("image", "build", "--no-cache", "-q", str(top)),
            env=dict(build.machine.environment),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        time.sleep(moment)
        killed.kill()
        killed.wait()
    build.run("image", "build", "-t", "built", str(top))
    assert build.content("two") == "two\n"
    assert "well" in build.run("image", "fsck").stdout


def test_a_build_that_is_killed_leaves_nothing_after_the_next_one(build: Builds) -> None:
    top = build.write({"Dockerfile": "FROM base\nRUN echo be''gun; sleep 300\n"})
    killed = _begun(build, top)
    assert killed.stderr is not None
    os.kill(killed.pid, signal.SIGKILL)
    killed.wait()
    killed.stderr.close()
    assert build.look("ls", f"{build.machine.state}/builds/projects") != ""
    build("FROM base\nRUN echo whole\n")
    assert build.look("ls", f"{build.machine.state}/builds/projects") == ""
    assert build.look("ls", f"{build.machine.state}/images/work") == ""


def test_an_interrupted_build_ends_its_step_and_leaves_nothing(build: Builds) -> None:
    top = build.write({"Dockerfile": "FROM base\nRUN echo be''gun; sleep 300\n"})
    stopped = _begun(build, top)
    assert stopped.stderr is not None
    os.kill(stopped.pid, signal.SIGINT)
    began = time.monotonic()
    assert stopped.wait(60) == 130
    assert "Traceback" not in stopped.stderr.read()
    stopped.stderr.close()
    assert time.monotonic() - began < 30
    until(lambda: build.look("ls", f"{build.machine.state}/builds/projects") == "")
    assert build.look("ls", f"{build.machine.state}/images/work") == ""


def test_two_builds_at_once_do_not_disturb_each_other(build: Builds) -> None:
    one = build.write({"Dockerfile": "FROM base\nRUN echo one > /f; sleep 0.5\nRUN echo x >> /f\n"}, "one")
    two = build.write({"Dockerfile": "FROM base\nRUN echo two > /f; sleep 0.5\nRUN echo x >> /f\n"}, "two")
    script = (
        f"{sys.executable} -m pycompose image build -t one {one} & first=$!;"
        f"{sys.executable} -m pycompose image build -t two {two} && wait $first"
    )
    build.machine.run("sh", "-c", script)
    assert build.content("f", "one") == "one\nx\n"
    assert build.content("f", "two") == "two\nx\n"


def test_the_hosts_own_files_can_be_the_base(build: Builds) -> None:
    said = build("FROM host\nRUN id; echo made > /opt/made-in-a-build; ls /etc/passwd\nCOPY f /opt/copied\n", f="f\n")
    assert "/etc/passwd" in said
    assert not os.path.exists("/opt/made-in-a-build")
    file = build.folder / "compose.yaml"
    file.write_text(
        "services:\n  a:\n    image: built\n    network_mode: none\n"
        '    command: ["cat", "/opt/made-in-a-build", "/opt/copied", "/etc/hostname"]\n'
    )
    done = build.run("-p", "p", "-f", str(file), "up")
    assert "| made" in done.stdout + done.stderr
    assert "| f" in done.stdout + done.stderr
    build.run("-p", "p", "-f", str(file), "down")
