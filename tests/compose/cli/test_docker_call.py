"""Calls in docker's manner: as a plugin of its client, as docker-compose, with the word compose; and help."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from pycompose.compose.cli import docker_call
from pycompose.compose.cli.docker_call import AnotherMachine, read_call
from pycompose.compose.cli.root import COMMANDS

Run = Callable[..., tuple[int, str, str]]
PLUGIN = "/root/.docker/cli-plugins/docker-compose"
BY_CLIENT = {"DOCKER_CLI_PLUGIN_ORIGINAL_CLI_COMMAND": "docker", "DOCKER_HOST": "tcp://127.0.0.1:1"}


@pytest.mark.parametrize(
    ("words", "program", "left"),
    [
        ("pycompose up -d", "pycompose", "up -d"),
        ("pycompose compose up -d", "pycompose", "up -d"),
        ("pycompose -f x compose", "pycompose", "-f x compose"),
        ("docker-compose up -d", "docker-compose", "up -d"),
        ("docker-compose -f x up", "docker-compose", "-f x up"),
        (f"{PLUGIN} compose up -d", "docker compose", "up -d"),
        (f"{PLUGIN} compose compose up", "docker compose", "compose up"),
        (f"{PLUGIN} --context default compose -f x ps", "docker compose", "-f x ps"),
        (f"{PLUGIN} -D --tls=false -l debug --log-level=info compose version", "docker compose", "version"),
        (f"{PLUGIN} help compose", "docker compose", "help"),
        (f"{PLUGIN} compose help up", "docker compose", "help up"),
        (f"{PLUGIN} __complete compose up", "docker compose", "__complete up"),
    ],
)
def test_docker_s_words_are_taken_off(words: str, program: str, left: str) -> None:
    path, *arguments = words.split()
    call = read_call(path, arguments, BY_CLIENT if path == PLUGIN else {})
    assert (call.program, " ".join(call.arguments)) == (program, left)


@pytest.mark.parametrize("option", ["-H=ssh://there", "--host tcp://1.2.3.4:1", "--context=over-there", "-c there"])
def test_a_call_that_is_meant_for_another_machine_is_refused(option: str) -> None:
    with pytest.raises(AnotherMachine, match="on this machine"):
        read_call(PLUGIN, [*option.split(), "compose", "up"], BY_CLIENT)


def test_the_client_s_configuration_is_where_credentials_are(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DOCKER_CONFIG", "/elsewhere")
    read_call(PLUGIN, ["--config", str(tmp_path), "compose", "pull"], BY_CLIENT)
    assert os.environ["DOCKER_CONFIG"] == str(tmp_path)


def called(name: str, *arguments: str, environment: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """The program, called by the name `name`."""
    code = f"import sys; sys.argv[0] = {name!r}; from pycompose.__main__ import main; main()"
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        capture_output=True,
        text=True,
        env={**os.environ, **(environment or {})},
        check=False,
    )


def test_the_client_s_question_is_answered_as_its_protocol_wants(places: Path) -> None:
    answer = called(PLUGIN, "docker-cli-plugin-metadata")
    assert (answer.returncode, answer.stderr) == (0, "")
    fields = json.loads(answer.stdout)
    assert (fields["SchemaVersion"], fields["Vendor"]) == ("0.1.0", "pycompose")
    assert fields["ShortDescription"]
    assert fields["Version"]


def test_who_took_us_for_docker_compose_is_told_which_one(places: Path) -> None:
    assert called(PLUGIN, "compose", "version", environment=BY_CLIENT).stdout.startswith("Docker Compose version v5.")
    assert called("docker-compose", "--version").stdout.startswith("Docker Compose version v5.")
    assert called("docker-compose", "version", "--short").stdout == f"{docker_call.SPEAKS}\n"
    assert json.loads(called("docker-compose", "version", "-f", "json").stdout) == {"version": f"v{docker_call.SPEAKS}"}
    assert called("pycompose", "version").stdout.startswith("pycompose ")


def test_texts_name_the_program_as_it_was_called(places: Path) -> None:
    assert called(PLUGIN, "compose", "ps", "--help", environment=BY_CLIENT).stdout.startswith(
        "Usage: docker compose ps "
    )
    wrong = called(PLUGIN, "compose", "ps", "--nope", environment=BY_CLIENT)
    assert (wrong.returncode, wrong.stdout) == (1, "")
    assert "`docker compose ps --help`" in wrong.stderr


def test_the_end_of_the_client_s_connection_interrupts(places: Path) -> None:
    """docker's client closes it when it is told to end and no terminal told us."""
    name = f"pycompose-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(f"\0{name}")
        server.listen()
        code = (
            "import os, sys, time; from pycompose.compose.cli.docker_call import end_with_client; "
            "client = end_with_client(os.environ); print('joined', flush=True); time.sleep(60)"
        )
        child = subprocess.Popen(
            [sys.executable, "-c", code],
            env={**os.environ, "DOCKER_CLI_PLUGIN_SOCKET": f"@{name}"},
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        client, _ = server.accept()
        assert child.stdout is not None
        assert child.stdout.readline() == b"joined\n"
        client.close()
        assert child.wait(20) == -signal.SIGINT
        child.stdout.close()


def test_a_client_that_is_gone_is_no_error() -> None:
    assert docker_call.end_with_client({"DOCKER_CLI_PLUGIN_SOCKET": "@pycompose-nobody"}) is None
    assert docker_call.end_with_client({}) is None


def test_the_tab_key_is_answered_through_docker_s_client(run: Run, places: Path) -> None:
    (places / "compose.yaml").write_text("services: {web: {image: x}, db: {image: x}}")
    assert run("__complete", "stop", "w")[1] == "web\n:4\n"
    described = run("__complete", "ex")[1].splitlines()
    assert described[0].startswith("exec\tRun a command")
    assert run("__completeNoDesc", "exp")[1] == "export\n:4\n"
    assert run("__complete", "-f", "")[1] == ":0\n"


@pytest.mark.parametrize("name", sorted(name for name, row in COMMANDS.items() if row[2]))
def test_help_prints_what_a_command_s_own_option_does(run: Run, name: str) -> None:
    assert run("help", name) == run(name, "--help")


def test_help_knows_commands_of_commands_and_what_is_wrong(run: Run) -> None:
    assert run("help") == run("--help")
    assert run("help", "image", "pull") == run("image", "pull", "--help")
    code, _, err = run("help", "dwn")
    assert (code, err.splitlines()[-1]) == (1, "hint: did you mean down?")
    assert "no commands of its own" in run("help", "up", "web")[2]


@pytest.fixture
def plugins(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "docker"))
    return tmp_path / "docker" / "cli-plugins"


