"""The obligations of a `Host`, one function each: its name is the obligation, its body asks a host to keep it.

They run on the host in memory (`test_host.py`) and on the real one (`tests/kernel/test_host_contract.py`). Programs in
them are those that both know: `sleep`, `true`, `sh -c "exit N"`, `printenv`, `echo`, `tail /dev/zero` (which runs out
of memory), and `/no/such/program`. The image `absent` is not there.
"""

from __future__ import annotations

import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from typing import Any, Protocol

import pytest
import trio
from pycompose.compose.engine.host import (
    ContainerExited,
    ContainerOutOfMemory,
    ContainerStarted,
    Host,
    HostError,
    HostEvent,
    OutputLine,
)
from pycompose.compose.model.observed import ObservedContainer, OneOff, Supervision
from pycompose.compose.model.project import (
    Attachment,
    Healthcheck,
    Hook,
    Network,
    Port,
    Project,
    RestartPolicy,
    Service,
    ServiceLimits,
    Volume,
    VolumeMount,
)

NET = Network("default", "p_default", config_hash="n")
VOLUME = Volume("data", "p_data", config_hash="v")
SLEEP = ("sleep", "1000")


class Stage(Protocol):
    """A machine with one project, "p", and its host."""

    @property
    def host(self) -> Host: ...

    def keep(self, project: Project) -> str:
        """Put the project on record; its generation."""

    async def succeed(self) -> None:
        """Another host of the same project takes over; `host` is that one from now on."""

    def processes(self, name: str) -> int:
        """How many run inside."""

    def serving(self, service: str) -> set[str]:
        """Ids of the containers that the service's published ports lead to."""


Obligation = Callable[[Stage], Awaitable[None]]
OBLIGATIONS: list[Obligation] = []


def obligation(keep: Obligation) -> Obligation:
    OBLIGATIONS.append(keep)
    return keep


def project(**changes: Any) -> Project:
    service = Service("web", image="host", command=SLEEP, init=True, config_hash="c", hash_parts={"image": "i"})
    service = replace(service, **changes)
    return Project("p", "/", (), services={"web": service}, networks={"default": NET}, volumes={"data": VOLUME})


async def create(
    stage: Stage, name: str = "p-web-1", *, number: int = 1, one_off: OneOff | None = None, **changes: Any
) -> None:
    wanted = project(**changes)
    await stage.host.create_container(wanted, stage.keep(wanted), "web", name, number, one_off=one_off)


async def start(stage: Stage, name: str = "p-web-1", **changes: Any) -> None:
    await create(stage, name, **changes)
    await stage.host.start_container(name)


def seen(stage: Stage, name: str = "p-web-1") -> ObservedContainer:
    return {c.name: c for c in stage.host.observe().containers}[name]


def names(stage: Stage) -> set[str]:
    return {c.name for c in stage.host.observe().containers}


def volumes(stage: Stage) -> set[str]:
    return {v.name for v in stage.host.observe().volumes}


@asynccontextmanager
async def refused(match: str = "") -> AsyncIterator[None]:
    with pytest.raises(HostError, match=match):
        yield


class Heard:
    """The next events, each of which must come."""

    def __init__(self, channel: trio.MemoryReceiveChannel[HostEvent]) -> None:
        self._channel = channel

    async def next(self) -> HostEvent:
        with trio.fail_after(20):
            return await self._channel.receive()

    def nothing(self) -> None:
        with pytest.raises(trio.WouldBlock):
            self._channel.receive_nowait()


@asynccontextmanager
async def listening(stage: Stage) -> AsyncIterator[Heard]:
    async with stage.host.events() as channel:
        yield Heard(channel)


# networks and volumes


@obligation
async def a_project_has_nothing_at_first(stage: Stage) -> None:
    observed = stage.host.observe()
    assert observed.project == "p"
    assert (observed.containers, observed.networks, observed.volumes) == ((), (), ())


