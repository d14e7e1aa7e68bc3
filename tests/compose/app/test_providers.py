"""Services of providers: how the program is called, what its lines mean, and what comes of them in a plan."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from pycompose.compose.app import provider_program
from pycompose.compose.app.phases import ProviderProgress
from pycompose.compose.app.provider_program import ProviderCall, ProviderFailed, ProviderStopped
from pycompose.compose.app.provider_runs import ProviderRuns
from pycompose.compose.app.providers import Provided
from pycompose.compose.control.protocol import Notice, ProviderEnded, StepProgress
from pycompose.compose.file.loader import Options, load
from pycompose.compose.model.observed import ContainerStatus, Observed, ObservedContainer
from pycompose.compose.model.project import Project
from pycompose.compose.plan import commands, reconcile
from pycompose.compose.plan.reconcile import UpOptions
from pycompose.compose.plan.steps import ProviderVerb, render
from pycompose.compose.state import generations
from pycompose.errors import PycomposeError
from pycompose.runtime.places import Places

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

    def call(self, project: Project, service: str = "db", stopped: int = provider_program.NEVER) -> ProviderCall:
        def say(text: str, debug: bool) -> None:
            self.told.append((text, debug))

        return ProviderCall(project, project.services[service], {"TOKEN": "t"}, stopped, say)

    def up(self, text: str = SERVICES, earlier: Project | None = None) -> Project:
        """The project with what the provider of db tells."""
        provided = Provided(self.project(text), earlier)
        provided.take("db", provider_program.run(self.call(provided.project), "up"), Observed("p"))
        return provided.project

    def end(self, verb: ProviderVerb) -> None:
        provider_program.run(self.call(self.project()), verb)

    def stops(self) -> bool:
        return provider_program.stops(self.call(self.project()))

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


def test_a_variable_of_the_file_that_gives_way_is_warned_of(cloud: Cloud) -> None:
    provided = Provided(cloud.project(), None)
    text = 'provider of "db" overrides variable "KEY" of service "web"'
    assert provided.overridden("db", {"KEY": "theirs", "DB_URL": "x"}) == [text]
    assert provided.overridden("db", {"KEY": "mine", "OTHER": "x"}) == []


def test_what_the_provider_needs_of_the_callers_environment_is_there(cloud: Cloud) -> None:
    cloud.says(end='echo "{\\"type\\": \\"setenv\\", \\"message\\": \\"T=$TOKEN\\"}"\n')
    assert cloud.up().services["web"].environment["DB_T"] == "t"


def test_other_variables_make_dependents_anew_and_the_same_ones_do_not(cloud: Cloud) -> None:
    first = cloud.up()
    assert cloud.up().services["web"].config_hash == first.services["web"].config_hash
    again = Provided(first, first)  # a project of the records has them already
    assert again.project.services["web"] == first.services["web"]
    cloud.says('{"type": "setenv", "message": "URL=elsewhere"}')
    web = cloud.up().services["web"]
    assert web.config_hash != first.services["web"].config_hash
    assert web.hash_parts.items() - first.services["web"].hash_parts.items()


def test_dependents_keep_the_variables_where_the_provider_is_not_run(cloud: Cloud) -> None:
    first = cloud.up()
    later = Provided(cloud.project(), first).project
    assert later.services == first.services


def test_a_variable_that_is_told_no_more_is_gone(cloud: Cloud) -> None:
    first = cloud.up()
    cloud.says('{"type": "setenv", "message": "URL=elsewhere"}')
    assert cloud.up(earlier=first).services["web"].environment == {"KEY": "mine", "DB_URL": "elsewhere"}


def test_the_rest_is_planned_anew_where_containers_have_other_variables(cloud: Cloud) -> None:
    web = ObservedContainer(id="1", name="p-web-1", service="web", number=1, status="running")
    other = ObservedContainer(id="2", name="p-other-1", service="other", number=1, status="running")
    for there, values, anew in [
        ((web,), {"A": "1"}, True),
        ((web,), {}, False),
        ((other,), {"A": "1"}, False),
        ((), {"A": "1"}, False),
    ]:
        provided = Provided(cloud.project(), None)
        assert provided.take("db", values, Observed("p", there)) is anew
        assert provided.run == {"db"}
        assert not provided.take("db", values, Observed("p", there))


def test_what_was_started_meanwhile_and_ended_is_known_when_the_rest_is_planned_anew(cloud: Cloud) -> None:
    def one(number: int, status: ContainerStatus, started: float | None) -> ObservedContainer:
        return ObservedContainer(f"{number}", f"p-web-{number}", "web", number, status, started=started)

    before = Observed("p", (one(1, "exited", 1.0), one(2, "exited", 1.0)))
    now = Observed("p", (one(1, "exited", 1.0), one(2, "exited", 2.0), one(3, "exited", 2.0), one(4, "running", 2.0)))
    provided = Provided(cloud.project(), None)
    provided.heed_ends(before, now)
    assert provided.ended == {"2", "3"}


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
    assert cloud.told == [("25%", False), ("d", True)]


@pytest.mark.parametrize(
    ("lines", "end", "said"),
    [
        (['{"type": "error", "message": "no credit"}'], "sleep 60", "no credit"),
        ([], "echo why >&2; exit 3", "failed to create service provider: exit status 3"),
        (["hello"], "sleep 60", "invalid response from plugin: hello"),
        (["[1]"], "", "invalid response from plugin: [1]"),
        (['{"type": "setenv", "message": "URL"}'], "", "invalid response from plugin: setenv: URL"),
        (['{"type": "get-more"}'], "", "invalid response from plugin: get-more: "),
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
    with pytest.raises(ProviderFailed, match="'compose' is not a valid provider type"):
        cloud.up("services: {db: {provider: {type: compose}}}")


def test_metadata_say_which_options_there_are_and_whether_it_stops(cloud: Cloud) -> None:
    cloud.end("stop")
    assert not cloud.stops()
    assert cloud.calls == []
    (cloud.folder / "metadata").write_text('{"up": {"parameters": [{"name": "size"}]}, "stop": {"parameters": []}}')
    assert cloud.stops()
    cloud.up()
    cloud.end("stop")
    assert cloud.calls == ["compose --project-name=p up --size=256 db", "compose --project-name=p stop db"]
    (cloud.folder / "metadata").write_text('{"up": {"parameters": [{"name": "class", "required": true}]}}')
    with pytest.raises(ProviderFailed, match='required parameter "class" is missing'):
        cloud.up()


def test_down_removes_what_is_asked_for(cloud: Cloud) -> None:
    cloud.end("down")
    assert cloud.calls == ["compose --project-name=p down --size=256 --zone=a --zone=b db"]


def test_a_plan_makes_no_containers_of_it(cloud: Cloud) -> None:
    project = cloud.project(SERVICES.replace("[db]", "{db: {condition: service_healthy}}"))
    text = render(reconcile.up(project, Observed("p"), UpOptions(services=("web",), wait=True)))
    assert "start p-web-1" in text
    assert "p-db" not in text
    with pytest.raises(PycomposeError, match="no containers to scale"):
        reconcile.scale(project, Observed("p"), {"db": 2})
    assert commands.start(project, Observed("p"), ("db",)).steps == ()


def test_a_large_answer_is_no_deadlock(cloud: Cloud) -> None:
    """The provider writes more than a pipe holds before it reads the answer, which is more than a pipe holds."""
    text = SERVICES.replace("db: {", f"db: {{labels: {{large: {'x' * 200_000}}}, ")
    lines = """printf '{"type": "get-service-config"}\\n'
    head -c 200000 /dev/zero | tr '\\0' '\\n'; read -r line; printf '%s' "$line" | wc -c > "$HERE/answers"\n"""
    cloud.says(end=lines)
    cloud.up(text)
    assert int((cloud.folder / "answers").read_text()) > 200_000


@contextmanager
def pipe() -> Iterator[tuple[int, int]]:
    ends = os.pipe()
    try:
        yield ends
    finally:
        for end in ends:
            os.close(end)


@pytest.mark.parametrize("body", ["sleep 600 & wait", "exec >&-; sleep 600"])
def test_a_run_that_nobody_wants_any_more_is_over_at_once(cloud: Cloud, body: str) -> None:
    """Even where a child of the provider keeps its stdout open, or it has closed it itself."""
    cloud.says(end=f'trap "" INT\n echo $$ > "$HERE/pid"; mkfifo "$HERE/began"; : > "$HERE/began" & {body}\n')
    outcomes: list[BaseException] = []

    def run(stopped: int) -> None:
        try:
            provider_program.run(cloud.call(cloud.project(), stopped=stopped), "up")
        except ProviderStopped as error:
            outcomes.append(error)

    with pipe() as (stopped, stop):
        thread = threading.Thread(target=run, args=(stopped,))
        thread.start()
        while not (cloud.folder / "began").exists():
            thread.join(0.01)
        (cloud.folder / "began").read_text()
        os.write(stop, b"x")
        thread.join(60)
    assert not thread.is_alive()
    assert len(outcomes) == 1
    assert not os.path.exists(f"/proc/{(cloud.folder / 'pid').read_text().strip()}")


def test_the_supervisor_is_told_how_each_run_went(cloud: Cloud, tmp_path: Path) -> None:
    places = Places(str(tmp_path / "state"), str(tmp_path / "run")).project("p")
    text = SERVICES + "  mail: {provider: {type: nobody}}\n"
    provided = Provided(cloud.project(text), None)
    plan = reconcile.up(provided.project, Observed("p"), UpOptions())
    told: list[ProviderEnded] = []
    arguments = (places, provided.project, plan, Observed("p"), cloud.told.append)
    with ProviderRuns(*arguments, variables={"TOKEN": "t"}, provided=provided, keep=True) as runs:
        runs.connected(told.append)
        for step in ("provider up db", "create p-web-1", "provider up mail"):
            runs.tell(StepProgress(step, "started"))
        while len(told) < 2:
            threading.Event().wait(0.01)
    outcomes = {ended.step: ended for ended in told}
    assert outcomes["provider up mail"].failure.startswith('provider "nobody" of service "mail": there is no such')
    db = outcomes["provider up db"]
    assert (db.failure, db.superseded, runs.superseded) == ("", False, False)
    assert generations.read(places, db.generation).services["web"].environment["KEY"] == "theirs"
    assert generations.newest_digest(places) == db.generation
    assert any(isinstance(event, Notice) for event in cloud.told)
    assert not any(isinstance(event, ProviderProgress) for event in cloud.told)
