"""Services of providers: how the program is called, what its lines mean, and what comes of them in a plan."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from pycompose.compose.app import phases, providers
from pycompose.compose.app.providers import ProviderFailed
from pycompose.compose.file.loader import Options, load
from pycompose.compose.model.observed import Observed
from pycompose.compose.model.project import Project
from pycompose.compose.plan import commands, reconcile
from pycompose.compose.plan.reconcile import UpOptions
from pycompose.compose.plan.steps import render
from pycompose.errors import PycomposeError

SERVICES = """
services:
  db: {provider: {type: cloud, options: {size: 256, zone: [a, b]}}}
  web: {image: host, environment: {KEY: mine}, depends_on: [db]}
  other: {image: host}
"""
SCRIPT = """#!/bin/sh
[ "$2" = metadata ] && { cat "$HERE/metadata" 2>/dev/null; exit; }
echo "$*" >> "$HERE/calls"
. "$HERE/body"
"""


class Cloud:
    """A provider in PATH, and what it was called with."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.told: list[Any] = []
        (folder / "cloud").write_text(SCRIPT)
        (folder / "cloud").chmod(0o755)
        self.says(
            '{"type": "setenv", "message": "URL=https://x/?a=b"}', '{"type": "rawsetenv", "message": "KEY=theirs"}'
        )

    def says(self, *lines: str, end: str = "") -> None:
        (self.folder / "body").write_text("".join(f"printf '%s\\n' '{line}'\n" for line in lines) + end)

    def project(self, text: str = SERVICES) -> Project:
        (self.folder / "compose.yaml").write_text(text)
        return load(Options(files=(str(self.folder / "compose.yaml"),), project_name="p", environ={})).project

    def up(self, text: str = SERVICES, services: str = "db web", earlier: Project | None = None) -> Project:
        return providers.up(self.project(text), services.split(), {"TOKEN": "t"}, self.told.append, earlier)

    def end(self, verb: providers.Verb, *services: str) -> bool:
        return providers.end(self.project(), services, verb, {}, self.told.append)

    @property
    def calls(self) -> list[str]:
        path = self.folder / "calls"
        return path.read_text().splitlines() if path.exists() else []


@pytest.fixture
def cloud(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cloud:
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setenv("HERE", str(tmp_path))
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "docker"))
    return Cloud(tmp_path)


def test_the_program_is_called_with_the_options_of_the_file(cloud: Cloud) -> None:
    cloud.up()
    assert cloud.calls == ["compose --project-name=p up --size=256 --zone=a --zone=b db"]


def test_a_plugin_of_docker_comes_first(cloud: Cloud) -> None:
    plugin = cloud.folder / "docker" / "cli-plugins" / "docker-cloud"
    plugin.parent.mkdir(parents=True)
    plugin.write_text('#!/bin/sh\n[ "$2" = metadata ] || echo "plugin $*" >> "$HERE/calls"\n')
    plugin.chmod(0o755)
    cloud.up()
    assert [call.split()[0] for call in cloud.calls] == ["plugin"]


def test_variables_reach_those_that_depend_on_it_and_no_others(cloud: Cloud) -> None:
    project = cloud.up()
    assert project.services["web"].environment == {"KEY": "theirs", "DB_URL": "https://x/?a=b"}
    assert project.services["other"] == cloud.project().services["other"]
    (warning,) = (event for event in cloud.told if isinstance(event, phases.OperationWarning))
    assert warning.text == 'provider of "db" overrides variable "KEY" of service "web"'


def test_what_the_provider_needs_of_the_callers_environment_is_there(cloud: Cloud) -> None:
    cloud.says(end='echo "{\\"type\\": \\"setenv\\", \\"message\\": \\"T=$TOKEN\\"}"\n')
    assert cloud.up().services["web"].environment["DB_T"] == "t"


def test_other_variables_make_dependents_anew_and_the_same_ones_do_not(cloud: Cloud) -> None:
    first = cloud.up()
    assert cloud.up().services["web"].config_hash == first.services["web"].config_hash
    again = providers.up(first, ["db"], {}, cloud.told.append, None)  # a project of the records has them already
    assert again.services["web"] == first.services["web"]
    cloud.says('{"type": "setenv", "message": "URL=elsewhere"}')
    web = cloud.up().services["web"]
    assert web.config_hash != first.services["web"].config_hash
    assert web.hash_parts.items() - first.services["web"].hash_parts.items()


def test_dependents_keep_the_variables_where_the_provider_is_not_run(cloud: Cloud) -> None:
    first = cloud.up()
    later = cloud.up(services="web", earlier=first)
    assert later.services == first.services
    assert len(cloud.calls) == 1


