"""Control groups of containers: pycompose/<project>/<container> in v2, in every v1 hierarchy, or in both (hybrid).

A process enters at its birth: v2 by CLONE_INTO_CGROUP (`descriptor`), v1 by writing 0 to `tasks` itself (`join`): the
kernel moves other processes only after a grace period of some 15 ms (cgroup_threadgroup_rwsem).
Rules: standard library only. A quantity that this machine's kernel cannot limit is told in words and left unlimited
(`apply` returns notes); what it refuses is a LimitRefused. Device access is no quantity: `control_devices` says whether
it is controlled, and who starts a container must act on that (`device_control`). Hybrid machines are frozen and killed
by way of v2. It does not poll but where v1 tells nothing.
"""

from __future__ import annotations

import errno
import os
import select
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import field
from functools import cache
from typing import TYPE_CHECKING

from pycompose.frozen import dataclass
from pycompose.runtime.errors import LimitRefused

if TYPE_CHECKING:
    from pycompose.runtime.spec import DeviceRule, Resources

    from . import limits

NO_EFFECT = (errno.EACCES, errno.EPERM, errno.EROFS, errno.EOPNOTSUPP)
CONTROLLERS = ("cpu", "cpuacct", "cpuset", "memory", "devices", "freezer", "blkio", "pids")
SYSTEMD = "/run/systemd/system"  # there if it is pid 1 (man 3 sd_booted)
_WHOLE: set[str] = set()  # folders that this process has made, or found, as groups in them need them
WAIT = 2.0  # seconds until a group that does not freeze or empty is given up


def _write(path: str, value: object) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(descriptor, str(value).encode("ascii"))
    finally:
        os.close(descriptor)


def _read(path: str) -> str:
    """A small file, whole; "" if it cannot be read. By three system calls where `open` makes seven."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return ""
    try:
        content = b""
        while more := os.read(descriptor, 1 << 14):
            content += more
        return content.decode("ascii")
    except OSError:
        return ""
    finally:
        os.close(descriptor)


def _numbers(path: str) -> dict[str, int]:
    """A file of "key number" lines."""
    rows = (line.split() for line in _read(path).splitlines())
    return {row[0]: int(row[1]) for row in rows if len(row) == 2 and row[1].isdigit()}


def _number(path: str) -> int | None:
    text = _read(path).strip()
    return int(text) if text.isdigit() else None


@dataclass(frozen=True, slots=True)
class Hierarchies:
    """Where this machine's cgroup file systems are mounted: v2 (or ""), and v1 by controller."""

    unified: str = ""
    version1: Mapping[str, str] = field(default_factory=dict)

    def v1_folders(self) -> tuple[str, ...]:
        """Each once: several controllers may be mounted together (cpu,cpuacct)."""
        return tuple(dict.fromkeys(self.version1.values()))


@cache
def hierarchies() -> Hierarchies:
    """What this machine has (man 7 cgroups, man 5 proc_pid_mountinfo). Read once a process."""
    unified = ""
    version1: dict[str, str] = {}
    for line in _read("/proc/self/mountinfo").splitlines():
        left, _, right = line.partition(" - ")
        place, (kind, _, *options) = left.split()[4], right.split(None, 2)
        if kind == "cgroup2":
            unified = unified or place
        elif kind == "cgroup":
            named = options[0].strip().split(",") if options else []
            for name in named:
                # systemd on v1 ends what is in the group of a session or service with it: leave that too
                if name in CONTROLLERS or (name == "name=systemd" and os.path.exists(SYSTEMD)):
                    version1.setdefault(name, place)
    return Hierarchies(unified, version1)


@dataclass(frozen=True, slots=True)
class Stats:
    """What a container uses. None: this machine does not count it, or sets no limit."""

    cpu_ns: int | None
    memory: int | None  # bytes, without what the page cache could give back at once (as docker stats)
    memory_limit: int | None
    pids: int | None
    pids_limit: int | None
    read_bytes: int | None  # of block devices
    write_bytes: int | None


