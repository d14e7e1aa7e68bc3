"""Record of a project's container events: JSON, one a line, in its run folder; the last of them, bounded.

Actions and attributes are Docker's (`docker events`): create start die kill stop restart destroy pause unpause rename
health_status oom attach. The supervisor appends (`engine.publisher`); whoever follows reads the file with a
`LineFollower`, so it waits for nobody, and goes on over a supervisor that is replaced: `number` counts without a gap.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import field

from pycompose.compose.model.codec import from_json
from pycompose.compose.model.observed import Label
from pycompose.frozen import dataclass
from pycompose.runtime.places import ProjectPlaces

LABELS = "com.docker.compose."  # docker compose prints an event without these


@dataclass(frozen=True, slots=True)
class ContainerEvent:
    """`time` is in nanoseconds since the epoch; `attributes` are name, image, the labels and the action's own."""

    number: int
    time: int
    action: str
    id: str
    attributes: Mapping[str, str] = field(default_factory=dict)

    @property
    def service(self) -> str:
        return self.attributes.get(Label.SERVICE, "")

    @property
    def oneoff(self) -> bool:
        return self.attributes.get(Label.ONEOFF) == "True"

    @property
    def shown(self) -> dict[str, str]:
        """The attributes as docker compose prints them."""
        return {key: value for key, value in sorted(self.attributes.items()) if not key.startswith(LABELS)}


def path(places: ProjectPlaces) -> str:
    return f"{places.run}/events"


def parse(block: bytes) -> Iterator[ContainerEvent]:
    """The events of whole lines; what a crash has torn is passed over."""
    for line in block.split(b"\n"):
        with suppress(ValueError):
            if line:
                yield from_json(ContainerEvent, line)


def read(places: ProjectPlaces) -> list[ContainerEvent]:
    """All that are kept, oldest first."""
    events: list[ContainerEvent] = []
    for name in (path(places) + ".1", path(places)):
        with suppress(FileNotFoundError), open(name, "rb") as file:
            events += parse(file.read())
    return events