def test_a_provider_that_asks_is_told_what_its_service_is(cloud: Cloud) -> None:
    ask = """printf '{"type": "get-service-config"}\\n'; read -r line; printf '%s\\n' "$line" >> "$HERE/answers"\n"""
    cloud.says(end=ask * 2)
    cloud.up(SERVICES.replace("zone: [a, b]}", 'zone: "${ZONE:-é}"}'))
    first, second = (json.loads(line) for line in (cloud.folder / "answers").read_text().splitlines())
    assert first == second
    assert first["provider"] == {"type": "cloud", "options": {"size": ["256"], "zone": ["é"]}}


def test_a_provider_that_asks_and_does_not_listen_goes_on(cloud: Cloud) -> None:
    cloud.says('{"type": "get-service-config"}', '{"type": "rawsetenv", "message": "A=1"}', end="exec <&-")
    assert cloud.up().services["web"].environment["A"] == "1"


def test_progress_is_told(cloud: Cloud) -> None:
    cloud.says('{"type": "info", "message": "25%\\nmore"}', '{"type": "debug", "message": "d"}')
    cloud.up()
    events = [event for event in cloud.told if isinstance(event, phases.ProviderProgress)]
    assert [(event.text, event.debug) for event in events] == [
        ("Creating", False),
        ("25%", False),
        ("d", True),
        ("Created", False),
    ]


@pytest.mark.parametrize(
    ("lines", "end", "said"),
    [
        (['{"type": "error", "message": "no credit"}'], "sleep 60", "no credit"),
        ([], "echo why >&2; exit 3", "up ended with 3"),
        (["hello"], "sleep 60", "it wrote what is no message: hello"),
        (["[1]"], "", "it wrote what is no message: [1]"),
        (['{"type": "setenv", "message": "URL"}'], "", "it wrote what is no message: setenv: URL"),
        (['{"type": "get-more"}'], "", "it wrote what is no message: get-more: "),
    ],
)
def test_a_failure_is_told_in_its_words(cloud: Cloud, lines: list[str], end: str, said: str) -> None:
    cloud.says(*lines, end=end.replace("sleep 60", "exec sleep 60"))
    with pytest.raises(ProviderFailed) as failure:
        cloud.up()
    assert str(failure.value) == f'provider "cloud" of service "db": {said}'
    assert failure.value.hint == ("why" if "why" in end else "")


def test_a_program_that_is_not_there_is_named(cloud: Cloud) -> None:
    with pytest.raises(ProviderFailed, match='"nobody" of service "db": there is no such program'):
        cloud.up("services: {db: {provider: {type: nobody}}}")
    with pytest.raises(ProviderFailed, match="compose cannot be a provider"):
        cloud.up("services: {db: {provider: {type: compose}}}")


def test_a_provider_waits_for_no_container(cloud: Cloud) -> None:
    text = "services: {db: {provider: {type: cloud}, depends_on: [a]}, a: {image: host}}"
    with pytest.raises(ProviderFailed, match='cannot depend on "a"'):
        cloud.up(text)
    assert cloud.calls == []


def test_metadata_say_which_options_there_are_and_whether_it_stops(cloud: Cloud) -> None:
    assert cloud.end("stop")
    assert cloud.calls == []
    (cloud.folder / "metadata").write_text('{"up": {"parameters": [{"name": "size"}]}, "stop": {"parameters": []}}')
    cloud.up()
    cloud.end("stop")
    assert cloud.calls == ["compose --project-name=p up --size=256 db", "compose --project-name=p stop db"]
    (cloud.folder / "metadata").write_text('{"up": {"parameters": [{"name": "class", "required": true}]}}')
    with pytest.raises(ProviderFailed, match='option "class" is missing'):
        cloud.up()


def test_down_removes_what_is_asked_for(cloud: Cloud) -> None:
    assert not cloud.end("down", "web")
    assert cloud.end("down")
    assert cloud.calls == ["compose --project-name=p down --size=256 --zone=a --zone=b db"]


def test_a_plan_makes_no_containers_of_it(cloud: Cloud) -> None:
    project = cloud.project(SERVICES.replace("[db]", "{db: {condition: service_healthy}}"))
    text = render(reconcile.up(project, Observed("p"), UpOptions(services=("web",), wait=True)))
    assert "start p-web-1" in text
    assert "db" not in text
    with pytest.raises(PycomposeError, match="no containers to scale"):
        reconcile.scale(project, Observed("p"), {"db": 2})
    assert commands.start(project, Observed("p"), ("db",)).steps == ()
