"""`--wait`, conditions and deadlines against the host in memory; time is trio's mock clock."""

from __future__ import annotations

from dataclasses import replace

import pytest
import trio
from pycompose.compose.engine import scheduler
from pycompose.compose.engine.monitor import Monitor
from pycompose.compose.model.project import Dependency, Healthcheck, Project, RestartPolicy, Service
from pycompose.compose.plan import reconcile

from tests.contract.fake_host import FakeHost

from .test_engine import in_trio


def waiting(*services: Service, **options: float) -> tuple[Project, reconcile.UpOptions]:
    named = {service.name: replace(service, config_hash="x") for service in services}
    of = Project("p", "/", (), services=named)
    return of, reconcile.UpOptions(wait=bool(options.get("wait", True)), wait_timeout=options.get("timeout"))


async def up_and_wait(host: FakeHost, monitor: Monitor, wanted: tuple[Project, reconcile.UpOptions]) -> dict[str, str]:
    """How the containers were that were waited for."""
    events: list[scheduler.StepEvent] = []
    of, options = wanted
    await scheduler.run(reconcile.up(of, host.observe(), options), of, "g", host, monitor, events.append)
    return {name: how for event in events for name, how in event.ready.items()}


def test_what_ends_within_the_settling_time_was_never_ready() -> None:
    async def main(host: FakeHost, monitor: Monitor) -> None:
        async with trio.open_nursery() as nursery:

            async def end() -> None:
                await trio.sleep(0.4)
                host.exit("p-db-1", 3)

            nursery.start_soon(end)
            with pytest.raises(scheduler.StepsFailed, match=r"container p-db-1 exited \(3\)"):
                await up_and_wait(host, monitor, waiting(Service("db")))

    in_trio(main)


def test_what_was_ready_first_is_looked_at_once_more_at_the_end() -> None:
    async def main(host: FakeHost, monitor: Monitor) -> None:
        async with trio.open_nursery() as nursery:

            async def end() -> None:
                await trio.sleep(2)
                host.exit("p-db-1", 3)

            nursery.start_soon(end)
            checked = Healthcheck(("CMD", "true"), interval=5.0)
            with pytest.raises(scheduler.StepsFailed, match=r"container p-db-1 exited \(3\)"):
                await up_and_wait(host, monitor, waiting(Service("db"), Service("web", healthcheck=checked)))

    in_trio(main)


def test_healthy_is_said_of_what_was_probed_alone_and_an_end_with_0_for_good_is_ready() -> None:
    async def main(host: FakeHost, monitor: Monitor) -> None:
        async with trio.open_nursery() as nursery:

            async def end() -> None:
                await trio.sleep(0.1)
                host.exit("p-job-1", 0)

            nursery.start_soon(end)
            checked = Healthcheck(("CMD", "true"), interval=5.0)
            wanted = waiting(Service("db"), Service("web", healthcheck=checked), Service("job"))
            began = trio.current_time()
            how = await up_and_wait(host, monitor, wanted)
            assert how == {"p-db-1": "running", "p-web-1": "healthy", "p-job-1": "exited"}
            assert trio.current_time() - began == 5.0

    in_trio(main)


@pytest.mark.parametrize("wait", [True, False])
def test_one_deadline_is_for_the_whole_plan_and_a_failed_health_check_is_explained(wait: bool) -> None:
    async def main(host: FakeHost, monitor: Monitor) -> None:
        check = Healthcheck(("CMD", "sh", "-c", "exit 7"), interval=1.0, retries=100)
        wanted = waiting(
            Service("db", healthcheck=check),
            Service("web", depends_on=(Dependency("db", "service_healthy"),)),
            timeout=2.5,
            wait=wait,
        )
        began = trio.current_time()
        with pytest.raises(scheduler.StepsFailed, match=r"application not healthy after 2\.5s: db not ready") as failed:
            await up_and_wait(host, monitor, wanted)
        assert trio.current_time() - began == 2.5
        assert "the last health check of p-db-1 ended with exit code 7" in failed.value.hint
        probes = host.containers["p-db-1"].supervision.probes
        assert [probe.exit_code for probe in probes] == [7, 7]
        await trio.sleep(20)
        assert len(host.containers["p-db-1"].supervision.probes) == 5

    in_trio(main)


def test_what_keeps_ending_is_told_of_while_one_waits_and_in_the_end() -> None:
    async def main(host: FakeHost, monitor: Monitor) -> None:
        looping = Service("db", command=("sh", "-c", "exit 7"), restart=RestartPolicy("always"))
        of, options = waiting(looping, timeout=30.0)
        events: list[scheduler.StepEvent] = []
        with pytest.raises(scheduler.StepsFailed, match="application not healthy after 30s: db not ready") as failed:
            await scheduler.run(reconcile.up(of, host.observe(), options), of, "g", host, monitor, events.append)
        told = [event.cause for event in events if event.state == "warning"]
        start = "p-db-1 keeps ending: it was started again"
        assert told == [f"{start} {times} times, and exited last with code 7" for times in (3, 6)]
        assert failed.value.hint.startswith(start)

    in_trio(main)


def test_an_unhealthy_container_is_started_again_only_where_that_is_asked_for() -> None:
    async def main(host: FakeHost, monitor: Monitor) -> None:
        check = Healthcheck(("CMD", "sh", "-c", "exit 1"), interval=1.0, retries=2)
        asked = Service("db", healthcheck=check, restart_unhealthy=True, stop_grace_period=0.0)
        of, options = waiting(asked, Service("web", healthcheck=check), timeout=1000.0)
        with pytest.raises(scheduler.StepsFailed, match="p-web-1 is unhealthy") as failed:
            await scheduler.run(reconcile.up(of, host.observe(), options), of, "g", host, monitor, lambda _: None)
        assert "application not healthy after 1000s: db not ready" in str(failed.value)
        assert host.containers["p-db-1"].supervision.restarts > 2
        assert host.containers["p-web-1"].supervision.restarts == 0
        stopped = reconcile.UpOptions(scale={"db": 0, "web": 0})
        await scheduler.run(reconcile.up(of, host.observe(), stopped), of, "g", host, monitor, lambda _: None)
        assert not host.containers

    in_trio(main)


def test_restarts_for_health_count_against_the_attempts() -> None:
    async def main(host: FakeHost, monitor: Monitor) -> None:
        check = Healthcheck(("CMD", "sh", "-c", "exit 1"), interval=1.0, retries=2)
        policy = RestartPolicy("on-failure", max_attempts=2)
        of, options = waiting(Service("db", healthcheck=check, restart=policy, restart_unhealthy=True))
        with pytest.raises(scheduler.StepsFailed, match="p-db-1 is unhealthy"):
            await scheduler.run(reconcile.up(of, host.observe(), options), of, "g", host, monitor, lambda _: None)
        assert host.containers["p-db-1"].supervision.restarts == 2
        assert host.containers["p-db-1"].status == "running"

    in_trio(main)
