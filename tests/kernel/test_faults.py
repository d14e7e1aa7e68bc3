"""SIGKILL to the command, to each helper, to each pair of them and to all, at every step of what they do.

After each: no traceback; the next command makes everything right; a container that had nothing to do with it runs on
with every line it wrote; an exit code is true or unknown; in the end `down` leaves nothing.

PYCOMPOSE_FAULTS says how many faults there are in all (`make faults`: 2,400); they are spread over the steps, from the
first to the last, in an order that PYCOMPOSE_SEED chooses.
"""

from __future__ import annotations

import itertools
import json
import os
import random
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from .conftest import SLOWER, Machine

HELPERS = ("supervisor", "keeper", "store")
VICTIMS = [("cli",), *(chosen for count in (1, 2, 3) for chosen in itertools.combinations(HELPERS, count))]
FAULTS = int(os.environ.get("PYCOMPOSE_FAULTS", "80"))
SEED = int(os.environ.get("PYCOMPOSE_SEED", "1"))
INJECTED = Path(__file__).parent / "faults" / "command.py"
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
    command: ["sleep", "1000"]
    stop_signal: SIGKILL
    ports: ["8080:80"]
    depends_on: [counter]
  built:
    build: {{context: ., no_cache: true}}
    profiles: [never]
volumes: {{data: {{}}}}
"""
DOCKERFILE = 'FROM scratch\nCOPY busybox /bin/busybox\nRUN ["/bin/busybox", "touch", "/one"]\nCOPY compose.yaml /two\n'
ALL = ["p-counter-1", "p-quitter-1", "p-web-1"]


@dataclass(frozen=True)
class Scenario:
    """`command` at whose steps (`where`) the faults are; `before` makes what it begins with, `running` is the end."""

    command: str
    where: str = "supervisor"
    before: tuple[str, ...] = ()
    running: tuple[str, ...] = tuple(ALL)
    kept: bool = True  # the counter runs on
    seconds: float = 0  # until it is interrupted; 0: never


SCENARIOS = {
    "up": Scenario("up -d", before=("down -v -t 0",), kept=False),
    "up-cli": Scenario("up -d", "cli", before=("down -v -t 0",), kept=False),
    "scale": Scenario("scale web=3", before=("scale web=1",), running=(*ALL, "p-web-2", "p-web-3")),
    "restart": Scenario("restart -t 5 quitter"),
    "stop": Scenario("stop -t 5 quitter", before=("start quitter",), running=("p-counter-1", "p-web-1")),
    "down": Scenario("down -v -t 0", before=("up -d",), running=(), kept=False),
    "down-cli": Scenario("down -v -t 0", "cli", before=("up -d",), running=(), kept=False),
    "exec": Scenario("exec -T web echo there", "cli"),
    "logs": Scenario("logs --tail 5 -f --no-log-prefix --no-color counter", "cli", seconds=0.7),
    "build": Scenario("build built", "cli"),
}
EACH = max(1, FAULTS // (len(SCENARIOS) * len(VICTIMS)))


class Stage:
    def __init__(self, machine: Machine, folder: Path) -> None:
        self.machine, self.folder, self.faults = machine, folder, folder / "faults"
        self.faults.mkdir()
        (folder / "compose.yaml").write_text(FILE)
        (folder / "Dockerfile").write_text(DOCKERFILE)
        (folder / "busybox").write_bytes(Path("/bin/busybox").read_bytes())
        (folder / "busybox").chmod(0o755)
        self.fired = 0

    def compose(self, command: str, seconds: float = 0) -> subprocess.CompletedProcess[str]:
        options = ("-p", "p", "-f", str(self.folder / "compose.yaml"))
        limit = ("timeout", "--foreground", "-s", "INT", str(seconds * SLOWER)) if seconds else ()
        return self.machine.run(
            *limit, sys.executable, str(INJECTED), str(self.faults), *options, *command.split(), check=False
        )

    def steps(self) -> int:
        return int(struct.unpack("q", (self.faults / "count").read_bytes())[0])

    def strike(self, scenario: Scenario, number: int, victims: tuple[str, ...]) -> subprocess.CompletedProcess[str]:
        (self.faults / "count").write_bytes(bytes(8))
        (self.faults / "plan").write_text(f"{scenario.where} {number} {' '.join(victims)}")
        done = self.compose(scenario.command, scenario.seconds)
        self.fired += not (self.faults / "plan").exists()
        (self.faults / "plan").unlink(missing_ok=True)
        return done

    def settled(self, command: str) -> str:
        """The command must do its work now."""
        done = self.compose(command)
        assert done.returncode == 0, self.story(f"{command}\n{done.stderr}")
        return done.stdout

    def story(self, text: str) -> str:
        """With where the last fault was and what the helpers said."""
        path = self.faults / "where"
        where = path.read_text().splitlines()[-1:] if path.exists() else []
        folder = Path(f"/proc/{self.machine.pid}/root{self.machine.run_folder}/p")
        logs = "".join(f"--- {log.name}\n{log.read_text()[-3000:]}" for log in sorted(folder.glob("*.log")))
        return f"after {where}: {text}\n{logs}"

    def containers(self) -> dict[str, dict[str, object]]:
        lines = self.settled("ps -a --format json").splitlines()
        return {item["Name"]: item for item in map(json.loads, lines)}

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


@pytest.fixture
def stage(host: Machine, tmp_path: Path) -> Iterator[Stage]:
    made = Stage(host, tmp_path)
    (made.faults / "count").write_bytes(bytes(8))
    yield made
    made.settled("down -v -t 0")


@pytest.mark.parametrize("name", SCENARIOS)
def test_a_kill_at_any_step_loses_nothing(stage: Stage, name: str) -> None:
    scenario = SCENARIOS[name]
    stage.settled("up -d")
    for command in scenario.before:
        stage.settled(command)
    stage.strike(scenario, 1 << 60, ())
    total = stage.steps()
    assert total > 5, "its steps are not counted"
    for victims in VICTIMS:
        chance = random.Random(f"{SEED} {name} {victims}")
        stage.fired = 0
        for turn in range(EACH):
            for command in scenario.before:
                stage.settled(command)
            before = stage.counter() if scenario.kept else None
            number = 1 + int((turn + chance.random()) * total / EACH)
            done = stage.strike(scenario, number, victims)
            assert "Traceback" not in done.stderr, stage.story(done.stderr)
            said = done.stderr.strip() or scenario.seconds or "cli" in victims
            assert done.returncode == 0 or said, stage.story("silence")
            _check(stage, scenario, before)
        print(f"{name}, {'+'.join(victims)}: {stage.fired} kills of {EACH} at {total} steps", flush=True)


def _check(stage: Stage, scenario: Scenario, before: tuple[int, int] | None) -> None:
    if scenario.seconds:
        stage.check_lines(stage.compose(scenario.command, scenario.seconds).stdout)
    else:
        said = stage.settled(scenario.command)
        assert "echo" not in scenario.command or said == "there\n", stage.story(said)
    end = time.monotonic() + 10 * SLOWER
    while True:
        there = stage.containers()
        # a replica that was undone leaves its number free, and the next one has the number after the last
        running = sorted(str(item["Service"]) for item in there.values() if item["State"] == "running")
        if running == sorted(name.split("-")[1] for name in scenario.running):
            break
        assert time.monotonic() < end, stage.story(str(there))
    assert before is None or stage.counter() == before, stage.story("the counter was ended")
    if "p-counter-1" in scenario.running:
        stage.check_lines(stage.settled("logs --no-log-prefix --no-color counter"), 1, 1 if before else 2)
    if scenario.command.startswith("stop"):
        assert there["p-quitter-1"]["ExitCode"] in (7, None), stage.story(str(there["p-quitter-1"]))
