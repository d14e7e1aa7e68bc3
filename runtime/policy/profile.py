"""Docker's default security profile, as parts of an OCI spec: the same capabilities, filter, masks, mounts and devices.

`linux_defaults` is the front door: from what a compose file may change (cap_add, security_opt, privileged, devices,
whose namespaces …) to everything of the profile that a spec holds. It looks at this machine where the profile depends
on it (device numbers, throttle folders, time namespaces, AppArmor, a seccomp file) and changes nothing.
Privileges are only ever added by the caller's words.
Source: moby 29 daemon/pkg/oci/{defaults,caps/defaults}.go, daemon/oci_linux.go; profiles/seccomp v0.2.3.
"""

from __future__ import annotations

import glob
import json
import os
import re
import stat
from collections.abc import Iterable, Mapping
from dataclasses import field
from functools import lru_cache
from typing import Any

from pycompose.frozen import dataclass
from pycompose.runtime.errors import ProfileError
from pycompose.runtime.files.descent import read_regular
from pycompose.runtime.linux.capabilities import NAMES as NAMES
from pycompose.runtime.linux.syscall_numbers import AARCH64, I386, X86_64
from pycompose.runtime.spec import (
    Capabilities,
    DeviceNode,
    DeviceRule,
    Mount,
    Namespace,
    Seccomp,
    SeccompArg,
    SeccompRule,
    no_text,
)

from . import apparmor

MAX_SECCOMP_FILE = 1 << 20  # bytes; Docker's own profile has 13,000
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
    "sysfs putpmsg afs_syscall tuxcall security vserver kexec_load kexec_file_load add_key request_key keyctl "
    "migrate_pages move_pages userfaultfd io_uring_setup io_uring_enter io_uring_register "
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


@dataclass(frozen=True, slots=True)
class Defaults:
    """All of the profile that a spec holds, by the names that its fields have in `spec`."""

    capabilities: Capabilities  # Process
    no_new_privileges: bool
    apparmor_profile: str
    namespaces: tuple[Namespace, ...]  # Linux; those to make, without the shared and the host's
    seccomp: Seccomp | None
    masked_paths: tuple[str, ...]
    readonly_paths: tuple[str, ...]
    devices: tuple[DeviceNode, ...]
    device_rules: tuple[DeviceRule, ...]  # Resources.devices
    mounts: tuple[Mount, ...]  # Spec, before the container's own
    sysctl: Mapping[str, str] = field(default_factory=no_text)
    notes: tuple[str, ...] = ()  # what was asked for and has no effect on this machine


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


@lru_cache(maxsize=32)
def seccomp(bounding: tuple[str, ...]) -> Seccomp:
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


NAMESPACES = ("mount", "network", "pid", "ipc", "uts", "cgroup", "time")


def linux_defaults(
    *,
    cap_add: Iterable[str] = (),
    cap_drop: Iterable[str] = (),
    privileged: bool = False,
    security_opt: Iterable[str] = (),
    devices: Iterable[tuple[str, str, str]] = (),
    device_cgroup_rules: Iterable[str] = (),
    shm_size: int | None = None,
    sysctls: Mapping[str, str] | None = None,
    host: Iterable[str] = (),
    shared: Iterable[str] = (),
    folder: str = "",
) -> Defaults:
    """The profile of a container, as its compose file changes it.

    `devices` are (path on the host, path in the container, access like "rwm"); `host` and `shared` are the types of
    namespaces that are the host's and another container's ("network", "pid", "ipc", "uts", "cgroup"); `folder` is what
    a seccomp file's name is relative to. Raises ProfileError, which names the option.
    """
    outside, foreign = set(host), set(shared)
    options, notes = _security_options(security_opt)
    try:
        held = capabilities(cap_add, cap_drop, privileged)
    except ValueError as error:
        raise ProfileError("cap_add, cap_drop", str(error)) from None
    filter_name = options.get("seccomp", "")
    if privileged or filter_name == "unconfined":
        chosen = None
    elif filter_name in ("", "builtin", "default"):
        chosen = seccomp(held.bounding)
    else:
        chosen = _seccomp_file(os.path.join(folder, filter_name), held.bounding)
    bare = privileged or options.get("systempaths") == "unconfined"
    nodes = {node.path: node for node in (*DEVICES, *(host_devices() if privileged else ()))}
    rules = list(device_rules(privileged))
    for source, target, access in devices:
        for node in device(source, target):
            nodes[node.path] = node
            rules.append(DeviceRule(True, node.type, node.major, node.minor, access or "rwm"))
    rules += [device_rule(text) for text in device_cgroup_rules]
    private = [kind for kind in NAMESPACES if kind not in outside | foreign]
    if not os.path.exists("/proc/self/ns/time"):
        private.remove("time")
    values = dict(SYSCTLS) if "network" in private else {}
    for name, value in (sysctls or {}).items():
        if reason := sysctl_refused(name, private):
            raise ProfileError("sysctls", f'"{name}" {reason}')
        values[name] = value
    label, note = apparmor.choose(options.get("apparmor", ""), privileged)
    return Defaults(
        capabilities=held,
        no_new_privileges=options.get("no-new-privileges", "false") in ("", "true"),
        apparmor_profile=label,
        namespaces=tuple(Namespace(kind) for kind in private),
        seccomp=chosen,
        masked_paths=() if bare else MASKED + _throttles(),
        readonly_paths=() if bare else READ_ONLY,
        devices=tuple(nodes.values()),
        device_rules=tuple(rules),
        mounts=_mounts(privileged, shm_size, outside),
        sysctl=values,
        notes=(*notes, *([note] if note else [])),
    )


