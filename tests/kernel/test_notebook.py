"""A notebook that is executed top to bottom, by a kernel of its own. Needs root, nbclient and ipykernel."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from .conftest import Machine

pytest.importorskip("nbclient", reason="needs nbclient")
pytest.importorskip("ipykernel", reason="needs ipykernel")

FILE = """\
services:
  db: {image: host, command: [sh, -c, "echo '<b>ready'; exec sleep inf"], stop_signal: SIGKILL}
  web: {image: host, command: [sleep, inf], depends_on: [db], stop_signal: SIGKILL}
"""
CELLS = (
    "%load_ext pycompose",
    "%%compose --name noted\n" + FILE,
    "%compose up",
    "%compose ps",
    "%compose logs db",
    "%compose scale web=2",
    "compose_project",
    "%compose stop db",
    "%compose rm db",
    "%compose down",
    "len(compose_project.containers)",
)
EXECUTE = """
import json, sys, nbformat
from nbclient import NotebookClient
notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(text) for text in json.load(sys.stdin)])
NotebookClient(notebook, timeout=300, kernel_name="python3", allow_errors=True).execute()
print(json.dumps(notebook))
"""


def pictures(outputs: list[Any]) -> list[str]:
    """The SVG of what was displayed."""
    return ["".join(output["data"]["image/svg+xml"]) for output in outputs if "image/svg+xml" in output.get("data", {})]


def test_cells_are_files_and_commands_and_projects_are_pictures(host: Machine, tmp_path: Path) -> None:
    homes = [f"{name}={tmp_path}" for name in ("HOME", "IPYTHONDIR", "JUPYTER_RUNTIME_DIR", "JUPYTER_CONFIG_DIR")]
    command = ("env", *homes, sys.executable, "-W", "ignore", "-c", EXECUTE)
    done = host.run(*command, input=json.dumps(CELLS), timeout=300)
    notebook = json.loads(done.stdout)
    outputs = [cell["outputs"] for cell in notebook["cells"]]
    _, shown, up, ps, logs, scaled, displayed, _, refused, down, left = outputs
    errors = [output for outs in outputs for output in outs if output["output_type"] == "error"]
    assert errors == []  # what is refused is a sentence, without a traceback
    assert [output["name"] for output in refused] == ["stderr"]
    assert "UsageError: %compose rm db is not there" in refused[0]["text"]

    assert "not created" not in pictures(shown)[0]  # nothing is there, so nothing is said of it
    assert pictures(up)[-1].count("● running") == 2
    assert "noted-web-1" in ps[0]["data"]["text/html"]
    assert "&lt;b&gt;ready" in logs[0]["data"]["text/html"]
    assert "<b>" not in logs[0]["data"]["text/html"]
    assert "2 of 1 running" in pictures(scaled)[-1]
    assert "<Project noted" in displayed[0]["data"]["text/plain"]
    assert "<table>" in displayed[0]["data"]["text/html"]
    assert pictures(down)
    assert left[0]["data"]["text/plain"] == "0"
