"""Each option of `run` does what it says, and other commands know one-off containers. Needs root."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from . import image_tools
from .service_tools import Described, until
from .test_run import ONE, TWO, Begun

pytestmark = pytest.mark.usefixtures("root")
FILE = """
services:
  web:
    image: host
    init: true
    hostname: of-web
    command: [sleep, "1000"]
    environment: {A: of the file, B: of the file}
    labels: {mine: of the file}
    cap_add: [NET_ADMIN]
    cap_drop: [CHOWN]
    ports: ["18080:80"]
    volumes: ["data:/data"]
    networks: {default: {aliases: [shop]}}
    restart: always
    depends_on: [db]
  db: {image: host, command: [sleep, "1000"], init: true}
volumes: {data: {}}
"""


def printed(project: Described, *arguments: str) -> str:
    return project("run", "--rm", "-q", "-T", *arguments).stdout.strip()


def test_variables_are_those_that_were_asked_for(project: Described, tmp_path: Path) -> None:
    project.describe(FILE)
    first, second = tmp_path / "first", tmp_path / "second"
    first.write_text("C=first\nD=$G-x\nG=file\n")
    second.write_text("C=second\nE='two words'\n")
    (tmp_path / ".env").write_text("F=of .env\n")
    files = ("--env-from-file", str(first), "--env-from-file", str(second))
    script = 'echo "$A/$B/$C/$D/$E/$F/$G/${NOT-unset}"'
    said = printed(project, *files, "-e", "A=asked", "-e", "F", "-e", "G=asked", "-e", "NOT", "web", "sh", "-c", script)
    assert said == "asked/of the file/first/asked-x/two words/of .env/asked/unset"
    assert "No such file" in project("run", "--env-from-file", "/no/such", "web", "true", check=False).stderr


def test_the_process_is_as_asked(project: Described) -> None:
    project.describe(FILE)
    assert printed(project, "-u", "daemon", "-w", "/usr", "web", "sh", "-c", "id -un; pwd") == "daemon\n/usr"
    assert printed(project, "--entrypoint", "echo 'a b'", "web") == "a b"
    assert printed(project, "--entrypoint", "echo 'a b'", "web", "c", "d") == "a b c d"
    assert printed(project, "--entrypoint", "", "web", "echo", "x") == "x"
    assert printed(project, "web", "hostname") == "of-web"


def test_capabilities_are_added_and_dropped(project: Described) -> None:
    project.describe(FILE)
    net_admin, chown, ptrace, kill = 1 << 12, 1, 1 << 19, 1 << 5

    def capabilities(*options: str) -> int:
        return int(printed(project, *options, "web", "sh", "-c", "grep CapEff /proc/self/status").split()[1], 16)

    plain = capabilities()
    assert plain & net_admin
    assert not plain & chown
    changed = capabilities("--cap-add", "CHOWN", "--cap-drop", "NET_ADMIN", "--cap-drop", "KILL")
    assert changed & chown
    assert not changed & (net_admin | kill | ptrace)


def test_mounts_are_added(project: Described, tmp_path: Path) -> None:
    project.describe(FILE)
    (tmp_path / "given").mkdir()
    (tmp_path / "given" / "file").write_text("of the host")
    script = "cat /given/file; touch /data/a /free/b; echo x > /given/file 2>/dev/null || echo read-only"
    mounts = ("-v", f"{tmp_path}/given:/given:ro", "-v", "undeclared:/free")
    assert printed(project, *mounts, "web", "sh", "-c", script) == "of the hostread-only"
    assert printed(project, "-v", "undeclared:/other", "web", "ls", "/other", "/data") == "/data:\na\n\n/other:\nb"
    project("down", "-v")
    listed = project.machine.pycompose("volume", "ls").stdout
    assert "undeclared" in listed
    assert "p_data" not in listed
    project.machine.pycompose("volume", "rm", "undeclared")
    refused = project("run", "-v", "a:b:c:d", "web", "true", check=False)
    assert refused.returncode == 1
    assert "a:b:c:d" in refused.stderr


def test_names_and_labels(project: Described) -> None:
    project.describe(FILE)
    container = project("run", "-d", "--name", "mine", "-l", "mine=asked", "--label", "more=1", "web").stdout.strip()
    one = project.ps()["mine"]
    labels = dict(pair.split("=", 1) for pair in one["Labels"].split(","))
    assert (labels["mine"], labels["more"]) == ("asked", "1")
    assert labels["com.docker.compose.oneoff"] == "True"
    assert labels["com.docker.compose.slug"] == container
    assert labels["com.docker.compose.service"] == "web"
    assert "com.docker.compose.container-number" not in labels
    taken = project("run", "--name", "mine", "web", "true", check=False)
    assert taken.returncode == 1
    assert "mine" in taken.stderr
    assert "KEY=VALUE" in project("run", "-l", "nothing", "web", "true", check=False).stderr


def test_ports_are_published_where_asked(project: Described) -> None:
    project.describe(FILE)
    project("up", "-d", "web")
    project("run", "-d", "--name", "none", "web")
    project("run", "-d", "--name", "one", "-p", "18081:80", "-p", "127.0.0.1:18082:81/udp", "web")
    assert project.ps()["none"]["Publishers"] == []
    ports = {
        (port["PublishedPort"], port["TargetPort"], port["Protocol"]) for port in project.ps()["one"]["Publishers"]
    }
    assert ports == {(18081, 80, "tcp"), (18082, 81, "udp")}
    clash = project("run", "--rm", "--service-ports", "web", "true", check=False)
    assert clash.returncode != 0
    assert "18080" in clash.stderr
    project("stop", "web")
    project("run", "-d", "--name", "all", "-P", "web")
    assert [port["PublishedPort"] for port in project.ps()["all"]["Publishers"]] == [18080]
    both = project("run", "-P", "-p", "1:1", "web", "true", check=False)
    assert "--service-ports and --publish are incompatible" in both.stderr
    assert project("run", "-p", "none", "web", "true", check=False).returncode == 1


def test_a_published_port_leads_to_the_one_off_alone(project: Described) -> None:
    project.describe(FILE)
    server = "import socket; s = socket.create_server(('', 80)); c, _ = s.accept(); c.sendall(b'the one'); c.close()"
    project("run", "-d", "-p", "18083:80", "web", "python3", "-c", server)
    ask = "import socket; print(socket.create_connection(('127.0.0.1', 18083), 5).recv(99).decode())"
    answer = until(lambda: project.machine.python(ask, check=False).stdout.strip(), 10)
    assert answer == "the one"


def test_it_has_the_names_of_its_service_only_where_asked(project: Described) -> None:
    project.describe(FILE)
    project("run", "-d", "--name", "one", "web")
    found = "getent hosts {} >/dev/null && echo there || echo none"
    assert project.inside("db", found.format("one")) == "there"
    assert project.inside("db", found.format("web")) == "none"
    assert project.inside("db", found.format("shop")) == "none"
    project("run", "-d", "--name", "other", "--use-aliases", "web")
    assert project.inside("db", found.format("web")) == "there"
    assert project.inside("db", found.format("shop")) == "there"


def test_what_it_depends_on_is_left_out_where_asked(project: Described) -> None:
    project.describe(TWO)
    project("run", "--rm", "--no-deps", "web", "true")
    assert project.states() == {}
    project("run", "--rm", "web", "true")
    assert project.states() == {"db-1": "running"}


def test_conditions_are_waited_for(project: Described) -> None:
    project.describe(TWO.replace("[db]", "{db: {condition: service_completed_successfully}}"))
    project.describe(project.file.read_text().replace('[sleep, "1000"]', "[sh, -c, 'sleep 1; exit ${CODE:-0}']"))
    assert project("run", "--rm", "web", "echo", "after").stdout == "after\n"
    project("down")
    project.describe(project.file.read_text().replace("${CODE:-0}", "3"))
    failed = project("run", "--rm", "web", "echo", "after", check=False)
    assert failed.returncode == 1
    assert failed.stdout == ""
    assert set(project.states()) == {"db-1"}


def test_orphans_are_removed_where_asked(project: Described) -> None:
    project.describe(TWO)
    project("run", "web", "true")
    assert len(project.states()) == 2
    told = project("run", "--rm", "web", "true").stderr
    assert "orphan" in told.lower()
    project("run", "--rm", "--remove-orphans", "web", "true")
    assert set(project.states()) == {"db-1"}


def test_a_dry_run_makes_nothing(project: Described) -> None:
    project.describe(TWO)
    assert "create p-web-run-" in project("run", "--dry-run", "web", "true").stdout
    assert project.states() == {}


def test_quiet_prints_nothing_but_what_the_command_does(project: Described) -> None:
    project.describe(TWO)
    done = project("run", "--rm", "--quiet", "web", "echo", "said")
    assert (done.stdout, done.stderr) == ("said\n", "")


def test_post_start_hooks_run(project: Described) -> None:
    hook = "post_start: [{command: [sh, -c, 'echo hooked > /proc/1/fd/1; touch /tmp/hooked']}]"
    project.describe(f"services:\n  web: {{image: host, {hook}}}\n")
    script = "for n in 1 2 3 4 5 6 7 8 9; do [ -e /tmp/hooked ] && break; sleep 0.3; done; echo done"
    assert project("run", "--rm", "web", "sh", "-c", script).stdout == "hooked\ndone\n"


# --- other commands ---


def test_ps_shows_them_with_all(project: Described) -> None:
    project.describe(ONE)
    project("run", "-d", "--name", "one", "web")
    assert project("ps", "-q").stdout == ""
    assert "one" in project("ps", "-a").stdout
    assert "one" in project("ps", "--status", "running").stdout


def test_exec_attach_and_top_find_one_where_there_is_no_replica(project: Described) -> None:
    project.describe(ONE)
    project("run", "-d", "web", "sh", "-c", "read line; echo got $line; exit 3")
    assert project.inside("web", "echo in it") == "in it"
    assert "read line" in project("top").stdout
    done = project.machine.pycompose("-p", "p", "-f", str(project.file), "attach", "web", check=False, input="x\n")
    assert (done.returncode, done.stdout) == (3, "got x\n")


def test_a_replica_is_before_a_one_off(project: Described) -> None:
    project.describe(ONE)
    project("run", "-d", "--name", "one", "-e", "WHO=one-off", "web")
    project("up", "-d")
    assert project.inside("web", "echo $WHO") == ""


def test_logs_events_and_rm_leave_them(project: Described) -> None:
    project.describe(ONE)
    project("run", "--name", "one", "-T", "web", "echo", "said")
    project("run", "-d", "--name", "two", "web", "sh", "-c", "echo said; sleep 1000")
    assert "said" not in project("logs").stdout
    assert project("events", "--json", "--since", "1h", "--until", "0s").stdout == ""
    project("rm", "-f")
    assert set(project.states()) == {"one", "two"}


def test_stop_and_kill_reach_them(project: Described) -> None:
    project.describe(ONE)
    project("run", "-d", "--name", "one", "web")
    project("stop")
    assert project.states() == {"one": "exited"}
    project("run", "-d", "--name", "two", "web")
    project("kill", "web")
    assert project.states()["two"] == "exited"
    assert "no container to kill" in project("kill").stderr


def test_kill_removes_orphans_where_asked(project: Described) -> None:
    project.describe(TWO)
    project("up", "-d", "db")
    project.describe(ONE)
    project("kill")
    assert project.states() == {"db-1": "running"}
    project("kill", "--remove-orphans")
    assert project.states() == {}


def test_down_leaves_one_that_runs_and_takes_it_with_the_orphans(project: Described) -> None:
    project.describe(ONE)
    project("run", "-d", "--name", "one", "web")
    project("up", "-d")
    project("down")
    assert project.states() == {"one": "running"}
    project("down", "--remove-orphans")
    assert project.states() == {}


def test_down_takes_an_attached_one_that_is_to_be_removed(project: Described) -> None:
    project.describe(ONE)
    process = Begun(project, "--rm", "-T", "web", "sleep", "1000", stdin=subprocess.DEVNULL)
    until(lambda: "running" in project.states().values())
    project("down", "--remove-orphans")
    assert process.wait(30) == 143
    assert project.states() == {}


def test_stats_prints_whole_ids_where_asked(project: Described) -> None:
    project.describe(ONE)
    container = project("run", "-d", "web").stdout.strip()
    whole = json.loads(project("stats", "--no-stream", "--no-trunc", "--format", "json").stdout)
    short = json.loads(project("stats", "--no-stream", "--format", "json").stdout)
    assert (whole["ID"], short["ID"]) == (container, container[:12])


def test_commit_freezes_unless_told_otherwise(project: Described, tmp_path: Path) -> None:
    (tmp_path / "small.tar").write_bytes(image_tools.tar())
    project.machine.pycompose("image", "import", "small", str(tmp_path / "small.tar"))
    project.describe('services: {web: {image: small, command: [sleep, "1000"], init: true}}')
    project("up", "-d")
    for options in ([], ["--pause=false"], ["--no-pause"], ["-p=false"], ["-p"]):
        project("commit", *options, "web", "made:1")
    events = project("events", "--json", "--since", "1h", "--until", "0s").stdout
    actions = [json.loads(line)["action"] for line in events.splitlines()]
    assert [action for action in actions if "pause" in action] == ["pause", "unpause"] * 2
    project("pause")
    project("commit", "web", "made:1")
    assert project.states() == {"web-1": "paused"}
