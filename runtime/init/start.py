"""A container's first process, from its birth to execve. The order of its steps is runc's, and is its meaning.

Runs in a child that the keeper cloned (`clone.clone_container`). Messages on `channel` are those of `keeper.messages`:
  FirstReady with descriptors [terminal master] + sockets, answered by b"start" (end of file: give up);
  Refusal on a failure, then it ends. A successful execve closes the channel.
Rules: everything is imported before the root changes, and the import machinery is emptied then: a later one would run
code of the image (CVE-2019-14271). No traceback, no codec look-up, no NSS after that.
"""

from __future__ import annotations

import errno
import fcntl
import os
import resource
import signal
import socket
import stat
import struct
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from typing import NoReturn

from pycompose import shortages
from pycompose.runtime.keeper import messages
from pycompose.runtime.keeper.inheritance import keep_only as keep_only
from pycompose.runtime.linux import capabilities, seccomp, syscalls
from pycompose.runtime.spec import Bundle, HostRoot, InsideSocket, Process, Spec

from . import birth, host_root, mounts, rootfs, users
from .reaper import Init


class Failed(Exception):
    def __init__(self, step: str, number: int, message: str, exit_code: int = 125) -> None:
        self.step, self.number, self.message, self.exit_code = step, number, message, exit_code


def run(
    bundle: Bundle,
    channel: int,
    stdio: tuple[int, int, int],
    joined: Mapping[str, int],
    program: bytes | None = None,
    *,
    devices: bool = True,
    init: int = -1,
    outcome: int = -1,
    ground: host_root.Ground | None = None,
) -> NoReturn:
    """Become the container's process. `program` is the compiled seccomp filter; without it, it is compiled here.

    Without `devices` (nobody controls access to them) none can be opened but those that the bundle names. `init` is the
    descriptor of a program that is to be the first process where the bundle wants one, instead of our own. With an
    `outcome` (`birth.outcome_file`) the process is born of this one, which stays out of a pid namespace of others. The
    `ground` is the one of its root, if that is the host's and the caller has it.
    """
    if outcome >= 0:
        channel = fcntl.fcntl(channel, fcntl.F_DUPFD_CLOEXEC, birth.OUTCOME + 1)
    guarded(channel, lambda: _run(bundle, channel, stdio, joined, program, devices, init, outcome, ground))


def guarded(channel: int, work: Callable[[], NoReturn]) -> NoReturn:
    """Do the work; whatever goes wrong is told on the channel, in the words of `step` and errno."""
    try:
        work()
    except Failed as failed:
        tell(channel, failed)
    except OSError as error:
        tell(channel, Failed(step, error.errno or 0, f"{error.strerror}: {error.filename or ''}"))
    except BaseException as error:
        tell(channel, Failed(step, shortages.number(error), type(error).__name__ + ": " + str(error)))
    os._exit(125)


# A first object compiles its class's `__init__`: here, not after the root has changed.
_COMPILED = (messages.FirstReady(), messages.Refusal(""))

step = "begin"  # the step that is being done, for the report of a failure
notes: list[str] = []  # what this machine does not do, told with "ready"


def tell(channel: int, failed: Failed) -> NoReturn:
    report = messages.Refusal(failed.message, failed.step, failed.number, failed.exit_code)
    try:
        os.write(channel, messages.encode(report))
    finally:
        os._exit(failed.exit_code)


def begin(name: str) -> None:
    global step
    step = name


