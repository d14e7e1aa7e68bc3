"""Machine code for x86_64 and aarch64 from one description, and the smallest static program around it. Pure.

For programs of a few dozen instructions that do nothing but system calls: what must run where no interpreter may.
A description is a sequence of calls on `Code`; its values live in `Slot`s, registers that a system call leaves alone.
The result of the last system call is "the result" until the next. Sources: the Intel manual, volume 2; the Arm
manual, C6; elf(5); syscall(2).
What it does not do: memory of its own (a program's stack is what execve left there), arithmetic, functions.
"""

from __future__ import annotations

import os
import struct
from enum import Enum

from .syscall_numbers import AARCH64, X86_64

BASE = 0x400000  # where the program lies in memory
HEADERS = 64 + 2 * 56  # bytes of an ELF header and two program headers (elf(5))
MACHINES = {"x86_64": 62, "aarch64": 183}  # EM_X86_64, EM_AARCH64


class Slot(Enum):
    """A register that system calls preserve."""

    A, B, C, D, E, F = range(6)


class When(Enum):
    ALWAYS = "always"
    ZERO = "zero"
    NEGATIVE = "negative"  # an error of a system call is -errno


Argument = int | Slot | tuple[Slot, int]  # a number; what is in a slot; that and a distance


class Code:
    """The description of a program for one machine. Raises ValueError for a machine that is not known."""

    def __init__(self, machine: str = "") -> None:
        machine = machine or os.uname().machine
        if machine not in MACHINES:
            raise ValueError(f"no machine code is known for {machine}")
        self.machine = machine
        self._encode: _X86 | _Arm = _X86() if machine == "x86_64" else _Arm()
        self._numbers = X86_64 if machine == "x86_64" else AARCH64
        self._code = bytearray()
        self._labels: dict[str, int] = {}
        self._jumps: list[tuple[int, When | Slot, str]] = []

    def label(self, name: str) -> None:
        """The place of the next instruction."""
        self._labels[name] = len(self._code)

    def stack(self, to: Slot) -> None:
        """Put the stack's address into a slot: argc lies there at the program's start, then argv, then envp."""
        self._code += self._encode.stack(to)

    def set(self, to: Slot, value: Argument) -> None:
        self._code += self._encode.value(self._encode.slots[to.value], value)

    def index(self, to: Slot, at: Slot, by: Slot, distance: int = 0) -> None:
        """Put into a slot the address in `at`, and 8 times what is in `by`, and a distance."""
        self._code += self._encode.index(to, at, by, distance)

    def load(self, to: Slot, at: Slot, distance: int = 0) -> None:
        """Put the 8 bytes at the address in `at`, and a distance (bytes, a multiple of 8), into a slot."""
        self._code += self._encode.load(to, at, distance)

    def load_word(self, at: Slot, distance: int = 0) -> None:
        """Make the 4 bytes there the result."""
        self._code += self._encode.load_word(at, distance)

    def load_byte(self, at: Slot, distance: int = 0) -> None:
        """Make the byte there the result."""
        self._code += self._encode.load_byte(at, distance)

    def store_word(self, at: Slot, distance: int = 0) -> None:
        """Write the result's lower 4 bytes there."""
        self._code += self._encode.store_word(at, distance)

    def store(self, value: Slot, at: Slot, distance: int = 0) -> None:
        """Write the 8 bytes in a slot there."""
        self._code += self._encode.store(value, at, distance)

    def bits(self, low: int, width: int) -> None:
        """Make these bits of the result the result; `width` is at most 30."""
        self._code += self._encode.bits(low, width)

    def add(self, number: int) -> None:
        """Add a number below 4096 to the result."""
        self._code += self._encode.add(number)

    def keep(self, to: Slot) -> None:
        """Put the result into a slot."""
        self._code += self._encode.keep(to)

    def negate(self) -> None:
        """Make the result its negative."""
        self._code += self._encode.negate()

    def call(self, name: str, *arguments: Argument) -> None:
        """A system call by its name. Raises KeyError where the machine has none of it."""
        for register, value in zip(self._encode.arguments, arguments, strict=False):
            self._code += self._encode.value(register, value)
        self._code += self._encode.call(self._numbers[name])

    def jump(self, to: str, when: When = When.ALWAYS) -> None:
        """Go on at a label, always or as the result is."""
        self._jumps.append((len(self._code), when, to))
        self._code += self._encode.jump(when, 0)

    def jump_same(self, to: str, value: Slot) -> None:
        """Go on at a label if the result is what is in the slot."""
        self._jumps.append((len(self._code), value, to))
        self._code += self._encode.jump_same(value, 0)

    def code(self) -> bytes:
        """The instructions. Raises KeyError for a jump to a label that there is none of."""
        code = bytearray(self._code)
        for place, when, to in self._jumps:
            distance = self._labels[to] - place
            jump = (
                self._encode.jump_same(when, distance) if isinstance(when, Slot) else self._encode.jump(when, distance)
            )
            code[place : place + len(jump)] = jump
        return bytes(code)

    def program(self, data: bytes = b"", place: int = 0) -> bytes:
        """A static ELF program that begins with the first instruction; its stack cannot be executed.

        `data` lies at the address BASE + `place`. Raises ValueError if the instructions reach to there.
        """
        code = self.code()
        if data:
            if HEADERS + len(code) > place:
                raise ValueError("the data lies among the instructions")
            code = code.ljust(place - HEADERS, b"\0") + data
        size = HEADERS + len(code)
        head = struct.pack(
            "<16sHHIQQQIHHHHHH",
            b"\x7fELF\x02\x01\x01",
            2,  # ET_EXEC
            MACHINES[self.machine],
            1,
            BASE + HEADERS,
            64,
            0,
            0,
            64,
            56,
            2,
            64,
            0,
            0,
        )
        text = struct.pack("<IIQQQQQQ", 1, 5, 0, BASE, BASE, size, size, 0x10000)  # PT_LOAD, to be read and executed
        stack = struct.pack("<IIQQQQQQ", 0x6474E551, 6, 0, 0, 0, 0, 0, 16)  # PT_GNU_STACK, to be read and written
        return head + text + stack + code


