"""Words of a watch, as docker compose prints them: for `watch`, and for `up --watch` beside the containers' lines."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING

from pycompose.compose.app.phases import WatchEvent

from .output import terminal

if TYPE_CHECKING:
    from pycompose.compose.app.phases import Phase, Tell

SIGN = "⦿"


def words(event: WatchEvent) -> str:
    services = f"[{' '.join(map(json.dumps, event.services))}]"
    match event.what:
        case "enabled":
            return "Watch enabled"
        case "large":
            return "Large batch of file changes detected. If you just switched branches, this is expected."
        case "syncing":
            return f"Syncing service {json.dumps(event.services[0])} after {event.count} changes were detected"
        case "rebuilding":
            return f"Rebuilding service(s) {services} after changes were detected..."
        case "built":
            return f"service(s) {services} successfully built"
        case "build failed":
            return f"Build failed. Error: {event.text}"
        case "restarted":
            return f"service(s) {services} restarted"
        case "failed":
            return f"Error handling changed files: {event.text}"
        case "over":
            return "Watch disabled"


def telling(rest: Tell, prefix: str = "", before: Callable[[], None] = lambda: None) -> Tell:
    """A `tell` that prints what a watch does, each line after `prefix`, and hands everything else to `rest`."""

    def tell(event: Phase) -> None:
        if not isinstance(event, WatchEvent):
            rest(event)
            return
        before()
        if event.what == "failed":
            terminal.warn(words(event))
            return
        for line in words(event).splitlines():
            terminal.say(f"{prefix}{line}")

    return tell
