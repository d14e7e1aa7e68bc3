"""Linux system calls that Python 3.11 does not offer. One short function each, OSError with the path.

Sources: man 2 of each call; include/uapi/linux/{sched,mount,openat2,close_range,prctl,capability,seccomp}.h.
Every descriptor made here is close-on-exec: ctypes does not add that (CVE-2024-21626).
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct

_libc = ctypes.CDLL(None, use_errno=True)
# PyDLL keeps the GIL: a child of clone3 must not try to take it back from a thread that does not exist in it.
_locked = ctypes.PyDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long
_locked.syscall.restype = ctypes.c_long

_ARM = os.uname().machine == "aarch64"
NR_PIVOT_ROOT = 41 if _ARM else 155
NR_CAPSET, NR_CAPGET = (91, 90) if _ARM else (126, 125)
NR_SECCOMP = 277 if _ARM else 317
NR_KEYCTL = 219 if _ARM else 250
NR_BPF = 280 if _ARM else 321
NR_RT_SIGACTION, NR_IOPRIO_SET = (134, 30) if _ARM else (13, 251)
NR_SET_MEMPOLICY, NR_SCHED_SETATTR = (237, 274) if _ARM else (238, 314)
NR_OPEN_TREE, NR_MOVE_MOUNT, NR_FSOPEN, NR_FSCONFIG, NR_FSMOUNT = 428, 429, 430, 431, 432
NR_CLONE3, NR_CLOSE_RANGE, NR_OPENAT2, NR_MOUNT_SETATTR = 435, 436, 437, 442

CLONE_PIDFD, CLONE_PARENT, CLONE_INTO_CGROUP = 0x1000, 0x8000, 0x200000000
CLONE_NEW = {
    "time": 0x80,
    "mount": 0x20000,
    "cgroup": 0x02000000,
    "uts": 0x04000000,
    "ipc": 0x08000000,
    "user": 0x10000000,
    "pid": 0x20000000,
    "network": 0x40000000,
}
MS_REC, MS_PRIVATE, MS_SLAVE, MS_SHARED, MS_UNBINDABLE = 0x4000, 1 << 18, 1 << 19, 1 << 20, 1 << 17
MNT_DETACH = 2
AT_EMPTY_PATH, AT_RECURSIVE, AT_FDCWD = 0x1000, 0x8000, -100
OPEN_TREE_CLONE, OPEN_TREE_CLOEXEC = 1, os.O_CLOEXEC
MOVE_MOUNT_F_EMPTY_PATH, MOVE_MOUNT_T_EMPTY_PATH = 0x4, 0x40
ATTR_RDONLY, ATTR_NOSUID, ATTR_NODEV, ATTR_NOEXEC, ATTR_NOATIME, ATTR_STRICTATIME = 1, 2, 4, 8, 0x10, 0x20
ATTR_ATIME, ATTR_NODIRATIME, ATTR_NOSYMFOLLOW = 0x70, 0x80, 0x200000
RESOLVE_NO_XDEV, RESOLVE_NO_MAGICLINKS, RESOLVE_NO_SYMLINKS, RESOLVE_BENEATH, RESOLVE_IN_ROOT = 1, 2, 4, 8, 0x10
CLOSE_RANGE_CLOEXEC = 4
PR_SET_PDEATHSIG, PR_SET_DUMPABLE, PR_SET_KEEPCAPS, PR_CAPBSET_READ, PR_CAPBSET_DROP = 1, 4, 8, 23, 24
PR_SET_CHILD_SUBREAPER, PR_SET_NO_NEW_PRIVS, PR_CAP_AMBIENT = 36, 38, 47
PR_SET_SECUREBITS, PR_SET_TIMERSLACK, PR_MCE_KILL, PR_SET_THP_DISABLE = 28, 29, 33, 41
PR_SET_IO_FLUSHER, PR_SET_MEMORY_MERGE = 57, 67
PR_CAP_AMBIENT_RAISE, PR_CAP_AMBIENT_CLEAR_ALL = 2, 4


def _check(result: int, what: str) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), what)
    return result


def _call(what: str, number: int, *arguments: object) -> int:
    """`syscall(2)`; integers are passed as longs, so that none is cut to 32 bits."""
    passed = [ctypes.c_long(item) if isinstance(item, int) else item for item in arguments]
    return _check(_libc.syscall(ctypes.c_long(number), *passed), what)


class _CloneArgs(ctypes.Structure):
    _fields_ = tuple(
        (name, ctypes.c_uint64)
        for name in (
            "flags",
            "pidfd",
            "child_tid",
            "parent_tid",
            "exit_signal",
            "stack",
            "stack_size",
            "tls",
            "set_tid",
            "set_tid_size",
            "cgroup",
        )
    )


def clone3(flags: int, exit_signal: int, cgroup_fd: int | None = None) -> tuple[int, int]:
    """(pid, pidfd) in the parent, (0, -1) in the child. Only for a process with one thread (man 2 clone)."""
    pidfd = ctypes.c_int(-1)
    arguments = _CloneArgs(flags=flags | CLONE_PIDFD, exit_signal=exit_signal, pidfd=ctypes.addressof(pidfd))
    if cgroup_fd is not None:
        arguments.flags |= CLONE_INTO_CGROUP
        arguments.cgroup = cgroup_fd
    # libc's fork would run the handlers that Python relies upon: run them by hand (PyOS_AfterFork_*).
    ctypes.pythonapi.PyOS_BeforeFork()
    pid = _locked.syscall(ctypes.c_long(NR_CLONE3), ctypes.byref(arguments), ctypes.c_size_t(ctypes.sizeof(arguments)))
    if pid == 0:
        ctypes.pythonapi.PyOS_AfterFork_Child()
        return 0, -1
    number = ctypes.get_errno()
    ctypes.pythonapi.PyOS_AfterFork_Parent()
    if pid < 0:
        raise OSError(number, os.strerror(number), "clone3")
    return pid, pidfd.value


def setns(descriptor: int, flags: int) -> None:
    _check(_libc.setns(descriptor, flags), "setns")


def unshare(flags: int) -> None:
    _check(_libc.unshare(flags), "unshare")


def mount(source: str, target: str, kind: str, flags: int, data: str = "") -> None:
    _check(
        _libc.mount(
            os.fsencode(source), os.fsencode(target), os.fsencode(kind), ctypes.c_ulong(flags), os.fsencode(data)
        ),
        target,
    )


def umount2(target: str, flags: int) -> None:
    _check(_libc.umount2(os.fsencode(target), flags), target)


def pivot_root(new: str, old: str) -> None:
    _call(new, NR_PIVOT_ROOT, os.fsencode(new), os.fsencode(old))


def sethostname(name: str) -> None:
    text = os.fsencode(name)
    _check(_libc.sethostname(text, ctypes.c_size_t(len(text))), "hostname")


def setdomainname(name: str) -> None:
    text = os.fsencode(name)
    _check(_libc.setdomainname(text, ctypes.c_size_t(len(text))), "domainname")


def openat2(directory: int, path: str, flags: int, resolve: int, mode: int = 0) -> int:
    how = (ctypes.c_uint64 * 3)(flags | os.O_CLOEXEC, mode, resolve)
    for _ in range(128):
        try:
            return _call(path, NR_OPENAT2, directory, os.fsencode(path), how, ctypes.sizeof(how))
        except BlockingIOError:  # EAGAIN: something was renamed meanwhile, and the kernel could not be sure
            continue
    raise OSError(errno.EBUSY, "it is renamed again and again", path)


def open_tree(directory: int, path: str, flags: int) -> int:
    return _call(path, NR_OPEN_TREE, directory, os.fsencode(path), flags | OPEN_TREE_CLOEXEC)


def move_mount(tree: int, target: int, path: str = "") -> None:
    """Attach the mount that `tree` stands for onto the place that the descriptor `target` stands for."""
    _call(path, NR_MOVE_MOUNT, tree, b"", target, b"", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH)


def mount_setattr(tree: int, recursive: bool, add: int, clear: int = 0, propagation: int = 0) -> None:
    attributes = (ctypes.c_uint64 * 4)(add, clear, propagation, 0)
    flags = AT_EMPTY_PATH | (AT_RECURSIVE if recursive else 0)
    _call("mount_setattr", NR_MOUNT_SETATTR, tree, b"", flags, attributes, ctypes.sizeof(attributes))


def fsopen(kind: str) -> int:
    return _call(kind, NR_FSOPEN, os.fsencode(kind), 1)


def fsconfig_string(context: int, key: str, value: str) -> None:
    _call(f"{key}={value}", NR_FSCONFIG, context, 1, os.fsencode(key), os.fsencode(value), 0)


def fsconfig_flag(context: int, key: str) -> None:
    _call(key, NR_FSCONFIG, context, 0, os.fsencode(key), None, 0)


def fsconfig_create(context: int, what: str) -> None:
    _call(what, NR_FSCONFIG, context, 6, None, None, 0)


def fsmount(context: int, attributes: int, what: str) -> int:
    return _call(what, NR_FSMOUNT, context, 1, attributes)


def prctl(option: int, second: int = 0, third: int = 0) -> int:
    return _check(
        _libc.prctl(option, ctypes.c_ulong(second), ctypes.c_ulong(third), ctypes.c_ulong(0), ctypes.c_ulong(0)),
        f"prctl {option}",
    )


def capset(effective: int, permitted: int, inheritable: int) -> None:
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)
    low, high = 0xFFFFFFFF, 32
    data = (ctypes.c_uint32 * 6)(
        effective & low, permitted & low, inheritable & low, effective >> high, permitted >> high, inheritable >> high
    )
    _call("capset", NR_CAPSET, header, data)


def capget_permitted() -> int:
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)
    data = (ctypes.c_uint32 * 6)()
    _call("capget", NR_CAPGET, header, data)
    return int(data[1]) | int(data[4]) << 32


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_char_p))


def seccomp_filter(program: bytes) -> None:
    """Install classic BPF (8 bytes an instruction) for good."""
    _call("seccomp", NR_SECCOMP, 1, 0, ctypes.byref(_Program(len(program) // 8, program)))


def join_session_keyring(name: str | None) -> None:
    """The session keyring of that name, or a new one without a name."""
    _call("keyctl", NR_KEYCTL, 1, None if name is None else os.fsencode(name))


def default_signal(number: int) -> None:
    """SIG_DFL for any signal, 32 and 33 too, which libc keeps to itself (and posix_spawn leaves ignored)."""
    action = (ctypes.c_uint64 * 4)()  # handler, flags, restorer, mask
    _call(f"signal {number}", NR_RT_SIGACTION, number, action, None, 8)


def default_scheduling() -> None:
    """SCHED_OTHER, nice 0, the kernel's own slice; children inherit it (man 2 sched_setattr)."""
    attributes = ctypes.create_string_buffer(struct.pack("=IIQiIQQQ", 48, 0, 0, 0, 0, 0, 0, 0), 48)
    _call("sched_setattr", NR_SCHED_SETATTR, 0, attributes, 0)


