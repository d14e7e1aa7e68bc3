"""Put on PYTHONPATH by test_faults.py: kills one of a project's processes at a chosen moment of a plan.

FAULT_FOLDER holds `plan` ("victim number"; the number-th call below, counted by the supervisor, kills the victim as it
begins) and `cli` (the pid of the command). A fault fires once: `plan` is renamed to `fired`.
"""

import importlib.abc
import importlib.util
import os
import signal
import socket
import struct
import sys
from collections.abc import Callable
from typing import Any

FOLDER = os.environ.get("FAULT_FOLDER", "")
POINTS = {
    "pycompose.compose.linux.linux_host": (
        "LinuxHost",
        "create_network create_volume create_container start_container signal_container kill_container "
        "remove_container remove_network rename_container",
    ),
    "pycompose.network.networks": ("Networks", "attach publish set_backends detach unpublish"),
    "pycompose.runtime.client.sandboxes": ("Runtime", "create remove start"),
}
count = 0


def peer_of(path: str) -> int:
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as sock:
        sock.connect(path)
        pid: int = struct.unpack("3i", sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))[0]
        return pid


def reached(name: str) -> None:
    global count
    try:
        with open(f"{FOLDER}/plan") as file:
            victim, number = file.read().split()
    except FileNotFoundError:
        count = 0
        return
    count += 1
    if count != int(number):
        return
    os.rename(f"{FOLDER}/plan", f"{FOLDER}/fired")
    with open(f"{FOLDER}/where", "a") as file:
        file.write(f"{victim} {number} {name}\n")
    count = 0
    if victim == "supervisor":
        pid = os.getpid()
    elif victim == "cli":
        with open(f"{FOLDER}/cli") as file:
            pid = int(file.read())
    else:
        pid = peer_of(f"{os.environ['PYCOMPOSE_RUN']}/p/keeper.sock")
    os.kill(pid, signal.SIGKILL)


def wrapped(name: str, method: Callable[..., Any]) -> Callable[..., Any]:
    # a coroutine is begun where it is awaited, which its caller does at once
    def call(*args: Any, **kwargs: Any) -> Any:
        reached(name)
        return method(*args, **kwargs)

    return call


class Finder(importlib.abc.MetaPathFinder):
    def find_spec(self, name: str, path: Any, target: Any = None) -> Any:
        if name not in POINTS:
            return None
        sys.meta_path.remove(self)
        try:
            spec: Any = importlib.util.find_spec(name)
        finally:
            sys.meta_path.insert(0, self)
        load = spec.loader.exec_module

        def exec_module(module: Any) -> None:
            load(module)
            owner, methods = POINTS[name]
            owner = getattr(module, owner)
            for method in methods.split():
                if hasattr(owner, method):
                    setattr(owner, method, wrapped(method, getattr(owner, method)))

        spec.loader.exec_module = exec_module
        return spec


if FOLDER:
    if "pycompose.compose.supervisor" in sys.orig_argv:
        sys.meta_path.insert(0, Finder())
    elif "pycompose" in sys.orig_argv:
        with open(f"{FOLDER}/cli", "w") as file:
            file.write(str(os.getpid()))
