"""The keeper against the kernel. Needs root."""

import json
import os
import select
import socket
from pathlib import Path

import pytest
from pycompose.runtime import record
from pycompose.runtime.places import Places
from pycompose.runtime.process import connect_keeper, launch_keeper
from pycompose.runtime.spec import Bundle, HostRoot, Linux, Namespace, Process, Spec, to_json

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


def ask(keeper: socket.socket, **request: object) -> dict[str, object]:
    keeper.send(json.dumps(request).encode())
    data, fds, _, _ = socket.recv_fds(keeper, 1 << 18, 16)
    for fd in fds:
        os.close(fd)
    return dict(json.loads(data))


def test_a_container_runs_and_its_end_and_output_are_recorded(tmp_path: Path) -> None:
    places = Places(str(tmp_path / "state"), str(tmp_path / "run")).project("test")
    folder = Path(places.container("one"))
    folder.mkdir(parents=True)
    kinds = ("mount", "pid", "network", "uts", "ipc")
    spec = Spec(
        Process(("/bin/sh", "-c", "echo hi; exit 3"), env=("PATH=/usr/bin:/bin",)),
        linux=Linux(tuple(Namespace(kind) for kind in kinds)),
    )
    (folder / "bundle.json").write_text(to_json(Bundle(spec, HostRoot(str(folder / "root")))))
    record.write(f"{folder}/state.json", {"name": "test-one-1", "created": 1})
    launch_keeper(places)
    launch_keeper(places)  # the same one
    with connect_keeper(places) as keeper, connect_keeper(places) as events:
        try:
            assert ask(events, do="subscribe")["ok"]
            assert ask(keeper, do="start", id="one").get("error") is None
            assert ask(keeper, do="go", id="one").get("error") is None
            assert select.select([events], [], [], 10)[0]
            assert json.loads(events.recv(1000))["code"] == 3
        finally:
            assert ask(keeper, do="stop").get("error") is None
    assert json.loads((folder / "exit.json").read_text())["code"] == 3
    assert (folder / "log").read_bytes().endswith(b"Z stdout F hi\n")
