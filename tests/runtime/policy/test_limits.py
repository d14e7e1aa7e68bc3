"""Limits as text for cgroup files, and device rules as a program: pure."""

from __future__ import annotations

import struct

import pytest
from pycompose.runtime.linux.device_bpf import device_program
from pycompose.runtime.policy import limits
from pycompose.runtime.policy.profile import device_rules
from pycompose.runtime.spec import (
    BlockIoResources,
    CpuResources,
    DeviceRule,
    MemoryResources,
    Resources,
    ThrottleDevice,
    WeightDevice,
)


def texts(settings: object) -> dict[str, str]:
    return {name: text for item in settings for name, text in item.choices}  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("shares", "weight"), [(2, 1), (1024, 100), (262_144, 10_000), (512, 59), (2048, 174), (1, 1), (10**9, 10_000)]
)
def test_shares_become_weights_as_in_runc(shares: int, weight: int) -> None:
    assert limits.weight_of_shares(shares) == weight


def test_swap_is_counted_together_on_v1_and_alone_on_v2() -> None:
    wanted = Resources(memory=MemoryResources(limit=100, swap=150))
    assert texts(limits.version1(wanted))["memory.memsw.limit_in_bytes"] == "150"
    assert texts(limits.version2(wanted))["memory.swap.max"] == "50"
    unlimited = Resources(memory=MemoryResources(limit=100, swap=-1))
    assert texts(limits.version2(unlimited))["memory.swap.max"] == "max"


def test_cpu_time_is_a_quota_of_a_period() -> None:
    wanted = Resources(cpu=CpuResources(quota=150_000, period=100_000))
    assert texts(limits.version1(wanted)) == {"cpu.cfs_period_us": "100000", "cpu.cfs_quota_us": "150000"}
    assert texts(limits.version2(wanted)) == {"cpu.max": "150000 100000"}


@pytest.mark.parametrize(("limit", "text"), [(-1, "max"), (0, "max"), (7, "7")])
def test_no_limit_of_processes_is_max(limit: int, text: str) -> None:
    assert texts(limits.version1(Resources(pids_limit=limit))) == {"pids.max": text}
    assert texts(limits.version2(Resources(pids_limit=limit))) == {"pids.max": text}


def test_block_devices_are_weighed_and_throttled() -> None:
    block = BlockIoResources(
        weight=500,
        weight_device=(WeightDevice(8, 0, 1000),),
        throttle_read_bps_device=(ThrottleDevice(8, 0, 1024),),
        throttle_write_iops_device=(ThrottleDevice(8, 16, 30),),
    )
    one, two = limits.version1(Resources(block_io=block)), list(limits.version2(Resources(block_io=block)))
    assert texts(one)["blkio.throttle.read_bps_device"] == "8:0 1024"
    assert texts(limits.version1(Resources(block_io=block)))["blkio.throttle.write_iops_device"] == "8:16 30"
    assert [item.choices for item in two] == [
        (("io.bfq.weight", "500"), ("io.weight", "default 4950")),
        (("io.bfq.weight", "8:0 1000"), ("io.weight", "8:0 10000")),
        (("io.max", "8:0 rbps=1024"),),
        (("io.max", "8:16 wiops=30"),),
    ]


def test_what_v2_lacks_is_a_setting_without_a_file() -> None:
    memory, cpu = MemoryResources(swappiness=1, disable_oom_killer=True), CpuResources(realtime_runtime=1)
    options = [item.option for item in limits.version2(Resources(memory=memory, cpu=cpu)) if not item.choices]
    assert options == ["mem_swappiness", "oom_kill_disable", "cpu_rt_runtime"]


def allowed(rules: tuple[DeviceRule, ...], kind: str, major: int, minor: int, access: str) -> bool:
    """Run the program as the kernel would."""
    code = list(struct.iter_unpack("=BBhi", device_program(rules)))
    wanted = sum({"m": 1, "r": 2, "w": 4}[letter] for letter in access)
    context = {0: wanted << 16 | {"b": 1, "c": 2}[kind], 4: major, 8: minor}
    registers, at = [0] * 6, 0
    while True:
        number, places, offset, value = code[at]
        target, source = places & 15, places >> 4
        at += 1
        match number:
            case 0x61:
                registers[target] = context[offset]
            case 0xBC:
                registers[target] = registers[source]
            case 0xB7:
                registers[target] = value
            case 0x54:
                registers[target] &= value & 0xFFFFFFFF
            case 0x74:
                registers[target] >>= value
            case 0x15:
                at += offset if registers[target] == value else 0
            case 0x55:
                at += offset if registers[target] != value else 0
            case 0x95:
                return bool(registers[0])


@pytest.mark.parametrize(
    ("device", "access", "answer"),
    [
        (("c", 1, 3), "rw", True),
        (("c", 1, 3), "rwm", True),
        (("c", 136, 77), "rw", True),
        (("c", 1, 1), "m", True),
        (("c", 1, 1), "r", False),
        (("b", 8, 0), "m", True),
        (("b", 8, 0), "rm", False),
        (("b", 1, 3), "r", False),
        (("c", 10, 229), "m", False),
        (("c", 10, 229), "r", False),
    ],
)
def test_the_default_device_rules_allow_what_dockers_do(
    device: tuple[str, int, int], access: str, answer: bool
) -> None:
    assert allowed(device_rules(), *device, access) is answer


def test_the_last_device_rule_that_speaks_of_an_access_wins() -> None:
    rules = (DeviceRule(True), DeviceRule(False, "b", 8, None, "w"))
    assert allowed(rules, "b", 8, 1, "r")
    assert not allowed(rules, "b", 8, 1, "rw")
    assert not allowed((*rules, DeviceRule(False)), "c", 1, 3, "r")
    assert allowed((DeviceRule(False), DeviceRule(True)), "b", 8, 1, "rwm")
