"""The command line: exit codes, no tracebacks, conflicts, suggestions, help, and plans that are only printed."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from pycompose.compose.cli import main, root
from pycompose.compose.cli.output import terminal
from pycompose.compose.cli.output.log_printer import LineStyle, Printer
from pycompose.compose.model import own_variables
from pycompose.compose.model.observed import ObservedContainer

Run = Callable[..., tuple[int, str, str]]

FILE = """
services:
  web: {image: host, command: sleep 10, depends_on: [db], profiles: []}
  db: {image: host, command: sleep 10, volumes: ["data:/data"]}
  debug: {image: host, profiles: [tools]}
volumes: {data: {}}
"""


@pytest.fixture(autouse=True)
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PYCOMPOSE_STATE", str(tmp_path / "state"))
    monkeypatch.setenv("PYCOMPOSE_RUN", str(tmp_path / "run"))
    for name in {name for name in os.environ if name.startswith("COMPOSE_")} | own_variables.OF_COMMANDS.keys():
        monkeypatch.setenv(name, "")  # so that one that a command takes from an env file is gone afterwards
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(terminal, "progress", "auto")
    monkeypatch.setattr(terminal, "ansi", "auto")
    return tmp_path


@pytest.fixture
def file(places: Path) -> Path:
    (places / "compose.yaml").write_text(FILE)
    return places / "compose.yaml"


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str]) -> Run:
    def call(*arguments: str) -> tuple[int, str, str]:
        code = main(list(arguments))
        out = capfd.readouterr()
        return code, out.out, out.err

    return call


def test_a_wrong_option_and_a_missing_file_are_1(run: Run) -> None:
    assert run("ps", "--nope")[0] == 1
    code, _, err = run("up", "-d")
    assert code == 1
    assert err.startswith("error: no configuration file provided: not found\n")
    assert "hint: " in err


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (("dwn",), "did you mean down?"),
        (("up", "--remove-orphan"), "did you mean --remove-orphans?"),
        (("--progres", "tty", "ps"), "did you mean --progress or --profile?"),
        (("kill", "-s", "SIGTREM"), "did you mean SIGTERM?"),
        (("frobnicate",), "`pycompose --help` lists what there is"),
        (("up", "-f", "x.yaml"), "-f goes before the command: pycompose -f … up"),
        (("ps", "--project-name=x"), "--project-name goes before the command: pycompose --project-name … ps"),
        (("-d", "up"), "-d goes after the command: pycompose up -d"),
        (
            ("--remove-orphans", "down", "-v"),
            "--remove-orphans goes after the command: pycompose down --remove-orphans",
        ),
        (("-z", "up"), "`pycompose --help` lists what there is"),
        (("image", "pull", "-f", "x"), "-f goes before the command: pycompose -f … pull"),
    ],
)
def test_what_is_unknown_is_an_error_with_a_suggestion(
    file: Path, run: Run, arguments: tuple[str, ...], hint: str
) -> None:
    code, out, err = run(*arguments)
    assert (code, out) == (1, "")
    assert err.splitlines()[-1] == f"hint: {hint}"
    assert err.startswith("error: ")


def test_an_unknown_flag_is_named_as_docker_compose_names_it(run: Run) -> None:
    assert run("ps", "--nope")[2].startswith("error: unknown flag: --nope\n")
    assert run("rm", "-z")[2].startswith("error: unknown shorthand flag: 'z' in -z\n")


def test_an_unknown_service_is_an_error_with_a_suggestion(file: Path, run: Run) -> None:
    for command in (("up", "-d", "wbe"), ("up", "--exit-code-from", "wbe"), ("up", "-d", "--scale", "wbe=2")):
        code, _, err = run(*command)
        assert code == 1, command
        assert "web" in err.splitlines()[-1], err


def test_orphans_cannot_be_removed_and_ignored(file: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COMPOSE_IGNORE_ORPHANS", "true")
    code, _, err = run("up", "-d", "--remove-orphans")
    assert (code, err.splitlines()[0]) == (1, "error: cannot combine COMPOSE_IGNORE_ORPHANS and --remove-orphans")
    assert not (file.parent / "run").exists()


@pytest.mark.parametrize("name", [name for name in root.COMMANDS if root._there(name)])
def test_every_command_has_a_help_that_reads_well(name: str, run: Run) -> None:
    code, out, err = run(name, "--help")
    assert (code, err) == (0, "")
    assert out.startswith(f"Usage: pycompose {'config' if name == 'convert' else name} ")
    assert max(map(len, out.splitlines())) <= 110


def test_no_arguments_greet_a_newcomer(run: Run) -> None:
    code, out, _ = run()
    assert code == 0
    assert "pycompose up -d" in out
    for section in root.SECTIONS:
        assert f"\n{section}:\n" in out
    assert out == run("--help")[1]


def test_the_version_is_told(run: Run) -> None:
    assert run("--version")[1] == run("version")[1]
    assert run("version")[1] == f"pycompose {run('version', '--short')[1]}"
    assert json.loads(run("version", "-f", "json")[1])["version"] == run("version", "--short")[1].strip()


def test_config_lists_what_is_asked(file: Path, run: Run) -> None:
    assert run("config", "-q")[:2] == (0, "")
    assert run("config", "--services")[1].split() == ["web", "db"]
    assert run("--profile", "tools", "config", "--services")[1].split() == ["web", "db", "debug"]
    assert run("config", "--volumes")[1] == "data\n"
    assert run("config", "--networks")[1] == "default\n"
    assert run("config", "--images")[1] == "host\nhost\n"
    assert run("config", "--profiles")[1] == "tools\n"
    hashes = dict(line.split() for line in run("config", "--hash", "*")[1].splitlines())
    assert set(hashes) == {"web", "db"}
    assert run("config", "--hash", "db")[1] == f"db {hashes['db']}\n"
    assert list(json.loads(run("config", "--format", "json", "db")[1])["services"]) == ["db"]
    assert run("convert", "-q")[0] == 0


def test_config_writes_to_a_file(file: Path, run: Run) -> None:
    assert run("config", "-o", "made.yaml")[:2] == (0, "")
    assert sorted(run("-f", "made.yaml", "config", "--services")[1].split()) == ["db", "web"]
    code, _, err = run("config", "-o", "no/such/folder")
    assert code == 1
    assert "error: open " in err


def test_a_file_that_is_wrong_is_told_with_its_place(places: Path, run: Run) -> None:
    (places / "compose.yaml").write_text("services:\n  web: {imge: host}\n  db: {image: host, depends_on: [dbb]}\n")
    code, out, err = run("up", "-d")
    assert (code, out) == (1, "")
    assert err.splitlines()[0].startswith(f"error: {places}/compose.yaml:2:")
    assert sum(line.startswith("error: ") for line in err.splitlines()) >= 2
    assert "Traceback" not in err


ACTING = [
    ("up",),
    ("up", "-d", "--wait"),
    ("create",),
    ("scale", "web=3"),
    ("down", "-v"),
    ("stop",),
    ("restart",),
    ("kill",),
    ("pause",),
    ("unpause",),
]


@pytest.mark.parametrize("command", ACTING, ids=" ".join)
@pytest.mark.parametrize("first", [True, False])
def test_a_dry_run_prints_and_changes_nothing(file: Path, run: Run, command: tuple[str, ...], first: bool) -> None:
    """--dry-run before the command and after it."""
    arguments = ("--dry-run", *command) if first else (*command, "--dry-run")
    code, out, err = run("-p", "x", *arguments)
    assert code == 0, err
    if command[0] in ("up", "create", "scale"):
        assert "create x-web-1  (no such container)" in out
        assert "start x-web-1" in out or command[0] == "create"
    else:
        assert out == "nothing to do\n"
    assert sorted(path.name for path in file.parent.iterdir()) == ["compose.yaml"]


MACHINE = [
    ("volume", "create", "v"),
    ("volume", "prune", "-f"),
    ("network", "create", "n"),
    ("network", "rm", "n"),
    ("image", "rm", "i"),
    ("image", "build", "."),
    ("image", "pull", "i"),
    ("image", "tag", "i", "j"),
    ("system", "prune", "-f"),
    ("builder", "prune", "-f"),
]


@pytest.mark.parametrize("command", MACHINE, ids=" ".join)
def test_what_has_no_plan_is_not_tried(file: Path, run: Run, command: tuple[str, ...], places: Path) -> None:
    code, out, err = run("--dry-run", *command)
    assert (code, out) == (1, "")
    assert "cannot be tried with --dry-run" in err
    assert not (places / "state" / "volumes").exists()


@pytest.mark.parametrize(
    "command", [("volume", "ls"), ("network", "ls"), ("image", "ls"), ("system", "df")], ids=" ".join
)
def test_what_only_reads_heeds_no_dry_run(file: Path, run: Run, command: tuple[str, ...]) -> None:
    assert run("--dry-run", *command)[0] == 0


def test_what_nobody_foresaw_is_one_line_and_a_file(
    file: Path, run: Run, monkeypatch: pytest.MonkeyPatch, places: Path
) -> None:
    from pycompose.compose.app import locate as project

    def broken(*_: object) -> None:
        raise ZeroDivisionError("by nought")

    monkeypatch.setattr(project, "load", broken)
    code, _, err = run("config")
    assert code == 1
    assert err.startswith("error: something unexpected happened: ZeroDivisionError: by nought\nhint: ")
    assert "Traceback" in (places / "run" / "crash.log").read_text()
    monkeypatch.setenv("PYCOMPOSE_DEBUG", "1")
    with pytest.raises(ZeroDivisionError):
        main(["config"])


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (
            PermissionError(13, "Permission denied", "/srv/x"),
            "error: /srv/x: Permission denied\nhint: run it as root, ",
        ),
        (OSError(28, "No space left on device", "/srv/x"), "error: /srv/x: No space left on device\n"),
        (KeyError("web"), "error: something unexpected happened: KeyError: 'web'\nhint: this is a fault of pycompose"),
        (
            ValueError("odd"),
            "error: something unexpected happened: ValueError: odd\nhint: this is a fault of pycompose",
        ),
    ],
)
def test_what_the_machine_refuses_is_no_fault_of_ours_and_what_is_ours_is_not_the_users(
    file: Path, run: Run, monkeypatch: pytest.MonkeyPatch, error: Exception, text: str
) -> None:
    from pycompose.compose.app import locate

    def broken(*_: object) -> None:
        raise error

    monkeypatch.setattr(locate, "load", broken)
    code, _, err = run("config")
    assert code == 1
    assert err.startswith(text)


def test_ctrl_c_is_130(file: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    from pycompose.compose.app import locate as project

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(project, "load", interrupted)
    assert run("config")[0] == 130


def test_errors_are_json_where_progress_is(file: Path, run: Run) -> None:
    code, _, err = run("--progress", "json", "up", "-d", "nope")
    assert code == 1
    assert json.loads(err)["error"] is True
    assert "nope" in json.loads(err)["message"]


def test_colours_are_for_terminals_or_on_request(file: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "\033" not in run("up", "-d", "nope")[2]
    assert "\033[31merror:" in run("--ansi", "always", "up", "-d", "nope")[2]
    monkeypatch.setenv("COMPOSE_ANSI", "always")
    assert "\033[31merror:" in run("up", "-d", "nope")[2]
    assert "\033" not in run("--ansi", "never", "up", "-d", "nope")[2]

    class Terminal:
        def isatty(self) -> bool:
            return True

    terminal.ansi = "auto"
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert terminal.coloured(Terminal())  # type: ignore[arg-type]
    monkeypatch.setenv("NO_COLOR", "1")
    assert not terminal.coloured(Terminal())  # type: ignore[arg-type]


def test_a_reader_that_goes_away_ends_it_silently(places: Path) -> None:
    (places / "compose.yaml").write_text("services:\n" + "".join(f"  s{n}: {{image: host}}\n" for n in range(3000)))
    line = f"{sys.executable} -m pycompose config | head -1"
    done = subprocess.run(line, shell=True, capture_output=True, text=True, env=os.environ, cwd=places)
    assert done.stderr == ""


def test_parallel_must_be_a_number_of_steps(run: Run) -> None:
    assert run("--parallel", "many", "ls")[0] == 1
    assert (run("--parallel", "0", "ls")[0], run("--parallel", "-1", "ls")[0]) == (0, 0)


def line_of(service: str, number: int = 1, project: str = "x") -> ObservedContainer:
    return ObservedContainer(f"{service}{number}", f"{project}-{service}-{number}", service, number, "running")


def test_log_lines_are_prefixed_padded_coloured_by_service_and_split(capfd: pytest.CaptureFixture[str]) -> None:
    printer = Printer("x", LineStyle(colour=True))
    web, other, database = line_of("web"), line_of("web", 2), line_of("database")
    printer.know([web, other, database])
    printer.line(web, (b"t", False, b"hello"))
    printer.line(other, (b"t", False, b"too"))
    printer.line(database, (b"t", True, b"oops"))
    printer.flush()
    printer.ended(web, 3, again=True)
    out, err = capfd.readouterr()
    assert out.splitlines() == [
        "\033[36mweb-1       | \033[0mhello",
        "\033[36mweb-2       | \033[0mtoo",
        "\033[36mweb-1 exited with code 3 (restarting)\033[0m",
    ]
    assert err == "\033[33mdatabase-1  | \033[0moops\n"


def test_a_container_name_of_its_own_is_shown_whole(capfd: pytest.CaptureFixture[str]) -> None:
    Printer("x", LineStyle()).ended(ObservedContainer("1", "special", "web", 1, "exited"), 0, again=False)
    assert capfd.readouterr().out == "special exited with code 0\n"


INTERRUPTED = """
import sys
class Interrupts:
    def find_spec(name, *_):
        if name == "pycompose.compose.cli.root":
            raise KeyboardInterrupt