def ioprio_set(priority: int) -> None:
    """The I/O class and level of this process; 0 is: by its nice value (man 2 ioprio_set)."""
    _call("ioprio_set", NR_IOPRIO_SET, 1, 0, priority)


def default_memory_policy() -> None:
    _call("set_mempolicy", NR_SET_MEMPOLICY, 0, None, 0)


def personality(persona: int) -> None:
    _check(_libc.personality(ctypes.c_ulong(persona)), "personality")


def close_range(first: int, last: int, flags: int = 0) -> None:
    if first <= last:
        _call("close_range", NR_CLOSE_RANGE, first, last, flags)


def _bpf(what: str, command: int, attributes: bytes) -> int:
    buffer = ctypes.create_string_buffer(attributes, 128)
    return _call(what, NR_BPF, command, buffer, 128)


def attach_device_program(cgroup: int, program: bytes) -> None:
    """Let a BPF_PROG_TYPE_CGROUP_DEVICE program decide for the cgroup2 folder `cgroup`, until that is removed."""
    code, licence = ctypes.create_string_buffer(program, len(program)), ctypes.create_string_buffer(b"GPL")
    loaded = _bpf(
        "BPF_PROG_LOAD",
        5,
        struct.pack("=IIQQ", 15, len(program) // 8, ctypes.addressof(code), ctypes.addressof(licence)),
    )
    try:
        _bpf("BPF_PROG_ATTACH", 8, struct.pack("=IIII", cgroup, loaded, 6, 2))  # BPF_CGROUP_DEVICE, ALLOW_MULTI
    finally:
        os.close(loaded)


def inotify_modified(path: str) -> int:
    """A descriptor that is readable once `path` was modified (man 7 inotify)."""
    descriptor = _check(_libc.inotify_init1(os.O_CLOEXEC | os.O_NONBLOCK), "inotify_init1")
    try:
        _check(_libc.inotify_add_watch(descriptor, os.fsencode(path), ctypes.c_uint32(2)), path)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def syncfs(descriptor: int) -> None:
    _check(_libc.syncfs(descriptor), "syncfs")


def inotify() -> int:
    """An inotify instance that does not wait (man 7 inotify)."""
    return _check(_libc.inotify_init1(os.O_CLOEXEC | os.O_NONBLOCK), "inotify_init1")


def inotify_add(instance: int, path: str, events: int) -> int:
    return _check(_libc.inotify_add_watch(instance, os.fsencode(path), ctypes.c_uint32(events)), path)
