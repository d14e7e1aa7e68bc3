"""graph: the file's picture, live states, and what other programs read."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from pycompose.compose.model.observed import Label

Run = Callable[..., tuple[int, str, str]]

FILE = """
name: shop
services:
  db: {image: host, healthcheck: {test: "true"}}
  setup: {image: host, depends_on: {db: {condition: service_healthy}}}
  web:
    image: host
    scale: 3
    depends_on:
      setup: {condition: service_completed_successfully}
      mail: {condition: service_started, required: false}
    links: [db]
  mail: {image: host}
  cron: {image: host, depends_on: [db]}
"""


PICTURE = """\
         ┌─────────────────────────────────┐
         │               db                │
         └─┬──────────┬───────────────────┬┘
           │ healthy  │ started, restart  │ started
    ┌──────┘       ┌──┘                   └───────────┐
┌───▼───┐          │   ┌──────┐                   ┌───▼──┐
│ setup │          │   │ mail │                   │ cron │
└───┬───┘          │   └───┬──┘                   └──────┘
    │ completed    │       │ started, optional
    └───────┐    ┌─┘       │
            │    │ ┌───────┘
           ┌▼────▼─▼┐
           │ web \N{MULTIPLICATION SIGN}3 │
           └────────┘
"""


@pytest.fixture
def file(places: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("COLUMNS", "80")
    (places / "compose.yaml").write_text(FILE)
    return places / "compose.yaml"


def container(folder: Path, service: str, number: int = 1, code: int | None = None, stopped: bool = False) -> None:
    """A record as the runtime writes it: not started, or, with `code`, exited, perhaps because somebody stopped it."""
    place = folder / "state" / "projects" / "shop" / "containers" / f"{service}{number}".encode().hex().ljust(64, "0")
    place.mkdir(parents=True)
    labels = {Label.SERVICE: service, Label.NUMBER: str(number)}
    state = {"name": f"shop-{service}-{number}", "created": time.time(), "annotations": labels, "image": "host"}
    (place / "state.json").write_text(json.dumps(state))
    (place / "supervision.json").write_text(json.dumps({"stop_requested": stopped}))
    if code is not None:
        (place / "exit.json").write_text(json.dumps({"code": code, "finished": time.time()}))


@pytest.mark.usefixtures("file")
def test_a_file_alone_is_drawn_without_states(run: Run) -> None:
    code, out, err = run("graph")
    assert (code, err) == (0, "")
    assert out == PICTURE


def test_where_there_are_containers_each_service_tells_how_it_is(run: Run, file: Path) -> None:
    container(file.parent, "db")
    container(file.parent, "setup", code=0)
    container(file.parent, "web", 1, code=3)
    container(file.parent, "web", 2)
    container(file.parent, "cron", code=137, stopped=True)
    code, out, _ = run("graph")
    assert code == 0
    for text in ("○ created", "✔ completed", "✖ 1 created, 1 failed", "○ not created", "○ stopped"):
        assert text in out


def test_colours_are_for_those_who_see_them(run: Run, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    container(file.parent, "setup", code=1)
    assert "\033[" not in run("graph")[1]
    assert "\033[31m✖ failed\033[0m" in run("--ansi", "always", "graph")[1]
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\033[" not in run("graph")[1]


@pytest.mark.usefixtures("file")
def test_a_service_is_drawn_with_what_it_needs(run: Run) -> None:
    assert run("graph", "setup", "--format", "mermaid")[1] == (
        'flowchart TD\n    n0["db"]\n    n1["setup"]\n    n0 -->|healthy| n1\n'
    )
    assert run("graph", "wbe")[2] == 'error: no such service: wbe\nhint: did you mean "web"?\n'


def test_json_has_levels_conditions_and_containers(run: Run, file: Path) -> None:
    container(file.parent, "setup", code=0)
    tree = json.loads(run("graph", "--format", "json")[1])
    assert tree["name"] == "shop"
    services = {service["name"]: service for service in tree["services"]}
    assert {name: one["level"] for name, one in services.items()} == {
        "db": 0,
        "setup": 1,
        "web": 2,
        "mail": 0,
        "cron": 1,
    }
    assert services["web"]["replicas"] == 3
    needs = {need["service"]: need for need in services["web"]["depends_on"]}
    assert needs["mail"] == {"service": "mail", "condition": "service_started", "restart": False, "required": False}
    assert services["setup"]["containers"] == [
        {"name": "shop-setup-1", "state": "exited", "health": "", "exit_code": 0}
    ]


@pytest.mark.usefixtures("file")
def test_dot_is_a_digraph(run: Run) -> None:
    out = run("graph", "--format", "dot")[1]
    assert out.startswith('digraph "shop" {\n')
    assert '  "mail" -> "web" [label="started, optional"];\n' in out
    assert '  "db" -> "web" [label="started, restart"];\n' in out


def test_a_cycle_is_told_and_not_drawn(run: Run, file: Path) -> None:
    file.write_text("services: {a: {image: x, depends_on: [b]}, b: {image: x, depends_on: [a]}}")
    code, out, err = run("graph")
    assert (code, out) == (1, "")
    assert "a -> b -> a" in err or "b -> a -> b" in err


def test_records_that_may_not_be_read_are_as_if_there_were_none(run: Run, file: Path) -> None:
    (file.parent / "state" / "projects" / "shop").mkdir(parents=True)
    (file.parent / "state" / "projects" / "shop" / "containers").write_text("not a folder")
    if os.geteuid() != 0:
        (file.parent / "state").chmod(0)
    assert run("graph")[0] == 0