@obligation
async def a_network_is_made_once_and_observed(stage: Stage) -> None:
    await stage.host.create_network(NET)
    await stage.host.create_network(NET)
    assert [(n.name, n.key, n.config_hash) for n in stage.host.observe().networks] == [("p_default", "default", "n")]
    await stage.host.remove_network("p_default")
    assert stage.host.observe().networks == ()


@obligation
async def a_volume_is_made_once_and_observed(stage: Stage) -> None:
    await stage.host.create_volume(VOLUME)
    await stage.host.create_volume(VOLUME)
    assert [(v.name, v.key, v.config_hash) for v in stage.host.observe().volumes] == [("p_data", "data", "v")]
    await stage.host.remove_volume("p_data")
    assert stage.host.observe().volumes == ()


@obligation
async def removing_what_is_not_there_is_no_error(stage: Stage) -> None:
    await stage.host.remove_network("p_default")
    await stage.host.remove_volume("p_data")
    await stage.host.remove_container("p-web-1", volumes=True)


@obligation
async def a_network_with_containers_stays(stage: Stage) -> None:
    await stage.host.create_network(NET)
    await start(stage, networks=(Attachment("default"),))
    async with refused("p_default"):
        await stage.host.remove_network("p_default")
    assert [n.name for n in stage.host.observe().networks] == ["p_default"]
    await stage.host.kill_container("p-web-1")
    await stage.host.remove_network("p_default")
    assert stage.host.observe().networks == ()


@obligation
async def a_volume_that_a_container_has_stays(stage: Stage) -> None:
    await stage.host.create_volume(VOLUME)
    await create(stage, mounts=(VolumeMount("data", "/data"),))
    async with refused("p_data"):
        await stage.host.remove_volume("p_data")
    assert volumes(stage) == {"p_data"}
    await stage.host.remove_container("p-web-1", volumes=True)
    assert volumes(stage) == {"p_data"}, "only anonymous volumes go with their container"
    await stage.host.remove_volume("p_data")


# containers that do not run


@obligation
async def a_container_is_observed_as_its_service_says(stage: Stage) -> None:
    check = Healthcheck(("CMD", "true"), interval=1.0)
    await stage.host.create_network(NET)
    await stage.host.create_volume(VOLUME)
    await create(
        stage,
        number=3,
        networks=(Attachment("default"),),
        mounts=(VolumeMount("data", "/data"),),
        restart=RestartPolicy("on-failure", 4),
        healthcheck=check,
        stop_grace_period=7.0,
        stop_signal="SIGUSR1",
    )
    one = seen(stage)
    assert (one.name, one.service, one.number, one.status, one.oneoff) == ("p-web-1", "web", 3, "created", False)
    assert (one.config_hash, dict(one.hash_parts), one.image, one.command) == ("c", {"image": "i"}, "host", SLEEP)
    assert (one.restart, one.healthcheck) == (RestartPolicy("on-failure", 4), check)
    assert (one.stop_grace_period, one.stop_signal) == (7.0, "SIGUSR1")
    assert (one.networks, dict(one.volumes), one.anonymous_volumes) == (("p_default",), {"/data": "p_data"}, ())
    assert (one.pid, one.exit_code, one.started, one.finished) == (None, None, None, None)
    assert one.generation
    assert one.created > 0
    assert len(one.id) == 64


@obligation
async def a_one_off_container_is_told_from_the_replicas(stage: Stage) -> None:
    await create(stage)
    await create(stage, "p-web-run-1", number=0, one_off=OneOff("ab" * 32))
    observed = stage.host.observe()
    assert [c.name for c in observed.of_service("web")] == ["p-web-1"]
    (one,) = [c for c in observed.containers if c.oneoff]
    assert (one.id, one.name, one.service, one.number) == ("ab" * 32, "p-web-run-1", "web", 0)


