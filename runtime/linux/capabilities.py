"""Capabilities by name, and dropping them. Numbers: include/uapi/linux/capability.h."""

from __future__ import annotations

import errno
from collections.abc import Iterable

from pycompose.runtime.spec import Capabilities

from . import syscalls

NAMES = tuple(
    "CAP_" + name
    for name in [
        "CHOWN",
        "DAC_OVERRIDE",
        "DAC_READ_SEARCH",
        "FOWNER",
        "FSETID",
        "KILL",
        "SETGID",
        "SETUID",
        "SETPCAP",
        "LINUX_IMMUTABLE",
        "NET_BIND_SERVICE",
        "NET_BROADCAST",
        "NET_ADMIN",
        "NET_RAW",
        "IPC_LOCK",
        "IPC_OWNER",
        "SYS_MODULE",
        "SYS_RAWIO",
        "SYS_CHROOT",
        "SYS_PTRACE",
        "SYS_PACCT",
        "SYS_ADMIN",
        "SYS_BOOT",
        "SYS_NICE",
        "SYS_RESOURCE",
        "SYS_TIME",
        "SYS_TTY_CONFIG",
        "MKNOD",
        "LEASE",
        "AUDIT_WRITE",
        "AUDIT_CONTROL",
        "SETFCAP",
        "MAC_OVERRIDE",
        "MAC_ADMIN",
        "SYSLOG",
        "WAKE_ALARM",
        "BLOCK_SUSPEND",
        "AUDIT_READ",
        "PERFMON",
        "BPF",
        "CHECKPOINT_RESTORE",
    ]
)


def mask(names: Iterable[str]) -> int:
    """The bits of these names. Raises ValueError for an unknown one."""
    bits = 0
    for name in names:
        bits |= 1 << NAMES.index(name)
    return bits


def drop_bounding(capabilities: Capabilities) -> None:
    """Give up for good, for this process and all that it starts, what is not in the bounding set."""
    keep = mask(capabilities.bounding)
    for bit in range(64):
        if not keep >> bit & 1:
            try:
                syscalls.prctl(syscalls.PR_CAPBSET_DROP, bit)
            except OSError as error:
                if error.errno == errno.EINVAL:
                    return  # past the last one that this kernel knows
                raise


def apply(capabilities: Capabilities) -> None:
    """Set the other four sets; what this process itself lacks (a machine without CAP_SYS_RESOURCE) is left out."""
    have = syscalls.capget_permitted()
    permitted = mask(capabilities.permitted) & have
    inheritable = mask(capabilities.inheritable) & have
    syscalls.prctl(syscalls.PR_CAP_AMBIENT, syscalls.PR_CAP_AMBIENT_CLEAR_ALL)
    syscalls.capset(mask(capabilities.effective) & permitted, permitted, inheritable)
    ambient = mask(capabilities.ambient) & inheritable & permitted
    for bit in range(len(NAMES) if ambient else 0):
        if ambient & 1 << bit:
            syscalls.prctl(syscalls.PR_CAP_AMBIENT, syscalls.PR_CAP_AMBIENT_RAISE, bit)
