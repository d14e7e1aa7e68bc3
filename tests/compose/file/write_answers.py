"""Asks an installed docker compose for the answers of `answers/*.yaml`, and writes them there.

python -m tests.compose.file.write_answers [FILE…]
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import yaml

from .docker_compose import installed
from .test_answers import FOLDER, answered

ORDER = ("name", "folder", "files", "environ", "before", "arguments", "answer", "refused", "ours", "lax", "why")


class _Dumper(yaml.SafeDumper):
    pass


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Dumper.add_representer(str, _text)


def main(names: list[str]) -> None:
    docker = installed()
    for path in sorted(map(Path, names) if names else FOLDER.glob("**/*.yaml")):
        cases = []
        for case in yaml.safe_load(path.read_text()):
            if isinstance(case.get("files"), str):
                case["files"] = {"compose.yaml": case["files"]}
            with tempfile.TemporaryDirectory() as folder:
                answer = answered(docker, case, Path(folder))
            case = {key: value for key, value in case.items() if key not in ("answer", "refused")} | answer
            cases.append({key: case[key] for key in ORDER if key in case})
        path.write_text(yaml.dump(cases, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=1000))


if __name__ == "__main__":
    main(sys.argv[1:])
