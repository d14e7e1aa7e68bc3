"""The supervisor of one project: `python -m pycompose.compose.supervisor PROJECT FD`, started by the keeper.

It joins the parts and decides nothing: plans come over the control socket and go to the scheduler; the attendant keeps
health and restarts; the host acts. FD is the listening control socket, which the keeper holds: requests wait there
while a supervisor starts or is replaced. Messages: {"op": "run", "plan", "project", "generation", "parallel"} answers a
line per step event; {"op": "ping"} answers {"pid"}.
"""

from __future__ import annotations

import os
import socket
import sys

import trio
from pycompose.runtime.places import Places

from .control import protocol
from .engine import scheduler
from .engine.monitor import Attendant
from .linux.linux_host import LinuxHost
from .model.codec import from_json
from .model.project import Project
from .plan.steps import Plan


async def supervise(name: str, listening: int) -> None:
    roots = Places.default()
    host = LinuxHost(roots, name, (sys.executable, "-m", "pycompose.compose.supervisor", name))
    attendant = Attendant(host, warn=lambda text: print(text, flush=True))
    async with trio.open_nursery() as nursery:
        await nursery.start(host.run)
        await nursery.start(attendant.run)

        async def handle(message: protocol.Message, reply: protocol.Reply) -> None:
            match message.get("op"):
                case "run":
                    await _run(message, reply, host, attendant)
                case "ping":
                    await reply({"pid": os.getpid()})
                case other:
                    raise protocol.ControlError(f"the supervisor does not know {other!r}")

        with socket.socket(fileno=listening) as listener:
            listener.setblocking(False)
            await protocol.serve(listener, handle)


async def _run(message: protocol.Message, reply: protocol.Reply, host: LinuxHost, attendant: Attendant) -> None:
    plan, project = from_json(Plan, message["plan"]), from_json(Project, message["project"])
    sender, receiver = trio.open_memory_channel[scheduler.StepEvent](100_000)

    async def tell() -> None:
        async with receiver:
            async for event in receiver:
                if event.state == "warning":
                    await reply({"warning": event.cause})
                else:
                    await reply({"step": event.step, "state": event.state, "cause": event.cause})

    async with trio.open_nursery() as nursery:
        nursery.start_soon(tell)
        failure: Exception | None = None
        try:
            await scheduler.run(
                plan,
                project,
                message["generation"],
                host,
                attendant,
                sender.send_nowait,
                parallel=message.get("parallel"),
            )
        except scheduler.StepsFailed as error:
            failure = error  # told after the last event, and outside the nursery's group
        finally:
            sender.close()
    if failure is not None:
        raise failure


if __name__ == "__main__":
    trio.run(supervise, sys.argv[1], int(sys.argv[2]))