@dataclass(frozen=True, slots=True)
class DeviceControl:
    """Who controls a container's devices: the v1 controller "devices", "unified" (a BPF program), or "" (nobody).

    `reason` is why nobody does, else a note on what has no effect, or "".
    """

    controller: str
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Cgroup:
    """`path` is relative: "project/id". `tree` is our own folder at the top, moved by tests."""

    path: str
    tree: str = field(default_factory=lambda: os.environ.get("PYCOMPOSE_CGROUP", "").strip("/") or "pycompose")
    mounted: Hierarchies = field(default_factory=hierarchies)

    # --- where it is ---

    def _place(self, hierarchy: str) -> str:
        return f"{hierarchy}/{self.tree}/{self.path}"

    def _unified(self) -> str:
        """Its v2 folder, or "" where it has none."""
        folder = self._place(self.mounted.unified) if self.mounted.unified else ""
        return folder if folder and os.path.isdir(folder) else ""

    def _of(self, controller: str) -> str:
        """Its v1 folder of a controller, or ""."""
        hierarchy = self.mounted.version1.get(controller)
        folder = self._place(hierarchy) if hierarchy else ""
        return folder if folder and os.path.isdir(folder) else ""

    def folders(self) -> dict[str, str]:
        """Those that exist: name -> folder; "unified" is the v2 one."""
        version1 = {name: self._of(name) for name in self.mounted.version1}
        folders = {folder: name for name, folder in version1.items() if folder}
        if unified := self._unified():
            folders[unified] = "unified"
        return {name: folder for folder, name in folders.items()}

    # --- making it ---

    def create(self) -> tuple[str, ...]:
        """Make its folders. Returns notes on what could not be had; raises nothing for a machine without cgroups."""
        failed: dict[str, OSError] = {}
        hierarchies = [folder for folder in (*self.mounted.v1_folders(), self.mounted.unified) if folder]
        for folder in hierarchies:
            try:
                self._make(folder, folder == self.mounted.unified)
            except OSError as error:
                failed[folder] = error
        if len(failed) == len(hierarchies) and not self.folders():
            reason = next(iter(failed.values())).strerror if failed else "none is mounted"
            return (f"no cgroup can be made on this machine ({reason}): nothing is limited or counted",)
        return ()

    def _make(self, hierarchy: str, unified: bool) -> None:
        with_files = {self.mounted.version1.get(name) for name in ("cpuset", "memory")}
        parts = f"{self.tree}/{self.path}".split("/")
        place = self._place(hierarchy)
        above = os.path.dirname(place)
        for attempt in range(20):
            try:
                if above in _WHOLE:  # for all but the first of a project: half of the calls are about what is above
                    _WHOLE.discard(above)
                    _make_folder(place)
                else:
                    at = hierarchy
                    for part in parts:
                        if unified:
                            _delegate(at)
                        at = f"{at}/{part}"
                        _make_folder(at)
                if hierarchy in with_files:
                    _inherit(place, len(parts))
                _WHOLE.add(above)
                return
            except FileNotFoundError:  # the last container of the project went, and the folder above with it
                if attempt == 19:
                    raise

    def descriptor(self) -> int | None:
        """Its v2 folder, for CLONE_INTO_CGROUP; None where there is none."""
        folder = self._unified()
        return os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC) if folder else None

    def join(self, needed: str = "") -> None:
        """Put the calling process, which has one thread, into its v1 folders; into v2 it was born.

        A folder that is not there is left out, but that of the controller `needed`. Raises OSError.
        """
        for hierarchy in self.mounted.v1_folders():
            try:
                _write(self._place(hierarchy) + "/tasks", 0)
            except FileNotFoundError:
                if hierarchy == self.mounted.version1.get(needed):
                    raise

    def leave(self) -> None:
        """Put the calling process at the top of the trees, and remove the group; 10 ms where v2 is."""
        for hierarchy in self.mounted.v1_folders():
            with suppress(OSError):
                _write(f"{hierarchy}/tasks", 0)
        if self.mounted.unified:
            with suppress(OSError):
                _write(f"{self.mounted.unified}/cgroup.procs", 0)
        self.discard()

    def enter(self, pid: int) -> None:
        """Move a process into all of them; some 15 ms on most kernels."""
        for folder in self.folders().values():
            _write(f"{folder}/cgroup.procs", pid)

    # --- limits ---

    def apply(self, resources: Resources) -> tuple[str, ...]:
        """Set the limits. Returns a note for each that has no effect here; raises LimitRefused."""
        from . import limits  # with the specification's classes 2 ms, for commands that only remove a group

        notes = []
        one = ((item, self._of(item.controller)) for item in limits.version1(resources))
        two = ((item, self._unified()) for item in limits.version2(resources))
        v1 = set(self.mounted.version1)
        settings = [pair for pair in one if pair[0].controller in v1]
        settings += [pair for pair in two if {"io": "blkio"}.get(pair[0].controller, pair[0].controller) not in v1]
        for setting, folder in settings:
            if (note := self._set(setting, folder)) and not setting.implied:
                notes.append(note)
        return tuple(dict.fromkeys(notes))

    def _set(self, setting: limits.Setting, folder: str) -> str:
        if not setting.choices:
            return f"cgroup v2 has no such limit: {setting.option} has no effect"
        if not folder:
            return f"there is no cgroup for {setting.controller} here: {setting.option} has no effect"
        for name, text in setting.choices:
            path = f"{folder}/{name}"
            try:
                if name == "cpu.rt_runtime_us":
                    self._allow_realtime(path, text)
                _write(path, text)
                return ""
            except FileNotFoundError:
                continue
            except OSError as error:
                if error.errno in NO_EFFECT:
                    return f"{name} cannot be set here ({error.strerror}): {setting.option} has no effect"
                raise LimitRefused(setting.option, name, text, error.errno or 0) from error
        return f"{setting.choices[0][0]} is not there on this kernel: {setting.option} has no effect"

    def _allow_realtime(self, path: str, text: str) -> None:
        """v1 gives a new group no real time at all; our own folders above must have what is given on."""
        folder, name = os.path.split(path)
        above = []
        for _ in self.path.split("/"):
            folder = os.path.dirname(folder)
            above.append(folder)
        for folder in reversed(above):
            if (_number(f"{folder}/{name}") or 0) < int(text):
                _write(f"{folder}/{name}", text)

    def control_devices(self, rules: tuple[DeviceRule, ...]) -> DeviceControl:
        """Have the kernel decide by the rules which devices its processes open and make. Raises LimitRefused.

        Where it does not (nothing is mounted, or refused), the answer says why: the caller must not go on as if it did.
        """
        if folder := self._of("devices"):
            return self._device_files(folder, rules)
        descriptor = self.descriptor()
        if descriptor is None:
            return DeviceControl("", "there is no cgroup for devices")
        from pycompose.runtime.linux import device_bpf, syscalls

        try:
            syscalls.attach_device_program(descriptor, device_bpf.device_program(rules))
        except OSError as error:
            return DeviceControl("", f"bpf: {error.strerror}")
        finally:
            os.close(descriptor)
        return DeviceControl("unified")

    def _device_files(self, folder: str, rules: tuple[DeviceRule, ...]) -> DeviceControl:
        lacking = []
        files: dict[str, int] = {}  # each opened once: a rule is a write of its own
        try:
            for rule in rules:
                number = ["*" if item is None else str(item) for item in (rule.major, rule.minor)]
                text = "a" if rule.type == "a" else f"{rule.type} {':'.join(number)} {rule.access}"
                name = f"devices.{'allow' if rule.allow else 'deny'}"
                try:
                    if name not in files:
                        files[name] = os.open(f"{folder}/{name}", os.O_WRONLY | os.O_CLOEXEC)
                    os.write(files[name], text.encode("ascii"))
                except OSError as error:
                    if error.errno not in NO_EFFECT:
                        raise LimitRefused("device_cgroup_rules", name, text, error.errno or 0) from error
                    if not rule.allow:
                        return DeviceControl("", f"{name}: {error.strerror}")
                    lacking.append(text)  # the group above has not got it either: it stays denied
        finally:
            for descriptor in files.values():
                os.close(descriptor)
        note = f"devices stay denied here, as around this machine: {', '.join(lacking)}" if lacking else ""
        return DeviceControl("devices", note)

    # --- what is in it ---

    def processes(self) -> list[int]:
        """Every process in it, those in groups below too; numbers as this process's pid namespace has them."""
        folder = self._unified() or self._of("pids") or next(iter(self.folders().values()), "")
        pids: set[int] = set()
        for place in _below(folder) if folder else ():
            pids.update(int(line) for line in _read(f"{place}/cgroup.procs").split())
        return sorted(pids - {0})  # 0: not of our namespace

    def stats(self) -> Stats:
        """Read from any process; what is not counted here is None."""
        unified, memory = self._unified(), self._of("memory")
        if account := self._of("cpuacct"):
            cpu = _number(f"{account}/cpuacct.usage")
        else:
            usage = _numbers(f"{unified}/cpu.stat").get("usage_usec")
            cpu = None if usage is None else usage * 1000
        if memory:
            used, cached = _number(f"{memory}/memory.usage_in_bytes"), "total_inactive_file"
            limit = _number(f"{memory}/memory.limit_in_bytes")
            limit = None if limit is None or limit > 1 << 62 else limit
        else:
            memory, cached = unified, "inactive_file"
            used, limit = _number(f"{memory}/memory.current"), _number(f"{memory}/memory.max")
        if used is not None:
            used = max(0, used - _numbers(f"{memory}/memory.stat").get(cached, 0))
        pids = self._of("pids") or unified
        read, write = self._block_bytes(unified)
        return Stats(cpu, used, limit, _number(f"{pids}/pids.current"), _number(f"{pids}/pids.max"), read, write)

    def _block_bytes(self, unified: str) -> tuple[int | None, int | None]:
        if folder := self._of("blkio"):
            text = _read(f"{folder}/blkio.throttle.io_service_bytes_recursive")
            rows = [line.split() for line in text.splitlines()]
            sums = [sum(int(row[2]) for row in rows if len(row) == 3 and row[1] == kind) for kind in ("Read", "Write")]
            return sums[0], sums[1]
        if not os.path.exists(f"{unified}/io.stat"):
            return None, None
        items = [item.partition("=") for item in _read(f"{unified}/io.stat").split()]
        sums = [sum(int(value) for name, _, value in items if name == key) for key in ("rbytes", "wbytes")]
        return sums[0], sums[1]

    # --- the out-of-memory killer ---

    def oom_kills(self) -> int:
        """How many of its processes the kernel has killed for want of memory."""
        folder = self._of("memory")
        name = f"{folder}/memory.oom_control" if folder else f"{self._unified()}/memory.events"
        return _numbers(name).get("oom_kill", 0)

    def oom_watch(self) -> int | None:
        """A descriptor that becomes readable (EPOLLIN) when memory ran out; read it empty, then compare `oom_kills`.

        v1: an eventfd; v2: inotify of memory.events, which other events change too. None where memory is not counted.
        """
        if folder := self._of("memory"):
            event = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
            try:
                control = os.open(f"{folder}/memory.oom_control", os.O_RDONLY | os.O_CLOEXEC)
                try:
                    _write(f"{folder}/cgroup.event_control", f"{event} {control}")
                finally:
                    os.close(control)
            except OSError:
                os.close(event)
                return None
            return event
        from pycompose.runtime.linux import syscalls

        try:
            return syscalls.inotify_modified(f"{self._unified()}/memory.events")
        except OSError:
            return None

    # --- freezing, killing, removing ---

    def freeze(self, frozen: bool = True) -> None:
        """Stop or go on; returns when all of it stands still. Raises OSError (EBUSY if it does not within 2 s)."""
        unified = self._unified()
        if unified and os.path.exists(f"{unified}/cgroup.freeze"):
            _write(f"{unified}/cgroup.freeze", int(frozen))
            still = f"frozen {int(frozen)}"
            stands = _await_event(f"{unified}/cgroup.events", lambda text: still in text)
        elif folder := self._of("freezer"):
            stands = _freeze_version1(folder, "FROZEN" if frozen else "THAWED")
        else:
            raise OSError(errno.ENOTSUP, "there is no freezer on this machine", self.path)
        if frozen and not stands:
            with suppress(OSError):
                self.freeze(False)
            raise OSError(errno.EBUSY, "its processes cannot be frozen now", self.path)

    def kill_all(self) -> None:
        """SIGKILL to every process in it, frozen or not."""
        unified = self._unified()
        if unified:
            try:
                _write(f"{unified}/cgroup.kill", 1)  # Linux 5.14
                with suppress(OSError):
                    if folder := self._of("freezer"):
                        _write(f"{folder}/freezer.state", "THAWED")
                return
            except OSError:
                pass
        with suppress(OSError):
            self.freeze()  # so that none is born meanwhile
        for pid in self.processes():
            if pid > 1 and pid != os.getpid():
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        with suppress(OSError):
            self.freeze(False)

    def discard(self) -> bool:
        """Remove it if it is empty, and the folders above it if they are; whether it is gone. Does not wait."""
        gone = True
        for hierarchy in (*self.mounted.v1_folders(), self.mounted.unified):
            if hierarchy:
                gone = self._discard(hierarchy) and gone
        return gone

    def _discard(self, hierarchy: str) -> bool:
        folder = self._place(hierarchy)
        try:
            os.rmdir(folder)
        except FileNotFoundError:
            pass
        except OSError:
            for place in reversed(list(_below(folder))):  # a container that may write here has made its own
                with suppress(OSError):
                    os.rmdir(place)
            if os.path.isdir(folder):
                return False
        for _ in (*self.path.split("/")[:-1], *self.tree.split("/")):
            folder = os.path.dirname(folder)
            try:
                os.rmdir(folder)
            except FileNotFoundError:
                continue
            except OSError:
                break  # others are in it
        return True

    def remove(self) -> bool:
        """The same, waiting up to 2 s for dying processes to leave; whether it is gone."""
        if self.discard():
            return True
        if unified := self._unified():
            _await_event(f"{unified}/cgroup.events", lambda text: "populated 0" in text)
        end = time.monotonic() + WAIT
        while not self.discard():
            if time.monotonic() > end:
                return False
            time.sleep(0.001)  # v1 does not tell when the last one has left
        return True