sys.meta_path.insert(0, Interrupts)
from pycompose.__main__ import main
main()
"""


def test_an_interrupt_while_modules_are_imported_is_no_traceback() -> None:
    done = subprocess.run([sys.executable, "-c", INTERRUPTED, "ls"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")


@pytest.mark.parametrize("where", ["process", ".env", "--env-file"])
def test_variables_stand_for_options_from_the_process_and_from_env_files(
    file: Path, run: Run, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    variables = {"COMPOSE_PROGRESS": "json", "COMPOSE_ANSI": "never", "COMPOSE_REMOVE_ORPHANS": "yes"}
    for name, value in variables.items() if where == "process" else ():
        monkeypatch.setenv(name, value)
    written = "".join(f"{name}={value}\n" for name, value in variables.items()) if where != "process" else ""
    (file.parent / (".env" if where == ".env" else "other.env")).write_text(written)
    flags = ["--env-file", "other.env"] if where == "--env-file" else []
    assert run(*flags, "up", "--dry-run")[0] == 0
    assert (terminal.progress, terminal.ansi) == ("json", "never")
    run(*flags, "--progress", "plain", "--parallel", "1", "up", "--dry-run")
    assert terminal.progress == "plain"


@pytest.mark.parametrize("where", ["process", ".env"])
def test_a_variable_that_is_no_number_is_named(
    file: Path, run: Run, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    if where == "process":
        monkeypatch.setenv("COMPOSE_PARALLEL_LIMIT", "many")
    else:
        (file.parent / ".env").write_text("COMPOSE_PARALLEL_LIMIT=many\n")
    code, _, err = run("up", "--dry-run")
    assert (code, err.splitlines()[0]) == (1, 'error: COMPOSE_PARALLEL_LIMIT must be an integer (found: "many")')
    assert run("--parallel", "2", "up", "--dry-run")[0] == 0


def test_a_file_found_above_has_its_env_file_beside_it(file: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    (file.parent / ".env").write_text("COMPOSE_PROGRESS=json\n")
    (file.parent / "below").mkdir()
    monkeypatch.chdir(file.parent / "below")
    assert run("config", "-q")[0] == 0
    assert terminal.progress == "json"


@pytest.mark.parametrize("how", ["flag", "process", ".env"])
def test_compatibility_joins_names_with_underscores(
    file: Path, run: Run, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    if how == "process":
        monkeypatch.setenv("COMPOSE_COMPATIBILITY", "1")
    if how == ".env":
        (file.parent / ".env").write_text("COMPOSE_COMPATIBILITY=true\n")
    flags = ["--compatibility"] if how == "flag" else []
    code, out, _ = run(*flags, "-p", "c", "-f", str(file), "up", "--dry-run")
    assert (code, "create c_db_1" in out, "create network c_default" in out) == (0, True, True)


def test_every_variable_of_docker_compose_that_is_read_stands_in_the_table() -> None:
    here = Path(own_variables.__file__)
    read = {
        name
        for path in here.parent.parent.rglob("*.py")
        if path != here
        for name in re.findall(r"(?<![A-Z_])COMPOSE_[A-Z_]+\b|DOCKER_DEFAULT_PLATFORM", path.read_text())
    }
    assert read <= {*own_variables.OF_PROJECT, *own_variables.OF_COMMANDS, *own_variables.OF_PROCESS}


def test_every_variable_is_documented_with_what_it_stands_for() -> None:
    top = Path(own_variables.__file__).parent.parent.parent
    page = (top / "docs" / "variables.md").read_text()
    rows = dict(re.findall(r"^\| `([A-Z_]+)` \| (.+) \|$", page, re.MULTILINE))
    for table in (own_variables.OF_PROJECT, own_variables.OF_COMMANDS, own_variables.OF_PROCESS):
        assert table.items() <= rows.items()
    ours = {
        name
        for folder in ("compose", "runtime", "network")
        for path in (top / folder).rglob("*.py")
        for name in re.findall(r"(?<![A-Z_])PYCOMPOSE_[A-Z]+\b", path.read_text())
    }
    assert ours == {name for name in rows if name.startswith("PYCOMPOSE_")}
