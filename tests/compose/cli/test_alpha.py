"""alpha: the graph for graphviz."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

Run = Callable[..., tuple[int, str, str]]

FILE = """
name: p
services:
  web:
    image: nginx
    ports: ["127.0.0.1:80:8080", "90-91:90-91/udp", "7"]
    networks: {a: {priority: 1}, b: {priority: 2}}
    depends_on: [db]
  db: {build: .}
  off: {image: x, profiles: [p]}
networks: {a: , b: }
"""


@pytest.fixture(autouse=True)
def file(places: Path) -> None:
    (places / "compose.yaml").write_text(FILE)


def test_a_graph_for_graphviz_is_as_docker_compose_writes_it(run: Run) -> None:
    code, out, err = run("alpha", "viz")
    assert (code, err) == (0, "viz command is EXPERIMENTAL\n")
    web = '\t"web" [style="filled" label=<<font point-size="15">web</font>>];\n'
    lines = f'digraph "p" {{\n\tlayout=dot;\n{web}{web.replace("web", "db")}\n\t"web" -> "db";\n}}\n\n'
    assert out == lines


def test_a_graph_has_what_is_asked_for(run: Run) -> None:
    out = run("alpha", "viz", "--networks", "--ports", "--image", "--spaces", "--indentation-size", "2")[1]
    small = '<font point-size="10"><br/><br/><b>'
    ports = "127.0.0.1:80:8080 (tcp, ingress)<br/>90:90 (udp, ingress)<br/>91:91 (udp, ingress)<br/>:7 (tcp, ingress)"
    assert (
        f'\n  "web" [style="filled" label=<<font point-size="15">web</font>{small}Networks:</b><br/>b<br/>a</font>'
        f"{small}Ports:</b><br/>{ports}</font>{small}Image:</b><br/>nginx</font>>];\n"
    ) in out
    assert f"{small}Image:</b><br/>p-db</font>" in out
    code, out, err = run("alpha", "viz", "--indentation-size", "-1")
    assert (code, out) == (1, "")
    assert "invalid indentation size: -1" in err


def test_a_file_is_of_containers_that_are_named_and_there(run: Run) -> None:
    code, out, err = run("alpha", "generate")
    assert (code, out) == (1, "")
    assert "error: at least one container must be specified" in err
    assert run("alpha", "generate", "a", "b")[2].splitlines()[1] == (
        "error: no container(s) found with the following name(s): a,b"
    )
