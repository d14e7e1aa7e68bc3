"""Compiler of OCI's seccomp section to classic BPF (linux/seccomp.h, linux/filter.h). Pure.

It tells the architecture, finds the system call by binary search, then compares arguments. What is newer than
every call that our tables know answers ENOSYS, so that a C library falls back instead of giving up (as runc does).
x32 answers ENOSYS too: few kernels have it, and its numbers are a second way to the same calls.
"""

from __future__ import annotations

import os
import struct
from functools import lru_cache

from pycompose.runtime.spec import Seccomp, SeccompArg

from .syscall_numbers import AARCH64, I386, X86_64

_ARCHITECTURES = {
    "SCMP_ARCH_X86_64": (0xC000003E, X86_64),
    "SCMP_ARCH_X86": (0x40000003, I386),
    "SCMP_ARCH_AARCH64": (0xC00000B7, AARCH64),
}
_NATIVE = {"x86_64": ("SCMP_ARCH_X86_64", "SCMP_ARCH_X86"), "aarch64": ("SCMP_ARCH_AARCH64",)}
_LOAD, _EQUAL, _ABOVE_OR_EQUAL, _ABOVE, _AND, _RETURN, _JUMP = 0x20, 0x15, 0x35, 0x25, 0x54, 0x06, 0x05
_ALLOW, _ERRNO, _KILL_PROCESS = 0x7FFF0000, 0x00050000, 0x80000000
_ACTIONS = {
    "SCMP_ACT_ALLOW": _ALLOW,
    "SCMP_ACT_ERRNO": _ERRNO,
    "SCMP_ACT_KILL": 0,
    "SCMP_ACT_KILL_THREAD": 0,
    "SCMP_ACT_KILL_PROCESS": _KILL_PROCESS,
    "SCMP_ACT_TRAP": 0x00030000,
    "SCMP_ACT_TRACE": 0x7FF00000,
    "SCMP_ACT_LOG": 0x7FFC0000,
}
_Instruction = tuple[int, int, int, int]
_Rules = list[tuple[int, tuple[SeccompArg, ...]]]


def _action(name: str, errno_ret: int | None) -> int:
    value = _ACTIONS[name]
    return value | (1 if errno_ret is None else errno_ret) if value == _ERRNO else value


@lru_cache(maxsize=32)
def compile(wanted: Seccomp, capabilities: tuple[str, ...] = ()) -> bytes:
    """The filter's bytes, 8 an instruction. Raises ValueError for an operator or KeyError for an action we do not know.

    `capabilities` are not looked at: the rules were chosen with them already. Made once a process for each profile.
    """
    default = _action(wanted.default_action, wanted.default_errno_ret)
    code: list[_Instruction] = [(_LOAD, 0, 0, 4)]  # seccomp_data.arch
    listed = wanted.architectures or _NATIVE[os.uname().machine]
    for name in listed:
        if name not in _ARCHITECTURES:
            continue  # x32, and machines that we do not run on
        number, table = _ARCHITECTURES[name]
        body = _architecture(wanted, table, default)
        code += [(_EQUAL, 1, 0, number), (_JUMP, 0, 0, len(body)), *body]
    code.append((_RETURN, 0, 0, _KILL_PROCESS))  # an architecture that nobody named
    if len(code) > 4096:
        raise ValueError("the seccomp profile is too long for the kernel")
    return b"".join(struct.pack("=HBBI", *instruction) for instruction in code)


def _architecture(wanted: Seccomp, table: dict[str, int], default: int) -> list[_Instruction]:
    rules: dict[int, _Rules] = {}
    for rule in wanted.syscalls:
        action = _action(rule.action, rule.errno_ret)
        for name in rule.names:
            if name in table:
                rules.setdefault(table[name], []).append((action, rule.args))
    plain: list[tuple[int, list[_Instruction]]] = []  # (first number, what to do from there on)
    previous = -1
    otherwise: list[_Instruction] = [(_RETURN, 0, 0, default)]
    for number in sorted(rules):
        if number != previous + 1:
            plain.append((previous + 1, otherwise))
        plain.append((number, _one(rules[number], default)))
        previous = number
    plain.append((previous + 1, otherwise))
    newest = max(table.values())
    if newest > previous:
        plain.append((newest + 1, [(_RETURN, 0, 0, _ERRNO | 38)]))
    else:
        plain[-1] = (newest + 1, [(_RETURN, 0, 0, _ERRNO | 38)])
    merged: list[tuple[int, list[_Instruction]]] = []
    for start, body in plain:
        if not merged or merged[-1][1] != body:
            merged.append((start, body))
    return [(_LOAD, 0, 0, 0), *_search(merged)]


