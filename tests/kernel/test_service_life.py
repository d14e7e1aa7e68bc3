"""How services live: conditions, health, restarts, stops, pauses, hooks, and what `up` changes of what is there."""

from __future__ import annotations

import json
import os
import signal
import time
from itertools import pairwise

import pytest

from .service_tools import Described, until

# stopping and pausing


def test_a_stop_sends_the_signal_waits_the_grace_and_then_kills(project: Described) -> None:
    project.describe("""
services:
  listens:
    image: host
    stop_signal: SIGUSR1
    stop_grace_period: 20s
    command: ["sh", "-c", "trap 'echo usr1; exit 7' USR1; trap 'echo term' TERM; echo up; while :; do sleep 0.05; done"]
  deaf: {image: host, stop_grace_period: 0.5s, command: ["sh", "-c", "trap '' TERM; echo up; exec sleep 1000"]}
""")
    project("up", "-d")
    until(lambda: project.logs("listens") and project.logs("deaf"))
    begun = time.monotonic()
    project("stop")
    assert time.monotonic() - begun < 15
    listed = project.ps()
    assert project.logs("listens") == ["up", "usr1"]
    assert listed["listens-1"]["ExitCode"] == 7
    assert listed["deaf-1"]["ExitCode"] == 137


def test_paused_means_that_nothing_runs_until_it_goes_on(project: Described) -> None:
    project.describe("""
services:
  counts: {image: host, command: ["sh", "-c", "i=0; while :; do i=$$((i+1)); echo $$i; sleep 0.02; done"]}
""")
    project("up", "-d")
    until(lambda: len(project.logs("counts")) > 3)
    project("pause")
    assert project.states() == {"counts-1": "paused"}
    before = len(project.logs("counts"))
    assert len(project.logs("counts")) == before
    assert project("exec", "-T", "counts", "true", check=False).returncode != 0
    project("unpause")
    assert project.states() == {"counts-1": "running"}
    until(lambda: len(project.logs("counts")) > before)
    project("pause")
    project("stop", "-t", "1")
    assert project.states() == {"counts-1": "exited"}


# restarting


def test_restart_policies_start_again_what_they_say_with_a_back_off(project: Described) -> None:
    project.describe("""
x-fails: &fails {image: host, command: ["sh", "-c", "date +%s%N; exit 3"]}
services:
  never: {<<: *fails}
  twice: {<<: *fails, restart: "on-failure:2"}
  always: {image: host, command: ["sh", "-c", "date +%s%N"], restart: always}
  well: {image: host, command: "echo well", restart: on-failure}
  unless: {image: host, command: sleep 1000, restart: unless-stopped, stop_signal: SIGKILL}
""")
    project("up", "-d")
    until(lambda: len(project.logs("always")) >= 4)
    until(lambda: len(project.logs("twice")) == 3)
    times = [int(line) / 1e9 for line in project.logs("always")[:4]]
    gaps = [after - before for before, after in pairwise(times)]
    assert gaps[0] >= 0.1
    assert gaps[1] >= 0.2
    assert gaps[2] >= 0.4
    assert len(project.logs("never")) == 1
    assert project.logs("well") == ["well"]
    states = project.states()
    assert states["never-1"] == states["well-1"] == "exited"
    assert states["always-1"] in ("restarting", "running")
    until(lambda: project.states()["twice-1"] == "exited")
    project("stop")  # of one in its back-off too
    assert set(project.states().values()) == {"exited"}
    said = len(project.logs("always"))
    project("start", "unless")
    assert project.states()["unless-1"] == "running"
    assert len(project.logs("always")) == said
    pid = int(project.ps()["unless-1"].get("Pid") or 0)
    project("kill", "-s", "TERM", "unless")  # pid 1 without a handler does not mind
    assert project.states()["unless-1"] == "running"
    assert pid == int(project.ps()["unless-1"].get("Pid") or 0)


# health


