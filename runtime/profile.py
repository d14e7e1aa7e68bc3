"""Docker's default security profile, as parts of an OCI spec: the same capabilities, filter, masks, mounts and devices.

Pure but for asking which CPUs have a throttle folder. Privileges are only ever added by the caller.
Source: moby 29 daemon/pkg/oci/{defaults,caps/defaults}.go; profiles/seccomp v0.2.3.
"""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable
from dataclasses import dataclass

from pycompose.runtime.inside.security import NAMES
from pycompose.runtime.inside.syscall_numbers import AARCH64, I386, X86_64

from .spec import Capabilities, DeviceNode, DeviceRule, Mount, Seccomp, SeccompArg, SeccompRule

DEFAULT_CAPABILITIES = tuple(
    f"CAP_{name}"
    for name in (
        "CHOWN",
        "DAC_OVERRIDE",
        "FSETID",
        "FOWNER",
        "MKNOD",
        "NET_RAW",
        "SETGID",
        "SETUID",
        "SETFCAP",
        "SETPCAP",
        "NET_BIND_SERVICE",
        "SYS_CHROOT",
        "KILL",
        "AUDIT_WRITE",
    )
)
MASKED = (
    *tuple(
        f"/proc/{name}"
        for name in (
            "acpi",
            "asound",
            "interrupts",
            "kcore",
            "keys",
            "latency_stats",
            "sched_debug",
            "scsi",
            "timer_list",
            "timer_stats",
        )
    ),
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
)
READ_ONLY = tuple(f"/proc/{name}" for name in ["bus", "fs", "irq", "sys", "sysrq-trigger"])
SYSCTLS = {"net.ipv4.ip_unprivileged_port_start": "0", "net.ipv4.ping_group_range": "0 2147483647"}
DEVICES = tuple(
    DeviceNode(f"/dev/{name}", "c", major, minor)
    for name, major, minor in (
        ("null", 1, 3),
        ("zero", 1, 5),
        ("full", 1, 7),
        ("random", 1, 8),
        ("urandom", 1, 9),
        ("tty", 5, 0),
    )
)

# System calls that need a capability in the bounding set, as the filter sees it.
_BY_CAPABILITY = {
    "CAP_DAC_READ_SEARCH": "open_by_handle_at",
    "CAP_SYS_ADMIN": "bpf clone clone3 fanotify_init fsconfig fsmount fsopen fspick lookup_dcookie lsm_get_self_attr "
    "lsm_list_modules lsm_set_self_attr mount mount_setattr move_mount open_tree perf_event_open quotactl quotactl_fd "
    "setdomainname sethostname setns syslog umount umount2 unshare",
    "CAP_SYS_BOOT": "reboot",
    "CAP_SYS_CHROOT": "chroot",
    "CAP_SYS_MODULE": "delete_module init_module finit_module",
    "CAP_SYS_PACCT": "acct",
    "CAP_SYS_PTRACE": "kcmp pidfd_getfd process_madvise process_vm_readv process_vm_writev ptrace",
    "CAP_SYS_RAWIO": "iopl ioperm",
    "CAP_SYS_TIME": "settimeofday stime clock_settime clock_settime64",
    "CAP_SYS_TTY_CONFIG": "vhangup",
    "CAP_SYS_NICE": "get_mempolicy mbind set_mempolicy set_mempolicy_home_node",
    "CAP_SYSLOG": "syslog",
    "CAP_BPF": "bpf",
    "CAP_PERFMON": "perf_event_open",
}
# Never allowed, whatever the capabilities.
_NEVER = (  # noqa: SIM905
    "uselib ustat pivot_root _sysctl swapon swapoff create_module get_kernel_syms query_module nfsservctl getpmsg "
    "sysfs putpmsg afs_syscall tuxcall security vserver kexec_load kexec_file_load add_key request_key keyctl migrate_pages "
    "move_pages userfaultfd io_uring_setup io_uring_enter io_uring_register "
    # i386 only
    "break stty gtty ftime prof lock mpx ulimit oldstat oldfstat oldlstat oldolduname olduname profil idle bdflush "
    "vm86 vm86old sgetmask ssetmask sigaction signal sigpending sigsuspend readdir nice"
).split()
_ARGUMENTS = ("socket", "personality", "clone", "clone3")


@dataclass(frozen=True, slots=True)
class Parts:
    capabilities: Capabilities
    masked: tuple[str, ...]
    readonly: tuple[str, ...]
    mounts: tuple[Mount, ...]
    devices: tuple[DeviceNode, ...]
    rules: tuple[DeviceRule, ...]
    seccomp: Seccomp | None


def capability_name(text: str) -> str:
    """The full name. Raises ValueError for an unknown one."""
    name = text.upper()
    name = name if name.startswith("CAP_") else f"CAP_{name}"
    if name not in NAMES:
        raise ValueError(f'unknown capability "{text}"')
    return name


