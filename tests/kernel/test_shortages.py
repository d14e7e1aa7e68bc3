"""A machine that is short, of disk, inodes, descriptors, processes or memory, at every step of the commands.

Whatever is short, a command does its work or says in words what it lacks and what to try; what runs goes on; helpers
take it for what it is; ending always works. With room again the next command makes everything right, and in the end
`down` leaves nothing. A few levels of each kind are played; PYCOMPOSE_FAULTS (`make faults`) plays that many in all,
spread over every level that a command passes.
"""

from __future__ import annotations

import json
import os
import random
import re
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from .conftest import SLOWER, Machine
from .fault_tools import ALL, FaultyProject, registry
from .shortage_tools import CommandGroup, CommandLimit, Disk, GroupLimit, HelperLimit, Shortage, running_short

Kinds = dict[str, Callable[[Machine], Shortage]]
FAULTS = int(os.environ.get("PYCOMPOSE_FAULTS", "0"))
SEED = os.environ.get("PYCOMPOSE_SEED", "1")
# What no person should read: a class of Python's, a number of the kernel's, a fault of ours.
RAW = re.compile(r"Traceback|\[Errno|unexpected|internal error|MemoryError|[a-z]+Error:|OSError")


@dataclass(frozen=True)
class Scenario:
    """`command` is what runs short; `before` makes what it begins with; `running` is the end of it done again."""

    command: str
    before: tuple[str, ...] = ()
    running: tuple[str, ...] = ALL
    ends: bool = False  # it must work however full a disk is


SCENARIOS = {
    "up": Scenario("up -d", ("down -v -t 0",)),
    "more": Scenario("up -d", ("down -v -t 0", "up -d counter")),
    "scale": Scenario("scale web=2", ("scale web=1",), (*ALL, "p-web-2")),
    "exec": Scenario("exec -T web echo there"),
    "logs": Scenario("logs --tail 5 --no-log-prefix counter"),
    "restart": Scenario("restart -t 5 quitter"),
    "build": Scenario("build built"),
    "pull": Scenario("pull pulled", ("image rm -f IMAGE",)),
    "stop": Scenario("stop -t 5 quitter", ("start quitter",), ("p-counter-1", "p-web-1"), ends=True),
    "down": Scenario("down -v -t 0", ("up -d",), (), ends=True),
}
DISKS: Kinds = {
    "state-blocks": lambda machine: Disk(machine, machine.state, inodes=False),
    "state-inodes": lambda machine: Disk(machine, machine.state, inodes=True),
    "run-blocks": lambda machine: Disk(machine, machine.run_folder, inodes=False),
    "run-inodes": lambda machine: Disk(machine, machine.run_folder, inodes=True),
}
OF_THE_COMMAND: Kinds = {
    "command-descriptors": lambda machine: CommandLimit("nofile", 6, 1),
    "command-memory": lambda machine: CommandLimit("as", 20, 1 << 20),
    "command-processes": CommandGroup,
}
OF_HELPERS: Kinds = {
    "keeper-descriptors": lambda machine: HelperLimit(machine, "keeper", memory=False),
    "keeper-memory": lambda machine: HelperLimit(machine, "keeper", memory=True),
    "supervisor-descriptors": lambda machine: HelperLimit(machine, "supervisor", memory=False),
    "supervisor-memory": lambda machine: HelperLimit(machine, "supervisor", memory=True),
    "project-processes": lambda machine: GroupLimit(machine, memory=False, whose=""),
    "helpers-processes": lambda machine: GroupLimit(machine, memory=False, whose="helpers"),
    "helpers-memory": lambda machine: GroupLimit(machine, memory=True, whose="helpers"),
}
KINDS: Kinds = {**DISKS, **OF_THE_COMMAND, **OF_HELPERS}
# A command that begins no process of its own needs none; one that asks no helper needs nothing of theirs.
PLAYED = [
    *((scenario, kind) for scenario in SCENARIOS for kind in DISKS),
    *((scenario, kind) for scenario in ("more", "exec", "logs", "build", "pull") for kind in OF_THE_COMMAND),
    ("up", "command-descriptors"),
    ("up", "command-processes"),
    *((scenario, kind) for scenario in ("more", "scale", "exec", "restart", "stop") for kind in OF_HELPERS),
]
SAMPLE = [("up", kind) for kind in DISKS] + [("down", "state-inodes"), ("more", "keeper-descriptors")]
NEIGHBOUR = 'services: {only: {image: host, command: ["sleep", "infinity"], stop_signal: SIGKILL}}\n'
MOST = {"command-memory": 80, "descriptors": 30, "processes": 8, "memory": 10}  # levels of what is not measured


