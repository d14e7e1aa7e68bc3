"""One tree out of several files: merge, extends, include, and the variables and folders each is read with."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import pytest
from pycompose.compose.file.loader import Loaded, Options, load
from pycompose.compose.model.errors import FileError
from pycompose.compose.model.project import BindMount, Port, VolumeMount


def loaded(folder: Path, *names: str, **environ: str) -> Loaded:
    return load(Options(files=tuple(str(folder / n) for n in names), project_name="p", environ=environ))


def written(folder: Path, **files: str) -> None:
    for name, content in files.items():
        path = folder / f"{name.replace('__', '/')}.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)


def problems(folder: Path, *names: str, **environ: str) -> list[str]:
    with pytest.raises(FileError) as caught:
        loaded(folder, *names, **environ)
    return [str(p).replace(f"{folder}/", "") for p in caught.value.problems]


def merged(folder: Path, base: str, over: str, attribute: str) -> object:
    """What one attribute of service `a` is, after one file over another."""
    head = "volumes: {v: }\nnetworks: {n: , m: }\nsecrets: {s: {file: f}, t: {file: f}}\nservices:\n  b: {image: x}\n"
    written(folder, base=f"{head}  c: {{image: x}}\n  a: {{image: x, {base}}}", over=f"services: {{a: {{{over}}}}}")
    return loaded(folder, "base.yaml", "over.yaml").tree["services"]["a"].get(attribute)


@pytest.mark.parametrize(
    ("base", "over", "attribute", "result"),
    [
        ("command: [a, b]", "command: [c]", "command", ["c"]),
        ("command: [a, b]", "command: null", "command", None),
        ("entrypoint: a", "entrypoint: [c]", "entrypoint", ["c"]),
        (
            "healthcheck: {test: [CMD, a], retries: 2}",
            "healthcheck: {test: b}",
            "healthcheck",
            {"test": ["CMD-SHELL", "b"], "retries": 2},
        ),
        ("environment: {A: 1, B: 1}", "environment: [B=2, C=3]", "environment", {"A": "1", "B": "2", "C": "3"}),
        ("labels: [a=1]", "labels: {b: 2}", "labels", {"a": "1", "b": "2"}),
        ("dns: 1.1.1.1", "dns: [8.8.8.8, 1.1.1.1]", "dns", ["1.1.1.1", "8.8.8.8"]),
        ("cap_add: [CHOWN, KILL]", "cap_add: [KILL, MKNOD]", "cap_add", ["CHOWN", "KILL", "MKNOD"]),
        ("profiles: []", "expose: ['80', 90]", "expose", ["80", "90"]),
        ("sysctls: {a: 1}", "sysctls: [a=2]", "sysctls", {"a": "2"}),
        ("ulimits: {nofile: {soft: 1, hard: 2}}", "ulimits: {nofile: 3}", "ulimits", {"nofile": 3}),
        (
            "logging: {driver: a, options: {x: 1}}",
            "logging: {options: {y: 2}}",
            "logging",
            {"driver": "a", "options": {"x": "1", "y": "2"}},
        ),
        ("logging: {driver: a, options: {x: 1}}", "logging: {driver: b}", "logging", {"driver": "b"}),
        ("environment: {A: 1}", "environment: !override {B: 2}", "environment", {"B": "2"}),
        ("environment: {A: 1, B: 2}", "environment: {A: !reset null}", "environment", {"B": "2"}),
        ("cap_add: [CHOWN]", "cap_add: !reset []", "cap_add", None),
        ("cap_add: [CHOWN]", "cap_add: null", "cap_add", ["CHOWN"]),
        ("user: a", "user: null", "user", None),
        ("x-a: {b: 1}", "x-a: {c: 2}", "x-a", {"b": 1, "c": 2}),
        (
            "extra_hosts: [a=1.1.1.1]",
            "extra_hosts: {b: [2.2.2.2, 3.3.3.3]}",
            "extra_hosts",
            ["a=1.1.1.1", "b=2.2.2.2", "b=3.3.3.3"],
        ),
    ],
)
def test_an_attribute_of_a_later_file(tmp_path: Path, base: str, over: str, attribute: str, result: object) -> None:
    found = merged(tmp_path, base, over, attribute)
    if attribute == "ulimits":
        assert found in ({"nofile": 3}, {"nofile": {"soft": 3, "hard": 3}})
    else:
        assert found == result


def test_lists_of_mappings_are_merged_by_what_they_are_about(tmp_path: Path) -> None:
    head = "volumes: {v: , w: }\nsecrets: {s: {file: f}}\nnetworks: {n: {ipam: {config: [{subnet: 10.0.0.0/24}]}}}\n"
    written(
        tmp_path,
        base=head
        + """\
services:
  b: {image: x}
  c: {image: x}
  a:
    image: x
    depends_on: [b]
    networks: [n]
    ports: ["80:80", {target: 81, published: 81}]
    volumes: ["v:/v", "./a:/a"]
    secrets: [s]
    build: ctx
""",
        over="""\
