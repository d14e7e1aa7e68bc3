"""What a compose file means: from text on disk to a Project, and what is said when it means nothing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from pycompose.compose.file import dotenv, show
from pycompose.compose.file.interpolate import InterpolationError, substitute
from pycompose.compose.file.loader import Loaded, Options, load
from pycompose.compose.file.networking import parse_port
from pycompose.compose.model.deployment import DeviceRequest
from pycompose.compose.model.errors import FileError
from pycompose.compose.model.project import BindMount, Port, VolumeMount


def loaded(folder: Path, *texts: str, services: tuple[str, ...] = (), **environ: str) -> Loaded:
    files = []
    for number, content in enumerate(texts):
        path = folder / f"{number}.yaml"
        path.write_text(content)
        files.append(str(path))
    return load(Options(files=tuple(files), project_name="p", environ=environ), services)


def problems(folder: Path, *texts: str, **environ: Any) -> list[str]:
    with pytest.raises(FileError) as caught:
        loaded(folder, *texts, **environ)
    return [str(p).replace(str(folder) + "/", "") for p in caught.value.problems]


DASK = """\
services:
  notebook: {image: host, profiles: [notebook]}
  scheduler:
    image: ${IMAGE:-host}
    command: dask-scheduler --host "my host"
    ports: [8786:8786, 22:22]
    networks: [distributed]
    environment: {PLAIN: no, NUMBER: 1.10, OUTSIDE: }
  worker:
    image: ${IMAGE:-host}
    command: [dask-worker, "scheduler:8786"]
    mem_limit: 1500m
    links: [scheduler]
    networks: [distributed]
    volumes: [data:/data, "./here:/there:ro"]
    deploy: {replicas: 2}
    healthcheck: {test: "true", interval: 1m30s}
networks: {distributed: {driver: bridge}}
volumes: {data: }
"""


def test_the_dask_file_becomes_a_project(tmp_path: Path) -> None:
    project = loaded(tmp_path, DASK, OUTSIDE="seen").project
    assert list(project.services) == ["scheduler", "worker"]
    assert list(project.disabled_services) == ["notebook"]
    scheduler, worker = project.services.values()
    assert scheduler.command == ("dask-scheduler", "--host", "my host")
    assert scheduler.ports == (Port(8786, (8786, 8786)), Port(22, (22, 22)))
    assert scheduler.environment == {"PLAIN": "no", "NUMBER": "1.1", "OUTSIDE": "seen"}
    assert worker.replicas == 2
    assert worker.resources.mem_limit == 1500 * 1024**2
    assert worker.links == (("scheduler", "scheduler"),)
    assert [(d.service, d.restart) for d in worker.depends_on] == [("scheduler", True)]
    assert worker.mounts == (VolumeMount("data", "/data"), BindMount(f"{tmp_path}/here", "/there", read_only=True))
    assert worker.healthcheck is not None
    assert (worker.healthcheck.test, worker.healthcheck.interval) == (("CMD-SHELL", "true"), 90.0)
    assert project.networks["distributed"].name == "p_distributed"
    assert "default" not in project.networks


def test_naming_a_service_activates_its_profile(tmp_path: Path) -> None:
    assert "notebook" in loaded(tmp_path, DASK, services=("notebook",)).project.services


def test_every_mistake_is_told_in_one_run_with_its_place(tmp_path: Path) -> None:
    content = """\
services:
  web:
    imag: x
    image: x
    depends_on: [dbb]
    mem_limit: lots
    environment: {K: "${X:?is needed}"}
  db: {image: x}