HEALTH = """
services:
  good:
    image: host
    command: sleep 1000
    stop_signal: SIGKILL
    healthcheck: {test: test -e /ok, interval: 0.2s, retries: 2, start_period: 30s, start_interval: 0.1s}
  bad:
    image: host
    command: sleep 1000
    stop_signal: SIGKILL
    healthcheck: {test: ["CMD", "false"], interval: 0.2s, retries: 2}
  slow:
    image: host
    command: sleep 1000
    stop_signal: SIGKILL
    healthcheck: {test: sleep 30, interval: 0.2s, timeout: 0.2s, retries: 1}
  unasked:
    image: host
    command: sleep 1000
    stop_signal: SIGKILL
    healthcheck: {disable: true}
"""


def test_health_is_what_the_check_says(project: Described) -> None:
    project.describe(HEALTH)
    project("up", "-d")

    def health() -> dict[str, str]:
        return {name: item["Health"] for name, item in project.ps().items()}

    until(lambda: health()["bad-1"] == health()["slow-1"] == "unhealthy")
    assert health()["good-1"] == "starting"  # failures in the start period do not count
    assert health()["unasked-1"] == ""
    project.inside("good", "touch /ok")
    until(lambda: health()["good-1"] == "healthy")
    project.inside("good", "rm /ok")
    until(lambda: health()["good-1"] == "unhealthy")
    project.inside("good", "touch /ok")
    until(lambda: health()["good-1"] == "healthy")


def test_up_wait_returns_when_all_is_well_and_fails_when_it_cannot_be(project: Described) -> None:
    project.describe("""
services:
  good:
    image: host
    command: sleep 1000
    stop_signal: SIGKILL
    healthcheck: {test: ["CMD", "true"], interval: 0.1s}
  plain: {image: host, command: sleep 1000, stop_signal: SIGKILL}
""")
    project("up", "--wait")
    assert project.ps()["good-1"]["Health"] == "healthy"
    project("down", "-t", "0")
    project.describe("""
services:
  bad:
    image: host
    command: sleep 1000
    stop_signal: SIGKILL
    healthcheck: {test: ["CMD", "false"], interval: 0.1s, retries: 1}
""")
    failed = project("up", "--wait", check=False)
    assert failed.returncode == 1
    assert "container p-bad-1 is unhealthy" in failed.stderr
    project.describe("""
services:
  late:
    image: host
    command: sleep 1000
    stop_signal: SIGKILL
    healthcheck: {test: ["CMD", "false"], interval: 0.1s, retries: 10000}
""")
    failed = project("up", "--wait", "--wait-timeout", "1", "--remove-orphans", "-t", "0", check=False)
    assert failed.returncode == 1
    assert "late" in failed.stderr
    project.describe("services: {loops: {image: host, command: sh -c 'exit 7', restart: always}}")
    failed = project("up", "--wait", "--wait-timeout", "5", "--remove-orphans", "-t", "0", check=False)
    assert failed.returncode == 1
    assert "p-loops-1 keeps ending: it was started again 3 times, and exited last with code 7" in failed.stderr
    assert "application not healthy after 5s: loops not ready" in failed.stderr


def test_an_unhealthy_container_is_started_again_where_that_is_asked_for(project: Described) -> None:
    project.describe("""
services:
  web: &web
    image: host
    command: sleep 1000
    stop_grace_period: 0s
    healthcheck: {test: "test ! -e /dev/shm/sick", interval: 0.2s, retries: 2}
    x-pycompose: {restart: unhealthy}
  left: {<<: *web, x-pycompose: {}}
""")
    project("up", "-d", "--wait")
    for service in ("web", "left"):
        project.inside(service, "touch /dev/shm/sick")
    until(lambda: project.ps()["left-1"]["Health"] == "unhealthy", condition="left is unhealthy")
    until(lambda: project.inside("web", "test ! -e /dev/shm/sick && echo well", check=False), condition="web is anew")
    until(lambda: project.ps()["web-1"]["Health"] == "healthy", condition="web is healthy")
    assert project.inside("left", "ls /dev/shm") == "sick"


# conditions


