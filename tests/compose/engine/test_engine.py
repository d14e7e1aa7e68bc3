"""Plans, the scheduler and the monitor against the host in memory; time is trio's mock clock."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from dataclasses import replace

import pytest
import trio
import trio.testing
from pycompose.compose.engine import scheduler
from pycompose.compose.engine.host import DonorEnded, DonorStarted, HostError, HostNote
from pycompose.compose.engine.monitor import Monitor
from pycompose.compose.model import codec
from pycompose.compose.model.deployment import Deploy, DeployRestart
from pycompose.compose.model.project import (
    Attachment,
    Dependency,
    Healthcheck,
    Hook,
    Network,
    Project,
    RestartPolicy,
    Service,
)
from pycompose.compose.plan import commands, reconcile
from pycompose.compose.plan.steps import Plan, render

from tests.contract.fake_host import FakeHost


def project(**changes: object) -> Project:
    network = (Attachment("default"),)
    check = Healthcheck(("CMD", "true"), interval=1.0)
    db = Service("db", networks=network, config_hash="a", healthcheck=check, restart=RestartPolicy("always"))
    web = Service(
        "web", networks=network, replicas=2, config_hash="b", depends_on=(Dependency("db", "service_healthy"),)
    )
    return Project("p", "/", (), services={"db": db, "web": web}, networks={"default": Network("default", "p_default")})


UP = """\
create network p_default  (no such network)
create p-db-1  (no such container)
    after create network p_default
start p-db-1  (no such container)
    after create p-db-1
await db healthy  (depends_on)
    after start p-db-1
create p-web-1  (no such container)
    after create network p_default
start p-web-1  (no such container)
    after create p-web-1, await db healthy
create p-web-2  (no such container)
    after create network p_default
start p-web-2  (no such container)
    after create p-web-2, await db healthy
