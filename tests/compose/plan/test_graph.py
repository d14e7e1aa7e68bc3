"""Who needs whom."""

from __future__ import annotations

import subprocess
import sys

import pytest
from pycompose.compose.model.project import Dependency, Project, Service
from pycompose.compose.plan.graph import CycleError, build, order


def project(**needs: tuple[str, ...]) -> Project:
    services = {n: Service(n, image="x", depends_on=tuple(Dependency(d) for d in on)) for n, on in needs.items()}
    return Project("p", "/", (), services=services)


def test_levels_go_from_what_is_needed_to_what_needs_it() -> None:
    assert order(project(web=("db", "cache"), db=(), cache=(), job=("web",))) == (("db", "cache"), ("web",), ("job",))


def test_a_cycle_is_told_as_a_path() -> None:
    with pytest.raises(CycleError, match="a -> b -> c -> a"):
        build(project(a=("b",), b=("c",), c=("a",)))


def test_loading_does_not_import_networkx() -> None:
    code = (
        "import sys, pycompose.compose.file.loader, pycompose.compose.plan.graph; sys.exit('networkx' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