def _throttles() -> tuple[str, ...]:
    try:
        with open("/sys/devices/system/cpu/present", "rb", buffering=0) as file:
            return _throttles_of(file.read())
    except OSError:
        return _throttles_of(b"")


@lru_cache(maxsize=2)
def _throttles_of(_present: bytes) -> tuple[str, ...]:
    """Of the processors that are there, which a machine may get more of while it runs."""
    return tuple(sorted(glob.glob("/sys/devices/system/cpu/cpu[0-9]*/thermal_throttle")))


def _mounts(privileged: bool, shm_size: int | None, host: set[str]) -> tuple[Mount, ...]:
    usual = mounts(privileged, 64 << 20 if shm_size is None else shm_size)
    if "ipc" not in host:
        return usual
    bound = {"/dev/shm": ("rbind", "rprivate"), "/dev/mqueue": ("rbind", "rprivate", "nosuid", "noexec", "nodev")}
    result = []
    for mount in usual:
        if mount.destination not in bound:
            result.append(mount)
        elif os.path.ismount(mount.destination):  # else it is a folder of the host's devtmpfs, or not there
            result.append(Mount(mount.destination, "bind", mount.destination, bound[mount.destination]))
        elif mount.destination == "/dev/shm":
            result.append(mount)
    return tuple(result)


def _security_options(entries: Iterable[str]) -> tuple[dict[str, str], list[str]]:
    """security_opt's "name", "name=value" and "name:value". Raises ProfileError for a name we do not know."""
    values, notes = {}, []
    for item in entries:
        name, _, value = item.replace("=", ":", 1).partition(":")
        if name in ("seccomp", "apparmor", "no-new-privileges", "systempaths"):
            if name == "no-new-privileges" and value not in ("", "true", "false"):
                raise ProfileError("security_opt", f'"{item}": true or false is wanted')
            if name == "systempaths" and value != "unconfined":
                raise ProfileError("security_opt", f'"{item}": only systempaths=unconfined is known')
            values[name] = value
        elif name == "label":
            if value != "disable":
                notes.append(f'security_opt "{item}" has no effect: SELinux labels are not set')
        elif name in ("writable-cgroups", "credentialspec"):
            notes.append(f'security_opt "{item}" has no effect')
        else:
            raise ProfileError("security_opt", f'"{item}" is not known')
    return values, notes


def device(source: str, target: str = "") -> tuple[DeviceNode, ...]:
    """A device of the host, or each in a folder of it, at `target` in the container. Raises ProfileError."""
    target = target or source
    try:
        status = os.stat(source)
    except OSError as error:
        raise ProfileError("devices", f'"{source}": {error.strerror}') from None
    if stat.S_ISDIR(status.st_mode):
        inside: list[DeviceNode] = []
        for place, _, names in os.walk(source):
            for name in sorted(names):
                path = os.path.join(place, name)
                if (node := _node(path, target + path[len(source.rstrip("/")) :])) is not None:
                    inside.append(node)
        return tuple(inside)
    node = _node(source, target)
    if node is None:
        raise ProfileError("devices", f'"{source}" is not a device')
    return (node,)


def _node(path: str, target: str) -> DeviceNode | None:
    try:
        status = os.stat(path)
    except OSError:
        return None
    kind = "c" if stat.S_ISCHR(status.st_mode) else "b" if stat.S_ISBLK(status.st_mode) else ""
    if not kind:
        return None
    number, mode = status.st_rdev, stat.S_IMODE(status.st_mode)
    return DeviceNode(target, kind, os.major(number), os.minor(number), mode, status.st_uid, status.st_gid)


