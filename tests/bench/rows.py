"""The rows of the budgets table, and the runs that measure them.

A run is a generator: it takes one peer through a sequence of commands and yields (row, value) as it goes, so that one
start of fifty containers serves several rows. What a run leaves is cleaned up by whoever drives it.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

import machine  # type: ignore[import-not-found]
from peers import Peer  # type: ignore[import-not-found]

LOG = 100_000_000  # bytes
SECONDS = 2.0  # of each throughput and DNS measurement
PORT = 5201
MANY = 1000

SLEEP = {"command": ["sleep", "1000"]}
Values = Iterator[tuple[str, float]]


@dataclass(frozen=True, slots=True)
class Row:
    """`docker` and `podman` are what the budgets table notes of them; `budget` None means: no less than they."""

    key: str
    what: str
    unit: Literal["s", "MB", "Gbit/s", "/s"]
    budget: float | None
    docker: float | None = None
    podman: float | None = None

    @property
    def more_is_better(self) -> bool:
        return self.unit in ("Gbit/s", "/s")


ROWS = {
    row.key: row
    for row in (
        Row("up1", "up -d, 1 service, cold", "s", 0.25, 0.32, 0.80),
        Row("up10", "up -d, 10 services", "s", 0.30, 1.0, 3.1),
        Row("up50", "up -d, 50 services", "s", 0.42, 4.2, 12.8),
        Row("chain10", "chain of 10 depends_on", "s", 0.3, 2.0, 3.5),
        Row("scale4", "scale 1 to 4", "s", 0.12, 0.61, 1.1),
        Row("scale50", "scale 1 to 50", "s", 0.39, 7.7, 14.6),
        Row("down50", "down -t 0 of 50", "s", 0.23, 4.6, 7.8),
        Row("again50", "up -d again, nothing to do, 50", "s", 0.12, 0.17, 3.1),
        Row("exec", "exec svc true", "s", 0.06, 0.18, 0.28),
        Row("run_cold", "run --rm svc true, cold", "s", 0.25),
        Row("run", "run --rm svc true, beside its project", "s", 0.15),
        Row("ps", "ps, 50 services", "s", 0.06, 0.17, 0.45),
        Row("config50", "config, 50 services", "s", 0.09, 0.15, 0.37),
        Row("config500", "config, 500 services in a chain", "s", 1.5),
        Row("memory50", "memory of helpers at 50 (PSS)", "MB", 45, 391, 17),
        Row("memory_each", "memory, each one more", "MB", 0.1, 7.8, 0.34),
        Row("between", "container to container", "Gbit/s", None, 15, 16.6),
        Row("published", "host to published port", "Gbit/s", None, 13, 17.6),
        Row("dns1", "DNS answers, 1 asker", "/s", None, 9_700, 12_400),
        Row("dns16", "DNS answers, 16 askers", "/s", None, 45_000, 96_000),
        Row("log_in", "100 MB of log lines, taken in", "s", 0.4, 3.4, 0.5),
        Row("log_out", "100 MB of log lines, read back", "s", 0.8, 9.9, 4.8),
        Row("saved", "watch: a saved file is in the container", "s", 0.1),
        Row("saved1000", "watch: a thousand saved files", "s", 1.0),
        Row("up1000", "1,000 containers (--full)", "s", 10.0),
    )
}


def one(peer: Peer) -> Values:
    peer.write({"s0": SLEEP})
    yield "up1", peer.do("up", "-d")
    for _ in range(3):
        yield "exec", peer.do("exec", "-T", "s0", "true")
        yield "run", peer.do("run", "--rm", "-T", "s0", "true")


def run_cold(peer: Peer) -> Values:
    peer.write({"s0": SLEEP})
    yield "run_cold", peer.do("run", "--rm", "-T", "s0", "true")


def ten(peer: Peer) -> Values:
    peer.write({f"s{n}": SLEEP for n in range(10)})
    yield "up10", peer.do("up", "-d")


def chain(peer: Peer) -> Values:
    peer.write({f"s{n}": SLEEP | ({"depends_on": [f"s{n - 1}"]} if n else {}) for n in range(10)})
    yield "chain10", peer.do("up", "-d")


def fifty(peer: Peer) -> Values:
    peer.write({f"s{n}": SLEEP for n in range(50)})
    yield "config50", peer.do("config")
    yield "up50", peer.do("up", "-d")
    yield "again50", peer.do("up", "-d")
    yield "ps", peer.do("ps")
    yield "down50", peer.do("down", "-t", "0")


def five_hundred(peer: Peer) -> Values:
    peer.write({f"s{n}": SLEEP | ({"depends_on": [f"s{n - 1}"]} if n else {}) for n in range(500)})
    yield "config500", peer.do("config")


def scale(peer: Peer) -> Values:
    peer.write({"s0": SLEEP})
    peer.do("up", "-d")
    yield "scale4", peer.scale("s0", 4)
    peer.scale("s0", 1)
    before = machine.memory(peer.helpers())
    yield "scale50", peer.scale("s0", 50)
    after = machine.memory(peer.helpers())
    yield "memory50", after
    yield "memory_each", (after - before) / 49


def throughput(peer: Peer) -> Values:
    receiver = {"command": machine.program("receive", str(PORT)), "ports": [f"{PORT}:{PORT}"]}
    peer.write({"receiver": receiver, "sender": SLEEP})
    peer.do("up", "-d")
    words = ("send", "receiver", str(PORT), str(SECONDS))
    yield "between", float(peer.said("exec", "-T", "sender", *machine.program(*words))[1]) / 1e9
    yield "published", float(peer.on_host("send", "127.0.0.1", str(PORT), str(SECONDS))) / 1e9


def iperf3(peer: Peer) -> Values:
    """The same with iperf3, which more people know the figures of."""
    server = {"command": [shutil.which("iperf3"), "-s"], "ports": [f"{PORT}:{PORT}"]}
    peer.write({"receiver": server, "sender": SLEEP})
    peer.do("up", "-d")
    words = ("iperf3", "-J", "-t", str(int(SECONDS)), "-p", str(PORT), "-c")
    yield "between", _rate(peer.said("exec", "-T", "sender", *words, "receiver")[1])
    yield "published", _rate(machine.run([*peer.prefix, *words, "127.0.0.1"], peer.environment)[1])


def _rate(report: str) -> float:
    """Gbit/s of an iperf3 report in JSON."""
    return float(json.loads(report)["end"]["sum_received"]["bits_per_second"]) / 1e9


def dns(peer: Peer) -> Values:
    peer.write({"s0": SLEEP, "s1": SLEEP})
    peer.do("up", "-d")
    for askers in (1, 16):
        words = machine.program("ask", "s1", str(askers), str(SECONDS))
        yield f"dns{askers}", float(peer.said("exec", "-T", "s0", *words)[1])


def logs(peer: Peer) -> Values:
    peer.write({"s0": {"command": machine.program("write", str(LOG))}})
    peer.do("up", "-d")
    yield "log_in", float(peer.said("exec", "-T", "s0", *machine.program("took"))[1])
    back = f"{peer.folder}/back"
    try:
        seconds = peer.do("logs", "s0", output=back)
        size = os.path.getsize(back)
        if size < LOG:
            raise machine.Failed(f"only {size / 1e6:.0f} of {LOG / 1e6:.0f} MB came back")
        yield "log_out", seconds
    finally:
        if os.path.exists(back):
            os.unlink(back)


def saved(peer: Peer) -> Values:
    """The container's folder is one of this machine, so that whoever measures sees what arrives in it."""
    src, arrived = f"{peer.folder}/src", f"{peer.folder}/arrived"
    for path in (src, arrived):
        shutil.rmtree(path, ignore_errors=True)
        os.mkdir(path)
    rule = {"path": src, "action": "sync", "target": "/arrived"}
    peer.write({"s0": SLEEP | {"volumes": [f"{arrived}:/arrived"], "develop": {"watch": [rule]}}})
    with peer.following("watch", until="Watch enabled"):
        for number in range(5):
            yield "saved", _arrival(src, arrived, [f"f{number}"])
        yield "saved1000", _arrival(src, arrived, [f"m{number}" for number in range(1000)])


