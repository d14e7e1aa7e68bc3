"""Control groups of containers: pycompose/<project>/<id> in v2, or in every v1 hierarchy (and the hybrid's v2 one).

Standard library only. What a controller that is missing would have limited is left unlimited.
"""

from __future__ import annotations

import os
import signal
import time
from dataclasses import dataclass, field

from .spec import Resources

ROOT = "/sys/fs/cgroup"


def _write(path: str, value: object) -> None:
    with open(path, "w") as file:
        file.write(str(value))


@dataclass(frozen=True, slots=True)
class Cgroup:
    """`path` is relative: "project/id"."""

    path: str
    root: str = ROOT
    tree: str = field(default_factory=lambda: os.environ.get("PYCOMPOSE_CGROUP", "pycompose"))  # moved by tests

    @property
    def unified(self) -> bool:
        return os.path.exists(f"{self.root}/cgroup.controllers")

    def folders(self) -> dict[str, str]:
        """Controller -> folder; "unified" is the v2 one."""
        if self.unified:
            return {"unified": f"{self.root}/{self.tree}/{self.path}"}
        try:
            names = sorted(os.listdir(self.root))
        except OSError:
            return {}
        return {
            name: f"{self.root}/{name}/{self.tree}/{self.path}"
            for name in names
            if name != "systemd" and os.path.exists(f"{self.root}/{name}/cgroup.procs")
        }

    def create(self) -> None:
        for name, folder in self.folders().items():
            if self.unified:
                at = self.root
                for part in f"{self.tree}/{self.path}".split("/"):
                    with open(f"{at}/cgroup.controllers") as file:
                        for controller in file.read().split():
                            try:
                                _write(f"{at}/cgroup.subtree_control", f"+{controller}")
                            except OSError:
                                continue
                    at = f"{at}/{part}"
                    os.makedirs(at, exist_ok=True)
                continue
            at = f"{self.root}/{name}"
            for part in f"{self.tree}/{self.path}".split("/"):
                above, at = at, f"{at}/{part}"
                os.makedirs(at, exist_ok=True)
                if name == "cpuset":  # a new v1 cpuset is empty, and no process may enter it
                    for key in ("cpuset.cpus", "cpuset.mems"):
                        with open(f"{above}/{key}") as file:
                            value = file.read().strip()
                        with open(f"{at}/{key}") as file:
                            if file.read().strip():
                                continue
                        _write(f"{at}/{key}", value)

    def enter(self, pid: int) -> None:
        for folder in self.folders().values():
            _write(f"{folder}/cgroup.procs", pid)

    def apply(self, resources: Resources) -> None:
        """Set the limits. Raises OSError for one that the kernel refuses."""
        memory, cpu = resources.memory, resources.cpu
        at = self.folders()
        if self.unified:
            folder = at["unified"]
            wanted = {
                "memory.max": memory.limit,
                "memory.low": memory.reservation,
                "pids.max": resources.pids_limit,
                "cpuset.cpus": cpu.cpus or None,
                "cpuset.mems": cpu.mems or None,
            }
            if memory.swap is not None:
                wanted["memory.swap.max"] = "max" if memory.swap < 0 else memory.swap - (memory.limit or 0)
            if cpu.quota is not None:
                wanted["cpu.max"] = f"{cpu.quota if cpu.quota > 0 else 'max'} {cpu.period or 100000}"
            if cpu.shares:
                wanted["cpu.weight"] = max(1, min(10000, 1 + (cpu.shares - 2) * 9999 // 262142))
            files = {f"{folder}/{key}": value for key, value in wanted.items()}
        else:
            files = {
                f"{at.get('memory')}/memory.limit_in_bytes": memory.limit,
                f"{at.get('memory')}/memory.soft_limit_in_bytes": memory.reservation,
                f"{at.get('memory')}/memory.memsw.limit_in_bytes": memory.swap,
                f"{at.get('pids')}/pids.max": resources.pids_limit,
                f"{at.get('cpu')}/cpu.shares": cpu.shares,
                f"{at.get('cpu')}/cpu.cfs_period_us": cpu.period,
                f"{at.get('cpu')}/cpu.cfs_quota_us": cpu.quota,
                f"{at.get('cpuset')}/cpuset.cpus": cpu.cpus or None,
                f"{at.get('cpuset')}/cpuset.mems": cpu.mems or None,
            }
            for rule in resources.devices if "devices" in at else ():
                number = [("*" if item is None else str(item)) for item in (rule.major, rule.minor)]
                text = "a" if rule.type == "a" else f"{rule.type} {':'.join(number)} {rule.access}"
                _write(f"{at['devices']}/devices.{'allow' if rule.allow else 'deny'}", text)
        for path, value in files.items():
            if value is not None and os.path.exists(path):
                _write(path, "max" if value == -1 and path.endswith("pids.max") else value)

    def freeze(self, frozen: bool = True) -> None:
        at = self.folders()
        if self.unified:
            _write(f"{at['unified']}/cgroup.freeze", int(frozen))
        elif "freezer" in at:
            _write(f"{at['freezer']}/freezer.state", "FROZEN" if frozen else "THAWED")

    def processes(self) -> list[int]:
        at = self.folders()
        folder = at.get("unified") or at.get("pids") or next(iter(at.values()), "")
        try:
            with open(f"{folder}/cgroup.procs") as file:
                return [int(line) for line in file]
        except OSError:
            return []

    def kill_all(self) -> None:
        """SIGKILL to every process in it, frozen or not."""
        folder = self.folders().get("unified", "")
        if os.path.exists(f"{folder}/cgroup.kill") and self.unified:
            _write(f"{folder}/cgroup.kill", 1)
            return
        for pid in self.processes():
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        try:
            self.freeze(False)
        except OSError:
            pass

    def oom_kills(self) -> int:
        at = self.folders()
        path = f"{at['unified']}/memory.events" if self.unified else f"{at.get('memory')}/memory.oom_control"
        try:
            with open(path) as file:
                return next((int(line.split()[1]) for line in file if line.startswith("oom_kill ")), 0)
        except OSError:
            return 0

    def remove(self) -> None:
        for folder in self.folders().values():
            for _ in range(50):  # a dying process leaves its group a moment after its parent has reaped it
                try:
                    os.rmdir(folder)
                except FileNotFoundError:
                    pass
                except OSError:
                    time.sleep(0.002)
                    continue
                break
            above = os.path.dirname(folder)
            try:
                os.rmdir(above)  # the project's, with its last container
                os.rmdir(os.path.dirname(above))
            except OSError:  # others are in it
                continue