@obligation
async def a_one_off_container_serves_none_of_its_services_ports(stage: Stage) -> None:
    await stage.host.create_network(NET)
    await create(stage, networks=(Attachment("default"),), ports=(Port(80, (18080, 18080)),))
    await stage.host.start_container("p-web-1")
    before = stage.serving("web")
    await create(stage, "p-web-run-1", number=0, one_off=OneOff("ab" * 32), networks=(Attachment("default"),))
    await stage.host.start_container("p-web-run-1")
    assert stage.serving("web") == before


@obligation
async def a_container_that_is_to_be_removed_at_its_end_is(stage: Stage) -> None:
    for number, command in enumerate((("sh", "-c", "exit 3"), ("/no/such/program",))):
        name = f"p-web-run-{number}"
        mounts = (VolumeMount(None, "/cache"),)
        await create(stage, name, number=0, one_off=OneOff("ab" * 32, True), command=command, mounts=mounts)
        with suppress(HostError):
            await stage.host.start_container(name)
        await stage.host.await_removal(name)
    assert stage.host.observe().containers == ()
    assert stage.host.observe().volumes == ()


@obligation
async def a_container_that_ended_unattended_and_is_to_be_removed_is(stage: Stage) -> None:
    await create(stage, "p-web-run-1", number=0, one_off=OneOff("ab" * 32, True), command=("sh", "-c", "exit 0"))
    await stage.host.start_container("p-web-run-1")
    await stage.succeed()
    await stage.host.await_removal("p-web-run-1")
    assert stage.host.observe().containers == ()


@obligation
async def a_name_that_is_taken_is_refused(stage: Stage) -> None:
    await create(stage)
    first = seen(stage)
    async with refused("p-web-1"):
        await create(stage)
    assert stage.host.observe().containers == (first,)


@obligation
async def a_container_that_cannot_be_made_leaves_nothing(stage: Stage) -> None:
    async with refused("absent"):
        await create(stage, image="absent", mounts=(VolumeMount(None, "/cache"),))
    async with refused("nobody"):
        await create(stage, network_mode="service:nobody", mounts=(VolumeMount(None, "/cache"),))
    async with refused("no command"):
        await create(stage, command=(), mounts=(VolumeMount(None, "/cache"),))
    assert names(stage) == set()
    assert volumes(stage) == set()
    await create(stage)


@obligation
async def requests_for_a_container_that_is_not_there_are_refused(stage: Stage) -> None:
    host = stage.host
    for request in (
        lambda: host.start_container("p-web-1"),
        lambda: host.signal_container("p-web-1", 15),
        lambda: host.kill_container("p-web-1"),
        lambda: host.await_exit("p-web-1"),
        lambda: host.rename_container("p-web-1", "p-web-2"),
        lambda: host.connect_network("p-web-1", "n", (), None, None),
        lambda: host.disconnect_network("p-web-1", "n"),
        lambda: host.pause_container("p-web-1"),
        lambda: host.unpause_container("p-web-1"),
        lambda: host.exec_container("p-web-1", ("true",)),
    ):
        async with refused("p-web-1"):
            await request()


@obligation
async def whose_namespaces_a_container_has_is_known_and_that_one_has_to_run(stage: Stage) -> None:
    await create(stage)
    joined = replace(project().services["web"], name="side", network_mode="service:web", networks=(), ports=())
    wanted = replace(project(), services={"web": project().services["web"], "side": joined})
    await stage.host.create_container(wanted, stage.keep(wanted), "side", "p-side-1", 1)
    assert stage.host.donors("p-side-1") == ("p-web-1",)
    assert stage.host.donors("p-web-1") == stage.host.donors("p-nobody-1") == ()
    assert dict(seen(stage, "p-side-1").shared) == {"network": seen(stage).id}
    async with refused("p-side-1"):
        await stage.host.start_container("p-side-1")


