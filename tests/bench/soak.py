"""A soak: `python tests/bench/soak.py [--minutes M]` (root). Days in little, for what grows in helpers.

One project is restarted, scaled up and down, entered by many `exec`s and written full of logs that rotate, round after
round, in namespaces of its own. After each round memory (PSS), descriptors and threads of keeper, supervisor and fd
store are counted; the exit code is 1 if the last quarter of the rounds has more than the second quarter by more than
NOISE. Lines of the log are counted: of what is kept, none is missing. Leaves nothing.
"""

from __future__ import annotations

import argparse
import glob
import itertools
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from machine import (  # type: ignore[import-not-found] # beside this program
    enter,
    folder_for_state,
    loopback_up,
)

NOISE = {"KiB": 1.10, "descriptors": 1.05, "threads": 1.34}  # ratios
FILE = """
services:
  web: {image: host, command: ["sleep", "100000"], init: true, restart: always, ports: ["8080:80"],
        healthcheck: {test: "true", interval: 1s}}
  writer:
    image: host
    command: ["sh", "-c", "i=0; while :; do i=$$((i+1)); echo $$i; done"]
    stop_signal: SIGKILL
    cpus: 0.2
    logging: {driver: json-file, options: {max-size: 200k, max-file: "2"}}
  crashing: {image: host, command: ["sh", "-c", "sleep 0.3; exit 3"], restart: always}
"""
ROUND = (
    ["scale", "web=6"],
    ["restart", "-t", "0", "web"],
    *(["exec", "-T", "web", "true"] for _ in range(10)),
    ["logs", "--tail", "100", "writer"],
    ["scale", "web=1"],
)


def compose(folder: str, command: Iterable[str]) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "pycompose", "-p", "soak", "-f", f"{folder}/compose.yaml", *command],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise SystemExit(f"soak: {' '.join(command)} ended with {done.returncode}\n{done.stderr}")
    return done.stdout


def helpers() -> dict[str, int]:
    """Their pids: the project's group has them all."""
    pids: set[int] = set()
    for path in glob.glob(
        f"/sys/fs/cgroup/**/{os.environ['PYCOMPOSE_CGROUP']}/soak/helpers/cgroup.procs", recursive=True
    ):
        pids.update(int(pid) for pid in Path(path).read_text().split())
    parts = {}
    for pid in sorted(pids):
        arguments = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        part = "supervisor" if b"-I" not in arguments else "keeper" if "keeper" not in parts else "store"
        parts[part] = pid
    return parts


def counted() -> dict[str, dict[str, int]]:
    rows: dict[str, dict[str, int]] = {}
    for part, pid in helpers().items():
        rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
        rows[part] = {
            "KiB": next(int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Pss:")),
            "descriptors": len(os.listdir(f"/proc/{pid}/fd")),
            "threads": len(os.listdir(f"/proc/{pid}/task")),
        }
    return rows


def missing(text: str) -> str:
    """Where lines that count from anywhere on do not go on; "" if they do."""
    numbers = [int(line) for line in text.split()]
    breaks = [f"{one} is followed by {two}" for one, two in itertools.pairwise(numbers) if two != one + 1]
    return ", ".join(breaks[:5]) if numbers else "there are none"


def soak(minutes: float) -> int:
    rounds: list[dict[str, dict[str, int]]] = []
    with tempfile.TemporaryDirectory(prefix="pycompose-soak-") as folder:
        folder_for_state(f"{folder}/state")
        os.environ |= {
            "PYCOMPOSE_STATE": f"{folder}/state",
            "PYCOMPOSE_RUN": f"{folder}/run",
            "PYCOMPOSE_CGROUP": f"pycompose-soak-{os.getpid()}",
        }
        Path(folder, "compose.yaml").write_text(FILE)
        try:
            compose(folder, ["up", "-d"])
            end = time.monotonic() + 60 * minutes
            while time.monotonic() < end:
                for command in ROUND:
                    compose(folder, command)
                if gap := missing(compose(folder, ["logs", "--no-log-prefix", "--no-color", "writer"])):
                    raise SystemExit(f"soak: the log is not whole: {gap}")
                rounds.append(counted())
                if len(rounds) % 10 == 1:
                    print(f"round {len(rounds)}: {json.dumps(rounds[-1])}", flush=True)
        finally:
            compose(folder, ["down", "-v", "-t", "0"])
            with suppress(OSError):
                subprocess.run(["umount", f"{folder}/state"], stderr=subprocess.DEVNULL, check=False)
    return told(rounds)


def told(rounds: list[dict[str, dict[str, int]]]) -> int:
    """The table, and whether something grew."""
    quarter = max(1, len(rounds) // 4)
    grew = False
    print(f"{len(rounds)} rounds\n{'':12}{'':14}{'2nd quarter':>12}{'last':>8}")
    for part in ("keeper", "supervisor", "store"):
        for what, noise in NOISE.items():
            early = statistics.median(r[part][what] for r in rounds[quarter : 2 * quarter] or rounds if part in r)
            late = statistics.median(r[part][what] for r in rounds[-quarter:] if part in r)
            more = late > early * noise
            grew = grew or more
            print(f"{part:12}{what:14}{early:12.0f}{late:8.0f}{'  grew' if more else ''}")
    return int(grew)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if not options.inside:
        enter(sys.argv[1:], os.path.abspath(__file__))
    loopback_up()
    sys.exit(soak(options.minutes))
