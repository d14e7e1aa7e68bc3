"""What the tests of faults and of shortages share: a project of several services, and what is true of it afterwards."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pycompose.tests.registry import base_image

from .conftest import SLOWER, Machine

COUNT = "i=0; while :; do i=$((i+1)); echo $i; sleep 0.02; done"
QUIT = 'trap "exit 7" TERM; while :; do sleep 0.02; done'
FILE = f"""
services:
  counter:
    image: host
    command: ["sh", "-c", {json.dumps(COUNT.replace("$", "$$"))}]
    stop_signal: SIGKILL
    volumes: ["data:/data"]
  quitter:
    image: host
    command: ["sh", "-c", {json.dumps(QUIT)}]
  web:
    image: host
    command: ["sleep", "infinity"]
    stop_signal: SIGKILL
    ports: ["8080:80"]
    depends_on: [counter]
  built:
    build: {{context: ., no_cache: true}}
    profiles: [never]
  pulled:
    image: 127.0.0.1:REGISTRY/three:1
    profiles: [never]
volumes: {{data: {{}}}}
"""
DOCKERFILE = 'FROM scratch\nCOPY busybox /bin/busybox\nRUN ["/bin/busybox", "touch", "/one"]\nCOPY compose.yaml /two\n'
ALL = ("p-counter-1", "p-quitter-1", "p-web-1")


class FaultyProject:
    """Project p, made of `FILE`; `program` is what runs a command of it."""

    program: tuple[str, ...] = (sys.executable, "-m", "pycompose")

    def __init__(self, machine: Machine, folder: Path, registry: int) -> None:
        self.machine, self.folder = machine, folder
        (folder / "compose.yaml").write_text(FILE.replace("REGISTRY", str(registry)))
        (folder / "Dockerfile").write_text(DOCKERFILE)
        (folder / "busybox").write_bytes(Path("/bin/busybox").read_bytes())
        (folder / "busybox").chmod(0o755)
        self.name = f"127.0.0.1:{registry}/three:1"

    def compose(self, command: str, seconds: float = 0, *before: str) -> subprocess.CompletedProcess[str]:
        """`command` may name the image to be pulled as IMAGE; it is interrupted after `seconds`, if that is not 0."""
        options = ("-p", "p", "-f", str(self.folder / "compose.yaml"))
        killed = ("-k", str(20 * SLOWER))  # a ^C before there is somebody to hear it is lost
        limit = ("timeout", "--foreground", *killed, "-s", "INT", str(seconds * SLOWER)) if seconds else ()
        words = command.replace("IMAGE", self.name).split()
        return self.machine.run(*limit, *before, *self.program, *options, *words, check=False)

    def settled(self, command: str) -> str:
        """The command must do its work now."""
        done = self.compose(command)
        assert done.returncode == 0, self.story(f"{command}\n{done.stderr}")
        return done.stdout

    def prepare(self, commands: tuple[str, ...]) -> None:
        """What a fault begins with: each command must do its work; an image may be gone already."""
        for command in commands:
            (self.compose if command.startswith("image rm") else self.settled)(command)

    def story(self, text: str) -> str:
        """With what the helpers said."""
        return f"{text}\n{self.helpers_logs()[-6000:]}"

    def helpers_logs(self) -> str:
        folder = Path(f"/proc/{self.machine.pid}/root{self.machine.run_folder}/p")
        return "".join(f"--- {log.name}\n{log.read_text()}" for log in sorted(folder.glob("*.log")))

    def containers(self) -> dict[str, dict[str, object]]:
        lines = self.settled("ps -a --format json").splitlines()
        return {item["Name"]: item for item in map(json.loads, lines)}

    def running(self) -> list[str]:
        """The services of what runs: a replica that was undone leaves its number to nobody."""
        return sorted(str(item["Service"]) for item in self.containers().values() if item["State"] == "running")

    def counter(self) -> tuple[int, int]:
        """Pid and start time of the counter's first process, by the records."""
        folder = Path(f"/proc/{self.machine.pid}/root{self.machine.state}/projects/p/containers")
        for path in folder.glob("*/process.json"):
            if json.loads((path.parent / "state.json").read_text())["name"] == "p-counter-1":
                record = json.loads(path.read_text())
                return record["pid"], record["start_time"]
        raise AssertionError(self.story("there is no counter"))

    def check_lines(self, text: str, first: int | None = None, runs: int = 1) -> None:
        """One after another, from `first` on; a start that was given up may have been a run before."""
        numbers = [int(line) for line in text.split()]
        assert numbers, self.story("no line")
        begin = numbers[0] if first is None else first
        assert numbers[0] == begin, self.story(str(numbers))
        breaks = [(one, two) for one, two in itertools.pairwise(numbers) if two != one + 1]
        assert all(two == 1 for _, two in breaks), self.story(str(numbers))
        assert len(breaks) < runs, self.story(str(numbers))


@contextmanager
def registry(machine: Machine, folder: Path) -> Iterator[int]:
    """A registry inside with one image of three layers; its port."""
    layers = [base_image.tar({f"{n}/{m}": bytes([n]) * 10_000 for m in range(3)}) for n in range(3)]
    layout = base_image.Layout()
    layout.name(layout.image(layers), "1")
    layout.write(str(folder / "layout"))
    program = str(Path(__file__).parent / "faults" / "registry.py")
    command = machine.entering(sys.executable, program, str(folder / "layout"))
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=os.environ) as server:
        assert server.stdout is not None
        try:
            yield int(server.stdout.readline())
        finally:
            server.kill()