def _arrival(src: str, arrived: str, names: list[str]) -> float:
    """Seconds from the end of the last save until all are there. Raises machine.Failed."""
    for name in names:
        with open(f"{src}/{name}", "w") as file:
            file.write(name)
    start = time.monotonic()
    while not all(os.path.exists(f"{arrived}/{name}") for name in reversed(names)):
        if time.monotonic() - start > 30:
            raise machine.Failed("what was saved did not arrive")
        time.sleep(0.001)
    return time.monotonic() - start


def thousand(peer: Peer) -> Values:
    peer.write({"s0": SLEEP | {"scale": MANY}})
    yield "up1000", peer.do("up", "-d", timeout=180)


@dataclass(frozen=True, slots=True)
class Run:
    rows: tuple[str, ...]
    measure: Callable[[Peer], Values]
    once: bool = False


RUNS = (
    Run(("up1", "exec", "run"), one),
    Run(("run_cold",), run_cold),
    Run(("up10",), ten),
    Run(("chain10",), chain),
    Run(("config50", "up50", "again50", "ps", "down50"), fifty),
    Run(("config500",), five_hundred),
    Run(("scale4", "scale50", "memory50", "memory_each"), scale),
    Run(("between", "published"), iperf3 if shutil.which("iperf3") else throughput),
    Run(("dns1", "dns16"), dns),
    Run(("log_in", "log_out"), logs),
    Run(("saved", "saved1000"), saved),
    Run(("up1000",), thousand, once=True),
)