networks: {n: {ipam: {config: [{subnet: 10.0.0.0/24, gateway: 10.0.0.1}, {subnet: 10.1.0.0/24}]}}}
services:
  a:
    depends_on: {c: {condition: service_healthy}}
    networks: {n: {aliases: [other]}}
    ports: ["80:80", {target: 81, published: 81, name: web}, "82:82"]
    volumes: [{type: volume, source: w, target: /v}, "./b:/b"]
    secrets: [{source: s, mode: 0400}]
    build: {target: t}
""",
    )
    project = loaded(tmp_path, "base.yaml", "over.yaml").project
    a = project.services["a"]
    assert [d.service for d in a.depends_on] == ["b", "c"]
    assert a.networks[0].aliases == ("other",)
    assert a.ports == (Port(80, (80, 80)), Port(81, (81, 81), name="web"), Port(82, (82, 82)))
    binds = {BindMount(f"{tmp_path}/a", "/a"), BindMount(f"{tmp_path}/b", "/b")}
    assert {m for m in a.mounts if isinstance(m, BindMount)} == binds
    assert [m for m in a.mounts if isinstance(m, VolumeMount)] == [VolumeMount("w", "/v")]
    assert [(s.source, s.mode) for s in a.secrets] == [("s", 0o400)]
    assert a.build is not None
    assert a.build.context == f"{tmp_path}/ctx"
    assert '"target":"t"' in a.build.canonical
    pools = project.networks["n"].ipam_pools
    assert [(p.subnet, p.gateway) for p in pools] == [("10.0.0.0/24", "10.0.0.1"), ("10.1.0.0/24", None)]


def test_documents_of_one_file_are_laid_on_each_other(tmp_path: Path) -> None:
    written(tmp_path, a="services: {a: {image: x}}\n---\n---\nservices: {a: {user: u, init: !reset true}}\n")
    service = loaded(tmp_path, "a.yaml").project.services["a"]
    assert (service.image, service.user, service.init) == ("x", "u", None)


def test_standard_input_is_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"services: {a: {image: x, volumes: [./d:/d]}}")))
    found = load(Options(files=("-",), project_name="p"))
    assert found.project.services["a"].mounts == (BindMount(f"{tmp_path}/d", "/d"),)


def test_a_service_extends_another_of_its_file_and_of_others(tmp_path: Path) -> None:
    written(
        tmp_path,
        main="""\
services:
  a: {extends: {service: b, file: sub/other.yaml}, environment: {X: a}, cap_add: [CHOWN]}
  c: {extends: a, cap_add: !override [MKNOD]}
""",
        sub__other="""\
services:
  b: {extends: {service: d, file: deep/third.yaml}, environment: {X: b, Y: "${Y}"}, cap_add: [KILL], build: .}
""",
        sub__deep__third="""\
services:
  d: {image: x, volumes: [./v:/v], env_file: e.env, label_file: [], develop: {watch: [{path: ./w, action: rebuild}]}}
""",
    )
    (tmp_path / "sub/deep/e.env").write_text("E=1\n")
    services = loaded(tmp_path, "main.yaml", Y="y").project.services
    a, c = services["a"], services["c"]
    assert (a.image, a.environment) == ("x", {"E": "1", "X": "a", "Y": "y"})
    assert a.mounts == c.mounts == (BindMount(f"{tmp_path}/sub/deep/v", "/v"),)
    assert a.cap_add == ("KILL", "CHOWN")
    assert c.cap_add == ("MKNOD",)
    assert a.build is not None
    assert a.build.context == f"{tmp_path}/sub"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (
            "services: {a: {extends: b}, b: {extends: a}}",
            "main.yaml:1:33: Circular reference:\n  a in main.yaml\n  extends b in main.yaml\n  extends a in main.yaml",
        ),
        (
            "services: {a: {extends: {service: web, file: o.yaml}}}",
            'cannot extend service "a" in main.yaml: service "web" not found in o.yaml\nhint: did you mean "webb"?',
        ),
        (
            "services: {a: {extends: {service: b, file: none.yaml}}}",
            "main.yaml:1:44: open none.yaml: no such file",
        ),
        ("services: {a: {image: x, extends: {file: o.yaml}}}", "extends.a.service is required"),
        ("services: {a: {image: x, extends: {service: a, files: o.yaml}}}", 'hint: did you mean "file"?'),
    ],
)
def test_what_cannot_be_extended_is_told_with_its_place(tmp_path: Path, content: str, said: str) -> None:
    written(tmp_path, main=content, o="services: {webb: {image: x}}")
    assert said in "\n".join(problems(tmp_path, "main.yaml"))


def test_what_is_included_is_read_with_its_own_folder_and_variables(tmp_path: Path) -> None:
    written(
        tmp_path,
        main="include:\n  - sub/c.yaml\n  - {path: sub/d.yaml, project_directory: other, env_file: d.env}",
        sub__c="""\
name: ignored
services:
  b:
    image: "i:$TAG"
    build: {context: ctx, additional_contexts: {x: ./more}}
    volumes: [./d:/d]
    env_file: b.env
    environment: [TAG]
    networks: [n]
    secrets: [s]
