"""A user's program that enters containers by the Python API: run by `test_api`, on a machine of its own."""

from __future__ import annotations

import os
import socket
import sys
import threading
import time
import urllib.request
import warnings
from pathlib import Path

import pycompose
import pytest
from pycompose import CallFailed, CannotJoin, Project, PycomposeError, nsenter

FILE = """
name: inside
services:
  web: {image: host, init: true, command: [PYTHON, -m, http.server, "8000", --directory, /srv], stop_grace_period: 0s}
  client: {image: host, init: true, hostname: client, command: sleep 3000, stop_grace_period: 0s, cap_drop: [ALL]}
""".replace("PYTHON", sys.executable)


def namespaces() -> dict[str, str]:
    """Of this thread."""
    return {kind: os.readlink(f"/proc/thread-self/ns/{kind}") for kind in os.listdir("/proc/thread-self/ns")}


def reached(url: str) -> int:
    """The status of what a server that may still be coming up answers."""
    end = time.monotonic() + 60
    while True:
        try:
            return int(urllib.request.urlopen(url, timeout=60).status)
        except OSError:
            if time.monotonic() > end:
                raise
        time.sleep(0.05)


def by_thread(project: Project) -> None:
    home, client = namespaces(), project["client"]
    lookup = socket.getaddrinfo
    with pytest.raises(OSError, match=r".*"):
        socket.create_connection(("web", 8000), 5)
    with pycompose.enter(client, net=True):
        assert reached("http://web:8000") == 200
        inside = namespaces()
        assert {kind for kind in home if home[kind] != inside[kind]} == {"net"}
        with pytest.raises(socket.gaierror):
            socket.create_connection(("nobody-of-this-name.invalid", 80), 5)
    assert namespaces() == home
    assert socket.getaddrinfo is lookup
    with pytest.raises(ZeroDivisionError), pycompose.enter(client, net=True, uts=True, ipc=True, cgroup=True):
        raise ZeroDivisionError(socket.gethostname())
    assert namespaces() == home
    for kind in ("user", "pid"):
        with pytest.raises(CannotJoin, match=kind) as refused, pycompose.enter(client, **{kind: True}):
            pass
        assert (refused.value.kind, "call" in refused.value.hint) == (kind, True)
    assert namespaces() == home
    here = (os.getcwd(), os.stat("/").st_ino)
    with pycompose.enter(client, net=False, mnt=True):  # no other thread is there
        assert Path("/etc/hostname").read_text() == "client\n"
    assert (namespaces(), os.getcwd(), os.stat("/").st_ino) == (home, *here)
    stop, begun = threading.Event(), threading.Event()

    def stay() -> None:
        begun.set()
        stop.wait(60)

    thread = threading.Thread(target=stay)
    thread.start()
    begun.wait(60)
    with pytest.raises(CannotJoin, match="several threads"), pycompose.enter(client, mnt=True):
        pass
    assert namespaces() == home
    stop.set()
    thread.join()


def in_a_child(project: Project) -> None:
    web = project["web"].container()
    web.exec("echo mine > /srv/file-of-the-container", check=True)
    assert pycompose.call(web, os.path.exists, "/srv/file-of-the-container")
    assert not os.path.exists("/srv/file-of-the-container")
    inside = pycompose.call(project["client"], namespaces)
    assert {kind for kind, at in namespaces().items() if inside[kind] != at} >= {"net", "mnt", "ipc", "uts", "pid"}
    assert pycompose.call(web, os.getpid) < 1000
    with pytest.raises(FileNotFoundError):
        pycompose.call(web, open, "/nowhere")
    with pytest.raises(CallFailed, match="pickled"):
        pycompose.call(web, lambda: threading.Lock())
    with pytest.raises(CallFailed, match="ended before"):
        pycompose.call(web, os._exit, 3)
    with pytest.raises(CallFailed, match="left the interpreter"):
        pycompose.call(web, sys.exit, 3)
    with pytest.raises(PycomposeError, match="no such container"):
        pycompose.call(web, project.container, "nobody")  # errors of ours come back whole
    answer = pycompose.call(web, lambda *words, **named: (words, named), 1, 2, three=3)
    assert answer == ((1, 2), {"three": 3})


def in_the_old_form(project: Project) -> None:
    home, pid = namespaces(), project["client"].container().pid
    assert pid is not None
    with nsenter.Namespace(pid, "net") as namespace:
        assert (namespace.pid, namespace.ns_type) == (pid, "net")
        assert namespaces()["net"] != home["net"]
    with nsenter.Namespace(pid, "uts"), nsenter.Namespace(f"/proc/{pid}/ns/net", "net"):
        assert socket.gethostname() == "client"
    assert namespaces() == home

    @nsenter.Namespace(pid, "uts")
    def name() -> str:
        return socket.gethostname()

    assert (name(), name()) == ("client", "client")
    assert namespaces() == home
    with pytest.raises(ValueError, match="no kind"):
        nsenter.Namespace(pid, "nets")


def main() -> None:
    descriptors = sorted(os.listdir("/proc/self/fd"))
    file = Path(sys.argv[1])
    file.write_text(FILE)
    project = Project.load(file)
    with project.running():
        by_thread(project)
        in_a_child(project)
        in_the_old_form(project)
        gone = project["client"].container()
    with pytest.raises(PycomposeError), pycompose.enter(gone):
        pass
    with pytest.raises(PycomposeError, match="does not run"), pycompose.enter(2**22 - 1):
        pass
    assert sorted(os.listdir("/proc/self/fd")) == descriptors


if __name__ == "__main__":
    warnings.simplefilter("error")
    main()