def _search(ranges: list[tuple[int, list[_Instruction]]]) -> list[_Instruction]:
    if len(ranges) == 1:
        return ranges[0][1]
    middle = len(ranges) // 2
    left, right = _search(ranges[:middle]), _search(ranges[middle:])
    # Jumps of a comparison reach 255 instructions only; the long way is an unconditional one.
    return [(_ABOVE_OR_EQUAL, 0, 1, ranges[middle][0]), (_JUMP, 0, 0, len(left)), *left, *right]


def _one(rules: _Rules, default: int) -> list[_Instruction]:
    # An unconditional rule answers whatever the others say; libseccomp does the same.
    for action, arguments in rules:
        if not arguments:
            return [(_RETURN, 0, 0, action)]
    code: list[_Instruction] = []
    for action, arguments in rules:
        tests: list[_Instruction] = [(_RETURN, 0, 0, action)]
        for argument in reversed(arguments):
            tests = _test(argument, tests)
        code += tests
    return [*code, (_RETURN, 0, 0, default)]


def _test(argument: SeccompArg, then: list[_Instruction]) -> list[_Instruction]:
    """`then` if the 64-bit argument compares so, else jump past it. Words are little-endian on all our machines."""
    low_word = 16 + 8 * argument.index
    high, low = argument.value >> 32, argument.value & 0xFFFFFFFF
    size = len(then)
    if argument.op in ("SCMP_CMP_EQ", "SCMP_CMP_MASKED_EQ"):
        mask = argument.value if argument.op == "SCMP_CMP_MASKED_EQ" else 2**64 - 1
        value = argument.value_two if argument.op == "SCMP_CMP_MASKED_EQ" else argument.value
        return [
            (_LOAD, 0, 0, low_word + 4),
            (_AND, 0, 0, mask >> 32),
            (_EQUAL, 0, 3 + size, value >> 32),
            (_LOAD, 0, 0, low_word),
            (_AND, 0, 0, mask & 0xFFFFFFFF),
            (_EQUAL, 0, size, value & 0xFFFFFFFF),
            *then,
        ]
    if argument.op == "SCMP_CMP_NE":
        return [
            (_LOAD, 0, 0, low_word + 4),
            (_EQUAL, 0, 2, high),
            (_LOAD, 0, 0, low_word),
            (_EQUAL, size, 0, low),
            *then,
        ]
    compare = {"SCMP_CMP_GT": (_ABOVE, True), "SCMP_CMP_GE": (_ABOVE_OR_EQUAL, True)}
    compare |= {"SCMP_CMP_LE": (_ABOVE, False), "SCMP_CMP_LT": (_ABOVE_OR_EQUAL, False)}
    if argument.op not in compare:
        raise ValueError(f"seccomp operator {argument.op}")
    test, wanted = compare[argument.op]
    on_true, on_false = (0, size) if wanted else (size, 0)
    if wanted:
        return [
            (_LOAD, 0, 0, low_word + 4),
            (_ABOVE, 3, 0, high),
            (_EQUAL, 0, 2 + size, high),
            (_LOAD, 0, 0, low_word),
            (test, on_true, on_false, low),
            *then,
        ]
    return [
        (_LOAD, 0, 0, low_word + 4),
        (_ABOVE, 3 + size, 0, high),
        (_EQUAL, 0, 2, high),
        (_LOAD, 0, 0, low_word),
        (test, on_true, on_false, low),
        *then,
    ]
