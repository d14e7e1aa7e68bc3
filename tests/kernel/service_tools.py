"""What the tests of services and of bad endings share: a compose file, the commands on it, and what services said."""

from __future__ import annotations

import json
import subprocess
import time
from collections import defaultdict
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .conftest import SLOWER, Machine


@dataclass(frozen=True, slots=True)
class Described:
    """A project made of one compose file, on a machine of its own."""

    machine: Machine
    file: Path

    def describe(self, text: str) -> None:
        self.file.write_text(text)

    def __call__(self, *arguments: str, check: bool = True, timeout: float = 60) -> subprocess.CompletedProcess[str]:
        done = self.machine.pycompose("-p", "p", "-f", str(self.file), *arguments, check=check, timeout=timeout)
        assert "Traceback" not in done.stdout + done.stderr, done.stderr
        return done

    def said(self, *arguments: str, codes: tuple[int, ...] = (0,)) -> dict[str, list[str]]:
        """What each service printed in an attached `up` that ends with its last service."""
        done = self("up", *arguments, check=False)
        assert done.returncode in codes, done.stdout + done.stderr
        found: dict[str, list[str]] = defaultdict(list)
        for line in (done.stdout + done.stderr).splitlines():
            name, bar, text = line.partition(" | ")
            if bar:
                found[name.strip().rpartition("-")[0]].append(text)
        return found

    def inside(self, service: str, script: str, check: bool = True) -> str:
        return self("exec", "-T", service, "sh", "-c", script, check=check).stdout.strip()

    def ps(self) -> dict[str, dict[str, Any]]:
        """By name without the project's."""
        listed = map(json.loads, self("ps", "-a", "--format", "json").stdout.splitlines())
        return {item["Name"].removeprefix("p-"): item for item in listed}

    def states(self) -> dict[str, str]:
        return {name: item["State"] for name, item in self.ps().items()}

    def logs(self, service: str) -> list[str]:
        return self("logs", "--no-log-prefix", service).stdout.splitlines()


def states(machine: Machine, project: str) -> dict[str, str]:
    """Of all containers of a project, by name."""
    listed = machine.pycompose("-p", project, "ps", "-a", "--format", "json").stdout
    return {item["Name"]: item["State"] for item in map(json.loads, listed.splitlines())}


def until(
    what: Callable[[], Any],
    patience: float = 20,
    condition: str = "what is waited for",
    despite: tuple[type[Exception], ...] = (),
) -> Any:
    """Ask again until the answer is true, and no error of those in `despite`; the answer. Patience is in seconds."""
    end = time.monotonic() + patience * SLOWER
    while True:
        with suppress(*despite):
            if answer := what():
                return answer
        assert time.monotonic() < end, f"not in time: {condition}"
        time.sleep(0.05)
