"""Programs of somebody who computes with Dask on a `ComposeCluster`: `python dask_calls.py PROGRAM [ARGUMENT...]`."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import distributed
from distributed import Client, wait
from pycompose import ComposeCluster, PycomposeError

PATIENCE = 300.0  # seconds; the machine may be busy
LIMIT = 400 << 20


def until(condition: Callable[[], Any], what: str) -> Any:
    """What a condition comes to, once it holds."""
    deadline = time.monotonic() + PATIENCE
    while not (value := condition()):
        assert time.monotonic() < deadline, f"{what} in {PATIENCE} s"
        time.sleep(0.1)
    return value


def where() -> tuple[str, str]:
    return os.uname().nodename, distributed.get_worker().name


def slowly(number: int) -> int:
    time.sleep(1)
    return number


def greedy() -> int:
    held = []
    while True:
        held.append(bytearray(os.urandom(1 << 20) * 16))


class Counter:
    """An actor."""

    def __init__(self) -> None:
        self.count = 0

    def add(self, number: int) -> int:
        self.count += number
        return self.count


def computes(folder: str) -> None:
    """Nothing is said: four workers, each in a container of its own."""
    with ComposeCluster(timeout=PATIENCE) as cluster, cluster.get_client() as client:
        workers = client.scheduler_info(n_workers=-1)["workers"]
        assert len(workers) == 4
        assert len({told["host"] for told in workers.values()}) == 4
        assert all(
            0 < told["memory_limit"] < os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
            for told in workers.values()
        )
        names = {told["name"] for told in workers.values()}
        assert names == cluster.plan == cluster.observed == {f"{cluster.name}-dask-worker-{n}" for n in (1, 2, 3, 4)}
        assert client.run(lambda: os.uname().nodename) == {address: told["name"] for address, told in workers.items()}
        assert sum(client.gather(client.map(lambda n: n + 1, range(100)))) == 5050

        counter = client.submit(Counter, actor=True).result()
        assert [counter.add(n).result() for n in (1, 2, 3)] == [1, 3, 6]
        module = Path(folder, "brought_along.py")
        module.write_text("def answer():\n    return 42\n")
        client.upload_file(str(module))
        assert client.submit(lambda: __import__("brought_along").answer()).result() == 42

        assert cluster.dashboard_link.endswith(":8787/status")
        assert "ComposeCluster" in repr(cluster)
        assert "ComposeCluster" in cluster._repr_html_()
        assert "Workers: 4" in cluster._scaling_status()


def shuffles(folder: str) -> None:
    """A data frame is sorted anew over four workers."""
    import dask.dataframe
    import pandas

    numbers = range(4000)
    table = pandas.DataFrame({"key": list(numbers), "half": [number // 2 for number in numbers]})
    with ComposeCluster(n_workers=4, timeout=PATIENCE) as cluster, cluster.get_client() as client:
        frame = dask.dataframe.from_pandas(table, npartitions=16).shuffle("half")
        sizes = client.compute(frame.groupby("half").key.count()).result()
        assert sizes.tolist() == [2] * 2000


def lives(folder: str) -> None:
    """Workers come, go by name, are killed, run out of memory; another program joins."""
    with ComposeCluster(n_workers=2, memory_limit=LIMIT, timeout=PATIENCE) as cluster, cluster.get_client() as client:
        one, two, three = (f"{cluster.name}-dask-worker-{n}" for n in (1, 2, 3))
        assert {told["memory_limit"] for told in client.scheduler_info(n_workers=-1)["workers"].values()} == {LIMIT}

        kept = client.submit(slowly, 7, workers=[two])
        wait(kept)
        cluster.scale(3)
        client.wait_for_workers(3, timeout=PATIENCE)
        cluster.scale_down([two])
        assert cluster.plan == cluster.observed == {one, three}
        assert [container.name for container in cluster.project["dask-worker"].containers] == [one, three]
        assert kept.result() == 7  # it went to another
        assert client.submit(where).result()[1] in {one, three}

        futures = client.map(slowly, range(8), pure=False)
        process = client.submit(os.getpid, workers=[three], pure=False).result()
        assert process == 1  # it is the container's first
        cluster.project.container(three).kill(signal.SIGKILL)
        assert client.gather(futures) == list(range(8))
        client.wait_for_workers(2, timeout=PATIENCE)
        until(
            lambda: f"worker {three} was lost: it ended with 137" in cluster.get_logs(workers=False)["Cluster"],
            "reason",
        )

        client.submit(greedy, workers=[one], retries=0, pure=False)
        until(
            lambda: f"worker {one} was lost: it ran out of memory" in cluster.get_logs(workers=False)["Cluster"],
            "reason",
        )
        logs = cluster.get_logs()
        assert "Start worker at" in logs[two]  # it is gone
        assert "Start worker at" in cluster.get_logs(cluster=False, scheduler=False, workers=[three]).popitem()[1]
        assert "Scheduler at" in logs["Scheduler"]

        with ComposeCluster.from_name(cluster.name) as joined:
            assert joined.plan == {one, three}
            joined.scale(1)
        until(lambda: cluster.observed == {one}, "scaled by another")
        assert cluster.project["dask-worker"].containers[0].running


def adapts(folder: str) -> None:
    """From none to eight and back."""
    with (
        ComposeCluster(n_workers=0, threads=1, memory_limit=LIMIT, timeout=PATIENCE) as cluster,
        cluster.get_client() as client,
    ):
        assert cluster.plan == set()
        cluster.adapt(minimum=0, maximum=8, interval="200 ms", wait_count=2, target_duration="1 s")
        gate = distributed.Event("gate")
        futures = client.map(lambda n: distributed.Event("gate").wait() and n, range(64), pure=False)
        until(lambda: len(cluster.observed) == 8, "8 workers")
        assert {one.number for one in cluster.project["dask-worker"].containers} == set(range(1, 9))
        gate.set()
        assert client.gather(futures) == list(range(64))
        del futures
        until(lambda: not cluster.observed and not cluster.plan, "no worker")
        until(lambda: cluster.project["dask-worker"].containers == [], "no container")
        assert "was lost" not in cluster.get_logs()["Cluster"]


FILE = """
name: of-a-file
services:
  boss:
    image: host
    command: [python, -m, distributed.cli.dask_scheduler]
    stop_grace_period: 1s
  hand:
    image: host
    command: [python, -m, distributed.cli.dask_worker, "tcp://boss:8786", --no-nanny]
    environment: {COLOUR: red, MOOD: fair}
    depends_on: [boss]
    stop_grace_period: 1s
