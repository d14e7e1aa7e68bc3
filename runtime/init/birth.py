"""The program that gives birth to a process inside a running container, and the sealed file that it is run from.

A process that is in a container's pid namespace can be taken over whole by one with CAP_SYS_PTRACE there, from its
first moment on: its rights, its memory, its environment, its descriptors (ptrace(2); not being dumpable does not help).
So whoever joins a container (`join`) gives up everything while he stands outside that namespace, and then executes
this program, which has nothing but what the container's process is to have; its child is the first to stand inside.

    argv[0]      two letters if descriptor 0 is to become the controlling terminal, else one
    argv[1]      path of the program; argv[2…] its arguments; the environment is the program's
    descriptor 3 a memory file, of which the child has no mapping: `Birth` is written there

The child is a child of the parent's parent (CLONE_PARENT). The parent waits until it has executed its program, or could
not, and ends. Rules: no descriptor but 0-2 is open when the child is born, and no memory is shared with it but a word
for its errno: what a captured child writes there can only make its own start fail.
"""

from __future__ import annotations

import os
import signal
import struct
from collections.abc import Mapping, Sequence
from functools import cache
from typing import NoReturn

from pycompose.frozen import dataclass
from pycompose.runtime.linux import syscalls
from pycompose.runtime.linux.machine_code import Code, Slot, When
from pycompose.runtime.linux.sealed_memory import program_file, seal

OUTCOME = 3  # the descriptor
PAGE = 4096
READ_WRITE, SHARED, ANONYMOUS = 3, 1, 0x20  # mmap(2)
DONTFORK = 10  # madvise(2)
VFORK, PARENT_SETTID, PARENT = 0x4000, 0x00100000, 0x8000  # clone(2)
TIOCSCTTY = 0x540E
UNABLE = 127  # the exit code of a parent or child that could not go on


@dataclass(frozen=True, slots=True)
class Birth:
    """`pid` as the keeper knows it, 0 as long as nothing is born; `errno` of what failed, 0 if nothing did."""

    pid: int
    errno: int


def description(machine: str = "") -> Code:
    """The program, for this machine or the named one ("x86_64", "aarch64")."""
    stack, count, environment, outcome, failure = Slot.A, Slot.B, Slot.C, Slot.D, Slot.E
    code = Code(machine)
    code.stack(stack)  # argc, argv[0] … argv[argc - 1], 0, envp[0] …
    code.load(count, stack)
    code.index(environment, stack, count, 16)
    code.call("prctl", syscalls.PR_SET_DUMPABLE, 0, 0, 0, 0)
    code.call("mmap", 0, PAGE, READ_WRITE, SHARED, OUTCOME, 0)
    code.jump("unable", When.NEGATIVE)
    code.keep(outcome)
    code.call("madvise", outcome, PAGE, DONTFORK)
    code.jump("unable", When.NEGATIVE)
    code.call("mmap", 0, PAGE, READ_WRITE, SHARED | ANONYMOUS, -1, 0)
    code.jump("unable", When.NEGATIVE)
    code.keep(failure)
    code.call("close", OUTCOME)
    # The kernel writes the child's number before the child runs: it is known even if the child is held for ever.
    code.call("clone", PARENT | VFORK | PARENT_SETTID | signal.SIGCHLD, 0, outcome, 0, 0)
    code.jump("child", When.ZERO)
    code.jump("barren", When.NEGATIVE)
    code.load_word(failure)
    code.store_word(outcome, 4)
    code.call("exit_group", 0)

    code.label("barren")
    code.negate()
    code.store_word(outcome, 4)
    code.label("unable")
    code.call("exit_group", UNABLE)

    code.label("child")
    code.call("setsid")
    code.load(count, stack, 8)
    code.load_byte(count, 1)
    code.jump("execute", When.ZERO)
    code.call("ioctl", 0, TIOCSCTTY, 0)
    code.label("execute")
    code.load(count, stack, 16)
    code.call("execve", count, (stack, 24), environment)
    code.negate()
    code.store_word(failure)
    code.call("exit_group", UNABLE)
    return code


@cache
def sealed() -> int:
    """A descriptor of the program, which nobody can change (CVE-2019-5736); one for as long as this process lives."""
    memory = program_file("birth", 0o511)
    os.write(memory, description().program())
    seal(memory)
    return memory


def outcome_file() -> int:
    """A descriptor of an empty `Birth`."""
    memory = os.memfd_create("outcome", os.MFD_CLOEXEC)
    os.ftruncate(memory, PAGE)
    return memory


def birth_of(memory: int) -> Birth:
    return Birth(*struct.unpack("=ii", os.pread(memory, 8, 0)))


def become(
    program: int, path: bytes, arguments: Sequence[str], environment: Mapping[bytes, bytes], terminal: bool
) -> NoReturn:
    """Execute the program (`sealed`) in place of this process, for `path` to be born. Raises OSError.

    This process has given up whatever the container may not have; its descriptors are 0-2, `OUTCOME`, and others that
    execve closes.
    """
    os.execve(program, ["tt" if terminal else "-", path, *arguments], environment)
    raise AssertionError
