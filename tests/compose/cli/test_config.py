"""config: every flag of docker compose's, and problems as JSON for editors."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

Run = Callable[..., tuple[int, str, str]]

FILE = """
services:
  web: {image: "nginx:${TAG:-1}", depends_on: [db], volumes: ["./html:/html", "data:/data"], env_file: web.env}
  db: {image: postgres, networks: [inner]}
  llm: {image: x, profiles: [ai], models: [small]}
volumes: {data: , unused: }
networks: {inner: }
models: {small: {model: ai/small}}
"""


@pytest.fixture
def file(places: Path) -> Path:
    (places / "compose.yaml").write_text(FILE)
    (places / "web.env").write_text("FROM_FILE=1\n")
    (places / ".env").write_text("TAG=2\n")
    return places / "compose.yaml"


@pytest.mark.usefixtures("file")
def test_every_list_has_one_name_a_line(run: Run) -> None:
    assert run("config", "--services")[1].split() == ["web", "db"]
    assert run("config", "--volumes")[1] == "data\n"
    assert run("config", "--networks")[1] == "default\ninner\n"
    assert run("config", "--images")[1] == "nginx:2\npostgres\n"
    assert run("config", "--images", "db")[1] == "postgres\n"
    assert run("config", "--profiles")[1] == "ai\n"
    assert run("config", "--models")[1] == ""
    assert run("--profile", "ai", "config", "--models")[1] == "ai/small\n"


@pytest.mark.usefixtures("file")
def test_of_several_lists_docker_composes_first_one_is_printed(run: Run) -> None:
    assert run("config", "--volumes", "--services")[1].split() == ["web", "db"]
    assert run("config", "--images", "--profiles")[1] == "ai\n"
    assert run("config", "--profiles", "--hash", "db")[1].startswith("db ")
    assert run("config", "--hash", "db", "--networks")[1] == "default\ninner\n"
    assert run("config", "--hash", "")[1].startswith("name: ")


@pytest.mark.usefixtures("file")
def test_lists_of_a_file_as_it_is_written_fill_nothing_in(run: Run) -> None:
    def written(what: str) -> list[str]:
        code, out, err = run("config", "--no-interpolate", f"--{what}")
        assert (code, err) == (0, "")
        return out.splitlines()

    assert sorted(written("services")) == ["db", "llm", "web"]
    assert sorted(written("images")) == ["nginx:${TAG:-1}", "postgres"]
    assert (written("profiles"), written("models"), written("volumes")) == (["ai"], [], ["data"])
    assert run("--profile", "ai", "config", "--no-interpolate", "--models")[1] == "ai/small\n"
    assert sorted(written("networks")) == ["default", "inner"]
    assert "TAG=2" in run("config", "--no-interpolate", "--environment")[1].splitlines()
    code, out, err = run("config", "--no-interpolate", "--hash", "*")
    assert (code, out, err[:42]) == (1, "", "error: --hash is of what a file means: lea")


@pytest.mark.usefixtures("file")
def test_lists_are_told_without_the_whole_canonical_form(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("the canonical form was made")

    monkeypatch.setattr("pycompose.compose.file.loader.project_tree", refuse)
    for what in ("services", "volumes", "networks", "images", "profiles", "environment"):
        assert run("config", f"--{what}")[0] == 0
    assert run("config", "--hash", "*")[0] == 0
    assert run("config", "--volumes", "db")[1] == ""
    assert run("config", "--networks", "db")[1] == "inner\n"


def test_the_form_of_docker_compose_5_leaves_out_that_a_binds_source_is_made(run: Run, places: Path) -> None:
    (places / "compose.yaml").write_text(
        "services: {a: {image: i, volumes: ['./x:/x', {type: bind, source: ./y, target: /y, "
        "bind: {create_host_path: false, propagation: shared}}]}}"
    )

    def binds(*arguments: str) -> list[object]:
        out = run("config", "--format", "json", *arguments)[1]
        return [volume["bind"] for volume in json.loads(out)["services"]["a"]["volumes"]]

    kept = {"create_host_path": False, "propagation": "shared"}
    assert binds() == binds("--compose-version", "2") == [{"create_host_path": True}, kept]
    assert binds("--compose-version", "5") == binds("--compose-version", "5", "--no-interpolate") == [{}, kept]


@pytest.mark.usefixtures("file")
def test_the_environment_is_what_is_filled_in(run: Run, places: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OUTSIDE", "x")
    lines = run("config", "--environment")[1].splitlines()
    assert {"TAG=2", "OUTSIDE=x", f"COMPOSE_PROJECT_NAME={places.name}"} <= set(lines)
    assert lines == sorted(lines)


@pytest.mark.usefixtures("file")
def test_variables_are_a_table_or_data(run: Run) -> None:
    assert run("config", "--variables")[1] == (
        "NAME   REQUIRED   DEFAULT VALUE   ALTERNATE VALUE\nTAG    false      1\n"
    )
    one = {"Name": "TAG", "DefaultValue": "1", "PresenceValue": "", "Required": False}
    assert json.loads(run("config", "--variables", "--format", "json")[1]) == {"TAG": one}
    assert run("config", "--variables", "--format", "yaml")[1].startswith("TAG:\n    name: TAG\n")


def test_a_service_is_shown_with_what_it_needs(run: Run, file: Path) -> None:
    code, out, _ = run("config", "db", "--format", "json")
    tree = json.loads(out)
    assert (code, list(tree["services"]), list(tree["networks"])) == (0, ["db"], ["inner"])
    assert "volumes" not in tree
    assert list(json.loads(run("config", "web", "--format", "json")[1])["services"]) == ["db", "web"]
    assert list(json.loads(run("config", "llm", "--format", "json")[1])["services"]) == ["llm"]
    code, out, err = run("config", "wbe")
    assert (code, out) == (1, "")
    assert err == 'error: no such service: wbe\nhint: did you mean "web"?\n'


@pytest.mark.usefixtures("file")
def test_all_resources_are_shown_when_asked(run: Run) -> None:
    assert "unused" not in run("config")[1]
    assert "unused" in run("--all-resources", "config")[1]


@pytest.mark.usefixtures("file")
def test_each_no_flag_leaves_one_thing_out(run: Run, places: Path) -> None:
    assert "image: nginx:${TAG:-1}" in run("config", "--no-interpolate")[1]
    assert "source: ./html" in run("config", "--no-path-resolution")[1]
    assert "default" not in run("config", "--no-normalize")[1]
    assert "FROM_FILE" not in run("config", "--no-env-resolution")[1]
    (places / "compose.yaml").write_text("services: {a: {image: x, depends_on: [b]}}")
    assert run("config")[0] == 1
    assert run("config", "--no-consistency")[0] == 0


@pytest.mark.parametrize("flag", ["--variables", "--no-interpolate"])
@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("services: {a: {image: '${A?}', commnd: x}}", "1:32: "),
        ("servics: {a: {image: x}}", "1:1: "),
        ("services: {a: {image: x, extends: b}}", "1:35: "),
        ("include: [absent.yaml]", "1:11: "),
        ("services: {a: {image: x, ports: [}}", "1:34: "),
        ("services: {a: {image: x}}\nconfigs: {c: {file: x, content: y}}", "2:14: "),
        ("services: {a: {image: x}}\nvolumes: {c: {external: true, driver: y}}", "2:31: "),
    ],
)
def test_what_is_wrong_whatever_variables_are_is_refused_before_they_are_filled_in(
    run: Run, places: Path, flag: str, text: str, place: str
) -> None:
    (places / "compose.yaml").write_text(text)
    code, out, err = run("config", flag)
    assert (code, out) == (1, "")
    assert f"compose.yaml:{place}" in err
    assert "hint: " in err


@pytest.mark.parametrize("flag", ["--variables", "--no-interpolate"])
@pytest.mark.parametrize(
    "text", ["name: '${A?}'\nservices: {a: {image: x}}", "services: {a: {image: '${A?}', scale: $B}}"]
)
def test_what_variables_make_wrong_is_nothing_before_they_are_filled_in(
    run: Run, places: Path, flag: str, text: str
) -> None:
    (places / "compose.yaml").write_text(text)
    assert run("config", flag)[0] == 0


@pytest.mark.usefixtures("file")
@pytest.mark.parametrize("flag", ["--variables", "--no-interpolate"])
def test_what_is_of_the_whole_file_says_so_where_a_service_is_named(run: Run, flag: str) -> None:
    assert run("config", flag)[2] == ""
    code, out, err = run("config", flag, "db")
    assert (code, out) == (0, run("config", flag)[1])
    assert err.startswith(f"warning: {flag} is of the whole file: ")


def test_digests_are_asked_for_of_images_that_have_none(run: Run, file: Path) -> None:
    file.write_text(f"services: {{a: {{image: host}}, b: {{image: 'x:1@sha256:{'a' * 64}'}}}}")
    code, out, _ = run("config", "--lock-image-digests")
    pinned = f"docker.io/library/x@sha256:{'a' * 64}"
    assert (code, out) == (0, f"services:\n  a:\n    image: host\n  b:\n    image: {pinned}\n")
    file.write_text("services: {a: {image: 'oci:/x'}}")
    error = "error: failed to resolve digest for oci:/x: an archive is in no registry\n"
    assert run("config", "--resolve-image-digests") == (1, "", error)
    file.write_text("services: {a: {image: 'x:${TAG}'}}")
    code, out, err = run("config", "--resolve-image-digests", "--no-interpolate")
    assert (code, out) == (1, "")
    assert "image x:${TAG} has no digest while its variables are not filled in" in err


def test_problems_are_json_for_editors(run: Run, places: Path) -> None:
    (places / "compose.yaml").write_text('version: "3"\nservices:\n  web: {imge: host}\n')
    code, out, err = run("config", "--format", "json", "-q")
    assert (code, out) == (1, "")
    told = [json.loads(line) for line in err.splitlines()]
    assert [one["severity"] for one in told] == ["warning", "error", "error"]
    assert {one["code"] for one in told} == {"obsolete", "unknown-key", "no-image"}
    unknown = next(one for one in told if one["code"] == "unknown-key")
    assert unknown == {
        "error": True,
        "severity": "error",
        "path": f"{places}/compose.yaml",
        "line": 3,
        "column": 9,
        "message": "services.web additional properties 'imge' not allowed",
        "hint": 'did you mean "image"?',
        "code": "unknown-key",
    }


def test_warnings_are_json_too_and_the_file_still_comes(run: Run, places: Path) -> None:
    (places / "compose.yaml").write_text('version: "3"\nservices:\n  web: {image: host}\n')
    code, out, err = run("config", "--format", "json")
    assert code == 0
    assert "web" in json.loads(out)["services"]
    told = json.loads(err)
    assert (told["warning"], told["severity"], told["code"]) == (True, "warning", "obsolete")
    assert (told["line"], told["column"]) == (1, 1)


def test_progress_json_tells_problems_as_json_for_every_command(run: Run, places: Path) -> None:
    (places / "compose.yaml").write_text("services: [}")
    for command in (("up", "-d"), ("create",), ("down",)):
        code, _, err = run("--progress", "json", *command)
        told = json.loads(err.splitlines()[-1])
        assert (code, told["code"], told["line"]) == (1, "yaml", 1), command


def test_an_error_without_a_place_has_none_in_json(run: Run, places: Path) -> None:
    code, _, err = run("config", "--format", "json")
    told = json.loads(err)
    assert (code, told["path"], told["line"], told["column"]) == (1, None, None, None)
    assert told["message"] == "no configuration file provided: not found"


@pytest.mark.usefixtures("file")
def test_a_variable_that_is_no_text_does_not_stop_us(run: Run, places: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BYTES", "a\udcffb")  # as Python has the byte 0xff of an environment
    (places / "compose.yaml").write_text("services: {a: {image: x, environment: [BYTES]}}")
    code, out, _ = run("config")
    assert (code, "BYTES: a\ufffdb\n" in out) == (0, True)
    code, out, _ = run("config", "--format", "json")
    assert (code, json.loads(out)["services"]["a"]["environment"]) == (0, {"BYTES": "a\ufffdb"})
    assert run("config", "--environment", "-o", "listed")[0] == 0
    assert b"BYTES=a\xffb\n" in (places / "listed").read_bytes()
