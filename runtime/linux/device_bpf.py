"""Device rules as a BPF program for cgroup v2, which has no devices files. Pure: rules in, instructions out.

The last rule that speaks of an access wins, as if the rules were written one after another to v1's files.
Sources: linux/bpf.h (struct bpf_cgroup_dev_ctx), Documentation/bpf/standardization/instruction-set.rst.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable

from pycompose.runtime.spec import DeviceRule

_LOAD, _MOVE_REGISTER, _MOVE, _AND, _SHIFT_RIGHT, _EQUAL, _NOT_EQUAL, _EXIT = (
    0x61,  # LDX | MEM | W
    0xBC,  # ALU | MOV | X
    0xB7,  # ALU64 | MOV | K
    0x54,  # ALU | AND | K
    0x74,  # ALU | RSH | K
    0x15,  # JMP | JEQ | K
    0x55,  # JMP | JNE | K
    0x95,  # JMP | EXIT
)
_TYPES = {"b": 1, "c": 2}  # BPF_DEVCG_DEV_*
_ACCESS = {"m": 1, "r": 2, "w": 4}  # BPF_DEVCG_ACC_*
_RESULT, _CONTEXT, _TYPE, _WANTED, _MAJOR, _MINOR = range(6)


def _instruction(code: int, target: int = 0, source: int = 0, offset: int = 0, value: int = 0) -> bytes:
    return struct.pack("=BBhi", code, target | source << 4, offset, value)


def device_program(rules: Iterable[DeviceRule]) -> bytes:
    """The program's bytes. What no rule speaks of is denied."""
    parts = [
        _instruction(_LOAD, _TYPE, _CONTEXT, 0),  # access << 16 | type
        _instruction(_MOVE_REGISTER, _WANTED, _TYPE),
        _instruction(_AND, _TYPE, value=0xFFFF),
        _instruction(_SHIFT_RIGHT, _WANTED, value=16),
        _instruction(_LOAD, _MAJOR, _CONTEXT, 4),
        _instruction(_LOAD, _MINOR, _CONTEXT, 8),
    ]
    for rule in reversed(tuple(rules)):
        verdict = _instruction(_MOVE, _RESULT, value=int(rule.allow)) + _instruction(_EXIT)
        tests = [] if rule.type == "a" else _tests(rule)
        left = sum(len(test) // 8 for test in tests)
        for test in tests:
            left -= len(test) // 8
            # the last instruction of a test jumps to the next rule
            parts.append(test[:-6] + struct.pack("=h", left + 2) + test[-4:])
        parts.append(verdict)
        if not tests:
            return b"".join(parts)  # the verifier refuses what cannot be reached
    parts.append(_instruction(_MOVE, _RESULT, value=0) + _instruction(_EXIT))
    return b"".join(parts)


def _tests(rule: DeviceRule) -> list[bytes]:
    tests = [_instruction(_NOT_EQUAL, _TYPE, value=_TYPES[rule.type])]
    named = sum(_ACCESS[letter] for letter in set(rule.access))
    if named != 7:
        # an allowing rule must name all of what is wanted, a denying one any of it
        look = _instruction(_MOVE_REGISTER, _RESULT, _WANTED)
        look += _instruction(_AND, _RESULT, value=~named if rule.allow else named)
        tests.append(look + _instruction(_NOT_EQUAL if rule.allow else _EQUAL, _RESULT, value=0))
    if rule.major is not None:
        tests.append(_instruction(_NOT_EQUAL, _MAJOR, value=rule.major))
    if rule.minor is not None:
        tests.append(_instruction(_NOT_EQUAL, _MINOR, value=rule.minor))
    return tests
