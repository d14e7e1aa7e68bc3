"""Images that services are built to: which, in which order, and what cannot be."""

from __future__ import annotations

import pytest
from pycompose.compose.builds.service_builds import targets
from pycompose.compose.model.image_build import Build
from pycompose.compose.model.project import Project, Service
from pycompose.compose.plan.graph import CycleError
from pycompose.errors import PycomposeError


def service(name: str, *bases: str) -> Service:
    contexts = {f"from-{base}": f"service:{base}" for base in bases}
    return Service(name, build=Build(context="/", additional_contexts=contexts))


def names(project: Project, *asked: str) -> list[str]:
    return [target.name for target in targets(project, asked)]


def test_bases_are_built_before_what_is_built_from_them() -> None:
    services = (service("web", "base"), service("other"), service("base", "root"))
    hidden = {"root": service("root")}
    project = Project("p", "/", (), services={s.name: s for s in services}, disabled_services=hidden)
    assert names(project, "web") == ["root", "base", "web"]
    assert names(project, "web", "other") == ["other", "root", "base", "web"]
    assert targets(project, ["web"])[2].needs == ("base",)
    assert targets(project, ["web"])[2].tags == ("p-web",)


def test_a_service_without_a_build_is_passed_over() -> None:
    project = Project("p", "/", (), services={"db": Service("db", image="x"), "web": service("web")})
    assert names(project, "db", "web") == ["web"]


@pytest.mark.parametrize(("base", "fault"), [("db", "is not built"), ("nobody", "is not defined")])
def test_a_base_must_be_built(base: str, fault: str) -> None:
    project = Project("p", "/", (), services={"db": Service("db", image="x"), "web": service("web", base)})
    with pytest.raises(PycomposeError, match=f'service "web": additional_contexts: service "{base}" {fault}'):
        targets(project, ["web"])
    assert names(project, "db") == []


def test_images_that_are_built_from_each_other_are_told_as_a_cycle() -> None:
    project = Project("p", "/", (), services={"a": service("a", "b"), "b": service("b", "a")})
    with pytest.raises(CycleError, match="a -> b -> a"):
        targets(project, ["a"])
