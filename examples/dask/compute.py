"""Computes on the cluster and prints which workers did what: `python compute.py [WORKERS]`."""

from __future__ import annotations

import os
import socket
import sys
import time
from collections import Counter

from distributed import Client

ADDRESS = os.environ.get("DASK_SCHEDULER_ADDRESS", "tcp://127.0.0.1:8786")


def square(number: int) -> tuple[str, int]:
    time.sleep(0.02)  # long enough that one worker does not do it all
    return socket.gethostname(), number * number


def main() -> None:
    wanted = int(sys.argv[1]) if len(sys.argv) > 1 else 1
    with Client(ADDRESS, timeout=30) as client:
        client.wait_for_workers(wanted, timeout=60)
        results = client.gather(client.map(square, range(100), pure=False))
        addresses = {worker["host"] for worker in client.scheduler_info(n_workers=-1)["workers"].values()}
    total = sum(value for _, value in results)
    print(f"{len(addresses)} workers: the squares of 0..99 sum to {total}")
    for host, count in sorted(Counter(host for host, _ in results).items()):
        print(f"  {host}: {count} tasks")
    if total != 328350 or len(addresses) < wanted:
        sys.exit("the cluster is not what was asked for")


if __name__ == "__main__":
    main()