def _run(
    bundle: Bundle,
    channel: int,
    stdio: tuple[int, int, int],
    joined: Mapping[str, int],
    program: bytes | None,
    devices: bool,
    init: int,
    outcome: int,
    ground: host_root.Ground | None,
) -> NoReturn:
    spec, process = bundle.spec, bundle.spec.process
    begin("session")
    fresh_session()
    kept = (*((outcome, birth.sealed()) if outcome >= 0 else ()), *((ground.memory,) if ground else ()))
    keep_only((channel, init, *stdio, *joined.values(), *kept))
    syscalls.prctl(syscalls.PR_SET_DUMPABLE, 0)

    begin("namespaces")
    private = {item.type for item in spec.linux.namespaces if not item.path}
    for kind in ("user", "ipc", "uts", "network", "cgroup"):
        if kind in joined:
            syscalls.setns(joined[kind], syscalls.CLONE_NEW[kind])
    if outcome >= 0:
        syscalls.setns(joined["pid"], syscalls.CLONE_NEW["pid"])  # for its children
    if "cgroup" in private and "cgroup" not in joined:
        syscalls.unshare(syscalls.CLONE_NEW["cgroup"])
    join_keyring(spec)

    begin("network")
    if "network" in private:
        loopback_up()
    sockets = [make_socket(item) for item in bundle.sockets]

    # /proc is still the host's and therefore true (CVE-2025-52881); the container's own is never opened by us.
    begin("sysctl")
    set_sysctls(spec.linux.sysctl, private)
    if process.oom_score_adj is not None:
        set_oom_score(process.oom_score_adj)
    notes.extend(wanted_limits(process)[1])
    begin("apparmor")
    proc = os.open("/proc", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    set_apparmor(process.apparmor_profile, proc)
    os.close(proc)
    begin("shared memory")
    shm = mounts.shared_memory(joined["shm"]) if "shm" in joined else -1

    begin("mounts")
    program = compiled_filter(spec, program)
    forget_imports()
    mounts.check(spec.mounts)
    os.umask(0)
    share = syscalls.MS_SLAVE if spec.linux.rootfs_propagation.removeprefix("r") in ("slave", "shared") else 0
    syscalls.mount("", "/", "", syscalls.MS_REC | (share or syscalls.MS_PRIVATE))
    if isinstance(bundle.root, HostRoot):
        root = host_root.attach(bundle.root, spec.root_readonly, ground)
        if ground is not None:
            ground.close()
    else:
        root = rootfs.attach(bundle.root)
    if not devices:
        syscalls.mount_setattr(root, True, syscalls.ATTR_NODEV)
    for mount in spec.mounts:
        begin(f"mount {mount.destination}")
        if shm >= 0 and mount.destination == "/dev/shm" and mount.type == "tmpfs":
            mounts.put(root, mount.destination, shm)
            os.close(shm)
            shm = -1
        else:
            if outcome >= 0 and mount.type == "proc":  # /proc is still the host's
                mount = replace(mount, options=(*mount.options, f"pidns=/proc/self/fd/{joined['pid']}"))
            mounts.perform(root, mount, devices)
    if shm >= 0:
        os.close(shm)
    begin("devices")
    stock = mounts.make_stock()
    if any(mount.destination.rstrip("/") == "/dev" and mount.type == "tmpfs" for mount in spec.mounts):
        if devices:
            mounts.devices(root, spec.linux.devices)
        else:
            mounts.bound_devices(root, spec.linux.devices, stock)
        null = mounts.open_null(root, stock)
    else:
        null = mounts.stock_null(stock)
    master = slave = -1
    if process.terminal:
        begin("terminal")
        master, slave = mounts.terminal(root)
        mounts.console(root, slave)
    begin("read-only paths")
    mounts.read_only(root, spec.linux.readonly_paths)
    begin("masked paths")
    mounts.mask(root, spec.linux.masked_paths, stock)
    os.close(stock)

    begin("root")
    os.fchdir(root)
    syscalls.pivot_root(".", ".")
    syscalls.umount2(".", syscalls.MNT_DETACH)
    os.chdir("/")
    if spec.root_readonly:
        here = os.open("/", os.O_PATH | os.O_CLOEXEC)
        syscalls.mount_setattr(here, False, syscalls.ATTR_RDONLY)
        os.close(here)
    os.close(root)
    os.umask(0o022)

    begin("names")
    if spec.hostname and "uts" in private:
        syscalls.sethostname(spec.hostname)
    if spec.domainname and "uts" in private:
        syscalls.setdomainname(spec.domainname)

    begin("ready")
    ready(channel, ([master] if master >= 0 else []) + sockets)
    for descriptor in (*sockets, *joined.values()):
        os.close(descriptor)
    take_stdio(tuple(null if _is_null(item) else item for item in stdio), master, slave, leads=outcome < 0)
    if outcome >= 0:
        finish_outside(process, program, outcome)
    finish(process, channel, program, Init(init) if bundle.init else None)


def compiled_filter(spec: Spec, program: bytes | None) -> bytes | None:
    """The container's seccomp filter, where it has one: `program`, if it was compiled before."""
    if program is not None or spec.linux.seccomp is None:
        return program
    held = spec.process.capabilities
    return seccomp.compile(spec.linux.seccomp, held.bounding if held else ())


def join_keyring(spec: Spec) -> None:
    """Leave the session keyring of whoever launched the keeper for the container's."""
    try:
        syscalls.join_session_keyring("_ses." + (spec.hostname or "container"))
    except OSError as error:
        if error.errno not in (errno.ENOSYS, errno.EPERM, errno.EDQUOT):
            raise


def finish_outside(process: Process, program: bytes | None, outcome: int) -> NoReturn:
    """As `finish`, for a pid namespace in which others are: see `birth`. There is no init; its first process is one."""
    birth_program = fcntl.fcntl(birth.sealed(), fcntl.F_DUPFD_CLOEXEC, birth.OUTCOME + 1)
    if outcome == birth.OUTCOME:
        os.set_inheritable(outcome, True)
    else:
        os.dup2(outcome, birth.OUTCOME)
    be_born(process, program, birth_program, make_folder=True)


def be_born(process: Process, program: bytes | None, birth_program: int, make_folder: bool) -> NoReturn:
    """Become the program of `birth`, whose descriptors are in their places; `make_folder` as in `settle`."""
    path, environment = settle(process, program, make_folder)
    syscalls.close_range(birth.OUTCOME + 1, 2**32 - 1, syscalls.CLOSE_RANGE_CLOEXEC)
    begin("exec")
    try:
        birth.become(birth_program, path, process.args, environment, process.terminal)
    except OSError as error:
        raise Failed("exec", error.errno or 0, f"{process.args[0]}: {error.strerror}", 126) from None


def finish(process: Process, channel: int, program: bytes | None, init: Init | None) -> NoReturn:
    """From inside the root to execve."""
    path, environment = settle(process, program, make_folder=True)
    syscalls.close_range(3, 2**32 - 1, syscalls.CLOSE_RANGE_CLOEXEC)
    try:
        if init is not None:
            init.become(channel, path, process.args, environment)
        os.execve(path, process.args, environment)
    except OSError as error:
        code = 127 if error.errno == errno.ENOENT else 126
        raise Failed("exec", error.errno or 0, f"{process.args[0]}: {error.strerror}", code) from None


def settle(process: Process, program: bytes | None, make_folder: bool) -> tuple[bytes, dict[bytes, bytes]]:
    """Take on limits, identity and privileges inside the root, for good. The path to execute, and the environment.

    Used for processes that join, too. `make_folder`: a working folder that is not there is made.
    """
    begin("user")
    who = identity(process)
    begin("limits")
    limits = wanted_limits(process)[0]
    for name, kind, pair in limits:
        if kind != resource.RLIMIT_NOFILE:
            set_limit(name, kind, pair)
        elif pair[1] > resource.getrlimit(kind)[1]:  # takes the privilege; the rest is for when nothing is opened more
            set_limit(name, kind, (pair[1], pair[1]))
    os.umask(0o022 if process.user.umask is None else process.user.umask)
    if process.no_new_privileges:
        syscalls.prctl(syscalls.PR_SET_NO_NEW_PRIVS, 1)

    begin("working folder")
    cwd = process.cwd or "/"
    entered = enter(cwd, make_folder)

    begin("limits")
    for name, kind, pair in limits:  # last, and yet before a filter that may not allow it
        if kind == resource.RLIMIT_NOFILE:
            set_limit(name, kind, pair)
    begin("seccomp")
    if program is not None and not process.no_new_privileges:
        syscalls.seccomp_filter(program)
    begin("privileges")
    if process.capabilities is not None:
        capabilities.drop_bounding(process.capabilities)
    syscalls.prctl(syscalls.PR_SET_KEEPCAPS, 1)
    for descriptor in (0, 1, 2):
        give(descriptor, who.uid)
    os.setgroups(who.groups)
    os.setresgid(who.gid, who.gid, who.gid)
    os.setresuid(who.uid, who.uid, who.uid)
    if not entered:
        begin("working folder")
        os.chdir(cwd)
    check_cwd()
    begin("privileges")
    syscalls.prctl(syscalls.PR_SET_KEEPCAPS, 0)
    if process.capabilities is not None:
        capabilities.apply(process.capabilities)
    environment = environ(process, who)
    begin("command")
    path = find(process.args[0], environment.get(b"PATH", b""))
    begin("seccomp")
    if program is not None and process.no_new_privileges:
        syscalls.seccomp_filter(program)
    begin("command")
    return path, environment


RESET = tuple(number for number in range(1, 32) if number not in (signal.SIGKILL, signal.SIGSTOP))


def fresh_session() -> None:
    """A session of its own, and signals as a program expects them (Python ignores SIGPIPE and SIGXFSZ)."""
    signal.set_wakeup_fd(-1)
    for number in RESET:
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    with suppress(PermissionError):  # it leads one already
        os.setsid()


def forget_imports() -> None:
    sys.path[:] = []
    sys.meta_path[:] = []
    sys.path_hooks[:] = []
    sys.path_importer_cache.clear()


def loopback_up() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        request = struct.pack("16sh14x", b"lo", 1)
        fcntl.ioctl(control, 0x8914, request)  # SIOCSIFFLAGS IFF_UP


def make_socket(wanted: InsideSocket) -> int:
    if wanted.kind == "route":
        inside = socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM, 0)
    elif wanted.kind == "netfilter":
        inside = socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM, 12)
    else:
        family = socket.AF_INET6 if ":" in wanted.host else socket.AF_INET
        inside = socket.socket(family, socket.SOCK_STREAM if wanted.kind == "tcp" else socket.SOCK_DGRAM)
        inside.bind((wanted.host, wanted.port))
        if wanted.kind == "tcp":
            inside.listen(128)
    return inside.detach()


