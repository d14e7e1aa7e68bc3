"""Words that people and scripts match, each by really calling: docker compose's, with our hint after them."""

from __future__ import annotations

import json
import re
import subprocess

import pytest

from .service_tools import Described

WAIT = "command: sleep 1000, init: true, stop_grace_period: 0s"
SICK = "healthcheck: {test: 'exit 1', interval: 100ms, retries: 1}"


def said(project: Described, *arguments: str) -> str:
    """What a command that fails says; its exit code is 1."""
    done = project(*arguments, check=False)
    assert (done.returncode, "Traceback" in done.stderr) == (1, False), done.stderr
    return done.stderr


@pytest.mark.parametrize(
    ("services", "arguments", "words"),
    [
        (
            "a: {image: host, command: 'false'}, "
            "b: {image: host, depends_on: {a: {condition: service_completed_successfully}}}",
            ("up", "-d"),
            'service "a" didn\'t complete successfully: exit 1',
        ),
        (
            "a: {image: host, command: 'false', healthcheck: {test: 'exit 1', interval: 10s}}, "
            "b: {image: host, depends_on: {a: {condition: service_healthy}}}",
            ("up", "-d"),
            "dependency failed to start: container p-a-1 exited (1)",
        ),
        (
            f"a: {{image: host, {WAIT}, {SICK}}}, "
            "b: {image: host, depends_on: {a: {condition: service_healthy}}}",
            ("up", "-d"),
            "dependency failed to start: container p-a-1 is unhealthy",
        ),
        (f"a: {{image: host, {WAIT}, {SICK}}}", ("up", "-d", "--wait"), "container p-a-1 is unhealthy"),
        (
            f"a: {{image: host, {WAIT}, healthcheck: {{test: 'exit 1', interval: 100ms, retries: 1000}}}}",
            ("up", "-d", "--wait", "--wait-timeout", "1"),
            "application not healthy after 1s",
        ),
        (
            f"a: {{image: host, {WAIT}, post_start: [{{command: [sh, -c, exit 7]}}]}}",
            ("up", "-d"),
            "hook exited with status 7",
        ),
        ("a: {image: host}", ("up", "-d", "nope"), "no such service: nope"),
        ("a: {image: host}", ("exec", "-T", "a", "true"), 'service "a" is not running'),
        ("a: {image: host}", ("volumes", "nope"), "no such service: nope"),
        ("a: {image: host}", ("cp", "a:/x", "y"), 'no container found for service "a"'),
        ("a: {image: host, networks: [n]}", ("up", "-d"), "network n declared as external, but could not be found"),
        ("a: {image: host, volumes: ['v:/v']}", ("up", "-d"), 'external volume "v" not found'),
    ],
)
def test_what_fails_is_said_in_docker_compose_s_words(
    project: Described, services: str, arguments: tuple[str, ...], words: str
) -> None:
    more = "networks: {n: {external: true, name: n}}\nvolumes: {v: {external: true, name: v}}\n"
    used = [line for line, name in zip(more.splitlines(), ("[n]", "v:/v"), strict=True) if name in services]
    project.describe("\n".join([f"services: {{{services}}}", *used]))
    assert words in said(project, *arguments)


def test_what_goes_on_is_said_in_docker_compose_s_words(project: Described) -> None:
    project.describe(f"services: {{web: {{image: host, {WAIT}}}, other: {{image: host, {WAIT}}}}}")
    up = project("up", "-d").stderr
    assert re.search(r"(?m)^ Container p-web-1 +Started$", up)
    assert re.search(r"(?m)^ Container p-web-1 +Running$", project("up", "-d").stderr)
    assert 'service "web" is not running container #2' in said(project, "exec", "-T", "--index", "2", "web", "true")
    project("pause", "web")
    assert "already paused" in project("pause", "web", check=False).stderr
    project("unpause", "web")
    recreated = project("up", "-d", "--force-recreate", "web").stderr
    assert len(re.findall(r"(?m)^ Container p-web-1 +Recreated$", recreated)) == 1
    project.describe(f"services: {{web: {{image: host, {WAIT}}}}}")
    assert "Found orphan containers ([p-other-1]) for this project" in project("up", "-d").stderr
    project.describe(f"services: {{odd: {{image: host, container_name: p-web-1, {WAIT}}}}}")
    taken = project.machine.pycompose("-p", "q", "-f", str(project.file), "up", "-d", check=False)
    project.machine.pycompose("-p", "q", "-f", str(project.file), "down")
    assert (taken.returncode, 'container name "p-web-1" is already in use' in taken.stderr) == (1, True)


def test_a_port_that_is_not_published_is_told_with_those_that_are(project: Described) -> None:
    project.describe(f"services: {{web: {{image: host, ports: ['8080:80'], {WAIT}}}}}")
    project("up", "-d")
    assert "no port 81/tcp for container p-web-1: 80/tcp\n" in said(project, "port", "web", "81")


def test_each_line_of_json_is_as_docker_writes_it(project: Described) -> None:
    project.describe(f"services: {{web: {{image: host, {WAIT}}}}}")
    told = project("--progress", "json", "up", "-d").stderr.splitlines()
    (line,) = project("stats", "--no-stream", "--format", "json").stdout.splitlines()
    for text in (*told, line):
        assert text == json.dumps(json.loads(text), separators=(",", ":"))
    assert list(json.loads(line)) == sorted(json.loads(line))
    (event, *_) = project("events", "--json", "--since", "1h", "--until", "0s").stdout.splitlines()
    assert re.fullmatch(r"[-0-9]+T[0-9:]+(\.[0-9]*[1-9])?(Z|[+-]..:..)", json.loads(event)["time"])
    assert not json.loads(event)["time"].endswith("+00:00")


@pytest.mark.parametrize("variables", [{}, {"COMPOSE_STATUS_STDOUT": "1"}])
def test_progress_that_cannot_be_written_leaves_no_plan_in_its_middle(
    project: Described, variables: dict[str, str]
) -> None:
    project.describe(f"services: {{web: {{image: host, {WAIT}}}, other: {{image: host, {WAIT}}}}}")
    environment = {**project.machine.environment, **variables}

    def unheard(*arguments: str) -> int:
        command = project.machine.entering_pycompose("-p", "p", "-f", str(project.file), *arguments)
        with open("/dev/full", "wb") as full:
            return subprocess.run(command, env=environment, stdout=full, stderr=full, timeout=60).returncode

    assert (unheard("up", "-d"), project.states()) == (0, {"web-1": "running", "other-1": "running"})
    assert (unheard("restart", "web"), project.states()["web-1"]) == (0, "running")
    assert (unheard("down"), project.states()) == (0, {})


def test_output_of_exec_that_cannot_be_written_is_an_error(project: Described) -> None:
    project.describe(f"services: {{web: {{image: host, {WAIT}}}}}")
    project("up", "-d")
    command = project.machine.entering_pycompose("-p", "p", "-f", str(project.file), "exec", "-T", "web", "echo", "hi")
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            command, env=dict(project.machine.environment), stdout=full, stderr=subprocess.PIPE, timeout=60
        )
    assert (done.returncode, done.stderr.splitlines()[0]) == (1, b"error: /dev/stdout: No space left on device")