"""


async def act(host: FakeHost, plan: Plan, monitor: Monitor, events: list[scheduler.StepEvent] | None = None) -> None:
    report = (events if events is not None else []).append
    await scheduler.run(plan, project(), "g", host, monitor, report)


def in_trio(main: Callable[[FakeHost, Monitor], Awaitable[None]]) -> None:
    async def whole() -> None:
        host = FakeHost("p")
        monitor = Monitor(host)
        async with trio.open_nursery() as nursery:
            await nursery.start(monitor.run)
            await main(host, monitor)
            nursery.cancel_scope.cancel()

    trio.run(whole, clock=trio.testing.MockClock(autojump_threshold=0), strict_exception_groups=True)


def test_first_up_is_planned_in_order_of_dependencies() -> None:
    plan = reconcile.up(project(), FakeHost("p").observe())
    assert render(plan) == UP
    assert codec.from_json(Plan, codec.to_json(plan)) == plan
    assert codec.from_json(Project, codec.to_json(project())) == project()


def test_up_scale_down_and_nothing_to_do() -> None:
    async def main(host: FakeHost, monitor: Monitor) -> None:
        await act(host, reconcile.up(project(), host.observe()), monitor)
        calls = host.calls
        assert calls.index("exec p-db-1 true") < calls.index("start p-web-1")
        assert reconcile.up(project(), host.observe()).steps == ()
        await act(host, reconcile.scale(project(), host.observe(), {"web": 1}), monitor)
        assert sorted(host.containers) == ["p-db-1", "p-web-1"]
        await act(host, commands.down(None, host.observe()), monitor)
        assert not host.containers
        assert not host.networks
        assert calls.index("remove p-web-1") < calls.index("signal p-db-1 15")

    in_trio(main)


def test_failure_stops_dependents_and_others_go_on() -> None:
    async def main(host: FakeHost, monitor: Monitor) -> None:
        host.fail.add("start p-db-1")
        events: list[scheduler.StepEvent] = []
        with pytest.raises(scheduler.StepsFailed, match="cannot start p-db-1"):
            await act(host, reconcile.up(project(), host.observe()), monitor, events)
        assert "create p-web-2" in host.calls
        assert "start p-web-1" not in host.calls
        states = {e.step: e.state for e in events}
        assert states["start p-web-1"] == "skipped"

    in_trio(main)


def test_restart_policy_starts_again_until_stopped() -> None:
    async def main(host: FakeHost, monitor: Monitor) -> None:
        await act(host, reconcile.up(project(), host.observe()), monitor)
        host.exit("p-db-1", 1)
        await trio.sleep(0.2)
        again = host.containers["p-db-1"]
        assert (again.status, again.supervision.restarts) == ("running", 1)
        host.deaf.add("p-db-1")
        events: list[scheduler.StepEvent] = []
        await act(host, commands.stop(project(), host.observe()), monitor, events)
        await trio.sleep(100)
        assert host.containers["p-db-1"].status == "exited"
        assert "kill p-db-1" in host.calls
        (warning,) = [event.cause for event in events if event.state == "warning"]
        assert warning.startswith("p-db-1 went on for 10s after SIGTERM and is killed")
        assert "`init: true` helps" in warning

    in_trio(main)


def hooked(**hooks: tuple[Hook, ...]) -> Project:
    return replace(project(), services={"db": Service("db", config_hash="a", **hooks)})  # type: ignore[arg-type]


def test_a_pre_stop_that_fails_is_told_and_is_the_exit_code_and_the_stop_goes_on() -> None:
    async def main(host: FakeHost, monitor: Monitor) -> None:
        never = Hook(("echo", "never"))
        described = hooked(pre_stop=(Hook(("echo", "bye")), Hook(("sh", "-c", "exit 7")), never))
        await scheduler.run(reconcile.up(described, host.observe()), described, "g", host, monitor, lambda _: None)
        events: list[scheduler.StepEvent] = []
        with pytest.raises(scheduler.StepsFailed, match="db hook exited with status 7") as failed:
            await scheduler.run(commands.down(described, host.observe()), described, "g", host, monitor, events.append)
        assert failed.value.exit_code == 7
        assert not host.containers, "the rest of the plan is carried out"
        assert not host.networks
        told = [(event.state, event.cause) for event in events if event.state in ("output", "warning", "failed")]
        assert told == [("output", "bye\n"), ("warning", "db hook exited with status 7")]

    in_trio(main)


def test_a_post_start_that_fails_is_an_error_and_what_hooks_write_is_told() -> None:
    async def main(host: FakeHost, monitor: Monitor) -> None:
        described = hooked(post_start=(Hook(("echo", "hello")), Hook(("sh", "-c", "exit 3"))))
        events: list[scheduler.StepEvent] = []
        with pytest.raises(scheduler.StepsFailed, match="db hook exited with status 3") as failed:
            await scheduler.run(reconcile.up(described, host.observe()), described, "g", host, monitor, events.append)
        assert failed.value.exit_code == 1
        assert [(e.container, e.cause) for e in events if e.state == "output"] == [("p-db-1", "hello\n")]

    in_trio(main)


def test_pre_start_hooks_run_in_order_before_the_start_and_leave_nothing() -> None:
    async def main(host: FakeHost, monitor: Monitor) -> None:
        described = hooked(pre_start=(Hook(("echo", "hello")), Hook(("sh", "-c", "exit 0"))))
        events: list[scheduler.StepEvent] = []
        await scheduler.run(reconcile.up(described, host.observe()), described, "g", host, monitor, events.append)
        assert list(host.containers) == ["p-db-1"]
        told = [(e.container, e.hook, e.cause) for e in events if e.state == "output"]
        assert told == [("p-db-pre_start-0", "db pre_start[0]", "hello\n")]
        starts = [call for call in host.calls if call.startswith("start ")]
        assert starts == ["start p-db-pre_start-0", "start p-db-pre_start-1", "start p-db-1"]
        assert not reconcile.up(described, host.observe()).steps

    in_trio(main)


def test_a_pre_start_that_fails_keeps_its_container_and_runs_again_with_the_next_plan() -> None:
    async def main(host: FakeHost, monitor: Monitor) -> None:
        described = hooked(pre_start=(Hook(("sh", "-c", "exit 3")), Hook(("echo", "never"))))
        for _ in range(2):
            plan = reconcile.up(described, host.observe())
            message = r'service "db" pre_start\[0\] exited with code 3 \(hook container p-db-pre_start-0 retained'
            with pytest.raises(scheduler.StepsFailed, match=message) as failed:
                await scheduler.run(plan, described, "g", host, monitor, lambda _: None)
            assert failed.value.exit_code == 1
            states = {name: c.status for name, c in host.containers.items()}
            assert states == {"p-db-1": "created", "p-db-pre_start-0": "exited"}
        await scheduler.run(commands.down(described, host.observe()), described, "g", host, monitor, lambda _: None)
        assert not host.containers

    in_trio(main)


@pytest.mark.parametrize("fail", ["start p-db-pre_start-0", ""])
def test_a_pre_start_that_cannot_start_or_is_broken_off_leaves_nothing(fail: str) -> None:
    async def main(host: FakeHost, monitor: Monitor) -> None:
        host.fail.add(fail)
        described = hooked(pre_start=(Hook(("sleep", "1000")),))
        plan = reconcile.up(described, host.observe())
        with trio.move_on_after(1) as patience:
            with pytest.raises(scheduler.StepsFailed, match="cannot start"):
                await scheduler.run(plan, described, "g", host, monitor, lambda _: None)
        assert patience.cancelled_caught == (not fail)
        assert {name: c.status for name, c in host.containers.items()} == {"p-db-1": "created"}

    in_trio(main)


def test_a_stop_in_the_middle_of_a_policys_start_stops_what_was_started(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main(host: FakeHost, monitor: Monitor) -> None:
        await act(host, reconcile.up(project(), host.observe()), monitor)
        started = host.start_container

        async def slowly(name: str) -> None:
            await trio.sleep(1)
            await started(name)

        monkeypatch.setattr(host, "start_container", slowly)
        host.exit("p-db-1", 1)
        await trio.sleep(0.5)  # its back-off has passed, and its start goes on
        with trio.fail_after(30):
            await act(host, commands.down(project(), host.observe()), monitor)
        await trio.sleep(10)
        assert host.containers == {}
        calls = [call for call in host.calls if call in ("start p-db-1", "remove p-db-1")]
        assert calls == ["start p-db-1", "start p-db-1", "remove p-db-1"]

    in_trio(main)


def test_a_plan_that_fails_by_no_hook_is_1() -> None:
    assert scheduler.StepsFailed((("start x", HostError("no such program", exit_code=127)),)).exit_code == 1


def test_what_deploy_says_of_restarts_acts() -> None:
    async def main(host: FakeHost, monitor: Monitor) -> None:
        policy = DeployRestart("any", delay=5.0, max_attempts=2, window=10.0)
        db = replace(project().services["db"], deploy=Deploy(restart_policy=policy), healthcheck=None)
        await scheduler.run(
            reconcile.up(described := replace(project(), services={"db": db}), host.observe()),
            described,
            "g",
            host,
            monitor,
            lambda _: None,
        )

        async def again(after: float) -> bool:
            """Whether it is started again, not before five seconds are over."""
            await trio.sleep(after)
            host.exit("p-db-1", 0)
            await trio.sleep(4.9)
            assert host.containers["p-db-1"].status == "exited"
            await trio.sleep(0.2)
            return host.observe().containers[0].status == "running"

        assert [await again(1) for _ in range(3)] == [True, True, False]
        await host.start_container("p-db-1")
        monitor.starting("p-db-1")
        assert not host.containers["p-db-1"].supervision.attempts

    in_trio(main)


def test_a_run_as_long_as_the_window_gives_all_attempts_back() -> None:
    async def main(host: FakeHost, monitor: Monitor) -> None:
        policy = DeployRestart("any", max_attempts=1, window=10.0)
        db = replace(project().services["db"], deploy=Deploy(restart_policy=policy), healthcheck=None)
        described = replace(project(), services={"db": db})
        await scheduler.run(reconcile.up(described, host.observe()), described, "g", host, monitor, lambda _: None)
        for _ in range(3):
            await trio.sleep(11)
            host.exit("p-db-1", 0)
            await trio.sleep(1)
            assert host.containers["p-db-1"].status == "running"
        host.exit("p-db-1", 0)
        await trio.sleep(100)
        assert host.containers["p-db-1"].status == "exited"

    in_trio(main)


def test_a_container_that_a_command_starts_again_is_on_record_as_returning() -> None:
    async def main(host: FakeHost, monitor: Monitor) -> None:
        await act(host, reconcile.up(project(), host.observe()), monitor)
        seen: list[bool] = []
        signal = host.signal_container

        async def signalled(name: str, number: int) -> None:
            seen.append(host.containers[name].supervision.returning_at > 0)
            await signal(name, number)

        host.signal_container = signalled  # type: ignore[method-assign, assignment]
        await act(host, commands.restart(project(), host.observe(), ("db",)), monitor)
        await trio.testing.wait_all_tasks_blocked()
        assert (seen, host.containers["p-db-1"].supervision.returning_at) == ([True], 0)
        host.fail.add("start p-db-1")
        with pytest.raises(scheduler.StepsFailed):
            await act(host, commands.restart(project(), host.observe(), ("db",)), monitor)
        assert host.containers["p-db-1"].supervision.returning_at == 0
        await act(host, commands.stop(project(), host.observe(), ("web",)), monitor)
        assert seen[2:] == [False, False]

    in_trio(main)


def test_what_a_machine_lacks_is_told_once_and_what_a_service_lacks_for_each(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    events: list[scheduler.StepEvent] = []

    async def main(host: FakeHost, monitor: Monitor) -> None:
        notes = (HostNote("there is no such thing", of_machine=True), HostNote("cpus has no effect"))
        monkeypatch.setattr(host, "notes", lambda name: notes)
        await act(host, reconcile.up(project(), host.observe()), monitor, events)

    in_trio(main)
    told = sorted(event.cause for event in events if getattr(event, "state", "") == "warning")
    assert told == [
        'service "db": cpus has no effect',
        'service "web": cpus has no effect',
        "there is no such thing",
    ]


def joined(**side: object) -> Project:
    """`side` has a namespace of `db`, which always comes back, after a second."""
    db = Service("db", config_hash="a", restart=RestartPolicy("always", delay=1.0))
    given = {"network_mode": "service:db"} | side
    shares = Service("side", config_hash="b", depends_on=(Dependency("db", restart=True),), **given)  # type: ignore[arg-type]
    return Project("p", "/", (), services={"db": db, "side": shares})


async def up(host: FakeHost, monitor: Monitor, wanted: Project) -> None:
    await scheduler.run(reconcile.up(wanted, host.observe()), wanted, "g", host, monitor, lambda _: None)
    host.calls.clear()


def test_who_is_in_the_network_of_one_that_comes_back_joins_it_anew() -> None:
    async def main(host: FakeHost, monitor: Monitor) -> None:
        await up(host, monitor, joined())
        host.exit("p-db-1", 1)
        await trio.sleep(5)
        assert host.calls == ["start p-db-1", "signal p-side-1 15", "start p-side-1"]
        assert host.containers["p-side-1"].status == "running"
        assert host.containers["p-side-1"].supervision.restarts == 0

    in_trio(main)


def test_who_dies_with_the_process_namespace_of_one_comes_back_with_it() -> None:
    async def main(host: FakeHost, monitor: Monitor) -> None:
        await up(host, monitor, joined(network_mode=None, pid="service:db"))
        host.exit("p-db-1", 1)
        await trio.sleep(5)
        assert host.calls == ["start p-db-1", "start p-side-1"]

    in_trio(main)


def test_one_that_comes_back_first_waits_for_the_one_whose_namespace_it_has() -> None:
    async def main(host: FakeHost, monitor: Monitor) -> None:
        await up(host, monitor, joined(restart=RestartPolicy("always")))
        host.exit("p-db-1", 1)
        host.exit("p-side-1", 1)
        await trio.sleep(0.5)
        assert host.observe().containers[1].status == "restarting"
        await trio.sleep(5)
        assert host.calls == ["start p-side-1", "start p-db-1", "start p-side-1"]
        assert host.containers["p-side-1"].status == "running"

    in_trio(main)


def test_what_waits_for_one_that_cannot_come_back_stays_ended() -> None:
    async def main(host: FakeHost, monitor: Monitor) -> None:
        await up(host, monitor, joined(restart=RestartPolicy("always")))
        host.fail.add("start p-db-1")
        host.exit("p-db-1", 1)
        host.exit("p-side-1", 1)
        await trio.sleep(5)
        assert [c.status for c in host.observe().containers] == ["exited", "exited"]

    in_trio(main)


def test_a_stop_that_is_asked_for_is_not_undone_by_the_one_whose_namespace_it_has() -> None:
    async def main(host: FakeHost, monitor: Monitor) -> None:
        host.deaf.add("p-side-1")
        wanted = joined()
        await up(host, monitor, wanted)
        host.exit("p-db-1", 1)
        await trio.sleep(2)  # it is being ended, and does not listen
        plan = commands.stop(wanted, host.observe(), ("side",))
        await scheduler.run(plan, wanted, "g", host, monitor, lambda _: None)
        await trio.sleep(60)
        assert host.containers["p-side-1"].status == "exited"
        assert "start p-side-1" not in host.calls

    in_trio(main)


def test_the_next_supervisor_has_those_join_anew_who_were_left_behind() -> None:
    async def main(host: FakeHost, monitor: Monitor) -> None:
        await trio.sleep(1)
        await up(host, monitor, joined())
        await trio.sleep(1)
        other = host.successor()
        await other.kill_container("p-db-1")
        await trio.sleep(1)
        await other.start_container("p-db-1")
        await trio.sleep(1)
        async with trio.open_nursery() as nursery:
            await nursery.start(Monitor(other).run)
            await trio.sleep(5)
            assert other.calls[-2:] == ["signal p-side-1 15", "start p-side-1"]
            nursery.cancel_scope.cancel()

    in_trio(main)


@pytest.mark.parametrize("policy", ["no", "always"])
def test_a_donor_of_another_project_that_starts_takes_its_joiners_along(policy: str) -> None:
    async def main(host: FakeHost, monitor: Monitor) -> None:
        web = Service("web", config_hash="a", restart=RestartPolicy(policy))  # type: ignore[arg-type]
        described = replace(project(), services={"web": web})
        await scheduler.run(reconcile.up(described, host.observe()), described, "g", host, monitor, lambda _: None)
        host.containers["p-web-1"] = replace(host.containers["p-web-1"], shared={"network": "other/abc"})
        clock = time.time() - trio.current_time()
        first = host.containers["p-web-1"].started
        assert first is not None
        host.tell(DonorStarted("other/abc", first + clock - 5, None))
        await trio.sleep(1)
        assert host.containers["p-web-1"].started == first, "it joined that very run"
        host.tell(DonorEnded("other/abc"))
        host.tell(DonorStarted("other/abc", trio.current_time() + clock, trio.current_time() + clock))
        await trio.sleep(1)
        again = host.containers["p-web-1"]
        assert again.status == "running"
        assert again.started is not None
        assert again.started > first
        assert again.supervision.restarts == 0

    in_trio(main)


def test_a_joiner_waits_for_a_donor_of_another_project_that_does_not_run() -> None:
    async def main(host: FakeHost, monitor: Monitor) -> None:
        web = Service("web", config_hash="a", restart=RestartPolicy("always"))
        described = replace(project(), services={"web": web})
        await scheduler.run(reconcile.up(described, host.observe()), described, "g", host, monitor, lambda _: None)
        host.containers["p-web-1"] = replace(host.containers["p-web-1"], shared={"network": "other/abc"})
        host.fail.add("start p-web-1")
        host.exit("p-web-1", 1)
        await trio.sleep(1)
        assert host.observe().containers[0].status == "restarting"
        host.fail.clear()
        host.tell(DonorStarted("other/abc", time.time(), None))
        await trio.sleep(1)
        assert host.containers["p-web-1"].status == "running"

    in_trio(main)
