"""The program that stays as a container's first process where `init: true`: a few hundred bytes, made here.

It starts the container's program as its child and does what docker-init (tini) does: it forwards every signal but those
of faults to the child, reaps whoever loses his parent, and ends as the child does (128 + n if a signal n ended it).
Nothing of the keeper's is in it: it is executed from a sealed file in memory, in place of what built the container.

    argv[0], argv[1]   "/sbin/docker-init", "--": for those who list processes
    argv[2…]           the child's arguments; the environment is the child's
    the file's end     path of the child's program, which has been searched for before
    descriptor 3       the keeper's channel: 4 bytes, an errno, if the child's program cannot be executed

Every signal is blocked when it begins, so that none is lost meanwhile; the child blocks none. The child leads a process
group, which is the terminal's foreground where there is one (else Ctrl-C would come to it twice).
`PYCOMPOSE_INIT` names a static program (tini, catatonit) that is executed instead, from such a file too.
"""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import struct
from collections.abc import Mapping
from functools import cache
from mmap import mmap
from typing import NoReturn

from pycompose.runtime.errors import RuntimeFailure
from pycompose.runtime.linux import syscalls
from pycompose.runtime.linux.machine_code import BASE, Code, Slot, When
from pycompose.runtime.linux.sealed_memory import program_file, seal

NAME = b"docker-init"
ARGUMENTS = ("/sbin/docker-init", "--")
CHANNEL = 3  # the descriptor
ENVIRONMENT = "PYCOMPOSE_INIT"
FAULTS = (
    signal.SIGILL,
    signal.SIGTRAP,
    signal.SIGABRT,
    signal.SIGBUS,
    signal.SIGFPE,
    signal.SIGSEGV,
    signal.SIGSYS,
)
FORWARDED = (1 << 64) - 1 - sum(1 << number - 1 for number in FAULTS)  # a signal set, as the kernel has it
UNABLE = 127  # the exit code of a child whose program cannot be executed; the keeper is told why
PATH = 1024  # where in the file the path is
SIZE = PATH + 4096  # bytes of the file: PATH_MAX of linux/limits.h
ROOM = 1024  # bytes below the stack that are used
SET, STATUS, PID, TEXT = 0, 8, 16, 24  # of these, where what lies
LARGEST = 8 << 20  # bytes of a program that PYCOMPOSE_INIT names
PT_INTERP = 3  # elf(5)
PR_SET_NAME, SIG_SETMASK, WNOHANG, TIOCSPGRP = 15, 2, 1, 0x5410


def description(machine: str = "") -> Code:
    """The program, for this machine or the named one ("x86_64", "aarch64")."""
    stack, room, child, number, environment = Slot.A, Slot.B, Slot.C, Slot.D, Slot.E
    code = Code(machine)
    code.stack(stack)  # argc, argv[0] … argv[argc - 1], 0, envp[0] …
    code.set(room, (stack, -ROOM))
    for place in range(0, len(NAME) + 1, 8):
        code.set(number, int.from_bytes(NAME[place : place + 8], "little"))
        code.store(number, room, TEXT + place)
    code.call("prctl", PR_SET_NAME, (room, TEXT), 0, 0, 0)
    code.call("prctl", syscalls.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)  # with `pid: host` it is not the first process
    code.call("fcntl", CHANNEL, fcntl.F_SETFD, fcntl.FD_CLOEXEC)
    code.set(number, FORWARDED)
    code.store(number, room, SET)
    code.call("rt_sigprocmask", SIG_SETMASK, (room, SET), 0, 8)
    code.call("clone", signal.SIGCHLD, 0, 0, 0, 0)
    code.jump("child", When.ZERO)
    code.jump("unable", When.NEGATIVE)
    code.keep(child)
    code.call("close", CHANNEL)

    code.jump("wait")
    code.label("interrupted")  # or refused by a filter: then it would go round and round
    code.add(errno.EINTR)
    code.jump("wait", When.ZERO)
    code.call("exit_group", 1)
    code.label("wait")
    code.call("rt_sigtimedwait", (room, SET), 0, 0, 8)
    code.jump("interrupted", When.NEGATIVE)
    code.set(number, signal.SIGCHLD)
    code.jump_same("reap", number)
    code.keep(number)
    code.call("kill", child, number)
    code.label("reap")
    code.call("wait4", -1, (room, STATUS), WNOHANG, 0)
    code.jump("wait", When.ZERO)
    code.jump("wait", When.NEGATIVE)
    code.jump_same("ended", child)
    code.jump("reap")

    code.label("ended")
    code.load_word(room, STATUS)
    code.bits(0, 7)
    code.jump("exited", When.ZERO)
    code.add(128)
    code.jump("end")
    code.label("exited")
    code.load_word(room, STATUS)
    code.bits(8, 8)
    code.label("end")
    code.keep(number)
    code.call("exit_group", number)

    code.label("child")
    code.call("setpgid", 0, 0)
    code.call("getpid")
    code.store_word(room, PID)
    code.call("ioctl", 0, TIOCSPGRP, (room, PID))
    code.set(number, 0)
    code.store(number, room, SET)
    code.call("rt_sigprocmask", SIG_SETMASK, (room, SET), 0, 8)
    code.load(number, stack)
    code.index(environment, stack, number, 16)
    code.call("execve", BASE + PATH, (stack, 24), environment)
    code.label("unable")
    code.negate()
    code.store_word(room, STATUS)
    code.call("write", CHANNEL, (room, STATUS), 4)
    code.call("exit_group", UNABLE)
    return code