@obligation
async def anonymous_volumes_go_with_their_container_when_that_is_asked(stage: Stage) -> None:
    await create(stage, mounts=(VolumeMount(None, "/cache"),))
    (volume,) = seen(stage).anonymous_volumes
    assert dict(seen(stage).volumes) == {"/cache": volume}
    assert volumes(stage) == {volume}
    await stage.host.remove_container("p-web-1")
    assert volumes(stage) == {volume}
    await create(stage, mounts=(VolumeMount(None, "/cache"),))
    (other,) = seen(stage).anonymous_volumes
    assert other != volume
    await stage.host.remove_container("p-web-1", volumes=True)
    assert volumes(stage) == {volume}
    await stage.host.remove_volume(volume)


@obligation
async def a_container_inherits_the_anonymous_volumes_of_another(stage: Stage) -> None:
    await create(stage, mounts=(VolumeMount(None, "/cache"),))
    old = seen(stage)
    wanted = project(mounts=(VolumeMount(None, "/cache"), VolumeMount(None, "/more")))
    await stage.host.create_container(wanted, stage.keep(wanted), "web", "p-web-2", 2, inherit="p-web-1")
    new = seen(stage, "p-web-2")
    assert new.volumes["/cache"] == old.volumes["/cache"]
    assert set(new.anonymous_volumes) == set(new.volumes.values())
    await stage.host.remove_container("p-web-1", volumes=True)
    assert volumes(stage) == set(new.anonymous_volumes), "another container has it"
    await stage.host.remove_container("p-web-2", volumes=True)
    assert volumes(stage) == set()


# their life


@obligation
async def a_hooks_container_has_the_volumes_of_the_one_beside_and_is_no_replica(stage: Stage) -> None:
    mounts = (VolumeMount("data", "/srv"), VolumeMount(None, "/opt"))
    hook = Hook(("sh", "-c", "exit 4"))
    await stage.host.create_volume(VOLUME)
    await create(stage, mounts=mounts, pre_start=(hook,), healthcheck=Healthcheck(("CMD", "true")), ports=(Port(80),))
    beside = seen(stage)
    async with listening(stage) as heard:
        await stage.host.create_hook("p-web-pre_start-0", "p-web-1", 0)
        made = seen(stage, "p-web-pre_start-0")
        assert (made.service, made.oneoff, made.hook, made.status) == ("web", True, "pre_start", "created")
        assert made.volumes == beside.volumes
        await stage.host.start_container(made.name)
        with trio.fail_after(20):
            assert (await stage.host.await_exit(made.name)).exit_code == 4
        heard.nothing()
    assert stage.serving("web") == set()
    await stage.host.remove_container(made.name, volumes=True)
    assert volumes(stage) >= set(beside.volumes.values())
    async with refused("pre_start"):
        await stage.host.create_hook("p-web-pre_start-1", "p-web-1", 1)


@obligation
async def a_start_is_observed_and_told_with_its_policy_and_check(stage: Stage) -> None:
    check = Healthcheck(("CMD", "true"), interval=1.0)
    await create(stage, restart=RestartPolicy("always"), healthcheck=check)
    async with listening(stage) as heard:
        heard.nothing()
        await stage.host.start_container("p-web-1")
        event = await heard.next()
    assert isinstance(event, ContainerStarted)
    assert (event.name, event.service) == ("p-web-1", "web")
    assert (event.restart, event.healthcheck) == (RestartPolicy("always"), check)
    assert event.at > 0
    one = seen(stage)
    assert one.status == "running"
    assert one.pid
    assert one.started
    assert stage.processes("p-web-1") > 0


@obligation
async def a_start_of_what_runs_is_refused(stage: Stage) -> None:
    await start(stage)
    before = seen(stage)
    async with listening(stage) as heard:
        async with refused("p-web-1"):
            await stage.host.start_container("p-web-1")
        heard.nothing()
    assert seen(stage) == before