def set_sysctls(sysctls: Mapping[str, str], private: set[str]) -> None:
    for name, value in sysctls.items():
        if not allowed_sysctl(name, private):
            raise Failed(step, errno.EPERM, f'sysctl "{name}" does not belong to a namespace of this container')
        file = os.open("/proc/sys/" + name.replace(".", "/"), os.O_WRONLY | os.O_CLOEXEC)
        os.write(file, os.fsencode(value))
        os.close(file)


def allowed_sysctl(name: str, private: set[str]) -> bool:
    """Only what a namespace of this container's own holds."""
    if "/" in name or ".." in name:
        return False
    if name.startswith("net."):
        return "network" in private
    ipc = ("kernel.msg", "kernel.sem", "kernel.shm", "fs.mqueue.")
    if name.startswith(ipc):
        return "ipc" in private
    return name in ("kernel.domainname", "kernel.hostname") and "uts" in private


def set_oom_score(score: int) -> None:
    try:
        with open("/proc/self/oom_score_adj", "w", encoding="ascii") as file:
            file.write(str(score))
    except PermissionError:
        # lowering it takes CAP_SYS_RESOURCE, which a machine may lack
        notes.append(f"oom_score_adj {score} cannot be set on this machine: CAP_SYS_RESOURCE is missing")