networks: {n: }
secrets: {s: {file: s.txt}}
volumes: {w: {driver: local, driver_opts: {type: none, o: bind, device: ./dev}}}
x-more: {a: 1}
""",
        sub__d="services: {d: {image: 'i:$TAG', volumes: [./d:/d]}}",
    )
    (tmp_path / "sub/.env").write_text("TAG=sub\nOUTER=lost\n")
    (tmp_path / "sub/b.env").write_text("OUTER=$OUTER\n")
    (tmp_path / "d.env").write_text("TAG=from-d\n")
    project = loaded(tmp_path, "main.yaml", OUTER="won").project
    b, d = project.services["b"], project.services["d"]
    assert (b.image, d.image) == ("i:sub", "i:from-d")
    assert b.environment == {"OUTER": "won", "TAG": "sub"}
    assert b.mounts == (BindMount(f"{tmp_path}/sub/d", "/d"),)
    assert d.mounts == (BindMount(f"{tmp_path}/other/d", "/d"),)
    assert b.build is not None
    assert b.build.context == f"{tmp_path}/sub/ctx"
    assert f'"x":"{tmp_path}/sub/more"' in b.build.canonical
    assert project.secrets["s"].file == f"{tmp_path}/sub/s.txt"
    assert project.volumes["w"].driver_opts["device"] == f"{tmp_path}/sub/dev"
    assert project.networks["n"].name == "p_n"
    assert "x-more" not in project.kept


def test_files_of_one_include_are_laid_on_each_other_and_a_later_file_changes_them(tmp_path: Path) -> None:
    written(
        tmp_path,
        main="include: [{path: [sub/a.yaml, sub/b.yaml]}]\nservices: {c: {extends: a}}",
        over="services: {a: {user: u}}",
        sub__a="services: {a: {image: x, cap_add: [CHOWN]}}",
        sub__b="services: {a: {cap_add: [KILL]}}",
    )
    services = loaded(tmp_path, "main.yaml", "over.yaml").project.services
    assert (services["a"].cap_add, services["a"].user) == (("CHOWN", "KILL"), "u")
    assert services["c"].cap_add == ("CHOWN", "KILL")


def test_a_file_that_is_included_twice_is_no_conflict(tmp_path: Path) -> None:
    written(
        tmp_path,
        main="include: [b.yaml, c.yaml]",
        b="include: [d.yaml]\nservices: {b: {image: x}}",
        c="include: [d.yaml]\nservices: {c: {image: x}}",
        d="services: {d: {image: x}}",
    )
    assert set(loaded(tmp_path, "main.yaml").project.services) == {"b", "c", "d"}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("include: [main.yaml]", "main.yaml:1:11: include cycle detected:\nmain.yaml\n include main.yaml"),
        ("include: [b.yaml]", "c.yaml:1:11: include cycle detected:\nb.yaml\n include c.yaml\n include b.yaml"),
        (
            "include: [none.yaml]\nservices: {a: {image: x, depends_on: [z]}}",
            "main.yaml:1:11: open none.yaml: no such file or directory",
        ),
        ("include: [bad.yaml]", "bad.yaml:1:1: additional properties 'servces' not allowed"),
        ("include: [broken.yaml]", "broken.yaml:2:1: not valid YAML"),
        (
            "include: [d.yaml]\nservices: {d: {image: y}}",
            'main.yaml:2:12: service "d" is defined here and in an included file\nhint: the other is at d.yaml:1:12',
        ),
        ("include: ['https://example.org/c.yaml']", "cannot be included: only files of this machine, of registries"),
        ("include: d.yaml", 'main.yaml:1:10: "include" must be a list of files'),
        ("include: [{env_file: x}]", "main.yaml:1:11: an include needs a path"),
        ("include: [{path: d.yaml, env_file: none.env}]", "none.env"),
        ("include: [{paths: d.yaml}]", 'an include has no attribute "paths"\nhint: did you mean "path"?'),
    ],
)
def test_what_cannot_be_included_is_told_with_its_place(tmp_path: Path, content: str, said: str) -> None:
    written(
        tmp_path,
        main=content,
        b="include: [c.yaml]",
        c="include: [b.yaml]",
        bad="servces: {}",
        broken="services: {",
        d="services: {d: {image: x}}",
    )
    text = "\n".join(problems(tmp_path, "main.yaml"))
    assert said in text
    assert "not defined" not in text, "what a missing file would have defined is not asked for"


def test_includes_that_multiply_are_stopped(tmp_path: Path) -> None:
    for number in range(40):
        below = f"include: [{number + 1}.yaml, {number + 1}.yaml]" if number < 39 else "services: {a: {image: x}}"
        (tmp_path / f"{number}.yaml").write_text(below)
    assert any("more than 1000 times" in text for text in problems(tmp_path, "0.yaml"))


def test_links_that_lead_in_a_circle_are_files_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").symlink_to("b.yaml")
    (tmp_path / "b.yaml").symlink_to("a.yaml")
    assert problems(tmp_path, "a.yaml") == [
        "open a.yaml: too many levels of symbolic links\nhint: symbolic links lead in a circle"
    ]


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    assert "is a directory" in problems(tmp_path, ".")[0]