@obligation
async def a_program_that_cannot_start_gives_its_code_and_nothing_runs(stage: Stage) -> None:
    await stage.host.create_network(NET)
    await create(stage, command=("/no/such/program",), init=False, networks=(Attachment("default"),))
    async with listening(stage) as heard:
        with pytest.raises(HostError, match="p-web-1") as raised:
            await stage.host.start_container("p-web-1")
        heard.nothing()
    assert raised.value.exit_code == 127
    assert seen(stage).status in ("created", "exited")
    assert seen(stage).pid is None
    assert stage.processes("p-web-1") == 0
    await stage.host.remove_container("p-web-1")
    await stage.host.remove_network("p_default")


@obligation
async def an_end_is_told_with_its_code(stage: Stage) -> None:
    await create(stage, command=("sh", "-c", "exit 3"))
    async with listening(stage) as heard, listening(stage) as other:
        await stage.host.start_container("p-web-1")
        for listener in (heard, other):
            assert isinstance(await listener.next(), ContainerStarted)
            event = await listener.next()
            assert isinstance(event, ContainerExited)
            assert (event.name, event.service, event.exit_code, event.oom_killed) == ("p-web-1", "web", 3, False)
    ended = await stage.host.await_exit("p-web-1")
    assert (ended.name, ended.service, ended.exit_code, ended.oom_killed) == ("p-web-1", "web", 3, False)
    one = seen(stage)
    assert (one.status, one.exit_code, one.pid) == ("exited", 3, None)
    assert one.finished


@obligation
async def the_end_of_what_never_ran_has_no_code(stage: Stage) -> None:
    await create(stage)
    with trio.fail_after(20):
        assert (await stage.host.await_exit("p-web-1")).exit_code is None
        await stage.host.kill_container("p-web-1")
    assert seen(stage).status == "created"


@obligation
async def what_ended_can_be_started_again(stage: Stage) -> None:
    await start(stage)
    await stage.host.kill_container("p-web-1")
    await stage.host.start_container("p-web-1")
    assert (seen(stage).status, seen(stage).exit_code) == ("running", None)
    with trio.move_on_after(0.05) as patience:
        await stage.host.await_exit("p-web-1")
    assert patience.cancelled_caught, "the end before is not this one's"


@obligation
async def a_signal_reaches_the_first_process(stage: Stage) -> None:
    await start(stage)
    await stage.host.signal_container("p-web-1", signal.SIGTERM)
    with trio.fail_after(20):
        assert (await stage.host.await_exit("p-web-1")).exit_code == 143
    await stage.host.signal_container("p-web-1", signal.SIGTERM)


@obligation
async def a_kill_returns_when_nothing_is_left(stage: Stage) -> None:
    await start(stage)
    async with listening(stage) as heard:
        await stage.host.kill_container("p-web-1")
        assert (seen(stage).status, seen(stage).exit_code) == ("exited", 137)
        assert stage.processes("p-web-1") == 0
        event = await heard.next()
        assert isinstance(event, ContainerExited)
        assert event.exit_code == 137
        with trio.fail_after(20):
            await stage.host.kill_container("p-web-1")
        heard.nothing()


@obligation
async def a_container_is_on_a_network_by_hand_until_it_is_taken_off(stage: Stage) -> None:
    await stage.host.create_network(NET)
    await start(stage, networks=(Attachment("default"),))
    before = seen(stage).networks
    await stage.host.create_network(Network("more", "p_more", config_hash="m"))
    await stage.host.connect_network("p-web-1", "p_more", ("alias",), None, None)
    assert seen(stage).networks == (*before, "p_more")
    async with refused("p_more"):
        await stage.host.connect_network("p-web-1", "p_more", (), None, None)
    await stage.succeed()
    assert seen(stage).networks == (*before, "p_more")
    await stage.host.disconnect_network("p-web-1", "p_more")
    assert seen(stage).networks == before
    async with refused("p_more"):
        await stage.host.disconnect_network("p-web-1", "p_more")
    await stage.host.remove_network("p_more")