def wanted_limits(process: Process) -> tuple[list[tuple[str, int, tuple[int, int]]], list[str]]:
    """(name, resource, (soft, hard)) of each limit, none above what this process may set, and a note where it would be.

    Raises Failed for a limit that the kernel does not have.
    """
    pairs, lacking = [], []
    may_raise = syscalls.capget_permitted() >> 24 & 1  # CAP_SYS_RESOURCE
    for limit in process.rlimits:
        name, kind = limit.type.removeprefix("RLIMIT_").lower(), getattr(resource, limit.type, None)
        if not isinstance(kind, int):
            raise Failed(step, errno.EINVAL, f'ulimits: there is no limit "{name}"')
        have = _above_all(resource.getrlimit(kind)[1])
        hard, soft = _above_all(limit.hard), _above_all(limit.soft)
        if hard > have and not may_raise:
            lacking.append(f"ulimits: {name} stays at {have}: raising it takes CAP_SYS_RESOURCE, which is missing here")
            hard = have
        pair = [resource.RLIM_INFINITY if item == ENDLESS else item for item in (min(soft, hard), hard)]
        pairs.append((name, kind, (pair[0], pair[1])))
    return pairs, lacking


def set_limit(name: str, kind: int, pair: tuple[int, int]) -> None:
    try:
        resource.setrlimit(kind, pair)
    except (ValueError, OSError) as error:
        raise Failed(step, errno.EPERM, f"ulimits {name}: {error}") from None


