"""Steps that run providers: what comes after them goes by what the command tells of them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from types import MappingProxyType

import pytest
import trio
import trio.testing
from pycompose.compose.engine import scheduler
from pycompose.compose.engine.monitor import Monitor
from pycompose.compose.engine.provider_outcomes import ProviderOutcome, ProviderOutcomes
from pycompose.compose.model.deployment import Provider
from pycompose.compose.model.project import Dependency, Project, Service
from pycompose.compose.plan import reconcile
from pycompose.compose.plan.reconcile import UpOptions

from tests.contract.fake_host import FakeHost

STEP = "provider up cloud"
Events = list[scheduler.StepEvent]


def project() -> Project:
    services = {
        "db": Service("db"),
        "cloud": Service("cloud", provider=Provider("cloud"), depends_on=(Dependency("db"),)),
        "web": Service("web", depends_on=(Dependency("cloud"),)),
        "other": Service("other"),
    }
    return Project("p", "/", (), services=MappingProxyType(services))


def carried_out(
    meanwhile: Callable[[FakeHost, ProviderOutcomes], Awaitable[None]], timeout: float | None = None
) -> tuple[FakeHost, dict[str, str]]:
    """The plan of `up` carried out beside `meanwhile`; the last state of each step."""
    events: Events = []

    async def whole() -> FakeHost:
        host, outcomes, described = FakeHost("p"), ProviderOutcomes(), project()
        monitor = Monitor(host)
        options = UpOptions(wait=timeout is not None, wait_timeout=timeout)
        plan = reconcile.up(described, host.observe(), options)
        async with trio.open_nursery() as nursery:
            await nursery.start(monitor.run)
            nursery.start_soon(meanwhile, host, outcomes)
            try:
                await scheduler.run(plan, described, "first", host, monitor, events.append, outcomes=outcomes)
            finally:
                nursery.cancel_scope.cancel()
        return host

    host = trio.run(whole, clock=trio.testing.MockClock(autojump_threshold=0), strict_exception_groups=True)
    return host, {event.step: event.state for event in events}


def test_what_depends_on_a_provider_is_made_by_the_project_that_its_outcome_brings() -> None:
    there: list[set[str]] = []

    async def meanwhile(host: FakeHost, outcomes: ProviderOutcomes) -> None:
        await trio.sleep(60)
        there.append(set(host.containers))
        outcomes.tell(STEP, ProviderOutcome(project(), "second"))

    host, states = carried_out(meanwhile)
    assert there == [{"p-db-1", "p-other-1"}]
    assert set(states.values()) == {"done"}
    generations = {name: container.generation for name, container in host.containers.items()}
    assert generations == {"p-db-1": "first", "p-other-1": "first", "p-web-1": "second"}


def test_what_is_planned_anew_is_skipped_and_no_failure() -> None:
    async def meanwhile(host: FakeHost, outcomes: ProviderOutcomes) -> None:
        outcomes.tell(STEP, ProviderOutcome(project(), "second", superseded=True))

    host, states = carried_out(meanwhile)
    assert set(host.containers) == {"p-db-1", "p-other-1"}
    assert (states[STEP], states["create p-web-1"], states["start p-web-1"]) == ("done", "skipped", "skipped")


def test_a_failed_provider_is_an_error_and_nothing_after_it_is_done() -> None:
    hosts: list[FakeHost] = []

    async def meanwhile(host: FakeHost, outcomes: ProviderOutcomes) -> None:
        hosts.append(host)
        outcomes.tell(STEP, ProviderOutcome(failure="no credit", hint="pay"))

    with pytest.raises(ExceptionGroup) as group:
        carried_out(meanwhile)
    (failure,) = group.value.exceptions
    assert isinstance(failure, scheduler.StepsFailed)
    assert (str(failure), failure.hint, failure.exit_code) == ("no credit", "pay", 1)
    assert set(hosts[0].containers) == {"p-db-1", "p-other-1"}


def test_a_provider_that_takes_too_long_is_named() -> None:
    async def meanwhile(host: FakeHost, outcomes: ProviderOutcomes) -> None:
        pass

    with pytest.raises(ExceptionGroup) as group:
        carried_out(meanwhile, timeout=30)
    (failure,) = group.value.exceptions
    assert str(failure) == "application not healthy after 30s: cloud not ready"