def test_dependents_wait_for_each_condition(project: Described) -> None:
    project.describe("""
services:
  last:
    image: host
    command: ["sh", "-c", "cat /shared/*; echo last"]
    volumes: [shared:/shared]
    depends_on:
      once: {condition: service_completed_successfully}
      well: {condition: service_healthy}
      first: {condition: service_started}
      missing: {condition: service_started, required: false}
  once: {image: host, command: ["sh", "-c", "sleep 0.3; echo once > /shared/1"], volumes: [shared:/shared]}
  well:
    image: host
    init: true
    command: ["sh", "-c", "sleep 0.3; echo well > /shared/2; exec sleep 2"]
    volumes: [shared:/shared]
    healthcheck: {test: test -s /shared/2, interval: 0.1s, retries: 100}
  first: {image: host, init: true, command: sleep 2}
  missing: {image: host, command: "true", profiles: [never]}
volumes: {shared: {}}
""")
    assert project.said()["last"] == ["once", "well", "last"]


@pytest.mark.parametrize(
    ("needed", "condition", "told"),
    [
        ('command: "false"', "service_completed_successfully", "didn't complete successfully: exit 1"),
        ('command: "true", healthcheck: {test: "true", interval: 0.3s}', "service_healthy", "exited"),
        (
            'command: sleep 1000, stop_signal: SIGKILL, healthcheck: {test: "false", interval: 0.1s, retries: 1}',
            "service_healthy",
            "unhealthy",
        ),
        ("command: sleep 1000, stop_signal: SIGKILL", "service_healthy", "no healthcheck"),
    ],
)
def test_a_condition_that_cannot_be_met_is_told_and_ends_up(
    project: Described, needed: str, condition: str, told: str
) -> None:
    file = """
services:
  needed: {image: host, %s}
  other: {image: host, command: sleep 1000, stop_signal: SIGKILL}
  needs:
    image: host
    command: sleep 1000
    stop_signal: SIGKILL
    depends_on: {needed: {condition: %s, required: %s}}
"""
    project.describe(file % (needed, condition, "true"))
    failed = project("up", "-d", check=False)
    assert failed.returncode == 1
    assert told in failed.stderr
    assert "needed" in failed.stderr
    states = project.states()
    assert states["needs-1"] == "created"
    assert states["other-1"] == "running"
    project.describe(file % (needed, condition, "false"))
    warned = project("up", "-d")
    assert told in warned.stderr
    assert project.states()["needs-1"] == "running"


def test_a_dependent_is_started_again_with_what_it_depends_on(project: Described) -> None:
    project.describe("""
services:
  base: &base {image: host, command: [sh, -c, "echo up; exec sleep 1000"], stop_signal: SIGKILL}
  follows: {<<: *base, depends_on: {base: {condition: service_started, restart: true}}}
  stays: {<<: *base, depends_on: [base]}
""")
    project("up", "-d")
    until(lambda: project.logs("follows") and project.logs("stays"))
    project("restart", "-t", "0", "base")
    until(lambda: project.logs("follows") == ["up", "up"])
    assert project.logs("stays") == ["up"]
    assert set(project.states().values()) == {"running"}


# hooks


def test_hooks_run_inside_after_the_start_and_before_the_stop(project: Described) -> None:
    project.describe("""
services:
  hooked:
    image: host
    command: sleep 1000
    stop_signal: SIGKILL
    volumes: ["./notes:/notes"]
    post_start:
      - command: ["sh", "-c", "echo $$WHO $$(id -u) $$(pwd) >> /notes/post"]
        user: "1:1"
        working_dir: /notes
        environment: [WHO=me]
      - {command: ["sh", "-c", "echo second >> /notes/post"]}
    pre_stop:
      - {command: ["sh", "-c", "echo before >> /notes/pre"]}
""")
    notes = project.file.with_name("notes")
    notes.mkdir()
    notes.chmod(0o777)
    project("up", "-d")
    assert (notes / "post").read_text() == "me 1 /notes\nsecond\n"
    project("stop", "-t", "0")
    assert (notes / "pre").read_text() == "before\n"
    project.describe("""
services:
  hooked: {image: host, command: sleep 1000, stop_signal: SIGKILL, post_start: [{command: ["sh", "-c", "exit 5"]}]}
""")
    failed = project("up", "-d", check=False)
    assert failed.returncode == 1
    assert "hooked hook exited with status 5" in failed.stderr