ENDLESS = 2**64 - 1


def _above_all(limit: int) -> int:
    return ENDLESS if limit < 0 or limit >= 2**63 - 1 else limit


def set_apparmor(profile: str, proc: int) -> None:
    """The profile that the next execve puts on; `proc` is the host's /proc, which the container cannot fake."""
    if not profile:
        return
    safe = syscalls.RESOLVE_BENEATH | syscalls.RESOLVE_NO_MAGICLINKS | syscalls.RESOLVE_NO_XDEV
    for name in ("apparmor/exec", "exec"):
        try:
            attribute = syscalls.openat2(proc, f"thread-self/attr/{name}", os.O_WRONLY, safe)
        except FileNotFoundError:
            continue
        try:
            os.write(attribute, os.fsencode(f"exec {profile}"))
        except OSError as error:
            message = f'AppArmor profile "{profile}" cannot be put on: {error.strerror}'
            raise Failed(step, error.errno or 0, message) from None
        finally:
            os.close(attribute)
        return
    raise Failed(step, errno.ENOENT, f'AppArmor profile "{profile}" cannot be put on: this machine has no AppArmor')


def ready(channel: int, descriptors: list[int]) -> None:
    with socket.socket(fileno=os.dup(channel)) as talk:
        messages.send(talk, messages.FirstReady(tuple(notes)), descriptors)
        if talk.recv(64) != b"start":
            os._exit(125)


def _is_null(descriptor: int) -> bool:
    """Whether it is a null device: the host's, which is not lent."""
    return os.fstat(descriptor).st_rdev == os.makedev(1, 3)


def take_stdio(stdio: tuple[int, ...], master: int, slave: int, leads: bool) -> None:
    """`leads`: this process leads the session of its terminal."""
    if slave >= 0:
        if leads:
            fcntl.ioctl(slave, 0x540E, 0)  # TIOCSCTTY
        stdio = (slave, slave, slave)
        os.close(master)
    moved = [fcntl.fcntl(item, fcntl.F_DUPFD_CLOEXEC, 3) for item in stdio]  # so that none is overwritten
    for number, descriptor in enumerate(moved):
        os.dup2(descriptor, number, inheritable=True)
        os.close(descriptor)
    for descriptor in {item for item in stdio if item > 2}:
        os.close(descriptor)


