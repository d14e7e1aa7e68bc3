"""Measures the budgets table: `python tests/bench` (root). A table for people, and everything in bench.json.

Every row is measured with pycompose and with the peers that are installed, in turn (ours, theirs, ours, theirs), each
run from cold: nobody of the project runs before. Works in namespaces, folders and a cgroup of its own; leaves nothing.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import statistics
import sys
import tempfile
import time
from contextlib import ExitStack
from typing import Any

import machine  # type: ignore[import-not-found]
from peers import ALL, Peer, Pycompose  # type: ignore[import-not-found]
from rows import ROWS, RUNS, Row  # type: ignore[import-not-found]

Results = dict[str, dict[str, list[float]]]  # row -> peer -> values
Failures = dict[str, dict[str, str]]


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bench", description="Measures the rows of the budgets table.")
    parser.add_argument("--rows", default="", metavar="A,B", help=f"only these: {','.join(ROWS)}")
    parser.add_argument("--runs", type=int, default=3, metavar="N", help="how often each is run (3)")
    parser.add_argument("--peers", default="all", metavar="A,B", help="podman-compose,docker compose; all; none")
    parser.add_argument("--seconds", type=float, default=900, metavar="N", help="no new run begins after so long (900)")
    parser.add_argument("--json", default="bench.json", metavar="PATH", help="where all figures go (bench.json)")
    parser.add_argument("--full", action="store_true", help="the row of 1,000 containers too (ours alone)")
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    for name in filter(None, chosen.rows.split(",")):
        if name not in ROWS:
            parser.error(f"no row {name!r}; there are {', '.join(ROWS)}")
    if chosen.runs < 1:
        parser.error("--runs must be 1 or more")
    return chosen


def main() -> None:
    chosen = options()
    if os.geteuid():
        raise SystemExit("bench: containers need root; try sudo make bench")
    if not chosen.inside:
        machine.enter(sys.argv[1:])
    machine.loopback_up()
    wanted = set(filter(None, chosen.rows.split(","))) or set(ROWS) - ({"up1000"} if not chosen.full else set())
    folder = tempfile.mkdtemp(prefix="pycompose-bench-", dir="/var/tmp")
    load = os.getloadavg()[0]
    results: Results = {}
    failures: Failures = {}
    missing: dict[str, str] = {}
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        machine.folder_for_state(folder)
        here = peers(chosen.peers, folder, missing, stack)
        measure(here, wanted, chosen, results, failures)
    names = [peer.name for peer in here]
    print(table(names, results, failures, wanted))
    for name, why in missing.items():
        print(f"{name} is not measured: {why}")
    if load > (os.cpu_count() or 1) / 2:
        print(f"The machine was busy (load {load:.1f} at the start): the figures are worse than they would be.")
    write(chosen.json, names, results, failures, missing, wanted, chosen.runs, load)


def peers(choice: str, folder: str, missing: dict[str, str], stack: ExitStack) -> list[Peer]:
    """Those that can be measured, made ready; `stack` ends what they began."""
    found: list[Peer] = []
    for kind in ALL:
        asked = choice == "all" or kind.name in choice.split(",") or kind is Pycompose
        if not asked:
            missing[kind.name] = "not asked for"
            continue
        os.makedirs(f"{folder}/{kind.name.replace(' ', '-')}")
        peer = kind(f"{folder}/{kind.name.replace(' ', '-')}")
        if why := peer.missing():
            missing[kind.name] = why
            continue
        if kind is not Pycompose and not os.path.exists(f"{folder}/image.tar"):
            machine.peers_image(f"{folder}/image.tar")
        stack.callback(peer.leave)
        try:
            peer.prepare()
        except machine.Failed as failed:
            missing[kind.name] = str(failed)
        else:
            found.append(peer)
    return found


def measure(
    here: list[Peer], wanted: set[str], chosen: argparse.Namespace, results: Results, failures: Failures
) -> None:
    late = time.monotonic() + chosen.seconds
    for run in RUNS:
        if not wanted & set(run.rows):
            continue
        for number in range(1 if run.once else chosen.runs):
            for peer in here[:1] if run.once else here:
                if any(peer.name in failures.get(row, {}) for row in run.rows):
                    continue
                if time.monotonic() > late:
                    for row in run.rows:
                        if peer.name not in results.get(row, {}):
                            failures.setdefault(row, {})[peer.name] = "out of time"
                    continue
                print(f"{run.measure.__name__} {number + 1}: {peer.name}", file=sys.stderr)
                seen: set[str] = set()
                try:
                    for row, value in run.measure(peer):
                        results.setdefault(row, {}).setdefault(peer.name, []).append(value)
                        seen.add(row)
                except (machine.Failed, ValueError, KeyError) as failed:
                    for row in set(run.rows) - seen:
                        failures.setdefault(row, {})[peer.name] = str(failed)
                    print(f"  failed: {failed}", file=sys.stderr)
                finally:
                    peer.clean()


# what came out


def verdict(row: Row, ours: float, theirs: list[float]) -> tuple[str, bool]:
    """The budget in words, and whether it is met."""
    if row.budget is not None:
        return figure(row, row.budget), ours <= row.budget
    least = max(theirs) if theirs else max(filter(None, (row.docker, row.podman)), default=0.0)
    return f"no less than {figure(row, least)}", ours >= least


def figure(row: Row, value: float) -> str:
    digits = {"s": 3 if value < 10 else 1, "MB": 2 if value < 10 else 0, "Gbit/s": 1, "/s": 0}[row.unit]
    return f"{value:,.{digits}f} {row.unit}" if row.unit != "/s" else f"{value:,.0f}/s"


def better(row: Row, ours: float, theirs: float) -> float:
    """How many times better we are."""
    low, high = (theirs, ours) if row.more_is_better else (ours, theirs)
    return high / low if low else float("inf")


def table(names: list[str], results: Results, failures: Failures, wanted: set[str]) -> str:
    """Lines of a table; a peer that is not here is shown with what the budgets table notes of it."""
    noted = {"docker compose": "docker", "podman-compose": "podman"}
    others = [name for name in names if name != Pycompose.name]
    absent = [name for name in noted if name not in others]
    head = ["", "pycompose", "from … to", "budget", "", *(c for n in others for c in (n, "ratio"))]
    head += [f"({name}, noted)" for name in absent]
    lines = [head]
    for key, row in ROWS.items():
        if key not in wanted:
            continue
        values = results.get(key, {}).get(Pycompose.name)
        cells = [row.what]
        medians = {n: statistics.median(v) for n in others if (v := results.get(key, {}).get(n))}
        if values:
            ours = statistics.median(values)
            told, met = verdict(row, ours, list(medians.values()))
            cells += [
                figure(row, ours),
                f"{figure(row, min(values))} … {figure(row, max(values))}",
                told,
                "✓✗"[not met],
            ]
        else:
            why = failures.get(key, {}).get(Pycompose.name, "not measured")
            cells += ["failed" if why != "out of time" else why, "", figure(row, row.budget) if row.budget else "", "✗"]
        for name in others:
            if name in medians:
                cells += [figure(row, medians[name]), f"{better(row, ours, medians[name]):.1f}x" if values else ""]
            else:
                cells += ["failed" if name in failures.get(key, {}) else "-", ""]
        for name in absent:
            value = getattr(row, noted[name])
            cells.append(figure(row, value) if value else "-")
        lines.append(cells)
    text = _drawn(lines)
    complaints = [f"{ROWS[r].what}: {n}: {why}" for r, by in failures.items() if r in wanted for n, why in by.items()]
    return "\n".join([text, *complaints, "ratio: how many times better pycompose is; ✓ the budget is met"])


def _drawn(lines: list[list[str]]) -> str:
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]

    def rule(left: str, middle: str, right: str) -> str:
        return left + middle.join("─" * (width + 2) for width in widths) + right

    def shown(cells: list[str]) -> str:
        padded = [c.ljust(w) if i == 0 else c.rjust(w) for i, (c, w) in enumerate(zip(cells, widths, strict=True))]
        return "│ " + " │ ".join(padded) + " │"

    body = [shown(line) for line in lines[1:]]
    return "\n".join([rule("┌", "┬", "┐"), shown(lines[0]), rule("├", "┼", "┤"), *body, rule("└", "┴", "┘")])


def write(
    path: str,
    names: list[str],
    results: Results,
    failures: Failures,
    missing: dict[str, str],
    wanted: set[str],
    runs: int,
    load: float,
) -> None:
    rows: dict[str, Any] = {}
    for key, row in ROWS.items():
        if key not in wanted:
            continue
        tree: dict[str, Any] = {"what": row.what, "unit": row.unit, "budget": row.budget}
        for name in names:
            if values := results.get(key, {}).get(name):
                found = {"median": statistics.median(values), "min": min(values), "max": max(values), "values": values}
                tree[name] = found
            elif why := failures.get(key, {}).get(name):
                tree[name] = {"failed": why}
        medians = {n: tree[n]["median"] for n in names if "median" in tree.get(n, {})}
        ours = medians.pop(Pycompose.name, None)
        if ours is not None:
            tree["met"] = verdict(row, ours, list(medians.values()))[1]
            tree["ratio"] = {name: better(row, ours, value) for name, value in medians.items()}
        rows[key] = tree
    about = {
        "kernel": platform.release(),
        "python": platform.python_version(),
        "cores": os.cpu_count(),
        "load": load,
        "runs": runs,
        "missing": missing,
    }
    with open(path, "w") as file:
        json.dump({**about, "rows": rows}, file, indent=2)
        file.write("\n")


if __name__ == "__main__":
    main()