def prepare() -> int:
    """What `start.run` takes: the descriptor of a copy of what PYCOMPOSE_INIT names, or -1. Raises RuntimeFailure."""
    if path := os.environ.get(ENVIRONMENT, ""):
        return named(path)
    try:
        _description()
    except ValueError as error:
        hint = f"{ENVIRONMENT} may name a static tini or catatonit"
        raise RuntimeFailure(f"init: {error}", hint=hint) from None
    return -1


@cache
def _description() -> Code:
    return description()


def memory_file() -> int:
    """A descriptor, close-on-exec and above 9, of an empty `program_file`."""
    memory = program_file(NAME.decode("ascii"), 0o555)
    moved = fcntl.fcntl(memory, fcntl.F_DUPFD_CLOEXEC, 10)
    os.close(memory)
    return moved


class Init:
    """What is executed between what built the container and its program: ours, or a sealed program (`named`).

    Made before privileges and limits are taken on, which may leave no way to open a file, or to write to one.
    """

    def __init__(self, program: int = -1) -> None:
        self._file = memory_file() if program < 0 else program
        self._content: mmap | None = None
        if program < 0:
            os.ftruncate(self._file, SIZE)
            self._content = mmap(self._file, SIZE)  # what is written here `ulimits: fsize` does not count

    def become(
        self, channel: int, path: bytes, arguments: tuple[str, ...], environment: Mapping[bytes, bytes]
    ) -> NoReturn:
        """Execute it in place of this process, all of whose descriptors above 2 are close-on-exec. Raises OSError.

        Another's program looks for the child's itself; if that cannot be executed, its exit code says so.
        """
        if self._content is not None:
            program = _description().program(path + b"\0", PATH)
            if len(program) > SIZE:
                raise OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG))  # as execve(2) would
            self._content[: len(program)] = program
            self._content.close()
            seal(self._file)
            signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
            if channel == CHANNEL:
                os.set_inheritable(channel, True)
            else:
                os.dup2(channel, CHANNEL)
        else:
            syscalls.prctl(syscalls.PR_SET_CHILD_SUBREAPER, 1)  # it would have to be asked to
        words = (*ARGUMENTS, *arguments)
        try:
            os.execve(self._file, words, environment)  # execveat(2)
        except PermissionError:  # a filter of the file's own may know execve(2) alone
            os.execve(f"/proc/self/fd/{self._file}", words, environment)
        raise AssertionError


@cache
def named(path: str) -> int:
    """A descriptor of a sealed copy of the program that PYCOMPOSE_INIT names, one a process. Raises RuntimeFailure."""
    try:
        with open(path, "rb") as file:
            content = file.read(LARGEST + 1)
    except OSError as error:
        raise RuntimeFailure(f"{ENVIRONMENT} names {path}: {error.strerror}") from None
    if reason := unfit(content):
        raise RuntimeFailure(f"{ENVIRONMENT} names {path}: {reason}", hint="tini-static and catatonit will do")
    memory = memory_file()
    with open(memory, "wb", closefd=False) as copy:
        copy.write(content)
    seal(memory)
    return memory


def unfit(program: bytes) -> str:
    """Why a program cannot be the first process of any container; "" if it can."""
    if program[:5] != b"\x7fELF\x02" or len(program) < 64:
        return "it is no 64-bit ELF program"
    if len(program) > LARGEST:
        return f"it is larger than {LARGEST >> 20} MiB"
    table, size, count = struct.unpack_from("<Q", program, 32)[0], *struct.unpack_from("<HH", program, 54)
    if table + size * count > len(program):
        return "it is cut off"
    kinds = [struct.unpack_from("<I", program, table + size * number)[0] for number in range(count)]
    return "it is linked dynamically, and images lack what it needs" if PT_INTERP in kinds else ""
