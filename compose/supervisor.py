"""The supervisor of one project: `python -m pycompose.compose.supervisor PROJECT`, started by the keeper.

It joins the parts and decides nothing: plans come over the control socket and go to the scheduler; the attendant keeps
health and restarts; the host acts. Messages: {"op": "run", "plan", "project", "generation"} answers a line per step
event; {"op": "ping"}; {"op": "shutdown"} ends keeper and supervisor when no container runs.
"""

from __future__ import annotations

import os
import socket
import sys
from contextlib import suppress

import trio
from pycompose.runtime.places import Places

from . import control, scheduler
from .attendant import Attendant
from .codec import from_json
from .linux_host import LinuxHost
from .model import Project
from .plan import Plan


async def supervise(name: str) -> None:
    roots = Places.default()
    places = roots.project(name)
    host = LinuxHost(roots, name, (sys.executable, "-m", "pycompose.compose.supervisor", name))
    attendant = Attendant(host, warn=lambda text: print(text, flush=True))
    async with trio.open_nursery() as nursery:
        await nursery.start(host.run)
        await nursery.start(attendant.run)

        async def handle(message: control.Message, reply: control.Reply) -> None:
            match message.get("op"):
                case "run":
                    await _run(message, reply, host, attendant)
                case "shutdown":
                    from pycompose.runtime.process import connect_keeper

                    with connect_keeper(places) as keeper:
                        keeper.send(b'{"do": "stop"}')

        with suppress(FileNotFoundError):
            os.unlink(places.control_socket)
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
            listener.bind(places.control_socket)
            os.chmod(places.control_socket, 0o600)
            listener.listen(64)
            listener.setblocking(False)
            await control.serve(listener, handle)


async def _run(message: control.Message, reply: control.Reply, host: LinuxHost, attendant: Attendant) -> None:
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
    trio.run(supervise, sys.argv[1])
