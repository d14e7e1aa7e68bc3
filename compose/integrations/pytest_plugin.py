"""The pytest plugin: a compose project as a fixture, reset between tests, with its logs in reports of failed tests.

    def test_home(compose):
        compose.wait_for("web", http=8000)
        assert requests.get(compose.url("web", 8000)).ok

Every session of pytest imports this: nothing of pycompose is imported before a test asks for a fixture. Rules: a
project's name is its test run's and xdist worker's own, so that no two meet; it is taken down with its volumes,
whatever happens.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from .composed_project import ComposedProject

FILES = ("compose.yaml", "compose.yml", "docker-compose.yaml", "docker-compose.yml")
LINES = 200  # of each container in a report


def pytest_addoption(parser: pytest.Parser) -> None:
    text = "scope of the fixture `compose`: session, package, module, class or function"
    parser.addini("compose_scope", text, default="session")
    parser.addini("compose_file", "compose file of the fixtures, else one that lies beside the test or above it")


def pytest_configure(config: pytest.Config) -> None:
    if not config.pluginmanager.hasplugin("docker"):  # pytest-docker itself, which has the same names
        from . import pytest_docker_names

        config.pluginmanager.register(pytest_docker_names, "pycompose-docker-names")


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    outcome: Any = yield
    report = outcome.get_result()
    began = getattr(item, "_compose_began", None)
    if call.when == "setup":
        began = call.start
        item._compose_began = began  # type: ignore[attr-defined]
    if report.failed and (projects := _living()):
        from .composed_project import written_since

        for project in projects:
            report.sections.append((f"compose logs of {project.name}", written_since(project, began or 0.0, LINES)))


def pytest_unconfigure() -> None:
    """An interrupted session leaves nothing, either."""
    living = _living()
    while living:
        living.pop().down(volumes=True, remove_orphans=True, timeout=0)


def _living() -> list[ComposedProject]:
    """Projects that are up; of a session that has none, the module is not imported for that."""
    module = sys.modules.get(f"{__package__}.composed_project")
    return [] if module is None else module.ComposedProject.living


@pytest.fixture(scope="session")
def compose_up() -> dict[str, Any]:
    """Options of `up`; a suite's own fixture of this name has others."""
    return {"wait": True}


@pytest.fixture(scope="session")
def compose_project_name() -> str:
    """Of this test run and worker alone."""
    return f"pytest-{os.environ.get('PYTEST_XDIST_WORKER', 'main')}-{os.getpid()}"


def _scope(fixture_name: str, config: pytest.Config) -> Any:
    return config.getini("compose_scope")


@pytest.fixture(scope=_scope)
def compose(
    request: pytest.FixtureRequest, compose_project_name: str, compose_up: dict[str, Any]
) -> Iterator[ComposedProject]:
    """The project of the compose file beside the test, up for the scope that the ini option `compose_scope` names."""
    yield from _up(request, "compose", compose_project_name, compose_up)


@pytest.fixture(scope="module")
def compose_module(
    request: pytest.FixtureRequest, compose_project_name: str, compose_up: dict[str, Any]
) -> Iterator[ComposedProject]:
    """As `compose`, a project for each module."""
    yield from _up(request, "compose_module", f"{compose_project_name}-module", compose_up)


@pytest.fixture
def compose_function(
    request: pytest.FixtureRequest, compose_project_name: str, compose_up: dict[str, Any]
) -> Iterator[ComposedProject]:
    """As `compose`, a project for each test."""
    yield from _up(request, "compose_function", f"{compose_project_name}-function", compose_up)


def _up(request: pytest.FixtureRequest, fixture: str, name: str, options: dict[str, Any]) -> Iterator[ComposedProject]:
    from .composed_project import ComposedProject

    project = ComposedProject.load(_file(request, fixture), name=name)
    ComposedProject.living.append(project)
    try:
        project.up_with(options)
        yield project
    finally:
        try:
            project.down(volumes=True, remove_orphans=True, timeout=0)
        finally:
            if project in ComposedProject.living:
                ComposedProject.living.remove(project)


def _file(request: pytest.FixtureRequest, fixture: str) -> Path:
    """The ini option's, or the nearest one beside the (first) test that asks for the fixture, or above it."""
    config = request.config
    if named := config.getini("compose_file"):
        return config.rootpath / str(named)
    if request.scope == "session":
        users = [item for item in request.session.items if fixture in getattr(item, "fixturenames", ())]
        beside = users[0].path.parent if users else config.rootpath
    else:
        beside = request.path if request.path.is_dir() else request.path.parent
    for folder in (beside, *beside.parents):
        for file in FILES:
            if (folder / file).is_file():
                return folder / file
        if folder == config.rootpath:
            break
    pytest.fail(f"no compose file beside {beside} or above it; the ini option compose_file names one", pytrace=False)
