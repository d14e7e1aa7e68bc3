"""What CI installs is what the tests ask for."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def test_every_program_that_tests_need_is_installed_by_ci() -> None:
    listed = re.search(r"<<'END'\n(.*?)\nEND\n", (ROOT / ".ci" / "run").read_text(), re.S)
    assert listed is not None
    installed = {line.split()[0] for line in listed[1].splitlines()}
    asked = set()
    for file in (ROOT / "tests").rglob("*.py"):
        if file.parent.name not in (
            "bench",
            "vm",
        ):  # peers and what they need are there or not; the guest installs its own
            for call in re.findall(r"\b(?:need|which)\(([^)]*)\)", file.read_text()):
                asked |= set(re.findall(r'"([\w.-]+)"', call))
    there_or_not = {"docker", "docker-compose", "bash"}
    assert asked - there_or_not <= installed