"""


def of_a_file(folder: str) -> None:
    """The file's services, whose workers take no name of ours."""
    file = Path(folder, "compose.yaml")
    file.write_text(FILE)
    with ComposeCluster(
        file,
        scheduler="boss",
        worker="hand",
        name="mine",
        n_workers=3,
        memory_limit="300 MiB",
        env={"COLOUR": "b$lue"},
        timeout=PATIENCE,
    ) as cluster:
        assert cluster.observed == cluster.plan == {"mine-hand-1", "mine-hand-2", "mine-hand-3"}
        with cluster.get_client() as client:
            said = client.run(lambda: (os.environ["COLOUR"], os.environ["MOOD"], os.environ["PYCOMPOSE_REPLICA"]))
            assert sorted(said.values()) == [("b$lue", "fair", n) for n in "123"]
            limits = {told["memory_limit"] for told in client.scheduler_info(n_workers=-1)["workers"].values()}
            assert limits == {300 << 20}
            addresses = {cluster._replica_of(a, told): a for a, told in cluster.scheduler_info["workers"].items()}
            cluster.scale_down([addresses["mine-hand-2"]])
            assert cluster.observed == cluster.plan == {"mine-hand-1", "mine-hand-3"}


def encrypted(folder: str) -> None:
    """Awaited, and over TLS: who has no certificate does not get in."""

    async def main() -> None:
        async with ComposeCluster(n_workers=1, security=True, asynchronous=True, timeout=PATIENCE) as cluster:
            assert cluster.scheduler_address.startswith("tls://")
            async with Client(cluster, asynchronous=True) as client:
                assert await client.submit(sum, [1, 2]) == 3
                await cluster.scale(2)
                await client.wait_for_workers(2, timeout=PATIENCE)
                await cluster.scale_down([f"{cluster.name}-dask-worker-1"])
                assert await client.submit(sum, [3, 4]) == 7
            shown = str(cluster.project["dask-worker"].exec("env", check=True).stdout)
            assert "PRIVATE KEY" not in shown

    asyncio.run(main())


def fails(folder: str) -> None:
    """What cannot be had is told, and nothing of it stays."""
    file = Path(folder, "compose.yaml")
    file.write_text(FILE.replace("distributed.cli.dask_worker", "no_such_module"))
    try:
        ComposeCluster(file, scheduler="boss", worker="hand", n_workers=1, timeout=PATIENCE)
    except PycomposeError as error:
        print(error)


def left_open(folder: str) -> None:
    """A script that ends without closing it."""
    cluster = ComposeCluster(n_workers=1, timeout=PATIENCE)
    assert cluster.observed
    sys.exit(0)


if __name__ == "__main__":
    globals()[sys.argv[1]](sys.argv[2])
