"""Programs in files in memory, which nobody can change once they are sealed (CVE-2019-5736). Standard library only.

What is executed from a file that lies somewhere can be overwritten by way of /proc/PID/exe; what is executed from here
cannot.
"""

from __future__ import annotations

import fcntl
import os

MFD_EXEC = 0x10  # linux/memfd.h


def program_file(name: str, mode: int) -> int:
    """A descriptor, close-on-exec, of an empty file that can be executed and sealed.

    The mode is set now: who seals it may be another user by then, without CAP_FOWNER.
    """
    flags = os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING
    try:
        memory = os.memfd_create(name, flags | MFD_EXEC)
    except OSError:  # before Linux 6.3
        memory = os.memfd_create(name, flags)
    os.fchmod(memory, mode)
    return memory


def seal(memory: int) -> None:
    """Let nobody change the content."""
    fcntl.fcntl(
        memory, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE
    )
