"""Bare containers of the host's file system under a keeper of the test's own, for attacks on who starts or enters
them."""

from __future__ import annotations

import json
import os
import select
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from pycompose.runtime.client.blocking import BlockingKeeper, connect_keeper, end_keeper
from pycompose.runtime.client.process import exec_interactive
from pycompose.runtime.errors import NoSuchContainer, StartFailed
from pycompose.runtime.keeper import messages
from pycompose.runtime.keeper.launch import launch_keeper
from pycompose.runtime.keeper.messages import Done, Go, ListRunning, Prepared, RunningIds, Start, Subscribe
from pycompose.runtime.places import Places, ProjectPlaces
from pycompose.runtime.policy import profile
from pycompose.runtime.policy.cgroup import Cgroup
from pycompose.runtime.spec import Bundle, HostRoot, Linux, Process, Resources, Spec, User, to_json
from pycompose.runtime.state import container_record, logs

from .conftest import cgroups
from .service_tools import until

ENVIRONMENT = ("PATH=/usr/sbin:/usr/bin:/sbin:/bin",)


class Box:
    """A keeper of the test's own, and containers of the host's file system under it."""

    def __init__(self, places: ProjectPlaces, tree: str) -> None:
        self.places, self.tree, self.count = places, tree, 0
        self.keeper, self.events = BlockingKeeper(places), connect_keeper(places)
        messages.send(self.events, Subscribe())
        assert messages.receive(self.events)[0] == Done()

    def go(self, container_id: str) -> None:
        messages.close_all(self.keeper.ask(Start(container_id), Prepared)[1])
        self.keeper.ask(Go(container_id), Done)

    def running(self) -> tuple[str, ...]:
        return self.keeper.ask(ListRunning(), RunningIds)[0].ids

    def bundle(self, folder: Path, *args: str, lower: tuple[Path, ...] = (), **wanted: Any) -> Bundle:
        parts = profile.linux_defaults(**wanted.get("profile", {}))
        process = Process(
            args,
            ENVIRONMENT,
            cwd=wanted.get("cwd", "/"),
            user=User(username=wanted.get("user") or "0", group_add=tuple(wanted.get("group_add", ()))),
            terminal=wanted.get("terminal", False),
            capabilities=parts.capabilities,
        )
        linux = Linux(
            namespaces=parts.namespaces,
            devices=(*parts.devices, *wanted.get("devices", ())),
            cgroups_path=f"test/{folder.name}",
            resources=Resources(devices=parts.device_rules),
            seccomp=parts.seccomp,
            masked_paths=parts.masked_paths,
            readonly_paths=parts.readonly_paths,
            sysctl={**parts.sysctl, **wanted.get("sysctl", {})},
        )
        spec = Spec(process, hostname="box", mounts=(*parts.mounts, *wanted.get("mounts", ())), linux=linux)
        hidden = (self.places.state,)
        return Bundle(spec, HostRoot(f"{folder}/root", tuple(str(item) for item in lower), hidden))

    def start(self, *args: str, **wanted: Any) -> tuple[str, StartFailed | None]:
        """(id, what failed); it runs now, or has ended already."""
        self.count += 1
        container_id = f"c{self.count}"
        folder = Path(self.places.container(container_id))
        folder.mkdir(parents=True)
        (folder / "bundle.json").write_text(to_json(self.bundle(folder, *args, **wanted)))
        container_record.write(f"{folder}/state.json", {"name": container_id, "created": 1})
        try:
            self.go(container_id)
        except StartFailed as error:
            return container_id, error
        return container_id, None

    def run(self, *args: str, **wanted: Any) -> tuple[int, str]:
        """(exit code, output) of a container; the code that a failed start gives, and its message."""
        container_id, failed = self.start(*args, **wanted)
        if failed:
            return failed.exit_code, f"{failed.step}: {failed.reason}"
        return self.wait(container_id), self.output(container_id)

    def wait(self, container_id: str) -> int:
        path = Path(self.places.container(container_id)) / "exit.json"
        while not path.exists():
            assert select.select([self.events], [], [], 20)[0], "it does not end"
            self.events.recv(1 << 16)
        return int(json.loads(path.read_text())["code"])

    def await_output(self, container_id: str, text: str) -> None:
        until(lambda: text in self.output(container_id), 30, f"{text!r} in the output")

    def output(self, container_id: str) -> str:
        return "\n".join(line.text for line in logs.read(f"{self.places.container(container_id)}/log"))

    def enter(
        self, container_id: str, *args: str, cwd: str = "/", user: str = "", privileged: bool = False
    ) -> tuple[int, str]:
        """(exit code, output) of a further process; a failed start's code and message."""
        capabilities = profile.capabilities()
        process = Process(args, ENVIRONMENT, cwd, User(username=user), capabilities=capabilities)
        streams = os.open("/dev/null", os.O_RDWR), os.memfd_create("output")
        try:
            code = exec_interactive(
                self.places, container_id, process, (streams[0], streams[1], streams[1]), privileged
            )
            text = os.pread(streams[1], 1 << 24, 0).decode("utf-8", "replace")
        except StartFailed as error:
            return error.exit_code, str(error)
        except NoSuchContainer as error:
            return 1, str(error)
        finally:
            messages.close_all(streams)
        return code, text.strip()

    def kill(self, container_id: str) -> int:
        Cgroup(f"test/{container_id}", self.tree).kill_all()
        return self.wait(container_id)


@contextmanager
def boxed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Box]:
    """A box while the body runs; nothing of it is left, and its keeper had nothing to complain of."""
    tree = f"pycompose-test-{os.getpid()}-box"
    monkeypatch.setenv("PYCOMPOSE_CGROUP", tree)
    places = Places(str(tmp_path / "state"), str(tmp_path / "run")).project("test")
    launch_keeper(places)
    made = Box(places, tree)
    yield made
    for container_id in made.running():
        made.kill(container_id)
    made.events.close()
    log = Path(places.run, "keeper.log").read_text()
    assert "Traceback" not in log, log
    made.keeper.__exit__()
    assert end_keeper(places, 10)
    assert cgroups(tree) == set()
