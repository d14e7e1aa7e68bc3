"""Measures builds: `python tests/bench/build.py [--runs N]`, beside `buildah build` where it is installed. Root.

An image from scratch with a static busybox: 1,000 files copied and a step that runs; the same again with nothing
changed; with one file changed; and two stages that each sleep two seconds. Ours and theirs in turn, in namespaces of
its own, each with a store of its own. buildah remembers only when it is told to (`--layers`), and is. Leaves nothing.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import machine  # type: ignore[import-not-found]

FILES = 1000
COPIED = """FROM scratch
COPY busybox /bin/busybox
COPY settings /etc/settings
RUN ["/bin/busybox", "wc", "-c", "/etc/settings"]
COPY files /files
RUN ["/bin/busybox", "sh", "-c", "/bin/busybox find /files -type f | /bin/busybox wc -l > /count"]
"""
STAGES = """FROM scratch AS one
COPY busybox /bin/busybox
RUN ["/bin/busybox", "sh", "-c", "/bin/busybox sleep 2; echo {n} > /one"]
FROM scratch AS two
COPY busybox /bin/busybox
RUN ["/bin/busybox", "sh", "-c", "/bin/busybox sleep 2; echo {n} > /two"]
FROM scratch
COPY --from=one /one /one
COPY --from=two /two /two
"""
ROWS = {
    "cold": f"build with {FILES:,} files, nothing remembered",
    "again": "the same again, nothing changed",
    "changed": "one file changed",
    "stages": "two stages that sleep 2 s each",
}


class Builder:
    name = "pycompose"

    def __init__(self, folder: str) -> None:
        self.folder, self.environment = folder, machine.plain_environment()
        self.environment |= {"PYCOMPOSE_STATE": f"{folder}/state", "PYCOMPOSE_RUN": f"{folder}/run"}
        self.environment["PYCOMPOSE_CGROUP"] = f"pycompose-bench-{os.getpid()}"

    def command(self, context: str) -> list[str]:
        return [sys.executable, "-m", "pycompose", "image", "build", "-q", "-t", "bench", context]

    def build(self, context: str) -> float:
        seconds: float = machine.run(self.command(context), self.environment, timeout=120)[0]
        return seconds

    def forget(self) -> None:
        shutil.rmtree(f"{self.folder}/state", ignore_errors=True)


class Buildah(Builder):
    name = "buildah"

    def command(self, context: str) -> list[str]:
        store = ["--root", f"{self.folder}/root", "--runroot", f"{self.folder}/runroot", "--storage-driver", "overlay"]
        return [
            "buildah",
            *store,
            "build",
            "-q",
            "--layers",
            "--jobs",
            "2",
            "--isolation",
            "chroot",
            "-t",
            "b",
            context,
        ]

    def forget(self) -> None:
        for name in ("root", "runroot"):
            shutil.rmtree(f"{self.folder}/{name}", ignore_errors=True)


def context(folder: Path, dockerfile: str) -> str:
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "files").mkdir(parents=True)
    busybox = shutil.which("busybox")
    assert busybox is not None
    shutil.copy(busybox, folder / "busybox")
    (folder / "settings").write_text("first\n")
    (folder / "Dockerfile").write_text(dockerfile)
    for number in range(FILES):
        (folder / "files" / f"{number}.txt").write_text(f"{number}\n" * 100)
    return str(folder)


def measured(builder: Builder, number: int) -> Iterator[tuple[str, float]]:
    place = Path(builder.folder, "context")
    path = context(place, COPIED)
    builder.forget()
    yield "cold", builder.build(path)
    yield "again", builder.build(path)
    (place / "files" / "7.txt").write_text(f"changed {number}\n")
    yield "changed", builder.build(path)
    yield "stages", builder.build(context(place, STAGES.format(n=number)))


def main() -> None:
    parser = argparse.ArgumentParser(prog="build", description="Measures builds beside buildah.")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if os.geteuid() or shutil.which("busybox") is None:
        raise SystemExit("build: it needs root, and busybox (Debian: busybox-static)")
    if not chosen.inside:
        machine.enter(sys.argv[1:], __file__)
    machine.loopback_up()
    results: dict[str, dict[str, list[float]]] = {row: {} for row in ROWS}
    with tempfile.TemporaryDirectory(prefix="pycompose-bench-", dir="/var/tmp") as folder:
        machine.folder_for_state(folder)
        builders: list[Builder] = []
        for kind in (Builder, Buildah) if shutil.which("buildah") else (Builder,):
            os.makedirs(f"{folder}/{kind.name}")
            builders.append(kind(f"{folder}/{kind.name}"))
        for number in range(chosen.runs):
            for builder in builders:
                try:
                    for row, seconds in measured(builder, number):
                        results[row].setdefault(builder.name, []).append(seconds)
                except machine.Failed as failed:
                    print(f"{builder.name}: {failed}", file=sys.stderr)
        machine.remove_cgroups(f"pycompose-bench-{os.getpid()}")
    for row, what in ROWS.items():
        medians = {name: statistics.median(values) for name, values in results[row].items()}
        ratio = f"   {medians['buildah'] / medians['pycompose']:.1f}x" if len(medians) == 2 else ""
        told = "   ".join(f"{name} {seconds:.2f} s" for name, seconds in medians.items())
        print(f"{what:<48} {told}{ratio}")
    if len(builders) == 1:
        print("buildah is not measured: it is not installed")


if __name__ == "__main__":
    main()
