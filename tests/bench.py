"""Measures rows of the budgets table: `python tests/bench.py [ROUNDS]`; medians as a table, and all in bench.json.

Each row is run with pycompose and with the peers that are installed; a peer that is missing is named, a command that
fails is told as failed and not timed. What it does not measure yet: memory, throughput, DNS, logs.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

PEERS = {
    "pycompose": [sys.executable, "-m", "pycompose"],
    "docker compose": ["docker", "compose"],
    "podman-compose": ["podman-compose"],
}
# row: (services in the file, what is done first, what is timed, what undoes it)
ROWS = {
    "config, 50 services": (50, [], ["config", "-q"], []),
    "up -d, 1 service": (1, [], ["up", "-d"], ["down", "-t", "0"]),
    "up -d, 10 services": (10, [], ["up", "-d"], ["down", "-t", "0"]),
    "up -d, 50 services": (50, [], ["up", "-d"], ["down", "-t", "0"]),
    "up -d again, 50 services": (50, ["up", "-d"], ["up", "-d"], ["down", "-t", "0"]),
    "down -t 0, 50 services": (50, ["up", "-d"], ["down", "-t", "0"], []),
    "ps, 10 services": (10, ["up", "-d"], ["ps"], ["down", "-t", "0"]),
    "exec true, 1 service": (1, ["up", "-d"], ["exec", "-T", "s0", "true"], ["down", "-t", "0"]),
}


class Failed(Exception):
    pass


def run(command: list[str]) -> float:
    """Seconds that a command took; raises Failed with its last line."""
    begin = time.perf_counter()
    try:
        done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=120)
    except subprocess.TimeoutExpired:
        raise Failed("took more than 120 s") from None
    if done.returncode:
        lines = (done.stderr or done.stdout).strip().splitlines()
        raise Failed(lines[-1] if lines else f"exit code {done.returncode}")
    return time.perf_counter() - begin


def works(command: list[str]) -> bool:
    """Whether a peer is installed; `docker` may be there without its compose plugin."""
    try:
        run([*command, "version"])
    except (Failed, FileNotFoundError):
        return False
    return True


def measure(compose: list[str], row: str, image: str, rounds: int) -> dict[str, object]:
    services, before, timed, after = ROWS[row]
    with tempfile.TemporaryDirectory(prefix="pycompose-bench-") as folder:
        file = Path(folder) / "compose.yaml"
        content = {"services": {f"s{n}": {"image": image, "command": ["sleep", "1000"]} for n in range(services)}}
        file.write_text(json.dumps(content))
        base = [*compose, "-p", "pycompose-bench", "-f", str(file)]
        seconds = []
        try:
            for _ in range(rounds):
                if before:
                    run([*base, *before])
                seconds.append(run([*base, *timed]))
                if after:
                    run([*base, *after])
        except Failed as failure:
            return {"failed": str(failure)}
    return {"median": statistics.median(seconds), "seconds": seconds}


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 3
    here = {name: command for name, command in PEERS.items() if works(command)}
    results = {
        row: {n: measure(c, row, "host" if n == "pycompose" else "busybox", rounds) for n, c in here.items()}
        for row in ROWS
    }
    for row, peers in results.items():
        for name, result in peers.items():
            median = result.get("median")
            shown = f"{median:8.3f} s" if isinstance(median, float) else f"  failed: {result['failed']}"
            print(f"{row:28} {name:16} {shown}")
    missing = [name for name in PEERS if name not in here]
    if missing:
        print(f"not installed here, so not measured: {', '.join(missing)}")
    Path("bench.json").write_text(json.dumps({"rounds": rounds, "missing": missing, "rows": results}, indent=2) + "\n")


if __name__ == "__main__":
    main()
