"""The supervisor of one project: `python -m pycompose.compose.supervisor PROJECT FD`, started by the keeper.

It joins the parts and decides nothing: plans come over the control socket and go to the scheduler; the monitor keeps
health and restarts; the host acts. FD is the listening control socket, which the keeper holds: requests wait there
while a supervisor starts or is replaced. What it is asked is in `control.protocol`.
"""

from __future__ import annotations

import gc
import socket
import sys
from contextlib import suppress
from typing import assert_never

gc.set_threshold(100_000)  # nothing that is imported is garbage: looking for it is a tenth of the start

from pycompose.late_modules import put_off

put_off("ctypes.util", find_library="lib{}.so.0".format)  # trio looks for pthread, by a process of ldconfig

import trio
from pycompose import shortages
from pycompose.errors import PycomposeError
from pycompose.log_lines import complain, note
from pycompose.runtime.places import Places

from .control import server
from .control.protocol import (
    Attach,
    AwaitRemoval,
    CarryOut,
    HookOutput,
    Notice,
    Ping,
    ProviderEnded,
    Report,
    Request,
    StepProgress,
)
from .engine import scheduler
from .engine.monitor import Monitor
from .engine.provider_outcomes import ProviderOutcome, ProviderOutcomes
from .engine.publisher import Publisher
from .engine.trace import Trace
from .linux.linux_host import LinuxHost
from .state import generations

OUTPUTS = 1000  # pieces of what hooks write that wait to be told
MOMENT = 0.01  # seconds; what happens within is told at once


async def supervise(name: str, listening: int) -> None:
    roots = Places.default()
    publisher = Publisher(roots.project(name))
    host = LinuxHost(roots, name, publisher, tuple(sys.orig_argv[:-1]))
    monitor = Monitor(host, publish=publisher.publish_named, warn=note)
    async with trio.open_nursery() as nursery:
        await nursery.start(host.run)
        await nursery.start(monitor.run)

        async def handle(request: Request, reply: server.Reply, endings: server.Endings) -> None:
            match request:
                case CarryOut():
                    await _carry_out(request, reply, endings, host, monitor, publisher)
                case Attach(container):
                    publisher.publish_named(container, "attach")
                case AwaitRemoval(container):
                    await host.await_removal(container)
                case Ping():
                    pass
                case _:
                    assert_never(request)

        with socket.socket(fileno=listening) as listener:
            listener.setblocking(False)
            await server.serve(listener, handle)


async def _carry_out(
    request: CarryOut,
    reply: server.Reply,
    endings: server.Endings,
    host: LinuxHost,
    monitor: Monitor,
    publisher: Publisher,
) -> None:
    host.look_again()
    project = generations.read(host.places, request.generation)
    sender, receiver = trio.open_memory_channel[scheduler.StepEvent](100_000)
    trace, over, outcomes = Trace(host.places), trio.Event(), ProviderOutcomes()

    hearing = trio.CancelScope()

    async def hear() -> None:
        with hearing:
            async for ended in endings:
                outcomes.tell(ended.step, _outcome(host, ended))

    async def tell() -> None:
        """What happens within a moment is one message: a wake of the command for each is a tenth of a large plan."""
        async with receiver:
            with trace:
                async for event in receiver:
                    events = [event]
                    with suppress(trio.WouldBlock, trio.EndOfChannel):
                        while len(events) < OUTPUTS:
                            events.append(receiver.receive_nowait())
                    trace.write()
                    await reply(*map(_told, events))
                    with trio.move_on_after(MOMENT):
                        await over.wait()

    def report(event: scheduler.StepEvent) -> None:
        if event.state != "output":
            trace.step(event.step, event.state, event.cause)
        elif sender.statistics().current_buffer_used > OUTPUTS:
            return  # whoever looks has stopped to: what hooks write is not kept for ever
        with suppress(trio.BrokenResourceError):  # nobody hears it any more: what is under way is being undone
            sender.send_nowait(event)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(tell)
        nursery.start_soon(hear)
        failure: Exception | None = None
        try:
            await scheduler.run(
                request.plan,
                project,
                request.generation,
                host,
                monitor,
                report,
                parallel=request.parallel or None,
                publish=publisher.publish_named,
                attached=request.attached,
                outcomes=outcomes,
            )
        except scheduler.StepsFailed as error:
            failure = error  # told after the last event, and outside the nursery's group
        finally:
            sender.close()
            hearing.cancel()
            over.set()
    if failure is not None:
        raise failure


def _outcome(host: LinuxHost, ended: ProviderEnded) -> ProviderOutcome:
    project = None
    if ended.generation:
        try:
            project = generations.read(host.places, ended.generation)
        except PycomposeError as error:
            return ProviderOutcome(failure=str(error), hint=error.hint)
    return ProviderOutcome(project, ended.generation, ended.superseded, ended.failure, ended.hint)


def _told(event: scheduler.StepEvent) -> Report:
    match event.state:
        case "output":
            return HookOutput(event.container, event.cause, event.hook)
        case "warning":
            return Notice(event.cause)
        case state:
            return StepProgress(event.step, state, event.cause, event.ready)


def main() -> int:
    """Run until ended from outside; what goes wrong is in the log, with its time, and the keeper starts another."""
    gc.freeze()
    gc.set_threshold(10_000, 10, 10)
    try:
        trio.run(supervise, sys.argv[1], int(sys.argv[2]))
    except Exception as error:
        if shortages.number(error):
            note(f"the supervisor ends: {shortages.reason(error)}")
        else:
            complain()
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