class _X86:
    """Registers by number: rax 0, rcx 1, rdx 2, rbx 3, rsp 4, rbp 5, rsi 6, rdi 7, r8 8 … r15 15."""

    slots = (3, 5, 12, 13, 14, 15)
    arguments = (7, 6, 2, 10, 8, 9)

    def _move(self, to: int, source: int) -> bytes:
        return bytes([0x48 | source >> 3 << 2 | to >> 3, 0x89, 0xC0 | (source & 7) << 3 | to & 7])

    def _memory(self, opcode: bytes, register: int, base: int, distance: int, wide: bool) -> bytes:
        rex = 0x40 | wide << 3 | register >> 3 << 2 | base >> 3
        scaled = b"\x24" if base & 7 == 4 else b""  # r12 needs a SIB byte
        return bytes([rex]) + opcode + bytes([0x80 | (register & 7) << 3 | base & 7]) + scaled + _signed(distance)

    def value(self, register: int, value: Argument) -> bytes:
        if isinstance(value, Slot):
            return self._move(register, self.slots[value.value])
        if isinstance(value, tuple):
            return self._memory(b"\x8d", register, self.slots[value[0].value], value[1], True)
        if -(1 << 31) <= value < 1 << 31:
            return bytes([0x48 | register >> 3, 0xC7, 0xC0 | register & 7]) + _signed(value)
        return bytes([0x48 | register >> 3, 0xB8 | register & 7]) + struct.pack("<Q", value)

    def stack(self, to: Slot) -> bytes:
        return self._move(self.slots[to.value], 4)

    def keep(self, to: Slot) -> bytes:
        return self._move(self.slots[to.value], 0)

    def index(self, to: Slot, at: Slot, by: Slot, distance: int) -> bytes:
        register, base, count = (self.slots[slot.value] for slot in (to, at, by))
        rex = 0x48 | register >> 3 << 2 | count >> 3 << 1 | base >> 3
        return bytes([rex, 0x8D, 0x84 | (register & 7) << 3, 0xC0 | (count & 7) << 3 | base & 7]) + _signed(distance)

    def load(self, to: Slot, at: Slot, distance: int) -> bytes:
        return self._memory(b"\x8b", self.slots[to.value], self.slots[at.value], distance, True)

    def load_word(self, at: Slot, distance: int) -> bytes:
        return self._memory(b"\x8b", 0, self.slots[at.value], distance, False)

    def load_byte(self, at: Slot, distance: int) -> bytes:
        return self._memory(b"\x0f\xb6", 0, self.slots[at.value], distance, False)

    def store_word(self, at: Slot, distance: int) -> bytes:
        return self._memory(b"\x89", 0, self.slots[at.value], distance, False)

    def store(self, value: Slot, at: Slot, distance: int) -> bytes:
        return self._memory(b"\x89", self.slots[value.value], self.slots[at.value], distance, True)

    def bits(self, low: int, width: int) -> bytes:
        return bytes([0x48, 0xC1, 0xE8, low, 0x48, 0x25]) + _signed((1 << width) - 1)  # shr, and

    def add(self, number: int) -> bytes:
        return b"\x48\x05" + _signed(number)

    def jump_same(self, value: Slot, distance: int) -> bytes:
        register = self.slots[value.value]
        compared = bytes([0x48 | register >> 3 << 2, 0x39, 0xC0 | (register & 7) << 3])  # with rax
        return compared + b"\x0f\x84" + _signed(distance - 9)

    def negate(self) -> bytes:
        return b"\x48\xf7\xd8"

    def call(self, number: int) -> bytes:
        return self.value(0, number) + b"\x0f\x05"

    def jump(self, when: When, distance: int) -> bytes:
        opcode = {When.ALWAYS: b"\xe9", When.ZERO: b"\x48\x85\xc0\x0f\x84", When.NEGATIVE: b"\x48\x85\xc0\x0f\x88"}[
            when
        ]
        return opcode + _signed(distance - len(opcode) - 4)


