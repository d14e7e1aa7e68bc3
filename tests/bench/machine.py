"""Where the measurements run: a mount and a network namespace of their own, with our folders and a cgroup of their own.

Also: the image that the peers run (what `image: host` has of the host: sleep, true and Python), and which processes
belong to whom. Only processes that were started here are ever ended.
"""

from __future__ import annotations

import fcntl
import io
import os
import shutil
import signal
import socket
import struct
import subprocess
import sys
import sysconfig
import tarfile
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

PYTHON = os.path.realpath(sys.executable)
WITHIN = Path(__file__).with_name("within.py").read_text()
PROCESSES = 4096  # more than any row needs, and less than the limit of a small machine


class Failed(Exception):
    """A command could not be run to its end; the text says why."""


def plain_environment() -> dict[str, str]:
    """Ours without what changes how fast Python is, such as PYTHONDONTWRITEBYTECODE and PYTHONUNBUFFERED."""
    kept = ("PYTHONPATH", "PYTHONHOME")
    return {name: value for name, value in os.environ.items() if not name.startswith("PYTHON") or name in kept}


def program(*arguments: str) -> list[str]:
    """The command line of a part of within.py."""
    return [PYTHON, "-I", "-S", "-c", WITHIN, *arguments]


def run(
    command: list[str], environment: dict[str, str], *, timeout: float = 120, output: str | None = None
) -> tuple[float, str]:
    """Seconds that a command took, and what it said (or `output` got). Raises Failed with its last line."""
    with open(output, "wb") if output else open(os.devnull, "wb") as file:
        begin = time.perf_counter()
        try:
            with subprocess.Popen(
                command,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=file if output else subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                errors="replace",
            ) as process:
                try:
                    said, complaint = process.communicate(timeout=timeout)
                except BaseException:
                    process.kill()
                    raise
        except subprocess.TimeoutExpired:
            raise Failed(f"{command[-1]}: took more than {timeout:.0f} s") from None
        except OSError as error:
            raise Failed(f"{command[0]}: {error.strerror}") from None
        seconds = time.perf_counter() - begin
    if process.returncode:
        lines = [line for line in (complaint or said or "").strip().splitlines() if line.strip()]
        raise Failed(f"exit code {process.returncode}: {lines[-1] if lines else ' '.join(command[-3:])}"[:300])
    return seconds, said or ""


def enter(arguments: list[str], program: str = str(Path(__file__).parent)) -> None:
    """Become the same program in fresh namespaces (os.unshare came with Python 3.12)."""
    tool = shutil.which("unshare")
    if tool is None:
        raise SystemExit("bench: the program `unshare` (util-linux) is needed")
    own = ["--mount", "--net", "--propagation", "private"]
    os.environ["PYCOMPOSE_BENCH_OUTSIDE"] = str(os.getppid())  # a process whose network is the machine's
    os.execv(tool, [tool, *own, sys.executable, program, "--inside", *arguments])


def loopback_up() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, 0x8914, struct.pack("16sH14x", b"lo", 0x41))  # SIOCSIFFLAGS, up|running: netdevice(7)


def folder_for_state(folder: str) -> None:
    """Make `folder` able to hold upper layers: overlayfs does not lie on overlayfs, so it gets a tmpfs there."""
    os.makedirs(folder, exist_ok=True)
    under = subprocess.run(["stat", "-f", "-c", "%T", folder], capture_output=True, text=True).stdout
    if "overlay" in under:
        subprocess.run(["mount", "-t", "tmpfs", "-o", "mode=0755", "bench", folder], check=True)


