"""Launching a project's keeper, from a sealed copy of the interpreter (CVE-2019-5736). Idempotent."""

from __future__ import annotations

import fcntl
import os
import socket
import sys
from collections.abc import Sequence

from .errors import KeeperGone
from .places import ProjectPlaces

BOOT = """
import sys, types
folder = sys.argv[1]
for name, path in (("pycompose", folder), ("pycompose.runtime", folder + "/runtime")):
    module = sys.modules[name] = types.ModuleType(name)
    module.__path__ = [path]
from pycompose.runtime.keeper.main import main
main(sys.argv[2:])
"""


def _sealed_interpreter() -> int:
    memory = os.memfd_create("pycompose-keeper", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    with open(os.path.realpath(sys.executable), "rb") as file:
        left = os.fstat(file.fileno()).st_size
        while left:
            left -= os.sendfile(memory, file.fileno(), None, left)
    seals = fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE
    fcntl.fcntl(memory, fcntl.F_ADD_SEALS, seals)
    return memory


def connect_keeper(places: ProjectPlaces) -> socket.socket:
    """A connection to the project's keeper. Raises KeeperGone."""
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        connection.connect(places.keeper_socket)
    except OSError as error:
        connection.close()
        raise KeeperGone(f'no keeper runs for project "{places.project}"') from error
    return connection


def launch_keeper(places: ProjectPlaces, supervisor_argv: Sequence[str] = ()) -> None:
    """Return when a keeper listens: the one that runs, or a new one. Raises KeeperGone if it does not come up."""
    os.makedirs(places.run, 0o700, exist_ok=True)
    os.makedirs(places.containers, exist_ok=True)
    lock = os.open(f"{places.run}/keeper.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            connect_keeper(places).close()
            return
        except KeeperGone:
            pass
        interpreter = _sealed_interpreter()
        reader, writer = os.pipe()
        folder = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
        pid = os.fork()
        if pid == 0:
            try:
                os.setsid()
                if os.fork():
                    os._exit(0)
                os.dup2(os.open("/dev/null", os.O_RDWR), 0)
                log = os.open(f"{places.run}/keeper.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
                os.dup2(log, 1)
                os.dup2(log, 2)
                os.chdir("/")
                os.set_inheritable(writer, True)
                arguments = [places.project, places.state, places.run, str(writer), *supervisor_argv]
                os.execve(interpreter, [sys.executable, "-I", "-S", "-c", BOOT, folder, *arguments], os.environ)
            finally:
                os._exit(127)
        os.close(writer)
        os.close(interpreter)
        os.waitpid(pid, 0)
        ready = os.read(reader, 1)
        os.close(reader)
        if not ready:
            raise KeeperGone(f"the keeper did not start; see {places.run}/keeper.log")
    finally:
        os.close(lock)
