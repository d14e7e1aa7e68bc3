"""Computes on the cluster and draws which worker did how much: `python compute.py [WORKERS]`."""

from __future__ import annotations

import os
import random
import sys
import time
from collections import Counter

from distributed import Client, get_worker

ADDRESS = os.environ.get("DASK_SCHEDULER_ADDRESS", "tcp://127.0.0.1:8786")
TASKS, DARTS = 100, 20_000


def throw(seed: int) -> tuple[str, int]:
    """Throw darts at a square; how many hit the circle in it, and who threw."""
    chance = random.Random(seed)
    hits = sum(chance.random() ** 2 + chance.random() ** 2 < 1 for _ in range(DARTS))
    time.sleep(0.02)  # long enough that one worker does not do it all
    return get_worker().address, hits


def main() -> None:
    wanted = int(sys.argv[1]) if len(sys.argv) > 1 else 1
    with Client(ADDRESS, timeout=60) as client:
        client.wait_for_workers(wanted, timeout=120)
        begun = time.monotonic()
        results = client.gather(client.map(throw, range(TASKS), pure=False))
        took = time.monotonic() - begun
        workers = client.scheduler_info(n_workers=-1)["workers"]
    tasks = Counter(worker for worker, _ in results)
    pi = 4 * sum(hits for _, hits in results) / (TASKS * DARTS)
    print(f"{TASKS * DARTS:,} darts by {len(workers)} workers in {took:.1f} s: pi is about {pi:.3f}")
    for address, worker in sorted(workers.items()):
        bar = "█" * tasks[address]
        print(f"  {worker['host']:<15} {worker['memory_limit'] >> 20:>5} MB  {bar} {tasks[address]} tasks")
    if abs(pi - 3.1416) > 0.02 or len(workers) < wanted:
        sys.exit("the cluster is not what was asked for")


if __name__ == "__main__":
    main()