"""
    assert problems(tmp_path, content) == [
        "0.yaml:3:5: services.web additional properties 'imag' not allowed\nhint: did you mean \"image\"?",
        '0.yaml:5:18: service "web" depends on undefined service "dbb": invalid compose project\n'
        'hint: did you mean "db"?',
        "0.yaml:6:16: services.web.mem_limit: invalid size: 'lots'\nhint: such as mem_limit: 512m",
        "0.yaml:7:22: required variable X is missing a value: is needed\n"
        "hint: set it: in the shell, or as X=… in the file .env",
    ]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("services: {a: {image: x, image: y}}", 'mapping key "image" already defined at line 1'),
        ("services: [", "not valid YAML"),
        (
            "services: {a: {image: x, network_mode: host, networks: [b]}}\nnetworks: {b: }",
            "mutually exclusive `network_mode`",
        ),
        (
            "services: {a: {image: x, scale: 2, deploy: {replicas: 3}}}",
            "can't set distinct values on 'scale' and 'deploy.replicas'",
        ),
        ("services: {a: {image: x, container_name: c, scale: 2}}", "as container name must be unique"),
        (
            "services: {a: {image: x, depends_on: {b: {condition: done}}}, b: {image: x}}",
            "value must be one of 'service_started'",
        ),
        ("services: {a: {image: x, depends_on: [b]}, b: {image: x, profiles: [q]}}", "depends on undefined service"),
        ("services: {a: {image: x, volumes: [v:/d]}}", "refers to undefined volume v"),
        ("services: {a: {extends: b}, b: {extends: a}}", "Circular reference"),
        ("a: &a [*a]", "contains itself"),
        ("", "empty"),
    ],
)
def test_a_bad_file_is_a_file_error(tmp_path: Path, content: str, said: str) -> None:
    assert any(said in p for p in problems(tmp_path, content))


@pytest.mark.parametrize("name", ["oci://registry/app:1", "https://host/app.git", "git@host:app.git"])
def test_a_file_that_is_not_on_this_machine_is_said_to_be_none(name: str) -> None:
    with pytest.raises(FileError, match="cannot be read: only files of this machine, of registries"):
        load(Options(files=(name,)))


def test_a_known_key_that_is_not_acted_on_warns_once(tmp_path: Path) -> None:
    found = loaded(tmp_path, "services: {a: {image: x, gpus: all}, b: {image: x, gpus: all}}")
    assert [w.message for w in found.warnings] == ['"gpus" of service "a" is not acted on yet']
    assert found.project.services["a"].gpus == (DeviceRequest(count=-1),)


def test_a_later_file_is_laid_over_an_earlier_one(tmp_path: Path) -> None:
    base = "services: {a: {image: x, command: [a, b], ports: ['1:1'], environment: [A=1, B=1], init: true}}"
    over = "services: {a: {command: [c], ports: ['2:2'], environment: {B: 2}, init: !reset null}}"
    service = loaded(tmp_path, base, over).project.services["a"]
    assert service.command == ("c",)
    assert [p.target for p in service.ports] == [1, 2]
    assert service.environment == {"A": "1", "B": "2"}
    assert not service.init


def test_extends_takes_the_attributes_of_the_other_service(tmp_path: Path) -> None:
    found = loaded(tmp_path, "services: {a: {extends: {service: b}, tty: true}, b: {image: x, environment: {K: v}}}")
    service = found.project.services["a"]
    assert (service.image, service.tty, service.environment) == ("x", True, {"K": "v"})


def test_the_hash_follows_what_a_container_is_made_from(tmp_path: Path) -> None:
    def of(attributes: str) -> tuple[str, dict[str, str]]:
        service = loaded(tmp_path, f"services: {{a: {{image: x, {attributes}}}}}").project.services["a"]
        return service.config_hash, dict(service.hash_parts)

    one, parts = of("environment: {A: 1}, scale: 1")
    assert of("environment: [A=1], scale: 3")[0] == one
    other, changed = of("environment: {A: 2}")
    assert other != one
    assert [key for key in parts if parts[key] != changed[key]] == ["environment"]


def test_what_is_shown_loads_again_as_the_same(tmp_path: Path) -> None:
    first = loaded(tmp_path, DASK.replace("1.10", "a$$b"), OUTSIDE="x")
    again = loaded(tmp_path, show.to_yaml(first.tree))
    assert again.tree == first.tree
    assert json.loads(show.to_json(first.tree))["name"] == "p"


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("$A-${A}", "a-a"),
        ("${E:-d}${E-d}${U-d}", "dd"),
        ("${U:-${A}x}", "ax"),
        ("${A:+r}${E:+r}${E+r}", "rr"),
        ("$$A $1 $(x)", "$A $1 $(x)"),
        ("${A:-x?y}", "a"),
    ],
)
def test_interpolation(written: str, meant: str) -> None:
    assert substitute(written, {"A": "a", "E": ""}.get) == meant


@pytest.mark.parametrize("written", ["${A", "${1}", "${U?}", "${E:?why}"])
def test_interpolation_that_cannot_be_done(written: str) -> None:
    with pytest.raises(InterpolationError):
        substitute(written, {"A": "a", "E": ""}.get)


def test_dotenv() -> None:
    content = "# c\nexport A=1 # c\nB='$A'\nC=\"$A\\n2\"\nD=a#c\nE: x\nF\nG=\n"
    found = dotenv.parse(content, ".env", {"F": "f"}.get)
    assert found == {"A": "1", "B": "$A", "C": "1\n2", "D": "a#c", "E": "x", "F": "f", "G": ""}
    with pytest.raises(FileError, match=r"\.env:1:3: unterminated quoted value"):
        dotenv.parse("A='x", ".env", lambda _: None)


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("80", (Port(80),)),
        ("127.0.0.1::80", (Port(80, None, "127.0.0.1"),)),
        ("[::1]:1:2/udp", (Port(2, (1, 1), "::1", "udp"),)),
        ("::1:1:2", (Port(2, (1, 1), "::1"),)),
        ("5-6:7-8", (Port(7, (5, 5)), Port(8, (6, 6)))),
        ("6005-6015:80", (Port(80, (6005, 6015)),)),
    ],
)
def test_ports(written: str, meant: tuple[Port, ...]) -> None:
    assert parse_port(written) == meant


def test_anchors_and_merge_keys(tmp_path: Path) -> None:
    found = loaded(
        tmp_path, "x-b: &b {image: x, init: true}\nservices:\n  a:\n    <<: *b\n    init: false\n    user:\n"
    )
    service = found.project.services["a"]
    assert (service.image, service.init, service.user) == ("x", False, None)


def test_environment_comes_from_env_files_then_environment(tmp_path: Path) -> None:
    (tmp_path / "e").write_text("A=1\nB=1\nC=1\n")
    content = "services: {a: {image: x, env_file: e, environment: {B: 2, C: }}}"
    assert loaded(tmp_path, content).project.services["a"].environment == {"A": "1", "B": "2", "C": None}
    assert (
        "env file f not found: stat f: no such file or directory"
        in problems(tmp_path, content.replace("env_file: e", "env_file: f"))[0]
    )


def test_a_project_is_found_from_a_folder_below(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "My.App" / "below").mkdir(parents=True)
    (tmp_path / "My.App" / "compose.yaml").write_text("services: {a: {image: '$TAG$TOP'}}")
    (tmp_path / "My.App" / "compose.override.yaml").write_text("services: {a: {tty: true}}")
    (tmp_path / "My.App" / ".env").write_text("TAG=root\nTOP=top")
    (tmp_path / "My.App" / "below" / ".env").write_text("TAG=sub")
    monkeypatch.chdir(tmp_path / "My.App" / "below")
    project = load(Options()).project
    assert (project.name, project.services["a"].image, project.services["a"].tty) == ("myapp", "subtop", True)
    assert project.working_dir == str(tmp_path / "My.App")


def test_included_files_have_their_own_directory(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "c.yaml").write_text("services: {b: {image: x, volumes: ['./d:/d']}}")
    found = loaded(tmp_path, "include: [sub/c.yaml]\nservices: {a: {image: x, depends_on: [b]}}")
    assert found.project.services["b"].mounts == (BindMount(f"{tmp_path}/sub/d", "/d"),)


def test_variables_that_env_files_ask_for_and_nobody_has_are_told(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("A=1\nB=$A$NOBODY\n")
    found = loaded(tmp_path, "services: {a: {image: '$B'}}")
    told = [str(w).replace(f"{tmp_path}/", "") for w in found.warnings]
    assert told == ['.env:2:3: The "NOBODY" variable is not set. Defaulting to a blank string.']
    assert found.project.services["a"].image == "1"


def test_configs_and_secrets_know_their_own_names(tmp_path: Path) -> None:
    text = "services: {a: {image: x}}\nconfigs: {c: {file: ./f}}\nsecrets: {s: {environment: HOME}, t: {file: ./f}}\n"
    project = loaded(tmp_path, text).project
    assert [source.key for source in (*project.configs.values(), *project.secrets.values())] == ["c", "s", "t"]


def test_an_entry_that_two_files_have_is_warned_about_in_the_second(tmp_path: Path) -> None:
    files = ("services: {a: {image: x, group_add: [g]}}", "services: {a: {group_add: [g]}}")
    assert ["1.yaml:1:28" in str(w) for w in loaded(tmp_path, *files).warnings] == [True]