def capabilities(add: Iterable[str] = (), drop: Iterable[str] = (), privileged: bool = False) -> Capabilities:
    """cap_add and cap_drop over the default set, as moby's TweakCapabilities. Raises ValueError for an unknown name."""
    wanted = [name.upper().removeprefix("CAP_") for name in add]
    unwanted = [name.upper().removeprefix("CAP_") for name in drop]
    added = {capability_name(name) for name in wanted if name != "ALL"}
    dropped = {capability_name(name) for name in unwanted if name != "ALL"}
    if privileged:
        held = set(NAMES)
    elif "ALL" in wanted:
        held = set(NAMES) - dropped
    elif "ALL" in unwanted:
        held = added
    else:
        held = (set(DEFAULT_CAPABILITIES) - dropped) | added
    names = tuple(name for name in NAMES if name in held)
    return Capabilities(bounding=names, effective=names, permitted=names)


def seccomp(bounding: Iterable[str]) -> Seccomp:
    """The default filter for a process with this bounding set."""
    held = set(bounding)
    guarded = {name for names in _BY_CAPABILITY.values() for name in names.split()}
    known = {*X86_64, *I386} if os.uname().machine == "x86_64" else set(AARCH64)
    always = known - guarded - set(_NEVER) - set(_ARGUMENTS)
    always |= {"ptrace", "process_vm_readv", "process_vm_writev"}  # safe since Linux 4.8
    for capability, names in _BY_CAPABILITY.items():
        if capability in held:
            always |= set(names.split())
    allow = "SCMP_ACT_ALLOW"
    rules = [SeccompRule(tuple(sorted(always)), allow)]
    for operator, value in (("SCMP_CMP_LT", 38), ("SCMP_CMP_EQ", 39), ("SCMP_CMP_GT", 40)):
        rules.append(SeccompRule(("socket",), allow, None, (SeccompArg(0, value, operator),)))
    for persona in (0, 8, 0x20000, 0x20008, 0xFFFFFFFF):
        rules.append(SeccompRule(("personality",), allow, None, (SeccompArg(0, persona, "SCMP_CMP_EQ"),)))
    if "CAP_SYS_ADMIN" not in held:
        # No new namespaces; clone3's flags lie in memory, where a filter cannot see them.
        masked = SeccompArg(0, 0x7E020000, "SCMP_CMP_MASKED_EQ", 0)
        rules.append(SeccompRule(("clone",), allow, None, (masked,)))
        rules.append(SeccompRule(("clone3",), "SCMP_ACT_ERRNO", 38))
    machine = os.uname().machine
    natives = ("SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32") if machine == "x86_64" else ("SCMP_ARCH_AARCH64",)
    return Seccomp("SCMP_ACT_ERRNO", 1, natives, tuple(rules))


def mounts(privileged: bool = False, shm_size: int = 64 << 20) -> tuple[Mount, ...]:
    """The kernel's own file systems, in the order in which they are made."""
    access = "rw" if privileged else "ro"
    plain = ("nosuid", "noexec", "nodev")
    pts = ("nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5")
    return (
        Mount("/proc", "proc", "proc", plain),
        Mount("/dev", "tmpfs", "tmpfs", ("nosuid", "strictatime", "mode=755", "size=65536k")),
        Mount("/dev/pts", "devpts", "devpts", pts),
        Mount("/sys", "sysfs", "sysfs", (*plain, access)),
        Mount("/sys/fs/cgroup", "cgroup", "cgroup", (access, *plain)),
        Mount("/dev/mqueue", "mqueue", "mqueue", plain),
        Mount("/dev/shm", "tmpfs", "shm", (*plain, "mode=1777", f"size={shm_size}")),
    )


def device_rules(privileged: bool = False) -> tuple[DeviceRule, ...]:
    if privileged:
        return (DeviceRule(True),)
    usual = ((1, 3), (1, 5), (1, 7), (1, 8), (1, 9), (5, 0), (5, 1), (5, 2), (136, None))
    return (
        DeviceRule(False),
        DeviceRule(True, "c", access="m"),
        DeviceRule(True, "b", access="m"),
        *(DeviceRule(True, "c", major, minor) for major, minor in usual),
        DeviceRule(False, "c", 10, 229),
    )


def default_spec_parts(
    add: Iterable[str] = (), drop: Iterable[str] = (), privileged: bool = False, shm_size: int = 64 << 20
) -> Parts:
    """Everything of the profile for these capabilities. Raises ValueError for an unknown capability."""
    held = capabilities(add, drop, privileged)
    throttles = tuple(sorted(glob.glob("/sys/devices/system/cpu/cpu[0-9]*/thermal_throttle")))
    return Parts(
        held,
        () if privileged else MASKED + throttles,
        () if privileged else READ_ONLY,
        mounts(privileged, shm_size),
        DEVICES,
        device_rules(privileged),
        None if privileged else seccomp(held.bounding),
    )