def test_a_plugin_comes_and_goes(run: Run, plugins: Path) -> None:
    assert "link " in run("install-plugin", "--dry-run")[1]
    assert not plugins.exists()
    code, out, _ = run("install-plugin")
    assert (code, str(plugins / "docker-compose") in out) == (0, True)
    assert (plugins / "docker-compose").readlink().name == "pycompose"
    assert run("install-plugin")[0] == 0
    answer = subprocess.run([plugins / "docker-compose", "docker-cli-plugin-metadata"], capture_output=True, text=True)
    assert json.loads(answer.stdout)["SchemaVersion"] == "0.1.0"
    assert run("uninstall-plugin")[0] == 0
    assert list(plugins.iterdir()) == []
    assert run("uninstall-plugin")[0] == 1


def test_another_s_plugin_is_put_aside_on_request_and_put_back(run: Run, plugins: Path) -> None:
    plugins.mkdir(parents=True)
    (plugins / "docker-compose").write_text("another's")
    code, _, err = run("install-plugin")
    assert (code, "is not ours" in err) == (1, True)
    assert run("uninstall-plugin")[0] == 1
    assert run("install-plugin", "--force")[0] == 0
    assert (plugins / "docker-compose").is_symlink()
    assert run("uninstall-plugin")[0] == 0
    assert (plugins / "docker-compose").read_text() == "another's"
    assert len(list(plugins.iterdir())) == 1
