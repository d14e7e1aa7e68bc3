"""Who is measured: pycompose, docker compose, podman-compose. Each is told to do the same things in its own words."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import machine  # type: ignore[import-not-found]

PROJECT = "pycompose-bench"
Services = Mapping[str, Mapping[str, Any]]


class Peer:
    """One of those measured. `prefix` goes before each command: where it has to run."""

    name = ""
    image = "localhost/pycompose-bench:latest"
    prefix: tuple[str, ...] = ()

    def __init__(self, folder: str) -> None:
        self.folder, self.environment = folder, machine.plain_environment()
        self.file = f"{folder}/compose.yaml"

    def compose(self) -> list[str]:
        raise NotImplementedError

    def missing(self) -> str:
        """Why it cannot be measured; empty if it can. Called before `prepare`."""
        return ""

    def prepare(self) -> None:
        """Whatever must be there before the first row."""

    def write(self, services: Services) -> None:
        """The compose file. It is JSON, which is YAML too and which nobody has to quote."""
        full = {name: {"image": self.image, **service} for name, service in services.items()}
        Path(self.file).write_text(json.dumps({"services": full}).replace("$", "$$"))

    def do(self, *words: str, timeout: float = 120, output: str | None = None) -> float:
        """Seconds for one of its commands. Raises machine.Failed."""
        return self.said(*words, timeout=timeout, output=output)[0]

    def said(self, *words: str, timeout: float = 120, output: str | None = None) -> tuple[float, str]:
        command = [*self.prefix, *self.compose(), "-p", PROJECT, "-f", self.file, *words]
        told: tuple[float, str] = machine.run(command, self.environment, timeout=timeout, output=output)
        return told

    @contextmanager
    def following(self, *words: str, until: str) -> Iterator[None]:
        """One of its commands that stays, from when it has said `until`. Raises machine.Failed if it ends before."""
        command = [*self.prefix, *self.compose(), "-p", PROJECT, "-f", self.file, *words]
        running = subprocess.Popen(
            command, env=self.environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        assert running.stdout is not None
        with running:
            try:
                if not any(until in line for line in running.stdout):
                    raise machine.Failed(f"{words[0]} ended before it said {until!r}")
                yield
            finally:
                running.terminate()

    def scale(self, service: str, number: int) -> float:
        return self.do("scale", f"{service}={number}")

    def on_host(self, *words: str) -> str:
        """What a part of within.py says that runs beside the containers, where published ports are."""
        told: str = machine.run([*self.prefix, *machine.program(*words)], self.environment)[1]
        return told

    def helpers(self) -> set[int]:
        return set()

    def clean(self) -> None:
        """No container left and nobody waiting for one, whatever happened before."""
        with suppress(machine.Failed):
            self.do("down", "-t", "0")

    def leave(self) -> None:
        """The end: nothing of it is left."""
        if os.path.exists(self.file):
            self.clean()


class Pycompose(Peer):
    name = "pycompose"
    image = "host"

    def __init__(self, folder: str) -> None:
        super().__init__(folder)
        self.tree = f"pycompose-bench-{os.getpid()}"
        self.environment |= {
            "PYCOMPOSE_STATE": f"{folder}/state",
            "PYCOMPOSE_RUN": f"{folder}/run",
            "PYCOMPOSE_CGROUP": self.tree,
        }

    def compose(self) -> list[str]:
        return [f"{self.folder}/venv/bin/pycompose"]

    def prepare(self) -> None:
        """What whoever installs a wheel has: byte code, and none of the hooks of an editable install."""
        root, venv, packages = Path(__file__).parents[2], f"{self.folder}/venv", Path(self.folder, "packages")
        folders = [str(root / name) for name in ("compose", "runtime", "network")]
        machine.run(
            [sys.executable, "-m", "compileall", "-q", *folders, *map(str, root.glob("*.py"))], self.environment
        )
        machine.run([sys.executable, "-m", "venv", "--without-pip", venv], self.environment)
        packages.mkdir()
        (packages / "pycompose").symlink_to(root)
        (site,) = Path(venv).glob("lib/python*/site-packages")
        (site / "installed.pth").write_text(f"{packages}\n{sysconfig.get_path('purelib')}\n")
        script = Path(venv, "bin", "pycompose")
        script.write_text(f"#!{venv}/bin/python\nfrom pycompose.__main__ import main\nmain()\n")
        script.chmod(0o755)

    def helpers(self) -> set[int]:
        found: set[int] = machine.helpers(f"PYCOMPOSE_STATE={self.folder}/state")
        return found

    def clean(self) -> None:
        super().clean()
        if not machine.wait_for(lambda: not self.helpers(), 2):
            machine.end(self.helpers())

    def leave(self) -> None:
        super().leave()
        machine.remove_cgroups(self.tree)


class PodmanCompose(Peer):
    """podman with its storage in our folder, in a mount namespace of its own, with netavark.

    crun 1.8 refuses hybrid cgroups, so there the second hierarchy is not mounted in that namespace.
    """

    name = "podman-compose"
    holder: subprocess.Popen[bytes] | None = None

    def __init__(self, folder: str) -> None:
        super().__init__(folder)
        beside = str(Path(sys.executable).parent)
        self.environment["PATH"] = f"{self.environment.get('PATH', os.defpath)}:{beside}"
        self.environment |= {
            "CONTAINERS_CONF": f"{folder}/containers.conf",
            "CONTAINERS_STORAGE_CONF": f"{folder}/storage.conf",
        }
        self.parents: set[Path] = set()

    def compose(self) -> list[str]:
        return ["podman-compose"]

    def missing(self) -> str:
        for name in ("podman", "podman-compose"):
            try:
                machine.run([name, "--version"], machine.plain_environment() | {"PATH": self.environment["PATH"]})
            except machine.Failed as failed:
                return str(failed)
        return ""

    def prepare(self) -> None:
        descriptors = os.sysconf("SC_OPEN_MAX")
        Path(f"{self.folder}/containers.conf").write_text(
            "[engine]\n"
            'cgroup_manager = "cgroupfs"\nevents_logger = "file"\n'
            "[network]\n"
            f'network_backend = "netavark"\nnetwork_config_dir = "{self.folder}/networks"\n'
            "[containers]\n"
            # its own defaults need CAP_SYS_RESOURCE, which not every root has
            f'default_ulimits = ["nofile={descriptors}:{descriptors}", '
            f'"nproc={machine.PROCESSES}:{machine.PROCESSES}"]\n'
        )
        Path(f"{self.folder}/storage.conf").write_text(
            f'[storage]\ndriver = "overlay"\ngraphroot = "{self.folder}/storage"\nrunroot = "/run/pycompose-bench"\n'
        )
        self.parents = set(Path("/sys/fs/cgroup").glob("**/libpod_parent"))
        script = (
            "set -e; mount -t tmpfs -o mode=0755 run /run; "
            "if [ -d /sys/fs/cgroup/unified ]; then umount /sys/fs/cgroup/unified; fi; "
            "if [ -d /etc/containers/networks ]; then mount -t tmpfs networks /etc/containers/networks; fi; "
            "echo ready; exec cat"
        )
        self.holder = subprocess.Popen(
            ["unshare", "--mount", "--propagation", "private", "sh", "-c", script],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert self.holder.stdout is not None
        if self.holder.stdout.readline() != b"ready\n":
            raise machine.Failed("a mount namespace for podman could not be made")
        self.prefix = ("nsenter", f"--target={self.holder.pid}", "--mount", "--")
        machine.run([*self.prefix, "podman", "import", f"{self.folder}/../image.tar", self.image], self.environment)

    def scale(self, service: str, number: int) -> float:
        return self.do("up", "-d", "--scale", f"{service}={number}")

    def helpers(self) -> set[int]:
        if self.holder is None or self.holder.poll() is not None:
            return set()
        inside = os.readlink(f"/proc/{self.holder.pid}/ns/mnt")
        found: set[int] = machine.helpers(f"CONTAINERS_STORAGE_CONF={self.folder}/storage.conf", inside)
        return found - {self.holder.pid}

    def clean(self) -> None:
        super().clean()
        for words in (("rm", "-f", "-a", "-t", "0"), ("pod", "rm", "-f", "-a"), ("network", "prune", "-f")):
            with suppress(machine.Failed):
                machine.run([*self.prefix, "podman", *words], self.environment)

    def leave(self) -> None:
        if self.holder is None:
            return
        super().leave()
        machine.end(self.helpers())
        assert self.holder.stdin is not None
        self.holder.stdin.close()
        self.holder.wait()
        for parent in set(Path("/sys/fs/cgroup").glob("**/libpod_parent")) - self.parents:
            for folder, _, _ in os.walk(parent, topdown=False):
                with suppress(OSError):
                    os.rmdir(folder)


class DockerCompose(Peer):
    """The machine's own docker: its daemon lives outside, and so do its published ports."""

    name = "docker compose"
    processes = ("dockerd", "containerd", "containerd-shim", "docker-proxy")

    def __init__(self, folder: str) -> None:
        super().__init__(folder)
        self.prefix = ("nsenter", f"--net=/proc/{os.environ.get('PYCOMPOSE_BENCH_OUTSIDE', '1')}/ns/net", "--")

    def compose(self) -> list[str]:
        return ["docker", "compose"]

    def missing(self) -> str:
        for words in (["compose", "version"], ["version"]):
            try:
                machine.run(["docker", *words], self.environment, timeout=20)
            except machine.Failed as failed:
                return str(failed)
        return ""

    def prepare(self) -> None:
        machine.run(["docker", "import", f"{self.folder}/../image.tar", self.image], self.environment)

    def helpers(self) -> set[int]:
        found: set[int] = machine.named(self.processes)
        return found

    def leave(self) -> None:
        super().leave()
        with suppress(machine.Failed):
            machine.run(["docker", "image", "rm", self.image], self.environment)


ALL: tuple[type[Peer], ...] = (Pycompose, DockerCompose, PodmanCompose)