# what up does with what is there


FILE = """
services:
  db: {image: host, command: sleep 1000, stop_signal: SIGKILL}
  web: {image: host, command: sleep 1000, stop_signal: SIGKILL, depends_on: [db], environment: {A: "%s"}}
  extra: {image: host, command: sleep 1000, stop_signal: SIGKILL, profiles: [more]}
"""


def test_up_makes_what_is_missing_and_leaves_what_is_right(project: Described) -> None:
    project.describe(FILE % 1)

    def ids() -> dict[str, str]:
        return {name: item["ID"] for name, item in project.ps().items()}

    project("up", "-d", "--scale", "web=3")
    first = ids()
    assert set(first) == {"db-1", "web-1", "web-2", "web-3"}
    project("up", "-d", "--scale", "web=3")
    assert ids() == first
    project("scale", "web=1")
    assert set(ids()) == {"db-1", "web-1"}

    project("up", "-d", "--force-recreate", "-t", "0", "web")
    second = ids()
    assert second["db-1"] == first["db-1"]
    assert second["web-1"] != first["web-1"]
    project.describe(FILE % 2)
    project("up", "-d", "--no-recreate")
    assert ids() == second
    project("up", "-d", "-t", "0")
    third = ids()
    assert third["db-1"] == first["db-1"]
    assert third["web-1"] != second["web-1"]

    project("--profile", "more", "up", "-d")
    assert set(ids()) == {"db-1", "web-1", "extra-1"}
    project("--profile", "more", "down", "-t", "0")
    project("up", "-d", "--no-deps", "web")
    assert set(ids()) == {"web-1"}
    project("up", "-d", "web")
    assert set(ids()) == {"web-1", "db-1"}
    project.describe("services:\n  db: {image: host, command: sleep 1000, stop_signal: SIGKILL}\n")
    warned = project("up", "-d")
    assert "web" in warned.stderr
    assert "web-1" in ids()
    project("up", "-d", "--remove-orphans", "-t", "0")
    assert set(ids()) == {"db-1"}


def test_create_then_start_and_rm(project: Described) -> None:
    project.describe(FILE % 1)
    project("create")
    assert project.states() == {"db-1": "created", "web-1": "created"}
    project("start")
    assert project.states() == {"db-1": "running", "web-1": "running"}
    project("stop", "-t", "0", "web")
    project("rm", "-f")
    assert project.states() == {"db-1": "running"}
    project("kill")
    assert project.ps()["db-1"]["ExitCode"] == 137


def test_a_killed_process_of_a_service_that_always_restarts_is_there_again(project: Described) -> None:
    project.describe("""
services:
  lives: {image: host, command: ["sh", "-c", "echo up; exec sleep 1000"], restart: always, stop_signal: SIGKILL}
""")
    project("up", "-d")
    until(lambda: project.logs("lives") == ["up"])
    listed = project("top").stdout
    pid = next(
        int(word)
        for line in listed.splitlines()
        if "sleep" in line
        for word in line.split()
        if word.isdigit() and int(word) > 1
    )
    os.kill(pid, signal.SIGKILL)
    until(lambda: project.logs("lives") == ["up", "up"])
    assert project.states() == {"lives-1": "running"}


def test_an_attached_up_ends_with_the_code_that_it_is_asked_for(project: Described) -> None:
    project.describe("""
services:
  stays: {image: host, command: sleep 1000, stop_signal: SIGKILL}
  ends: {image: host, command: ["sh", "-c", "echo out; echo err >&2; exit 5"]}
""")
    done = project("up", "--abort-on-container-exit", "-t", "0", check=False)
    assert done.returncode == 5
    assert "ends-1   | out" in done.stdout
    assert "ends-1   | err" in done.stderr
    assert "ends-1 exited with code 5" in done.stdout
    assert set(project.states().values()) == {"exited"}
    assert project("up", "--exit-code-from", "stays", "-t", "0", check=False).returncode == 137
    assert json.dumps(project.states()).count("exited") == 2