def host_devices() -> tuple[DeviceNode, ...]:
    """Every device in the host's /dev but terminals and what a container gets of its own."""
    nodes = []
    for place, folders, names in os.walk("/dev"):
        if place == "/dev":
            folders[:] = [name for name in folders if name not in ("pts", "shm", "fd", "mqueue", "hugepages", ".udev")]
        for name in sorted(names):
            path = f"{place}/{name}"
            if path in ("/dev/console", "/dev/ptmx") or os.path.islink(path):
                continue
            if (node := _node(path, path)) is not None:
                nodes.append(node)
    return tuple(nodes)


def device_rule(text: str) -> DeviceRule:
    """One of device_cgroup_rules: "c 1:3 mr", "b *:* rmw", "a *:* rwm". Raises ProfileError."""
    match = re.fullmatch(r"([acb]) (\d{1,9}|\*):(\d{1,9}|\*) ([rwm]{1,3})", text.strip())
    if match is None:
        raise ProfileError("device_cgroup_rules", f'"{text}": wanted is something like "c 10:229 rwm"')
    kind, major, minor, access = match.groups()
    number = [None if item == "*" else int(item) for item in (major, minor)]
    return DeviceRule(True, kind, number[0], number[1], access)


def sysctl_refused(name: str, private: Iterable[str]) -> str:
    """Why a container with these private namespaces may not set it; "" if it may."""
    if not re.fullmatch(r"[A-Za-z0-9_.:@-]+", name) or ".." in name or name.startswith("."):
        return "is not the name of a kernel parameter"
    for starts, kind in (
        (("net.",), "network"),
        (("kernel.msg", "kernel.sem", "kernel.shm", "fs.mqueue."), "ipc"),
        (("kernel.domainname", "kernel.hostname"), "uts"),
    ):
        if name.startswith(starts):
            return "" if kind in private else f"would change the host: the container has no {kind} namespace of its own"
    return "is not separate in each container, so it would change the host"


# --- Docker's profile files ---


def _seccomp_file(path: str, bounding: tuple[str, ...]) -> Seccomp:
    try:  # it may lie where a container writes: a FIFO would never be open, a device never be read
        entry = os.open(path, os.O_PATH | os.O_CLOEXEC)
        try:
            tree = json.loads(read_regular(entry, MAX_SECCOMP_FILE))
        finally:
            os.close(entry)
    except (OSError, ValueError, RecursionError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ProfileError("security_opt", f'seccomp profile "{path}": {reason}') from None
    return seccomp_profile(tree, bounding, path)


def seccomp_profile(tree: Any, bounding: tuple[str, ...], name: str = "") -> Seccomp:
    """A profile in Docker's JSON (and OCI's, which is a part of it), for this machine. Raises ProfileError."""
    machine, kernel = os.uname().machine, _kernel(os.uname().release)
    alias = {"x86_64": "amd64", "aarch64": "arm64"}.get(machine, machine)
    try:
        rules = []
        for rule in tree.get("syscalls") or ():
            wanted, unwanted = rule.get("includes") or {}, rule.get("excludes") or {}
            if wanted.get("arches") and alias not in wanted["arches"]:
                continue
            if not set(wanted.get("caps") or ()) <= set(bounding):
                continue
            if wanted.get("minKernel") and kernel < _kernel(wanted["minKernel"]):
                continue
            if alias in (unwanted.get("arches") or ()) or set(unwanted.get("caps") or ()) & set(bounding):
                continue
            if unwanted.get("minKernel") and kernel >= _kernel(unwanted["minKernel"]):
                continue
            arguments = tuple(
                SeccompArg(item["index"], item["value"], item["op"], item.get("valueTwo") or 0)
                for item in rule.get("args") or ()
            )
            names = tuple(rule.get("names") or [rule["name"]])
            rules.append(SeccompRule(names, rule["action"], rule.get("errnoRet"), arguments))
        architectures = list(tree.get("architectures") or ())
        for entry in tree.get("archMap") or ():
            if entry["architecture"] == {"x86_64": "SCMP_ARCH_X86_64", "aarch64": "SCMP_ARCH_AARCH64"}.get(machine):
                architectures += [entry["architecture"], *(entry.get("subArchitectures") or ())]
        filter_ = Seccomp(tree["defaultAction"], tree.get("defaultErrnoRet"), tuple(architectures), tuple(rules))
        from pycompose.runtime.linux.seccomp import compile as compiled

        compiled(filter_)  # an action or operator that we do not know is told now
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        cause = f"{type(error).__name__} {error}"
        raise ProfileError("security_opt", f'seccomp profile "{name}" cannot be used: {cause}') from None
    return filter_


def _kernel(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", text)[:2])