class Stage(FaultyProject):
    """Project p, and a neighbour q, which nothing may happen to."""

    def __init__(self, machine: Machine, folder: Path, port: int) -> None:
        super().__init__(machine, folder, port)
        (folder / "neighbour.yaml").write_text(NEIGHBOUR)
        self.neighbour("up", "-d")
        self.begin = self.facts()

    def neighbour(self, *command: str) -> str:
        return self.machine.pycompose("-p", "q", "-f", str(self.folder / "neighbour.yaml"), *command).stdout

    def facts(self) -> str:
        """Of the neighbour: its process, since when, and what it lies in."""
        folder = Path(f"/proc/{self.machine.pid}/root{self.machine.state}/projects/q/containers")
        return "".join(path.read_text() for path in sorted(folder.glob("*/process.json")))

    def levels(self, scenario: Scenario, kind: str, shortage: Shortage) -> int:
        """So many levels does the command pass: what it uses in the end, and what it uses for a while."""
        for word, most in MOST.items():
            if kind.endswith(word):
                return most
        self.prepare(scenario.before)
        before = shortage.used()
        self.settled(scenario.command)
        return max(0, shortage.used() - before) + 4

    def play(self, scenario: Scenario, shortage: Shortage, level: int) -> bool:
        """One command that runs short; whether it worked all the same."""
        self.prepare(scenario.before)
        logged = len(self.helpers_logs())
        with running_short(shortage, level) as before:
            done = self.compose(scenario.command, 0, *before)
            lasting = self.helpers_logs()[min(logged, len(self.helpers_logs())) :]
        where = f"{scenario.command!r} with {level} of {shortage.name}"
        said = f"{where}: {done.returncode}\n{done.stdout}{done.stderr}"
        if done.returncode:
            # Python itself does not come up with so little: that is no word of ours
            if "of the command" not in shortage.name or "pycompose" in done.stderr or "error" in done.stderr:
                assert re.search("^error: .", done.stderr, re.M) or "rror" in done.stderr, self.story(said)
            assert not (scenario.ends and isinstance(shortage, Disk)), self.story(said)
        early = "of the command" in shortage.name and "error: " not in done.stderr
        assert early or not RAW.search(done.stdout + done.stderr), self.story(said)
        assert "unexpected" not in lasting, self.story(said)
        if isinstance(shortage, CommandLimit) and "down -v -t 0" in scenario.before:
            self.settled("down -v -t 0")  # helpers keep limits of who began them that only CAP_SYS_RESOURCE can raise
        self.check(scenario, where)
        return done.returncode == 0

    def check(self, scenario: Scenario, where: str) -> None:
        assert self.facts() == self.begin, f"{where}: the neighbour was touched"
        self.check_records(where)
        self.settled(scenario.command)
        end = time.monotonic() + 10 * SLOWER
        while self.running() != sorted(name.split("-")[1] for name in scenario.running):
            assert time.monotonic() < end, self.story(f"{where}: {self.containers()}")

    def check_records(self, where: str) -> None:
        """No record is cut off, whoever wrote it."""
        for root in (self.machine.state, self.machine.run_folder):
            top = Path(f"/proc/{self.machine.pid}/root{root}")
            for path in top.rglob("*.json"):
                if "_data" not in path.parts and "upper" not in path.parts and "layers" not in path.parts:
                    try:
                        json.loads(path.read_text())
                    except FileNotFoundError:
                        continue
                    except ValueError:
                        raise AssertionError(f"{where}: {path} is cut off: {path.read_text()!r}") from None


@pytest.fixture
def stage(host: Machine, tmp_path: Path) -> Iterator[Stage]:
    with registry(host, tmp_path) as port:
        made = Stage(host, tmp_path, port)
        yield made
        try:
            made.settled("down -v -t 0")
        finally:
            made.neighbour("down", "-t", "0")