@obligation
async def a_paused_container_is_observed_so_and_goes_on(stage: Stage) -> None:
    await start(stage)
    await stage.host.pause_container("p-web-1")
    assert seen(stage).status == "paused"
    await stage.host.unpause_container("p-web-1")
    assert seen(stage).status == "running"


@obligation
async def a_paused_container_can_be_killed(stage: Stage) -> None:
    await start(stage)
    await stage.host.pause_container("p-web-1")
    with trio.fail_after(20):
        await stage.host.kill_container("p-web-1")
    assert (seen(stage).status, seen(stage).exit_code) == ("exited", 137)


@obligation
async def what_runs_is_not_removed(stage: Stage) -> None:
    await start(stage)
    async with refused("p-web-1"):
        await stage.host.remove_container("p-web-1")
    assert seen(stage).status == "running"
    await stage.host.kill_container("p-web-1")
    await stage.host.remove_container("p-web-1")
    assert names(stage) == set()


@obligation
async def a_renamed_container_is_the_same_one(stage: Stage) -> None:
    await start(stage)
    before = seen(stage)
    await stage.host.rename_container("p-web-1", "new")
    assert stage.host.observe().containers == (replace(before, name="new"),)
    async with refused("p-web-1"):
        await stage.host.exec_container("p-web-1", ("true",))
    async with listening(stage) as heard:
        await stage.host.kill_container("new")
        event = await heard.next()
    assert isinstance(event, ContainerExited)
    assert event.name == "new"
    await create(stage)
    async with refused("new"):
        await stage.host.rename_container("p-web-1", "new")
    assert names(stage) == {"p-web-1", "new"}


@obligation
async def a_want_of_memory_is_told(stage: Stage) -> None:
    await create(
        stage,
        command=("tail", "/dev/zero"),
        init=False,
        resources=ServiceLimits(mem_limit=32 << 20, memswap_limit=32 << 20),
    )
    async with listening(stage) as heard:
        await stage.host.start_container("p-web-1")
        kinds = [type(await heard.next()) for _ in range(2)]
        event = await heard.next()
    assert kinds == [ContainerStarted, ContainerOutOfMemory]
    assert isinstance(event, ContainerExited)
    assert (event.exit_code, event.oom_killed) == (137, True)
    assert seen(stage).oom_killed
    assert (await stage.host.await_exit("p-web-1")).oom_killed


# inside


@obligation
async def exec_gives_the_code_and_the_output(stage: Stage) -> None:
    await start(stage)
    assert (await stage.host.exec_container("p-web-1", ("sh", "-c", "exit 5"))).exit_code == 5
    result = await stage.host.exec_container("p-web-1", ("echo", "hello"))
    assert (result.exit_code, result.output) == (0, b"hello\n")


@obligation
async def exec_has_the_environment_of_the_container_and_its_own(stage: Stage) -> None:
    await start(stage, environment={"ONE": "1", "TWO": "2"})
    for name, value in (("ONE", b"1\n"), ("TWO", b"zwei\n")):
        result = await stage.host.exec_container("p-web-1", ("printenv", name), environment={"TWO": "zwei"})
        assert (result.exit_code, result.output) == (0, value)
    without = await stage.host.exec_container("p-web-1", ("printenv", "TWO"), environment={"TWO": None})
    assert without.exit_code == 1


@obligation
async def exec_keeps_the_first_of_its_output(stage: Stage) -> None:
    await start(stage)
    result = await stage.host.exec_container("p-web-1", ("echo", "x" * 5000))
    assert (result.exit_code, result.output) == (0, b"x" * 4096)
    result = await stage.host.exec_container("p-web-1", ("echo", "x" * 5000), output_limit=3)
    assert (result.exit_code, result.output) == (0, b"xxx")


