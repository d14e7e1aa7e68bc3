"""The table of Dockerfiles: what comes of each instruction, as BuildKit's reference has it, tried by building.

`dockerfiles.yaml` holds the cases, which one process builds one after another: `dockerfile`, further files of the
`context`, `arguments`; and what must come of it: `files` (kind and mode, owner, content, where | is an end of line),
`contains`, `there`, `absent`, parts of the `config` and `image`, a warning that `says`; or the build `fails` with these
words at this `line`. A case with a `value` is one of variables: a LABEL with that value, and what the `label` is.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from .build_tools import Builds, build

__all__ = ["build"]  # the fixture
Case = dict[str, Any]
BUILDER = Path(__file__).with_name("dockerfile_builder.py")
VARIABLES = "FROM scratch\nENV v=value e= p=a/b/c.tar.gz\nLABEL l={}\n"


def cases() -> list[Case]:
    table: list[Case] = yaml.safe_load(Path(__file__).with_name("dockerfiles.yaml").read_text())
    for case in table:
        if "value" in case:
            case["dockerfile"] = VARIABLES.format(case["value"])
            case |= {"line": 3} if "fails" in case else {"config": {"Labels": {"l": case["label"]}}}
    return table


def faults(case: Case, outcome: Case) -> list[str]:
    """What is otherwise than the table has it."""
    error = outcome["error"]
    if "fails" in case:
        lacking = [word for word in case["fails"] if word not in error]
        if error and "line" in case and f"Dockerfile:{case['line']}:" not in error:
            lacking.append(f"line {case['line']}")
        return [f"lacks {lacking} in {error!r}"] if lacking or not error else []
    if error:
        return [error]
    files, lines = outcome["files"], []
    for path, wanted in case.get("files", {}).items():
        if (content := files.get(path, "nothing").replace("\n", "|")) != wanted:
            lines.append(f"{path}: {wanted!r} -> {content!r}")
    lines += [f"{path} lacks {text!r}" for path, text in case.get("contains", {}).items() if text not in files[path]]
    lines += [f"{path} is not there" for path in case.get("there", ()) if path not in files]
    lines += [f"{path} is there" for path in case.get("absent", ()) if path in files]
    for part, tree in (("config", outcome["image"]["config"]), ("image", outcome["image"])):
        for key, value in case.get(part, {}).items():
            if tree.get(key) != value:
                lines.append(f"{key}: {value!r} -> {tree.get(key)!r}")
    if case.get("says", "") not in outcome["warnings"]:
        lines.append(f"does not say {case['says']!r}, but {outcome['warnings']!r}")
    return lines


def test_what_the_table_says_comes_of_each_dockerfile(build: Builds) -> None:
    table = cases()
    assert len({case["name"] for case in table}) == len(table)
    done = build.machine.run(
        *(sys.executable, str(BUILDER), str(build.folder)), input=json.dumps(table), check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr
    outcomes = json.loads(done.stdout)
    wrong = [f"{case['name']}: {line}" for case, one in zip(table, outcomes, strict=True) for line in faults(case, one)]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize(
    ("case", "fault"),
    [
        ({"files": {"a": "f644 0:0 b"}}, "a: "),
        ({"absent": ["a"]}, "a is there"),
        ({"there": ["b"]}, "b is not there"),
        ({"config": {"Cmd": ["x"]}}, "Cmd: "),
        ({"says": "words"}, "does not say"),
        ({"fails": ["words"]}, "lacks ['words']"),
        ({"fails": []}, "lacks []"),
    ],
)
def test_a_fault_is_told(case: Case, fault: str) -> None:
    outcome = {"error": "", "files": {"a": "f644 0:0 a"}, "image": {"config": {}}, "warnings": ""}
    assert fault in faults(case, outcome)[0]
