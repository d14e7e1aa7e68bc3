"""Machine code of both machines: each instruction as the manuals encode it, and a program that runs where this is."""

from __future__ import annotations

import os
import struct
import subprocess

import pytest
from pycompose.runtime.linux.machine_code import BASE, HEADERS, Code, Slot, When

HERE = os.uname().machine


def code(machine: str) -> Code:
    """Each kind of instruction once."""
    made = Code(machine)
    made.stack(Slot.A)
    made.load(Slot.B, Slot.A, 8)
    made.index(Slot.C, Slot.A, Slot.B, 16)
    made.set(Slot.D, 0x12345)
    made.set(Slot.E, (Slot.C, 24))
    made.load_byte(Slot.C, 1)
    made.load_word(Slot.E, 4)
    made.store_word(Slot.D, 4)
    made.keep(Slot.F)
    made.negate()
    made.label("again")
    made.call("close", -1)
    made.jump("again", When.ZERO)
    made.jump("again", When.NEGATIVE)
    made.jump("end")
    made.label("end")
    made.call("exit_group", Slot.F)
    return made


# Disassembled by objdump and llvm-mc, and read.
X86 = """
    4889e3 488bab08000000 4c8da4eb10000000 49c7c545230100 4d8db42418000000 410fb6842401000000 418b8604000000
    41898504000000 4989c7 48f7d8 48c7c7ffffffff 48c7c003000000 0f05 4885c00f84e7ffffff 4885c00f88deffffff e900000000
    4c89ff 48c7c0e7000000 0f05
"""
ARM = """
    f3030091 740640f9 750e148b b5420091 b668 84d2 3600a0f2 b7620091 a0064039 e00640b9 c00600b9 f80300aa e00300cb
    00008092 280780d2 010000d4 a0ffffb4 80ffffb7 01000014 e00318aa c80b80d2 010000d4
"""


def test_the_instructions_are_the_manuals() -> None:
    assert code("x86_64").code().hex() == "".join(X86.split())
    assert code("aarch64").code().hex() == "".join(ARM.split())


def test_what_cannot_be_encoded_is_refused() -> None:
    made = Code("aarch64")
    with pytest.raises(ValueError, match="12 bits"):
        made.load(Slot.A, Slot.B, 1 << 20)
    with pytest.raises(KeyError):
        made.call("fork")
    made.jump("nowhere")
    with pytest.raises(KeyError):
        made.code()
    with pytest.raises(ValueError, match="m68k"):
        Code("m68k")


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_the_program_is_small_and_static_and_its_stack_is_not_executed(machine: str) -> None:
    program = code(machine).program()
    assert len(program) < 1024
    assert program[:4] == b"\x7fELF"
    assert struct.unpack_from("<H", program, 18)[0] == {"x86_64": 62, "aarch64": 183}[machine]
    assert struct.unpack_from("<Q", program, 24)[0] == BASE + HEADERS
    kinds = [struct.unpack_from("<II", program, 64 + 56 * number) for number in range(2)]
    assert kinds == [(1, 5), (0x6474E551, 6)], (
        "one segment, to be read and executed, and a stack to be read and written"
    )


@pytest.mark.skipif(HERE not in ("x86_64", "aarch64"), reason="no machine code is known for this machine")
def test_a_program_runs() -> None:
    made = Code()
    made.stack(Slot.A)
    made.load(Slot.B, Slot.A, 16)
    made.call("write", 1, Slot.B, 5)
    made.keep(Slot.C)
    made.call("close", -1)
    made.jump("failed", When.NEGATIVE)
    made.call("exit_group", 1)
    made.label("failed")
    made.call("exit_group", Slot.C)
    memory = os.memfd_create("program")
    os.write(memory, made.program())
    done = subprocess.run(["name", "hello"], executable=f"/proc/self/fd/{memory}", pass_fds=(memory,), stdout=-1)
    os.close(memory)
    assert (done.returncode, done.stdout) == (5, b"hello")


def test_bits_sums_wide_words_and_what_is_the_same_are_the_manuals() -> None:
    """Disassembled by objdump, and read."""
    shown = {}
    for machine in ("x86_64", "aarch64"):
        made = Code(machine)
        made.store(Slot.C, Slot.B, 24)
        made.bits(8, 8)
        made.add(128)
        made.label("here")
        made.jump_same("here", Slot.E)
        shown[machine] = made.code().hex()
    x86 = "4c89a518000000 48c1e8084825ff000000 480580000000 4c39f00f84f7ffffff"
    assert shown["x86_64"] == x86.replace(" ", "")
    assert shown["aarch64"] == "950e00f9 003c48d3 00000291 1f0017eb e0ffff54".replace(" ", "")


def test_data_lies_where_it_is_said_to() -> None:
    made = Code("x86_64")
    made.call("exit_group", 0)
    program = made.program(b"data", 512)
    assert program[512:] == b"data"
    assert struct.unpack_from("<Q", program, 64 + 32)[0] == len(program)
    with pytest.raises(ValueError, match="among the instructions"):
        made.program(b"data", HEADERS)
