"""The dependency graph of services: its orders, its cycles, and when networkx is imported."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from pycompose.compose.model.errors import NoSuchService
from pycompose.compose.model.project import Dependency, Project, Service
from pycompose.compose.plan import graph
from pycompose.compose.plan.graph import CycleError
from pycompose.compose.plan.select import chosen, selected
from pycompose.compose.state import generations
from pycompose.runtime.places import ProjectPlaces


def project(**needs: tuple[str, ...]) -> Project:
    services = {n: Service(n, image="x", depends_on=tuple(Dependency(d) for d in on)) for n, on in needs.items()}
    return Project("p", "/", (), services=services)


def test_levels_go_from_what_is_needed_to_what_needs_it() -> None:
    assert graph.levels(project(web=("db", "cache"), db=(), cache=(), job=("web",))) == (
        ("db", "cache"),
        ("web",),
        ("job",),
    )


def test_a_cycle_is_told_as_a_path() -> None:
    with pytest.raises(CycleError, match="a -> b -> c -> a"):
        graph.build(project(a=("b",), b=("c",), c=("a",)))


def test_an_edge_bears_what_is_waited_for() -> None:
    web = Service("web", image="x", depends_on=(Dependency("db", "service_healthy", True, False),))
    edges = graph.build(Project("p", "/", (), services={"web": web, "db": Service("db", image="x")})).edges
    assert edges["web", "db"] == {"condition": "service_healthy", "restart": True, "required": False}


def test_what_is_needed_comes_first_and_else_the_order_of_the_file_holds() -> None:
    assert graph.order(project(job=("web",), web=("db", "cache"), cache=(), db=())) == ("db", "cache", "web", "job")
    assert graph.order(project(z=(), a=())) == ("z", "a")
    with pytest.raises(CycleError):
        graph.order(project(a=("b",), b=("a",)))


def test_services_asked_for_bring_what_they_need_and_nobody_else() -> None:
    whole = project(job=("web",), web=("db",), db=(), other=("db",))
    assert chosen(whole, ["web"]) == ("web", "db")
    assert selected(whole, ["web"]) == ("db", "web")
    assert chosen(whole, ["web"], no_deps=True) == ("web",)
    assert chosen(whole, []) == ("job", "web", "db", "other")
    with pytest.raises(NoSuchService):
        chosen(whole, ["wbe"])


def test_builds_come_after_those_that_they_need() -> None:
    assert graph.build_order({"a": ("c",), "b": (), "c": ()}) == ["b", "c", "a"]
    with pytest.raises(CycleError, match="a -> b -> a"):
        graph.build_order({"a": ("b",), "b": ("a",)})


def test_an_order_is_kept_with_its_generation_while_services_need_each_other_as_then(tmp_path: Path) -> None:
    places = ProjectPlaces("p", str(tmp_path / "state"), str(tmp_path / "run"))
    whole = project(web=("db",), db=())
    assert generations.order(places, whole) == ()
    generations.keep(places, graph.ordered(whole))
    assert generations.order(places, whole) == ("db", "web")
    assert generations.order(places, project(db=(), web=("db",))) == (), "another order of the file"
    assert generations.order(places, project(web=(), db=())) == ()
    recorded = generations.newest(places)
    assert recorded is not None
    assert recorded.order == ("db", "web")


def imported(code: str) -> bool:
    """Whether `code` imports networkx."""
    end = "; import sys; sys.exit('networkx' in sys.modules)"
    return subprocess.run([sys.executable, "-c", code + end], check=False).returncode == 1


def test_networkx_is_imported_only_where_something_is_to_be_ordered() -> None:
    assert not imported("import pycompose.compose.file.loader, pycompose.compose.plan.graph")
    start = (
        "from pycompose.compose.model.project import Dependency, Project, Service; "
        "from pycompose.compose.plan.select import selected; "
        "db, web = Service('db'), Service('web', depends_on=(Dependency('db'),)); "
    )
    assert not imported(start + "selected(Project('p', '/', (), services={'db': db}), ['db'])")
    whole = "Project('p', '/', (), services={'web': web, 'db': db}"
    assert imported(start + f"selected({whole}), ['web'])")
    assert not imported(start + f"selected({whole}, order=('db', 'web')), ['web'])")
