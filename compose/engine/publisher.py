"""The one place that container events come from: the host, the scheduler and the monitor tell it what they did.

Rules: an event is on record before `publish` returns; what happened while no supervisor ran is made up for when the
next one begins (`recover`), from the containers' own records, and never told twice: a start or an end that is known
already is passed over. A record that cannot be written loses events, never a container.
"""

from __future__ import annotations

import os
import time
from contextlib import suppress

from pycompose.compose.model.codec import to_json
from pycompose.compose.state import event_record
from pycompose.compose.state.event_record import ContainerEvent
from pycompose.compose.state.observe import OWN
from pycompose.runtime.places import ProjectPlaces
from pycompose.runtime.state.container_record import ContainerState, read_container, read_containers

LARGEST = 1 << 20  # bytes; then the record is rotated, and one older file is kept


class Publisher:
    def __init__(self, places: ProjectPlaces) -> None:
        self._places, self._path = places, event_record.path(places)
        self._attributes: dict[str, dict[str, str]] = {}  # container id -> what every event of it says
        self._ids: dict[str, str] = {}  # name -> id
        self._running: set[str] = set()
        self._started: dict[str, float] = {}  # container id -> unix seconds
        self._number = 0
        self._file = -1

    def recover(self) -> None:
        """Go on from the record, and tell what it lacks."""
        events = event_record.read(self._places)
        latest: dict[str, ContainerEvent] = {}
        for event in events:
            self._number = event.number
            latest[event.id] = event
            if event.action in ("start", "die", "destroy"):
                (self._running.add if event.action == "start" else self._running.discard)(event.id)
            if event.action == "destroy":
                latest.pop(event.id)
        self._open(torn=True)
        complete = bool(events) and events[0].number == 1
        containers = {state.id: state for state in read_containers(self._places)}
        for state in containers.values():
            self._know(state)
            self._started[state.id] = state.started
            if complete and state.id not in latest:
                self._append(state.id, "create", state.created)
            if not complete and state.id not in latest and state.status in ("running", "paused"):
                self._running.add(state.id)
            if state.status in ("running", "paused"):
                self.publish(state.id, "start", at=state.started)
            elif state.status == "exited":
                self.died(state.id, state.exit_code, at=state.finished)
        for container_id in latest.keys() - containers.keys():
            self._attributes[container_id] = dict(latest[container_id].attributes)
            self.publish(container_id, "destroy")

    def _know(self, state: ContainerState) -> None:
        labels = {key: value for key, value in state.annotations.items() if key != OWN}
        self._attributes[state.id] = {**labels, "image": state.image, "name": state.name}
        self._ids[state.name] = state.id

    def created(self, container_id: str) -> None:
        if (state := read_container(self._places, container_id)) is not None:
            self._know(state)
            self._append(container_id, "create")

    def renamed(self, container_id: str, name: str) -> None:
        attributes = self._attributes.get(container_id)
        if attributes is not None:
            before = attributes["name"]
            self._ids.pop(before, None)
            self._ids[name], attributes["name"] = container_id, name
            self._append(container_id, "rename", oldName=before)

    def died(self, container_id: str, code: int | None, at: float | None = None) -> None:
        """An exit code that nobody can tell is left out."""
        ran = (at or time.time()) - self._started.get(container_id, time.time())
        attributes = {"execDuration": str(max(0, int(ran)))} | ({} if code is None else {"exitCode": str(code)})
        self.publish(container_id, "die", at=at, **attributes)

    def publish_named(self, name: str, action: str, **attributes: str) -> None:
        if (container_id := self._ids.get(name)) is not None:
            self.publish(container_id, action, None, **attributes)

    def publish(self, container_id: str, action: str, at: float | None = None, **attributes: str) -> None:
        """`at` is in unix seconds; None is now."""
        if container_id not in self._attributes:
            return
        if action in ("start", "die") and (container_id in self._running) == (action == "start"):
            return  # it is known
        if action == "start":
            self._running.add(container_id)
            self._started[container_id] = at or time.time()
        elif action in ("die", "destroy"):
            self._running.discard(container_id)
        self._append(container_id, action, at, **attributes)
        if action == "destroy":
            self._ids.pop(self._attributes.pop(container_id)["name"], None)
            self._started.pop(container_id, None)

    def _append(self, container_id: str, action: str, at: float | None = None, **attributes: str) -> None:
        moment = time.time_ns() if at is None else int(at * 1e9)
        event = ContainerEvent(
            self._number + 1, moment, action, container_id, {**self._attributes[container_id], **attributes}
        )
        with suppress(OSError):
            if self._file < 0:
                self._open()
            os.write(self._file, to_json(event).encode() + b"\n")
            self._number += 1
            if os.fstat(self._file).st_size > LARGEST:
                os.close(self._file)
                self._file = -1
                os.rename(self._path, self._path + ".1")

    def _open(self, *, torn: bool = False) -> None:
        """With `torn`, a line that a killed supervisor has left without its end gets one."""
        with suppress(OSError):
            self._file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
            size = os.fstat(self._file).st_size
            if torn and size and os.pread(self._file, 1, size - 1) != b"\n":
                os.write(self._file, b"\n")
