"""Launching a project's keeper, from a sealed copy of the interpreter (CVE-2019-5736). Idempotent."""

from __future__ import annotations

import fcntl
import json
import os
import select
import socket
import sys
import termios
import tty
from collections.abc import Sequence
from contextlib import suppress

from .errors import KeeperGone, StartFailed
from .places import ProjectPlaces
from .spec import Process, to_json

MFD_EXEC, F_SEAL_EXEC = 0x10, 0x20  # linux/memfd.h, linux/fcntl.h: executable, and its mode never changed

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
    try:
        memory = os.memfd_create("pycompose-keeper", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING | MFD_EXEC)
    except OSError:  # before Linux 6.3
        memory = os.memfd_create("pycompose-keeper", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    with open(os.path.realpath(sys.executable), "rb") as file:
        left = os.fstat(file.fileno()).st_size
        while left:
            left -= os.sendfile(memory, file.fileno(), None, left)
    seals = fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE
    os.fchmod(memory, 0o511)
    with suppress(OSError):  # before Linux 6.3
        fcntl.fcntl(memory, fcntl.F_ADD_SEALS, F_SEAL_EXEC)
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


def exec_interactive(
    places: ProjectPlaces, container_id: str, process: Process, stdio: tuple[int, int, int], privileged: bool = False
) -> int:
    """Run a process in a container on these descriptors; its exit code. Raises KeeperGone, StartFailed.

    With a terminal the master of the process's pty comes back, and is copied to and from `stdio` here.
    """
    request = {"do": "exec", "id": container_id, "process": json.loads(to_json(process)), "privileged": privileged}
    with connect_keeper(places) as keeper:
        socket.send_fds(keeper, [json.dumps(request).encode()], list(stdio))
        master = -1
        poll = select.poll()
        poll.register(keeper, select.POLLIN)
        saved = None
        try:
            while True:
                for fd, _ in poll.poll():
                    if fd == keeper.fileno():
                        data, fds, _, _ = socket.recv_fds(keeper, 1 << 18, 4)
                        if not data:
                            raise KeeperGone("the keeper died")
                        answer = json.loads(data)
                        if "error" in answer:
                            raise StartFailed(
                                container_id, answer["step"], answer["error"], answer["errno"], answer["exit_code"]
                            )
                        if "exit" in answer:
                            if master >= 0:
                                _copy_rest(master, stdio[1])
                            return int(answer["exit"])
                        if fds:
                            master = fds[0]
                            poll.register(master, select.POLLIN)
                            poll.register(stdio[0], select.POLLIN)
                            if os.isatty(stdio[0]):
                                saved = termios.tcgetattr(stdio[0])
                                tty.setraw(stdio[0])
                                size = fcntl.ioctl(stdio[0], termios.TIOCGWINSZ, bytes(8))
                                fcntl.ioctl(master, termios.TIOCSWINSZ, size)
                    elif not _copy(fd, stdio[1] if fd == master else master):
                        poll.unregister(fd)
        finally:
            if saved is not None:
                termios.tcsetattr(stdio[0], termios.TCSADRAIN, saved)
            if master >= 0:
                os.close(master)


def _copy(source: int, target: int) -> bool:
    try:
        chunk = os.read(source, 1 << 16)
    except OSError:  # EIO: the terminal's last user is gone
        return False
    while chunk:
        chunk = chunk[os.write(target, chunk) :]
        if not chunk:
            return True
    return False


def _copy_rest(master: int, target: int) -> None:
    while select.select([master], [], [], 0)[0] and _copy(master, target):
        pass
