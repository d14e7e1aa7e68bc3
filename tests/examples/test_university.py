"""The university example: shares of a core, a share of the machine, and a limit of memory hold, and are told."""

from __future__ import annotations

import json
import re
from pathlib import Path

from ..kernel.conftest import Machine, host  # noqa: TID252

__all__ = ["host"]  # the fixture

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "university" / "compose.yaml"


def test_everybody_gets_the_share_that_the_file_says(host: Machine) -> None:
    try:
        host.pycompose("-f", str(EXAMPLE), "up", "-d")
        host.pycompose("-f", str(EXAMPLE), "wait", "thesis", check=False)
        told = host.pycompose("-f", str(EXAMPLE), "logs", "--no-log-prefix", "registrar").stdout
        found = {
            name: (int(share), cores, int(memory))
            for name, share, cores, memory in re.findall(
                r"^(\w+) +█* *(\d+)% of a core   \(core (\S+); (\d+) MB\)", told, re.M
            )
        }
        assert {name: memory for name, (_, _, memory) in found.items()} == {
            "professors": 256,
            "students": 128,
            "system": 64,
        }
        assert found["professors"][1] == found["students"][1] == "0"
        # The machine may be busy with other things: what they share is divided two to one all the same.
        ratio = re.search(r"professors : students = ([\d.]+) : 1", told)
        assert ratio, told
        assert 1.4 <= float(ratio[1]) <= 2.8, told
        assert 0 < found["system"][0] <= 25, told
        listed = host.pycompose("-f", str(EXAMPLE), "ps", "-a", "--format", "json").stdout
        thesis = next(item for item in map(json.loads, listed.splitlines()) if item["Service"] == "thesis")
        assert thesis["ExitCode"] == 137
        assert "out of memory" in thesis["Status"]
        said = host.pycompose("-f", str(EXAMPLE), "logs", "--no-log-prefix", "thesis").stdout
        assert said.startswith("my thesis has 8 MB\n")
        assert "nobody stopped me" not in said
    finally:
        host.pycompose("-f", str(EXAMPLE), "down", "-t", "0")
