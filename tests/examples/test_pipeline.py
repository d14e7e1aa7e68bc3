"""The pipeline example: conditions hold, replicas answer in turn, and what the volume has outlives `down`."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path

from ..kernel.conftest import Machine, host  # noqa: TID252

__all__ = ["host"]  # the fixture

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "pipeline" / "compose.yaml"


def curl(host: Machine, *arguments: str) -> str:
    return host.run("curl", "-sS", "--max-time", "10", *arguments, "http://127.0.0.1:8080").stdout


def test_numbers_go_in_at_each_replica_and_come_out_squared(host: Machine) -> None:
    def pycompose(*arguments: str) -> str:
        return host.pycompose("-f", str(EXAMPLE), *arguments).stdout

    try:
        pycompose("up", "-d", "--wait")
        states = {
            item["Name"]: (item["State"], item["Health"], item["ExitCode"])
            for item in map(json.loads, pycompose("ps", "-a", "--format", "json").splitlines())
        }
        assert states["pipeline-migrate-1"] == ("exited", "", 0)
        assert states["pipeline-worker-1"][0] == "running"
        for name in ("database-1", "web-1", "web-2", "web-3"):
            assert states[f"pipeline-{name}"] == ("running", "healthy", 0)
        took = [curl(host, "-d", str(number)) for number in range(2, 11)]
        assert [int(text.split()[1]) for text in took] == list(range(1, 10))
        webs = Counter(text.split()[-1] for text in took)
        assert sorted(webs.values()) == [3, 3, 3]
        host.run("sh", "-c", "while curl -sS http://127.0.0.1:8080 | grep -q waits; do :; done", timeout=20)
        listed = curl(host)
        assert re.findall(r"(\d+) squared is (\d+)", listed) == [(str(n), str(n * n)) for n in range(2, 11)]
        assert pycompose("logs", "--no-log-prefix", "migrate") == "the table is there, with 0 jobs\n"

        pycompose("scale", "web=2")
        assert len({curl(host).splitlines()[0] for _ in range(6)}) == 2

        pycompose("down", "-t", "0")
        pycompose("up", "-d", "--wait")
        assert curl(host).splitlines()[1:] == listed.splitlines()[1:]
    finally:
        host.pycompose("-f", str(EXAMPLE), "down", "-v", "-t", "0", check=False)
