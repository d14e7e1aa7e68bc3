"""Every snippet of docs/api.md runs, in the order of the page, in a folder with its compose file."""

from __future__ import annotations

import re
import sys
from pathlib import Path

from .conftest import Machine

PAGE = Path(__file__).parents[2] / "docs" / "api.md"
PLUGIN = "pycompose.compose.integrations.pytest_plugin"


def snippets(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)


def test_the_snippets_of_the_page_run(host: Machine, tmp_path: Path) -> None:
    (file,) = snippets("yaml")
    (tmp_path / "compose.yaml").write_text(file.replace("python3", sys.executable))
    suites = [text for text in snippets("python") if text.startswith("# test_")]
    program = "\n".join(text for text in snippets("python") if text not in suites)
    assert program.count("project.") > 10
    done = host.run(
        "env", f"--chdir={tmp_path}", sys.executable, "-X", "dev", "-W", "error", "-c", program, timeout=120
    )
    assert "ready me" in done.stdout
    assert done.stderr == ""
    (suite,) = suites
    (tmp_path / "test_shop.py").write_text(suite)
    pytest = (sys.executable, "-m", "pytest", "-p", PLUGIN, "-p", "no:cacheprovider", f"--rootdir={tmp_path}")
    host.run("env", "PYTEST_DISABLE_PLUGIN_AUTOLOAD=1", *pytest, str(tmp_path / "test_shop.py"), timeout=120)
    assert host.pycompose("ls", "-a", "-q").stdout == ""