def read(path: str) -> bytes:
    """A regular file of the container, empty where there is none; read once, and no further than its size, for files
    of procfs have none and may not end. Nothing else is opened: a device might act. Raises Failed for a huge one.
    """
    way = syscalls.RESOLVE_NO_MAGICLINKS  # which lead to descriptors of ours
    content = b""
    try:
        entry = syscalls.openat2(syscalls.AT_FDCWD, path, os.O_PATH, way)
        regular = stat.S_ISREG(os.fstat(entry).st_mode)
        os.close(entry)
        if not regular:
            return b""
        descriptor = syscalls.openat2(syscalls.AT_FDCWD, path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY, way)
    except OSError:
        return b""
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):  # it has been swapped
            return b""
        if status.st_size > users.LARGEST:
            raise Failed(step, errno.EFBIG, f"{path} of the image is larger than {users.LARGEST >> 20} MiB", 126)
        while len(content) < status.st_size and (piece := os.read(descriptor, status.st_size - len(content))):
            content += piece
    except OSError:
        return b""
    finally:
        os.close(descriptor)
    return content


def identity(process: Process) -> users.Identity:
    user = process.user
    passwd, group = read("/etc/passwd"), read("/etc/group")
    try:
        if user.username or user.group_add:
            who = users.resolve(passwd, group, user.username or f"{user.uid}:{user.gid}", user.group_add)
            groups = tuple(dict.fromkeys((*who.groups, *user.additional_gids)))
            return users.Identity(who.uid, who.gid, groups, who.home)
        who = users.resolve(passwd, group, f"{user.uid}:{user.gid}")
    except users.UserError as error:
        raise Failed(step, errno.EINVAL, str(error), 126) from None
    return users.Identity(user.uid, user.gid, tuple(dict.fromkeys((user.gid, *user.additional_gids))), who.home)


def enter(cwd: str, make: bool) -> bool:
    """Go to the working folder, made if it is missing and may be; False where only the user itself may go there."""
    if not cwd.startswith("/"):
        raise Failed(step, errno.EINVAL, f'the working folder "{cwd}" is not absolute', 126)
    try:
        if make and not os.path.isdir(cwd):
            os.close(mounts.make_folder(syscalls.AT_FDCWD, cwd))
        os.chdir(cwd)
    except PermissionError:
        return False
    except OSError as error:
        raise Failed(step, error.errno or 0, f"{cwd}: {error.strerror}", 126) from None
    check_cwd()
    return True


def check_cwd() -> None:
    """The working folder is inside the root (CVE-2024-21626: a descriptor of the host leads out)."""
    try:
        here = os.getcwd()
    except OSError:
        here = ""
    if not here.startswith("/"):
        raise Failed(step, errno.ENOENT, "the working folder is outside the container's root", 126)


def give(descriptor: int, uid: int) -> None:
    try:
        if os.fstat(descriptor).st_uid != uid and os.fstat(descriptor).st_rdev != os.makedev(1, 3):
            os.fchown(descriptor, uid, -1)
    except OSError:
        pass  # a pipe or file of someone else's


def environ(process: Process, who: users.Identity) -> dict[bytes, bytes]:
    result = {}
    for entry in process.env:
        name, _, value = os.fsencode(entry).partition(b"=")
        result[name] = value
    result.setdefault(b"PATH", b"/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
    result.setdefault(b"HOME", os.fsencode(who.home or "/"))
    return result


def find(name: str, search: bytes) -> bytes:
    """The program's path. Raises Failed: 127 if there is none, 126 if it may not be run."""
    wanted = os.fsencode(name)
    if b"/" in wanted:
        return wanted
    denied = False
    for folder in search.split(b":"):
        path = (folder or b".") + b"/" + wanted
        if os.path.isdir(path):
            continue
        if os.access(path, os.X_OK):
            return path
        denied = denied or os.path.exists(path)
    if denied:
        raise Failed("exec", errno.EACCES, f"{name}: permission denied", 126)
    raise Failed("exec", errno.ENOENT, f"{name}: not found in PATH ({os.fsdecode(search)})", 127)
