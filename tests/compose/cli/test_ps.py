"""ps, ls, port, logs over records that tests write: golden tables, docker's words, and what is not imported."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pycompose.compose.cli import main
from pycompose.compose.cli.arguments import moment
from pycompose.compose.cli.commands.ps import as_json, ports, status
from pycompose.compose.cli.output import tables
from pycompose.compose.model.observed import Label, ObservedContainer, PublishedPort, Supervision

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture(autouse=True)
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PYCOMPOSE_STATE", str(tmp_path / "state"))
    monkeypatch.setenv("PYCOMPOSE_RUN", str(tmp_path / "run"))
    for name in [name for name in os.environ if name.startswith("COMPOSE_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str]) -> Run:
    def call(*arguments: str) -> tuple[int, str, str]:
        code = main(list(arguments))
        out = capfd.readouterr()
        return code, out.out, out.err

    return call


def container(folder: Path, project: str, service: str, number: int = 1, log: str = "", **ended: Any) -> str:
    """A record as the runtime writes it; with `code` it has exited."""
    container_id = f"{service:x<8}{number}".encode().hex().ljust(64, "0")[:64]
    place = folder / "state" / "projects" / project / "containers" / container_id
    place.mkdir(parents=True)
    own = {"image": "host", "command": ["sleep", "1000"], "networks": [f"{project}_default"]}
    labels = {
        Label.SERVICE: service,
        Label.NUMBER: str(number),
        Label.CONFIG_FILES: f"/srv/{project}/compose.yaml",
        "io.pycompose.service": json.dumps(own),
    }
    name = f"{project}-{service}-{number}"
    state = {"name": name, "created": time.time() - 200, "annotations": labels, "image": "host"}
    if ended:
        (place / "exit.json").write_text(json.dumps({"code": ended["code"], "finished": time.time() - 90}))
    (place / "state.json").write_text(json.dumps(state))
    (place / "log").write_text(log)
    return container_id


def test_ps_prints_docker_composes_columns(places: Path, run: Run) -> None:
    container(places, "x", "web", code=0)
    container(places, "x", "db")
    code, out, _ = run("-p", "x", "ps", "-a")
    assert code == 0
    assert out == (
        "NAME      IMAGE   COMMAND        SERVICE   CREATED         STATUS                          PORTS\n"
        'x-db-1    host    "sleep 1000"   db        3 minutes ago   Created\n'
        'x-web-1   host    "sleep 1000"   web       3 minutes ago   Exited (0) About a minute ago\n'
    )


def test_ps_shows_only_what_runs_unless_asked(places: Path, run: Run) -> None:
    container(places, "x", "web", code=3)
    assert run("-p", "x", "ps")[1].splitlines()[1:] == []
    assert "Exited (3)" in run("-p", "x", "ps", "--status", "exited")[1]
    assert "Exited (3)" in run("-p", "x", "ps", "--filter", "status=exited")[1]
    assert run("-p", "x", "ps", "-a", "--services")[1] == "web\n"
    assert len(run("-p", "x", "ps", "-aq")[1].strip()) == 64
    assert run("-p", "x", "ps", "--filter", "colour=red")[0] == 1


def test_ps_prints_one_json_object_a_line_with_docker_composes_keys(places: Path, run: Run) -> None:
    container(places, "x", "web", code=3)
    container(places, "x", "web", 2, code=0)
    rows = [json.loads(line) for line in run("-p", "x", "ps", "-a", "--format", "json")[1].splitlines()]
    assert [(r["Name"], r["Service"], r["State"], r["ExitCode"], r["Project"]) for r in rows] == [
        ("x-web-1", "web", "exited", 3, "x"),
        ("x-web-2", "web", "exited", 0, "x"),
    ]
    assert {"Command", "CreatedAt", "Health", "ID", "Image", "Labels", "Networks", "Ports", "Publishers", "Status"} <= {
        *rows[0]
    }


def test_json_is_compact_and_ids_are_short_unless_asked(places: Path, run: Run) -> None:
    container(places, "x", "web", code=0)
    line = run("-p", "x", "ps", "-a", "--format", "json")[1]
    assert '"Name":"x-web-1","Names":' in line
    assert json.loads(line)["ID"] == run("-p", "x", "ps", "-aq")[1].strip()[:12]
    whole = json.loads(run("-p", "x", "ps", "-a", "--no-trunc", "--format", "json")[1])
    assert whole["ID"] == run("-p", "x", "ps", "-aq")[1].strip()


def test_a_template_lists_fields_and_labels_and_its_errors_come_without_rows_too(places: Path, run: Run) -> None:
    wrong = run("-p", "x", "ps", "--format", "{{.Nme}}")
    assert (wrong[0], wrong[1]) == (1, "")
    assert "field Nme; there are: Command, CreatedAt, " in wrong[2]
    container(places, "x", "web", code=0)
    label = '{{.Label "com.docker.compose.service"}} {{.Label "nope"}}|'
    assert run("-p", "x", "ps", "-a", "--format", label)[1] == "web |\n"
    assert run("-p", "x", "ps", "-a", "--format", r"table {{.Names}}\t{{.State}}")[1] == (
        "NAMES     STATE\nx-web-1   exited\n"
    )
    assert run("ls", "-a", "--format", "{{.Name}}={{.Status}}")[1] == "x=exited(1)\n"
    for command in (("ls",), ("volumes",), ("images",), ("volume", "ls"), ("image", "ls")):
        code, out, err = run("-p", "x", *command, "--format", "{{.Nope}}")
        assert (code, out) == (1, ""), command
        assert "can't evaluate field Nope; there are: " in err, command


def test_the_user_s_own_form_is_taken_where_none_is_given(
    places: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    container(places, "x", "web", code=0)
    monkeypatch.setenv("DOCKER_CONFIG", str(places))
    (places / "config.json").write_text('{"psFormat": "{{.Service}}!"}')
    assert run("-p", "x", "ps", "-a")[1] == "web!\n"
    assert run("-p", "x", "ps", "-a", "--format", "{{.State}}")[1] == "exited\n"
    assert run("-p", "x", "ps", "-a", "--format", "table")[1].startswith("NAME ")
    assert run("-p", "x", "ps", "-a", "-q")[1].count("!") == 0
    (places / "config.json").write_text("[")
    assert run("-p", "x", "ps", "-a")[1].startswith("NAME ")


def test_a_service_that_is_not_there_is_named_with_what_was_meant(places: Path, run: Run) -> None:
    container(places, "x", "web")
    code, _, err = run("-p", "x", "ps", "wbe")
    assert (code, err) == (1, 'error: no such service: wbe\nhint: did you mean "web"?\n')
    assert run("-p", "x", "logs", "nope")[0] == 1
    code, _, err = run("-p", "x", "exec", "web", "true")
    assert (code, err) == (1, 'error: service "web" is not running\nhint: `pycompose start web` starts it\n')


def test_ls_tells_states_and_files(places: Path, run: Run) -> None:
    container(places, "x", "web", code=0)
    container(places, "x", "db")
    assert run("ls")[1] == "NAME   STATUS   CONFIG FILES\n"
    assert run("ls", "-a")[1].splitlines()[1] == "x      created(1), exited(1)   /srv/x/compose.yaml"
    assert json.loads(run("ls", "-a", "--format", "json")[1])[0]["ConfigFiles"] == "/srv/x/compose.yaml"
    assert run("ls", "-aq", "--filter", "name=^y")[1] == ""


def lines(*texts: str, minute: int = 0) -> str:
    return "".join(f"2026-01-31T12:{minute:02}:{n:02}.000000000Z {t}\n" for n, t in enumerate(texts))


def test_logs_are_merged_by_time_prefixed_and_split_by_stream(places: Path, run: Run) -> None:
    container(places, "x", "web", log=lines("stdout F one", "stderr F two", "stdout P three ", "stdout F four"))
    container(places, "x", "database", log=lines("stdout F zero"))
    code, out, err = run("-p", "x", "logs")
    assert code == 0
    assert sorted(out.splitlines()) == ["database-1  | zero", "web-1       | one", "web-1       | three four"]
    assert err == "web-1       | two\n"


def test_logs_take_tails_and_times(places: Path, run: Run) -> None:
    container(places, "x", "web", log=lines(*(f"stdout F {n}" for n in range(5))))
    say = ("-p", "x", "logs", "--no-log-prefix")
    assert run(*say, "-n", "2")[1] == "3\n4\n"
    assert run(*say, "--tail", "0")[1] == ""
    assert run(*say, "--since", "2026-01-31T12:00:03Z")[1] == "3\n4\n"
    assert run(*say, "--until", "2026-01-31T12:00:01Z")[1] == "0\n"
    assert run(*say, "-t", "-n1")[1] == "2026-01-31T12:00:04.000000000Z 4\n"
    assert run(*say, "--tail", "few")[0] == 1
    assert run(*say, "--since", "yesterday")[0] == 1
    assert run("-p", "x", "logs", "-f", "-n", "1", "web")[1] == "web-1  | 4\n"  # nothing runs: it ends


def test_rotated_logs_are_read_in_order(places: Path, run: Run) -> None:
    container_id = container(places, "x", "web", log=lines("stdout F c", "stdout F d", minute=2))
    log = places / "state" / "projects" / "x" / "containers" / container_id / "log"
    Path(f"{log}.2").write_text(lines("stdout F a"))
    Path(f"{log}.1").write_text(lines("stdout F b", minute=1))
    assert run("-p", "x", "logs", "--no-log-prefix")[1] == "a\nb\nc\nd\n"
    assert run("-p", "x", "logs", "--no-log-prefix", "-n", "3")[1] == "b\nc\nd\n"


def test_times_may_be_ages_moments_and_seconds() -> None:
    assert moment("90s", 1000.0) == b"1970-01-01T00:15:10.000000000Z"
    assert moment("1m30s", 1000.0) == moment("90s", 1000.0)
    assert moment("910", 0.0) == moment("90s", 1000.0)
    assert moment("2026-01-31T12:00:00.123456789Z", 0.0) == b"2026-01-31T12:00:00.123456000Z"
    assert moment("", 0.0) == b""


def seen(status: Any = "running", health: Any = "none", **more: Any) -> ObservedContainer:
    times: dict[str, Any] = {"created": 0.0, "started": 10.0, "finished": 20.0}
    return ObservedContainer(
        "ab" * 32, "x-web-1", "web", 1, status, image="host", supervision=Supervision(health=health), **times, **more
    )


@pytest.mark.parametrize(
    ("one", "told"),
    [
        (seen(), "Up 3 minutes"),
        (seen(health="healthy"), "Up 3 minutes (healthy)"),
        (seen(health="starting"), "Up 3 minutes (health: starting)"),
        (seen(health="unhealthy"), "Up 3 minutes (unhealthy)"),
        (seen("paused"), "Up 3 minutes (Paused)"),
        (seen("created"), "Created"),
        (seen("exited", exit_code=137), "Exited (137) 3 minutes ago"),
        (seen("exited", exit_code=137, oom_killed=True), "Exited (137) 3 minutes ago (out of memory)"),
        (seen("exited"), "Exited (?) 3 minutes ago"),
        (seen("restarting", exit_code=1), "Restarting (1) 3 minutes ago"),
    ],
)
def test_a_status_is_told_in_dockers_words(one: ObservedContainer, told: str) -> None:
    assert status(one, 205.0) == told


def test_ports_next_to_each_other_are_a_range() -> None:
    def tcp(port: int, target: int, ip: str = "0.0.0.0") -> PublishedPort:
        return PublishedPort(ip, port, target, "tcp")

    assert ports([tcp(8786, 8786)]) == "0.0.0.0:8786->8786/tcp"
    assert ports([tcp(8787, 8787), tcp(8786, 8786)]) == "0.0.0.0:8786-8787->8786-8787/tcp"
    assert ports([tcp(80, 8080), tcp(81, 9090)]) == "0.0.0.0:80->8080/tcp, 0.0.0.0:81->9090/tcp"
    assert (
        ports([tcp(80, 80, "::1"), PublishedPort("0.0.0.0", 53, 53, "udp")]) == "0.0.0.0:53->53/udp, [::1]:80->80/tcp"
    )


def test_ports_that_are_exposed_and_not_published_are_told_without_an_address() -> None:
    published = (PublishedPort("0.0.0.0", 8080, 80, "tcp"),)
    one = seen("running", ports=published, exposed=("80/tcp", "81-82/tcp", "90/udp"))
    row = as_json(one, "p", (), 0.0)
    assert row["Ports"] == "81-82/tcp, 90/udp, 0.0.0.0:8080->80/tcp"
    publishers = row["Publishers"]
    assert isinstance(publishers, list)
    assert publishers[0] == {"URL": "", "TargetPort": 81, "PublishedPort": 0, "Protocol": "tcp"}
    assert [port["TargetPort"] for port in publishers] == [81, 82, 90, 80]


def test_a_long_command_is_cut() -> None:
    command = ["sh", "-c", "while true; do echo; done"]
    cell = str(as_json(seen(), "x", command, 200.0)["Command"])
    assert cell == '"sh -c while true; d…"'
    assert str(as_json(seen(), "x", command, 200.0, whole=True)["Command"]).endswith('done"')


@pytest.mark.parametrize(
    ("seconds", "told"),
    [
        (0.5, "Less than a second"),
        (1, "1 second"),
        (59, "59 seconds"),
        (60, "About a minute"),
        (150, "2 minutes"),
        (3600, "About an hour"),
        (5 * 3600, "5 hours"),
        (3 * 86400, "3 days"),
        (21 * 86400, "3 weeks"),
        (90 * 86400, "3 months"),
        (800 * 86400, "2 years"),
    ],
)
def test_ages_are_dockers(seconds: float, told: str) -> None:
    assert tables.age(seconds) == told


def test_sizes_have_four_digits() -> None:
    assert (tables.size(0), tables.size(1536), tables.size(1500 << 20)) == ("0B", "1.5KiB", "1.465GiB")
    assert tables.decimal_size(2088) == "2.088kB"


def test_port_says_where(places: Path, run: Run) -> None:
    container(places, "x", "web")
    assert run("-p", "x", "port", "web", "80")[0] == 1
    assert run("-p", "x", "port", "web", "http")[0] == 1


@pytest.mark.parametrize("command", [("ps",), ("ls",), ("port", "web", "80"), ("logs",), ("version",), ("top",)])
def test_looking_loads_no_engine(places: Path, command: tuple[str, ...]) -> None:
    """With the file in the folder: the project's name is found without parsing it."""
    container(places, places.name.lower().replace("_", "-"), "web")
    (places / "compose.yaml").write_text("name: x\nservices: {web: {image: host}}\n")
    container(places, "x", "web")
    code = (
        f"import sys; from pycompose.compose.cli import main; main({list(command)!r});"
        "heavy = ('trio', 'networkx', 'pyroute2', 'yaml', 'pycompose.compose.model.project');"
        "print([m for m in heavy if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=os.environ)
    assert done.stdout.splitlines()[-1] == "[]", done.stdout


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("services: {}\n", "folder"),
        ("name: quick\nservices: {}\n", "quick"),
        ("name: 'quoted'  # why\nservices: {}\n", "quoted"),
        ("services:\n  web: {image: host}\nname: last\n", "last"),
        ("name: ${NAME:-variable}\nservices: {}\n", "variable"),
        ("{name: flow, services: {}}\n", "flow"),
        ("services:\n  web:\n    image: host\n    labels:\n      name: inner\n", "folder"),
    ],
)
def test_the_quick_name_is_the_loaders(places: Path, run: Run, text: str, name: str) -> None:
    folder = places / "folder"
    folder.mkdir()
    (folder / "compose.yaml").write_text(text)
    container(places, name, "web")
    assert f"{name}-web-1" in run("-f", str(folder / "compose.yaml"), "ps", "-a")[1]
    os.chdir(folder)
    assert f"{name}-web-1" in run("ps", "-a")[1]
    (folder / "sub").mkdir()
    os.chdir(folder / "sub")
    assert f"{name}-web-1" in run("ps", "-a")[1]