class _Arm:
    """Registers by number; the result is in x0, a system call's number in x8."""

    slots = (19, 20, 21, 22, 23, 24)
    arguments = (0, 1, 2, 3, 4, 5)

    def _move(self, to: int, source: int) -> bytes:
        return _word(0xAA0003E0 | source << 16 | to)

    def value(self, register: int, value: Argument) -> bytes:
        if isinstance(value, Slot):
            return self._move(register, self.slots[value.value])
        if isinstance(value, tuple):
            slot, distance = value
            add = 0x91000000 if distance >= 0 else 0xD1000000
            return _word(add | _within(abs(distance), 12) << 10 | self.slots[slot.value] << 5 | register)
        if value < 0:
            return _word(0x92800000 | _within(~value, 16) << 5 | register)  # movn
        parts = [(shift, value >> 16 * shift & 0xFFFF) for shift in range(4)]
        code = _word(0xD2800000 | parts[0][1] << 5 | register)  # movz, then movk
        for shift, part in parts[1:]:
            if part:
                code += _word(0xF2800000 | shift << 21 | part << 5 | register)
        return code

    def stack(self, to: Slot) -> bytes:
        return _word(0x910003E0 | self.slots[to.value])

    def keep(self, to: Slot) -> bytes:
        return self._move(self.slots[to.value], 0)

    def index(self, to: Slot, at: Slot, by: Slot, distance: int) -> bytes:
        register, base, count = (self.slots[slot.value] for slot in (to, at, by))
        return _word(0x8B000C00 | count << 16 | base << 5 | register) + self.value(register, (to, distance))

    def load(self, to: Slot, at: Slot, distance: int) -> bytes:
        return self._memory(0xF9400000, self.slots[to.value], at, distance, 8)

    def load_word(self, at: Slot, distance: int) -> bytes:
        return self._memory(0xB9400000, 0, at, distance, 4)

    def load_byte(self, at: Slot, distance: int) -> bytes:
        return self._memory(0x39400000, 0, at, distance, 1)

    def store_word(self, at: Slot, distance: int) -> bytes:
        return self._memory(0xB9000000, 0, at, distance, 4)

    def _memory(self, opcode: int, register: int, at: Slot, distance: int, size: int) -> bytes:
        return _word(opcode | _within(distance // size, 12) << 10 | self.slots[at.value] << 5 | register)

    def store(self, value: Slot, at: Slot, distance: int) -> bytes:
        return self._memory(0xF9000000, self.slots[value.value], at, distance, 8)

    def bits(self, low: int, width: int) -> bytes:
        return _word(0xD3400000 | low << 16 | low + width - 1 << 10)  # ubfx

    def add(self, number: int) -> bytes:
        return _word(0x91000000 | _within(number, 12) << 10)

    def jump_same(self, value: Slot, distance: int) -> bytes:
        compared = _word(0xEB00001F | self.slots[value.value] << 16)  # x0 with it
        return compared + _word(0x54000000 | ((distance - 4) // 4 & 0x7FFFF) << 5)

    def negate(self) -> bytes:
        return _word(0xCB0003E0)

    def call(self, number: int) -> bytes:
        return self.value(8, number) + _word(0xD4000001)

    def jump(self, when: When, distance: int) -> bytes:
        words = distance // 4
        if when is When.ALWAYS:
            return _word(0x14000000 | words & 0x3FFFFFF)
        if when is When.ZERO:
            return _word(0xB4000000 | (words & 0x7FFFF) << 5)
        return _word(0xB7F80000 | (words & 0x3FFF) << 5)  # bit 63 is set


def _signed(value: int) -> bytes:
    return struct.pack("<i", value)


def _word(value: int) -> bytes:
    return struct.pack("<I", value)


def _within(value: int, bits: int) -> int:
    if not 0 <= value < 1 << bits:
        raise ValueError(f"{value} does not fit into {bits} bits")
    return value