@obligation
async def exec_hands_over_all_of_its_output_as_it_comes(stage: Stage) -> None:
    await start(stage)
    pieces: list[bytes] = []
    await stage.host.exec_container("p-web-1", ("echo", "x" * 5000), output_limit=3, tell=pieces.append)
    assert b"".join(pieces) == b"x" * 5000 + b"\n"


@obligation
async def the_output_of_a_run_is_handed_over_to_its_end(stage: Stage) -> None:
    await start(stage, command=("echo", "hello"))
    lines: list[OutputLine] = []
    with trio.fail_after(20):
        await stage.host.follow_output("p-web-1", lines.extend)
    assert lines == [OutputLine("hello")]
    assert (await stage.host.await_exit("p-web-1")).exit_code == 0


@obligation
async def exec_that_is_cancelled_leaves_no_process(stage: Stage) -> None:
    await start(stage)
    before = stage.processes("p-web-1")
    with trio.move_on_after(0.3) as patience:
        await stage.host.exec_container("p-web-1", SLEEP)
    assert patience.cancelled_caught
    with trio.fail_after(20):
        while stage.processes("p-web-1") != before:  # noqa: ASYNC110 the kernel tells of no end of others' children
            await trio.sleep(0.01)
    assert seen(stage).status == "running"


@obligation
async def exec_is_refused_where_nothing_runs(stage: Stage) -> None:
    await create(stage)
    async with refused("p-web-1"):
        await stage.host.exec_container("p-web-1", ("true",))


# words, memory, ports, succession


@obligation
async def each_note_is_told_once(stage: Stage) -> None:
    await create(stage, security_opt=("label=type:t",))
    (note,) = (note for note in stage.host.notes("p-web-1") if "label=type:t" in note.text)
    assert not note.of_machine
    assert stage.host.notes("p-web-1") == ()
    assert stage.host.notes("nobody") == ()


@obligation
async def what_is_remembered_is_observed(stage: Stage) -> None:
    supervision = Supervision(stop_requested=True, health="unhealthy", failing_streak=2, restarts=3)
    await create(stage)
    stage.host.remember("p-web-1", supervision)
    assert seen(stage).supervision == supervision
    await stage.succeed()
    assert seen(stage).supervision == supervision
    stage.host.remember("p-web-1", replace(supervision, restarting=True))
    assert seen(stage).status == "restarting"
    stage.host.remember("p-web-1", Supervision())
    assert seen(stage).supervision == Supervision()
    stage.host.remember("nobody", supervision)


@obligation
async def a_replica_serves_while_it_is_healthy_and_runs(stage: Stage) -> None:
    await stage.host.create_network(NET)
    await start(stage, networks=(Attachment("default"),), ports=(Port(80, (18080, 18080)),))
    one = seen(stage).id
    assert [(p.published, p.target) for p in seen(stage).ports] == [(18080, 80)]
    assert stage.serving("web") == {one}, "without a check it is healthy"
    await stage.host.serve("p-web-1", healthy=False)
    assert stage.serving("web") == set()
    await stage.host.serve("p-web-1", healthy=True)
    assert stage.serving("web") == {one}
    await stage.host.kill_container("p-web-1")
    await stage.host.serve("p-web-1", healthy=True)
    assert stage.serving("web") == set()
    assert seen(stage).ports == ()
    await stage.host.serve("nobody", healthy=True)


@obligation
async def a_successor_takes_over_what_runs(stage: Stage) -> None:
    await start(stage)
    before = stage.host.observe()
    await stage.succeed()
    assert stage.host.observe() == before
    async with listening(stage) as heard:
        assert (await stage.host.exec_container("p-web-1", ("echo", "on"))).output == b"on\n"
        await stage.host.kill_container("p-web-1")
        event = await heard.next()
    assert isinstance(event, ContainerExited)
    assert (event.name, event.exit_code) == ("p-web-1", 137)