@pytest.mark.parametrize(("name", "kind"), PLAYED if FAULTS else SAMPLE)
def test_a_command_that_runs_short_says_so_and_leaves_nothing_half_made(stage: Stage, name: str, kind: str) -> None:
    scenario, shortage = SCENARIOS[name], KINDS[kind](stage.machine)
    if isinstance(shortage, GroupLimit | CommandGroup) and not GroupLimit.there(kind.endswith("memory")):
        pytest.skip("no such controller of cgroup v1 is mounted here")
    stage.settled("up -d")
    levels = stage.levels(scenario, kind, shortage)
    shots = max(1, FAULTS // len(PLAYED)) if FAULTS else 2
    chance, failures, worked = random.Random(f"{SEED} {name} {kind}"), [], 0
    steps = (
        range(levels)
        if shots >= levels
        else sorted({int((n + chance.random()) * levels / shots) for n in range(shots)})
    )
    for level in steps:
        try:
            worked += stage.play(scenario, shortage, level)
        except (AssertionError, subprocess.TimeoutExpired) as error:
            failures.append(str(error))
            print(f"FAILED {name}, {kind}, {level}: {error}", flush=True)
            stage.compose("down -v -t 0")
            stage.settled("up -d")
    print(f"{name}, {kind}: {len(steps)} of {levels} levels, at {worked} of them it worked", flush=True)
    assert failures == []


# --- errors of the system at each call that may end with them ---

INJECTED = Path(__file__).parent / "faults" / "command.py"
ERRORS = [
    (scenario, where, error)
    for scenario in ("up", "exec", "scale", "stop", "build")
    for where in ("cli", "supervisor", "keeper")
    for error in ("EMFILE", "ENOMEM", "EAGAIN")
]


class Refusals:
    """A call of `where` that the system refuses with `error`: a shortage for a moment. Its level is which call."""

    def __init__(self, stage: Stage, where: str, error: str) -> None:
        self.name, self.where, self.error = f"calls of the {where} without {error}", where, error
        self.faults = stage.folder / "faults"
        self.faults.mkdir()
        (self.faults / "keeper").touch()
        (self.faults / "count").write_bytes(bytes(8))
        stage.program = (sys.executable, str(INJECTED), str(self.faults))

    def used(self) -> int:
        return int(struct.unpack("q", (self.faults / "count").read_bytes())[0])

    def cut(self, level: int) -> tuple[str, ...]:
        (self.faults / "count").write_bytes(bytes(8))
        (self.faults / "plan").write_text(f"{self.where} {level} {self.error}")
        return ()

    def lift(self) -> None:
        (self.faults / "plan").unlink(missing_ok=True)


@pytest.mark.parametrize(("name", "where", "error"), ERRORS if FAULTS else [("up", "keeper", "ENOMEM")])
def test_a_call_that_the_system_refuses_is_told_in_words(stage: Stage, name: str, where: str, error: str) -> None:
    stage.neighbour("down", "-t", "0")  # its keeper has no faults, and is done without
    stage.begin = ""
    scenario = replace(SCENARIOS[name], ends=False)
    refusals = Refusals(stage, where, error)
    stage.settled("up -d")
    stage.prepare(scenario.before)
    with running_short(refusals, 1 << 60):
        stage.settled(scenario.command)
    levels = refusals.used()
    shots = max(1, FAULTS // len(ERRORS)) if FAULTS else 2
    chance, failures, worked = random.Random(f"{SEED} {name} {where} {error}"), [], 0
    for turn in range(min(shots, levels)):
        level = 1 + int((turn + chance.random()) * levels / min(shots, levels))
        try:
            if where != "cli":  # an interpreter that has failed once is watched no more
                stage.settled("down -v -t 0")
                stage.settled("up -d")
            worked += stage.play(scenario, refusals, level)
        except (AssertionError, subprocess.TimeoutExpired) as failure:
            failures.append(str(failure))
            fired = (refusals.faults / "where").read_text().splitlines()[-1:]
            print(f"FAILED {name}, {where}, {error}, {level} {fired}: {failure}", flush=True)
            stage.compose("down -v -t 0")
            stage.settled("up -d")
    print(f"{name}, {where}, {error}: {min(shots, levels)} of {levels} calls, at {worked} it worked", flush=True)
    assert failures == []