def of_helpers(project: str) -> Cgroup:
    """Where a project's keeper, supervisor and fd store are: beside its containers, so that what these make them do is
    counted with the project."""
    return Cgroup(f"{project}/helpers")


def leave_unit() -> None:
    """Move this process out of the systemd unit or session it was started from, which ends all that is in its group.

    To the top of the tree: there alone a process may be beside groups (man 7 cgroups), and nothing is left of it.
    Where that is refused (a container with a systemd of its own) it stays, and ends with the unit.
    """
    if not os.path.exists(SYSTEMD):
        return
    mounted = hierarchies()
    tops = {"": mounted.unified, "name=systemd": mounted.version1.get("name=systemd", "")}
    for line in _read("/proc/self/cgroup").splitlines():
        _, name, path = line.split(":", 2)
        if path != "/" and (top := tops.get(name)):
            with suppress(OSError):
                _write(f"{top}/cgroup.procs", 0)


def _below(folder: str) -> Iterator[str]:
    """The folder and every group in it, parents first."""
    for place, _, _ in os.walk(folder):
        yield place


def _make_folder(path: str) -> None:
    with suppress(FileExistsError):
        os.mkdir(path, 0o755)


def _delegate(folder: str) -> None:
    """Let the groups in a v2 folder have every controller that it has itself."""
    missing = set(_read(f"{folder}/cgroup.controllers").split()) & {"cpu", "cpuset", "memory", "pids", "io"}
    missing -= set(_read(f"{folder}/cgroup.subtree_control").split())
    if not missing:
        return
    path = f"{folder}/cgroup.subtree_control"
    try:
        _write(path, " ".join(f"+{name}" for name in sorted(missing)))
    except OSError:
        for name in sorted(missing):  # one that is in the way (EBUSY, EINVAL) does not keep the others out
            with suppress(OSError):
                _write(path, f"+{name}")