def peers_image(path: str) -> None:
    """A tar of what the rows need: sleep, true, this Python, iperf3 if it is there, and their libraries."""
    library = os.path.realpath(sysconfig.get_path("stdlib"))
    programs = [PYTHON, *filter(None, map(shutil.which, ("sleep", "true", "iperf3")))]
    wanted = {found for name in programs for found in (name, *_libraries(name))}
    extensions = [str(found) for found in Path(library, "lib-dynload").glob("*.so")]
    wanted |= {found for name in ("_socket", "select") for e in extensions if name in e for found in _libraries(e)}
    links = {
        name: os.readlink("/" + name) for name in ("bin", "sbin", "lib", "lib64", "usr/lib64") if _is_link("/" + name)
    }
    with tarfile.open(path, "w") as tar:
        for folder in ("etc", "proc", "sys", "dev", "tmp", "run", "usr", "usr/bin", "usr/lib"):
            entry = tarfile.TarInfo(folder)
            entry.type, entry.mode = tarfile.DIRTYPE, 0o1777 if folder == "tmp" else 0o755
            tar.addfile(entry)
        for name, target in links.items():
            entry = tarfile.TarInfo(name)
            entry.type, entry.linkname = tarfile.SYMTYPE, target
            tar.addfile(entry)
        passwd = tarfile.TarInfo("etc/passwd")
        text = b"root:x:0:0:root:/:/bin/false\n"
        passwd.size = len(text)
        tar.addfile(passwd, io.BytesIO(text))
        names = {os.path.join(os.path.realpath(os.path.dirname(name)), os.path.basename(name)) for name in wanted}
        for name in sorted(names):
            entry = tar.gettarinfo(os.path.realpath(name), name.lstrip("/"))
            with open(os.path.realpath(name), "rb") as file:
                tar.addfile(entry, file)
        tar.add(library, library.lstrip("/"), filter=_small)


def _is_link(path: str) -> bool:
    return os.path.islink(path)


def _libraries(name: str) -> Iterator[str]:
    told = subprocess.run(["ldd", name], capture_output=True, text=True).stdout
    for word in told.split():
        if word.startswith("/") and os.path.exists(word):
            yield word


def _small(entry: tarfile.TarInfo) -> tarfile.TarInfo | None:
    unneeded = ("test", "site-packages", "dist-packages", "__pycache__", "idlelib", "tkinter", "lib2to3", "ensurepip")
    return None if os.path.basename(entry.name) in unneeded or entry.name.endswith(".a") else entry


# processes


def _environment_names(pid: str, word: bytes) -> bool:
    with suppress(OSError):
        return word in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    return False


def _namespace(pid: str, kind: str) -> str:
    with suppress(OSError):
        return os.readlink(f"/proc/{pid}/ns/{kind}")
    return ""


def helpers(word: str, mount_namespace: str | None = None) -> set[int]:
    """Processes whose environment has `word`, or which live in a mount namespace; containers do neither."""
    return {
        int(pid)
        for pid in os.listdir("/proc")
        if pid.isdigit()
        and int(pid) != os.getpid()
        and (_environment_names(pid, word.encode()) or (mount_namespace and _namespace(pid, "mnt") == mount_namespace))
    }


def named(names: tuple[str, ...]) -> set[int]:
    """Processes of these names, on the whole machine: to be counted, not to be ended."""
    found = set()
    for pid in os.listdir("/proc"):
        with suppress(OSError):
            if pid.isdigit() and Path(f"/proc/{pid}/comm").read_text().strip() in names:
                found.add(int(pid))
    return found


def memory(pids: set[int]) -> float:
    """MB (10^6 bytes) of these processes together, shared pages divided among their users (PSS)."""
    total = 0
    for pid in pids:
        with suppress(OSError):
            for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
                if line.startswith("Pss:"):
                    total += int(line.split()[1])
    return total * 1024 / 1e6


def end(pids: set[int]) -> None:
    """Kill processes that were started here, and wait until they are gone, at most 5 s."""
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    wait_for(lambda: not any(_lives(pid) for pid in pids), 5)


def _lives(pid: int) -> bool:
    with suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    return False


def wait_for(condition, seconds: float) -> bool:  # type: ignore[no-untyped-def]
    until = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > until:
            return False
        time.sleep(0.01)
    return True


def remove_cgroups(name: str) -> None:
    """The cgroups called `name`, empty by now, on every hierarchy."""
    for top in [Path("/sys/fs/cgroup"), *Path("/sys/fs/cgroup").glob("*")]:
        for folder, _, _ in os.walk(top / name, topdown=False):
            with suppress(OSError):
                os.rmdir(folder)
