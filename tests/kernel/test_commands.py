"""Every command and flag of docker compose's reference, each really called."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

from .build_tools import Builds, build
from .command_calls import CALLS, DOCKERFILE, FILE, TRANSFORMATION
from .test_registry import registry

__all__ = ["build", "registry"]  # the fixtures


def test_every_call_ends_and_says_as_it_should(build: Builds, registry: str, tmp_path: Path) -> None:
    folder = tmp_path / "p"
    folder.mkdir()
    build.write({"Dockerfile": DOCKERFILE}, "p/context")
    build.write({"Dockerfile": TRANSFORMATION, "templates/t": "t"}, "transformation")
    build.run("image", "build", "-q", "-t", "transformation", str(tmp_path / "transformation"))
    (folder / "compose.yaml").write_text(FILE.replace("REGISTRY", registry))
    (folder / "digests.yaml").write_text(f"services: {{db: {{image: '{registry}/db:1'}}}}")
    (folder / ".env").write_text("FROM_FILE=1\n")
    wrong = []
    for call in CALLS:
        words = shlex.split(call.words.replace("{folder}", str(folder)))
        pycompose = (sys.executable, "-m", "pycompose", *words)
        done = build.machine.run("sh", "-c", 'cd "$0" && exec "$@"', str(folder), *pycompose, check=False)
        output, prints = done.stdout + done.stderr, call.prints.replace("{folder}", str(folder))
        if done.returncode != call.code or prints not in output or "no effect" in output or "Traceback" in output:
            wrong.append(f"{call.words}\nended with {done.returncode}:\n{output}")
    assert not wrong, "\n\n".join(wrong)