@pytest.mark.parametrize("kind", ["folder", "fifo", "zero", "huge", "unreadable"])
def test_what_is_no_env_file_holds_nobody_up(places: Path, run: Run, kind: str) -> None:
    """As for the loader: a folder or a device is none, and what is too large is told."""
    container(places, "x", "web")
    (places / "compose.yaml").write_text("name: x\nservices: {}\n")
    path = places / ".env"
    match kind:
        case "folder":
            path.mkdir()
        case "fifo":
            os.mkfifo(path)
        case "zero":
            path.symlink_to("/dev/zero")
        case "huge":
            path.touch()
            os.truncate(path, 1 << 40)
        case "unreadable":
            path.write_bytes(b"A=\xff")
    code, out, error = run("ps", "-a")
    assert "x-web-1" in out or (code and "larger than 16 MiB" in error) or (code and "UTF-8" in error)


def test_the_environment_names_the_project(places: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    container(places, "other", "web")
    (places / "compose.yaml").write_text("name: x\nservices: {}\n")
    (places / ".env").write_text("COMPOSE_PROJECT_NAME=other\n")
    assert "other-web-1" in run("ps", "-a")[1]
    (places / ".env").unlink()
    assert "other-web-1" not in run("ps", "-a")[1]
    monkeypatch.setenv("COMPOSE_PROJECT_NAME", "other")
    assert "other-web-1" in run("ps", "-a")[1]


def test_a_name_that_leaves_its_folder_is_refused(run: Run) -> None:
    assert run("-p", "../etc", "ps")[0] == 1
    assert run("-p", "A", "down")[0] == 1
