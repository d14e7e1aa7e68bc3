"""Measures a Dask cluster: `python tests/bench/clusters.py [--runs N]`, ours beside LocalCluster with processes.

Rows: from the call to 4 workers ready; from `scale(8)` to 8 ready; `close`. Both in turn in one run, best of the runs;
the last column is ours by theirs. Needs root, dask and distributed. Leaves nothing.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from typing import Any

ROWS = ("4 workers ready", "4 -> 8 ready", "close")


def measured(kind: str) -> list[float]:
    """Seconds of each row, in this process."""
    import logging

    import distributed

    logging.disable(logging.CRITICAL)
    begun = time.monotonic()
    cluster: Any
    if kind == "local":
        cluster = distributed.LocalCluster(n_workers=4, threads_per_worker=1, processes=True)
    else:
        from pycompose import ComposeCluster

        cluster = ComposeCluster(n_workers=4, threads=1, timeout=600)
    cluster.wait_for_workers(4)
    seconds = [time.monotonic() - begun]
    begun = time.monotonic()
    cluster.scale(8)
    cluster.wait_for_workers(8)
    seconds.append(time.monotonic() - begun)
    begun = time.monotonic()
    cluster.close()
    return [*seconds, time.monotonic() - begun]


def run(kind: str, folder: str) -> list[float]:
    """The same in a process of its own, with namespaces, state and cgroup of its own."""
    inside = (
        'mount --make-rprivate / && mount -t tmpfs state "$1" && '
        'export PYCOMPOSE_STATE="$1/state" PYCOMPOSE_RUN="$1/run" PYCOMPOSE_CGROUP=pycompose-bench-clusters && '
        'ip link set lo up && exec "$2" "$3" --measure "$4"'
    )
    command = ["unshare", "--mount", "--net", "sh", "-c", inside, "sh", folder, sys.executable, __file__, kind]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return [float(word) for word in done.stdout.split()[-len(ROWS) :]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--measure", choices=("local", "compose"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        print(*measured(options.measure))
        return
    times: dict[str, list[list[float]]] = {"local": [], "compose": []}
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(options.runs):
            for kind, runs in times.items():
                runs.append(run(kind, folder))
    for row, name in enumerate(ROWS):
        local, compose = (min(one[row] for one in times[kind]) for kind in ("local", "compose"))
        print(f"{name:16} LocalCluster {local:6.2f} s   ComposeCluster {compose:6.2f} s   {compose / local:4.2f}x")


if __name__ == "__main__":
    main()
