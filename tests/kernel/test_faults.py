"""SIGKILL to the command, to each helper, to each pair of them and to all, at every step of what they do.

After each: no traceback; the next command makes everything right; a container that had nothing to do with it runs on
with every line it wrote; an exit code is true or unknown; in the end `down` leaves nothing.

PYCOMPOSE_FAULTS says how many faults there are in all (`make faults`: 2,400); they are spread over the steps, from the
first to the last, in an order that PYCOMPOSE_SEED chooses. PYCOMPOSE_FAULTS_RECORD names a file of those that were
played: they are not played again, so that a run goes on where one was stopped. One that fails does not end the others.
"""

from __future__ import annotations

import itertools
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
from .fault_tools import ALL, FaultyProject, registry

HELPERS = ("supervisor", "keeper", "store")
VICTIMS = [("cli",), *(chosen for count in (1, 2, 3) for chosen in itertools.combinations(HELPERS, count))]
FAULTS = int(os.environ.get("PYCOMPOSE_FAULTS", "80"))
SEED = int(os.environ.get("PYCOMPOSE_SEED", "1"))
RECORD = os.environ.get("PYCOMPOSE_FAULTS_RECORD", "")
INJECTED = Path(__file__).parent / "faults" / "command.py"


@dataclass(frozen=True)
class Scenario:
    """`command` at whose steps (`where`) the faults are; `before` makes what it begins with, `running` is the end."""

    command: str
    where: str = "supervisor"
    before: tuple[str, ...] = ()
    running: tuple[str, ...] = ALL
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
    "pull": Scenario("pull pulled", "cli", before=("image rm -f IMAGE",)),
}
EACH = max(1, FAULTS // (len(SCENARIOS) * len(VICTIMS)))


class Stage(FaultyProject):
    def __init__(self, machine: Machine, folder: Path, registry_port: int) -> None:
        super().__init__(machine, folder, registry_port)
        self.faults = folder / "faults"
        self.faults.mkdir()
        (self.faults / "count").write_bytes(bytes(8))
        self.program = (sys.executable, str(INJECTED), str(self.faults))
        self.fired = 0

    def steps(self) -> int:
        return int(struct.unpack("q", (self.faults / "count").read_bytes())[0])

    def strike(self, scenario: Scenario, number: int, victims: tuple[str, ...]) -> subprocess.CompletedProcess[str]:
        (self.faults / "count").write_bytes(bytes(8))
        (self.faults / "plan").write_text(f"{scenario.where} {number} {' '.join(victims)}")
        done = self.compose(scenario.command, scenario.seconds)
        self.fired += not (self.faults / "plan").exists()
        (self.faults / "plan").unlink(missing_ok=True)
        return done

    def story(self, text: str) -> str:
        """With where the last fault was, too."""
        path = self.faults / "where"
        where = path.read_text().splitlines()[-1:] if path.exists() else []
        return f"after {where}: {super().story(text)}"

    def play(self, scenario: Scenario, number: int, victims: tuple[str, ...]) -> None:
        """One fault, and what must be true then."""
        before = self.counter() if scenario.kept else None
        done = self.strike(scenario, number, victims)
        assert "Traceback" not in done.stderr, self.story(done.stderr)
        said = done.stderr.strip() or scenario.seconds or "cli" in victims
        assert done.returncode == 0 or said, self.story("silence")
        self.check(scenario, before)

    def check(self, scenario: Scenario, before: tuple[int, int] | None) -> None:
        if scenario.seconds:
            seconds = scenario.seconds
            while not (said := self.compose(scenario.command, seconds).stdout) and seconds < 20:
                seconds *= 2  # a busy machine: it was interrupted before it had begun
            self.check_lines(said)
        else:
            said = self.settled(scenario.command)
            assert "echo" not in scenario.command or said == "there\n", self.story(said)
        if scenario.command.startswith("pull"):
            self.settled("image fsck")
        end = time.monotonic() + 10 * SLOWER
        while self.running() != sorted(name.split("-")[1] for name in scenario.running):
            assert time.monotonic() < end, self.story(str(self.containers()))
        assert before is None or self.counter() == before, self.story("the counter was ended")
        if "p-counter-1" in scenario.running:
            self.check_lines(self.settled("logs --no-log-prefix --no-color counter"), 1, 1 if before else 2)
        if scenario.command.startswith("stop"):
            quitter = self.containers()["p-quitter-1"]
            assert quitter["ExitCode"] in (7, None), self.story(str(quitter))


@pytest.fixture
def stage(host: Machine, tmp_path: Path) -> Iterator[Stage]:
    with registry(host, tmp_path) as port:
        made = Stage(host, tmp_path, port)
        yield made
        made.settled("down -v -t 0")


class Played:
    """Which faults were played, on record in a file where one is named."""

    def __init__(self) -> None:
        self.names = set(Path(RECORD).read_text().splitlines()) if RECORD and os.path.exists(RECORD) else set()

    def add(self, name: str) -> None:
        if RECORD:
            with open(RECORD, "a") as file:
                file.write(f"{name}\n")


@pytest.mark.parametrize("name", SCENARIOS)
def test_a_kill_at_any_step_loses_nothing(stage: Stage, name: str) -> None:
    scenario, played, failures = SCENARIOS[name], Played(), []
    shots = {
        (victims, turn): f"{SEED} {name} {'+'.join(victims)} {turn + 1}/{EACH}"
        for victims in VICTIMS
        for turn in range(EACH)
    }
    if played.names.issuperset(shots.values()):
        return
    stage.settled("up -d")
    stage.prepare(scenario.before)
    stage.strike(scenario, 1 << 60, ())
    total = stage.steps()
    assert total > 5, "its steps are not counted"
    for victims in VICTIMS:
        chance = random.Random(f"{SEED} {name} {victims}")
        stage.fired = 0
        for turn in range(EACH):
            number = 1 + int((turn + chance.random()) * total / EACH)
            if (shot := shots[victims, turn]) in played.names:
                continue
            try:
                stage.prepare(scenario.before)
                stage.play(scenario, number, victims)
            except (AssertionError, subprocess.TimeoutExpired) as error:
                failures.append(f"{shot}: {error}")
                print(f"FAILED {failures[-1]}", flush=True)
                stage.compose("down -v -t 0")
                stage.settled("up -d")
            played.add(shot)
        print(f"{name}, {'+'.join(victims)}: {stage.fired} kills of {EACH} at {total} steps", flush=True)
    assert failures == []