def _inherit(folder: str, levels: int) -> None:
    """A new v1 cpuset is empty, and no process may enter it; old kernels count memory per folder alone.

    So may be a folder above, up to `levels` in all: another project that made it may not have come to fill it yet.
    """
    above = os.path.dirname(folder)
    for key in ("cpuset.cpus", "cpuset.mems"):
        text = _read(f"{folder}/{key}")
        if text and not text.strip():  # an empty one reads as a newline, one that is not there as nothing
            if levels > 1 and not _read(f"{above}/{key}").strip():
                _inherit(above, levels - 1)
            _write(f"{folder}/{key}", _read(f"{above}/{key}").strip())
    if _read(f"{folder}/memory.use_hierarchy").strip() == "0":
        if levels > 1:
            _inherit(above, levels - 1)
        with suppress(OSError):
            _write(f"{folder}/memory.use_hierarchy", 1)


def _await_event(path: str, arrived: Callable[[str], bool]) -> bool:
    """Wait until a cgroup.events file says so (it tells by POLLPRI); whether it did in time."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    poll = select.poll()
    poll.register(descriptor, select.POLLPRI)
    end = time.monotonic() + WAIT
    try:
        while not arrived(os.pread(descriptor, 4096, 0).decode("ascii")):
            left = end - time.monotonic()
            if left <= 0:
                return False
            poll.poll(left * 1000)
        return True
    except OSError:  # ENODEV: it was removed
        return False
    finally:
        os.close(descriptor)


def _freeze_version1(folder: str, wanted: str) -> bool:
    end = time.monotonic() + WAIT
    _write(f"{folder}/freezer.state", wanted)
    while (state := _read(f"{folder}/freezer.state").strip()) != wanted:
        if time.monotonic() > end or not state:
            return False
        time.sleep(0.001)  # v1 does not tell; written again, because a process may have been born meanwhile
        _write(f"{folder}/freezer.state", wanted)
    return True
