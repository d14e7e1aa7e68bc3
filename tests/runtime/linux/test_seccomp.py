"""The filter that is compiled from a seccomp section, run by an interpreter of its instructions (linux/filter.h)."""

from __future__ import annotations

import struct

import pytest
from pycompose.runtime.linux import seccomp
from pycompose.runtime.linux.syscall_numbers import AARCH64, I386, X86_64
from pycompose.runtime.spec import Seccomp, SeccompArg, SeccompRule

ALLOW, ENOSYS, KILL = 0x7FFF0000, 0x00050000 | 38, 0x80000000
NATIVE, OLD, ARM = 0xC000003E, 0x40000003, 0xC00000B7
BOTH = ("SCMP_ARCH_X86_64", "SCMP_ARCH_X86")


def outcome(program: bytes, number: int, *arguments: int, architecture: int = NATIVE) -> int:
    data = struct.pack("=iIQ6Q", number, architecture, 0, *(*arguments, *[0] * (6 - len(arguments))))
    code = list(struct.iter_unpack("=HBBI", program))
    at = accumulator = 0
    while True:
        operation, if_true, if_false, value = code[at]
        at += 1
        match operation:
            case 0x20:
                accumulator = struct.unpack_from("=I", data, value)[0]
            case 0x54:
                accumulator &= value
            case 0x05:
                at += value
            case 0x06:
                return int(value)
            case 0x15:
                at += if_true if accumulator == value else if_false
            case 0x25:
                at += if_true if accumulator > value else if_false
            case 0x35:
                at += if_true if accumulator >= value else if_false
            case _:
                raise AssertionError(hex(operation))


def profile(*syscalls: SeccompRule, architectures: tuple[str, ...] = BOTH) -> bytes:
    return seccomp.compile(Seccomp("SCMP_ACT_ERRNO", architectures=architectures, syscalls=syscalls))


def allowed(*names: str, args: tuple[SeccompArg, ...] = ()) -> SeccompRule:
    return SeccompRule(names, "SCMP_ACT_ALLOW", args=args)


def test_every_call_is_answered_as_the_profile_says() -> None:
    names = ("read", "openat", "close_range", "exit_group")
    program = profile(allowed(*names))
    for name, number in X86_64.items():
        if name != "close_range" and number <= X86_64["openat2"]:
            assert outcome(program, number) == (ALLOW if name in names else 0x00050001), name


def test_a_number_means_what_it_means_in_its_architecture() -> None:
    program = profile(allowed("read"))
    assert outcome(program, I386["read"], architecture=OLD) == ALLOW
    assert outcome(program, X86_64["read"], architecture=OLD) != ALLOW


def test_an_architecture_that_nobody_named_is_killed() -> None:
    assert outcome(profile(allowed("read")), AARCH64["read"], architecture=ARM) == KILL


def test_calls_newer_than_the_tables_and_x32_are_not_there() -> None:
    program = profile(allowed("read"))
    assert outcome(program, 5000) == ENOSYS
    assert outcome(program, 0x40000000 | X86_64["read"]) == ENOSYS


@pytest.mark.parametrize(
    ("operator", "value", "second", "let_through"),
    [
        ("SCMP_CMP_EQ", 7, 0, {7}),
        ("SCMP_CMP_NE", 7, 0, {0, 6, 8, 7 << 32, (7 << 32) + 7, 2**64 - 1}),
        ("SCMP_CMP_LT", 7, 0, {0, 6}),
        ("SCMP_CMP_LE", 7, 0, {0, 6, 7}),
        ("SCMP_CMP_GT", 7, 0, {8, 7 << 32, (7 << 32) + 7, 2**64 - 1}),
        ("SCMP_CMP_GE", 7, 0, {7, 8, 7 << 32, (7 << 32) + 7, 2**64 - 1}),
        ("SCMP_CMP_MASKED_EQ", 6, 6, {6, 7, (7 << 32) + 7, 2**64 - 1}),
        ("SCMP_CMP_EQ", 7 << 32, 0, {7 << 32}),
    ],
)
def test_arguments_are_compared_with_all_their_64_bits(
    operator: str, value: int, second: int, let_through: set[int]
) -> None:
    program = profile(allowed("personality", args=(SeccompArg(0, value, operator, second),)))
    values = (0, 6, 7, 8, 7 << 32, (7 << 32) + 7, 2**64 - 1)
    passed = {one for one in values if outcome(program, X86_64["personality"], one) == ALLOW}
    assert passed == let_through


def test_all_arguments_of_one_rule_must_hold_and_any_of_several_rules() -> None:
    first, second = SeccompArg(0, 1, "SCMP_CMP_EQ"), SeccompArg(1, 2, "SCMP_CMP_EQ")
    program = profile(
        allowed("socket", args=(first, second)), allowed("socket", args=(SeccompArg(0, 9, "SCMP_CMP_EQ"),))
    )
    number = X86_64["socket"]
    assert outcome(program, number, 1, 2) == ALLOW
    assert outcome(program, number, 9) == ALLOW
    assert outcome(program, number, 1, 3) != ALLOW
    assert outcome(program, number, 2, 2) != ALLOW


def test_an_unknown_operator_or_action_is_an_error() -> None:
    with pytest.raises(ValueError, match="SCMP_CMP_ODD"):
        profile(allowed("read", args=(SeccompArg(0, 1, "SCMP_CMP_ODD"),)))
    with pytest.raises(KeyError):
        profile(SeccompRule(("read",), "SCMP_ACT_ODD"))
