"""What tests of builds share: a machine with a base image, contexts, and looking into what was built."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from . import image_tools
from .conftest import Machine


@dataclass(frozen=True, slots=True)
class Builds:
    """`base` is an image of a shell and a few programs."""

    machine: Machine
    folder: Path  # of contexts

    def write(self, files: dict[str, str | bytes], context: str = "context") -> Path:
        top = self.folder / context
        top.mkdir(exist_ok=True)
        for name, content in files.items():
            path = top / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return top

    def __call__(self, dockerfile: str, *arguments: str, **files: str) -> str:
        """Build `built` from a context; what was said."""
        top = self.write({"Dockerfile": dockerfile, **files})
        done = self.run("image", "build", "-t", "built", *arguments, str(top))
        return done.stdout + done.stderr

    def run(self, *arguments: str, check: bool = True, **more: Any) -> subprocess.CompletedProcess[str]:
        done = self.machine.pycompose(*arguments, check=check, **more)
        assert "Traceback" not in done.stderr, done.stderr
        assert "something unexpected" not in done.stderr, done.stderr
        return done

    def fails(self, dockerfile: str, *arguments: str, **files: str) -> str:
        """The error of a build that cannot be."""
        top = self.write({"Dockerfile": dockerfile, **files})
        done = self.run("image", "build", "-t", "built", *arguments, str(top), check=False)
        assert done.returncode == 1, done.stdout + done.stderr
        return done.stderr

    def image(self, name: str = "built") -> dict[str, Any]:
        return dict(json.loads(self.run("image", "inspect", name).stdout)[0])

    def layers(self, name: str = "built") -> list[Path]:
        """Folders, the lowest first; they are seen from inside the machine alone."""
        return [Path(layer) for layer in self.image(name)["Layers"]]

    def look(self, *command: str) -> str:
        return self.machine.run(*command).stdout

    def files(self, number: int = -1, name: str = "built") -> dict[str, str]:
        """Path -> mode, owner and content's length of what a layer has."""
        layer = self.layers(name)[number]
        listed = self.look("find", str(layer), "-mindepth", "1", "-printf", "%P\\t%y%m %U:%G %s %l\\n")
        return dict(line.rstrip().split("\t") for line in listed.splitlines())

    def content(self, path: str, name: str = "built") -> str:
        """Of a file, in the topmost layer that has it."""
        for layer in reversed(self.layers(name)):
            done = self.machine.run("cat", str(layer / path), check=False)
            if done.returncode == 0:
                return done.stdout
        raise AssertionError(f"no layer has {path}")


@pytest.fixture
def build(host: Machine, tmp_path: Path) -> Builds:
    tar = tmp_path / "base.tar"
    tar.write_bytes(image_tools.tar(entries=(image_tools.folder("root", mode=0o700),)))
    host.pycompose("image", "import", "base", str(tar))
    return Builds(host, tmp_path)
