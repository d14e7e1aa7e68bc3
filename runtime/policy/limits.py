"""Resource limits as files of cgroups v1 and v2: which file gets which text. Pure.

What the kernel calls otherwise, or lacks, is told by the compose file's own word (`option`), so that a note can say
what has no effect. Sources: Documentation/admin-guide/cgroup-v1/*, cgroup-v2.rst; conversions as runc does them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from pycompose.frozen import dataclass
from pycompose.runtime.spec import BlockIoResources, Resources, ThrottleDevice

DEFAULT_PERIOD = 100_000  # microseconds


@dataclass(frozen=True, slots=True)
class Setting:
    """Write the first of `choices` (file, text) whose file is there; without any, `option` has no effect."""

    option: str
    controller: str
    choices: tuple[tuple[str, str], ...] = ()
    implied: bool = False  # nobody asked for it by name: its absence is not worth a word


def weight_of_shares(shares: int) -> int:
    """cpu.weight of cpu.shares: 2, 1024, 262144 become 1, 100, 10000, on a quadratic curve of their logarithms."""
    if shares <= 2:
        return 1
    if shares >= 262_144:
        return 10_000
    power = math.log2(shares)
    return math.ceil(round(10 ** ((power * power + 125 * power) / 612 - 7 / 34), 9))


def _limit(value: int) -> str:
    return "max" if value < 0 else str(value)


def version1(resources: Resources) -> Iterator[Setting]:
    """In the order in which the kernel takes them: memory before memory and swap, periods before quotas."""
    memory, cpu, block = resources.memory, resources.cpu, resources.block_io
    if memory.limit is not None:
        yield Setting("mem_limit", "memory", (("memory.limit_in_bytes", str(memory.limit)),))
    if memory.swap is not None:
        implied = memory.limit is not None and memory.swap == 2 * memory.limit
        yield Setting("memswap_limit", "memory", (("memory.memsw.limit_in_bytes", str(memory.swap)),), implied)
    if memory.reservation is not None:
        yield Setting("mem_reservation", "memory", (("memory.soft_limit_in_bytes", str(memory.reservation)),))
    if memory.swappiness is not None:
        yield Setting("mem_swappiness", "memory", (("memory.swappiness", str(memory.swappiness)),))
    if memory.disable_oom_killer:
        yield Setting("oom_kill_disable", "memory", (("memory.oom_control", "1"),))
    if cpu.shares:
        yield Setting("cpu_shares", "cpu", (("cpu.shares", str(cpu.shares)),))
    if cpu.period:
        yield Setting("cpu_period", "cpu", (("cpu.cfs_period_us", str(cpu.period)),))
    if cpu.quota:
        yield Setting("cpus", "cpu", (("cpu.cfs_quota_us", str(max(cpu.quota, -1))),))
    if cpu.realtime_period:
        yield Setting("cpu_rt_period", "cpu", (("cpu.rt_period_us", str(cpu.realtime_period)),))
    if cpu.realtime_runtime:
        yield Setting("cpu_rt_runtime", "cpu", (("cpu.rt_runtime_us", str(cpu.realtime_runtime)),))
    if cpu.cpus:
        yield Setting("cpuset", "cpuset", (("cpuset.cpus", cpu.cpus),))
    if cpu.mems:
        yield Setting("cpuset", "cpuset", (("cpuset.mems", cpu.mems),))
    if resources.pids_limit is not None:
        pids = resources.pids_limit
        yield Setting("pids_limit", "pids", (("pids.max", str(pids) if pids > 0 else "max"),))
    if block.weight:
        choices = tuple((name, str(block.weight)) for name in ("blkio.weight", "blkio.bfq.weight"))
        yield Setting("blkio_config.weight", "blkio", choices)
    for item in block.weight_device:
        text = f"{item.major}:{item.minor} {item.weight}"
        names = ("blkio.weight_device", "blkio.bfq.weight_device")
        yield Setting("blkio_config.weight_device", "blkio", tuple((name, text) for name in names))
    for option, device, _ in _throttles(block):
        name = "blkio.throttle." + option.removeprefix("device_") + "_device"
        text = f"{device.major}:{device.minor} {device.rate}"
        yield Setting(f"blkio_config.{option}", "blkio", ((name, text),))


def version2(resources: Resources) -> Iterator[Setting]:
    memory, cpu, block = resources.memory, resources.cpu, resources.block_io
    if memory.limit is not None:
        yield Setting("mem_limit", "memory", (("memory.max", _limit(memory.limit)),))
    if memory.swap is not None:
        implied = memory.limit is not None and memory.swap == 2 * memory.limit
        # v1 counts memory and swap together, v2 swap alone
        swap = memory.swap if memory.swap < 0 else max(0, memory.swap - max(0, memory.limit or 0))
        yield Setting("memswap_limit", "memory", (("memory.swap.max", _limit(swap)),), implied)
    if memory.reservation is not None:
        yield Setting("mem_reservation", "memory", (("memory.low", _limit(memory.reservation)),))
    if memory.swappiness is not None:
        yield Setting("mem_swappiness", "memory")
    if memory.disable_oom_killer:
        yield Setting("oom_kill_disable", "memory")
    if cpu.shares:
        yield Setting("cpu_shares", "cpu", (("cpu.weight", str(weight_of_shares(cpu.shares))),))
    if cpu.quota or cpu.period:
        quota = str(cpu.quota) if cpu.quota and cpu.quota > 0 else "max"
        yield Setting("cpus", "cpu", (("cpu.max", f"{quota} {cpu.period or DEFAULT_PERIOD}"),))
    if cpu.realtime_period:
        yield Setting("cpu_rt_period", "cpu")
    if cpu.realtime_runtime:
        yield Setting("cpu_rt_runtime", "cpu")
    if cpu.cpus:
        yield Setting("cpuset", "cpuset", (("cpuset.cpus", cpu.cpus),))
    if cpu.mems:
        yield Setting("cpuset", "cpuset", (("cpuset.mems", cpu.mems),))
    if resources.pids_limit is not None:
        pids = resources.pids_limit
        yield Setting("pids_limit", "pids", (("pids.max", str(pids) if pids > 0 else "max"),))
    if block.weight:
        wide = 1 + (block.weight - 10) * 9999 // 990  # 10…1000 to 1…10000
        choices = (("io.bfq.weight", str(block.weight)), ("io.weight", f"default {wide}"))
        yield Setting("blkio_config.weight", "io", choices)
    for item in block.weight_device:
        wide = 1 + (item.weight - 10) * 9999 // 990
        place = f"{item.major}:{item.minor}"
        choices = (("io.bfq.weight", f"{place} {item.weight}"), ("io.weight", f"{place} {wide}"))
        yield Setting("blkio_config.weight_device", "io", choices)
    for option, device, key in _throttles(block):
        text = f"{device.major}:{device.minor} {key}={device.rate}"
        yield Setting(f"blkio_config.{option}", "io", (("io.max", text),))


def _throttles(block: BlockIoResources) -> Iterator[tuple[str, ThrottleDevice, str]]:
    """(the option's name, the device, v2's key)"""
    for name, devices, key in (
        ("device_read_bps", block.throttle_read_bps_device, "rbps"),
        ("device_write_bps", block.throttle_write_bps_device, "wbps"),
        ("device_read_iops", block.throttle_read_iops_device, "riops"),
        ("device_write_iops", block.throttle_write_iops_device, "wiops"),
    ):
        for device in devices:
            yield name, device, key
