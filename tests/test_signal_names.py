"""Names of signals: every form that Docker takes, and nothing else."""

from __future__ import annotations

import signal

import pytest
from pycompose.signal_names import NUMBERS, signal_number

REAL_TIME = {f"RTMIN+{n}": 34 + n for n in range(31)} | {f"RTMAX-{n}": 64 - n for n in range(31)}


@pytest.mark.parametrize("prefix", ["", "SIG", "sig"])
def test_every_name_is_its_number_with_and_without_its_prefix(prefix: str) -> None:
    for name, number in {**NUMBERS, **REAL_TIME, "RTMIN": 34, "RTMAX": 64}.items():
        assert signal_number(f"{prefix}{name}") == number
        assert signal_number(f"{prefix}{name}".lower()) == number


def test_the_numbers_are_the_kernels() -> None:
    known = {
        member: number for name, number in NUMBERS.items() if (member := f"SIG{name}") in signal.Signals.__members__
    }
    assert {name: int(signal.Signals[name]) for name in known} == known
    assert {n for n in map(int, signal.Signals) if n < 32} == set(NUMBERS.values())


def test_a_number_is_itself() -> None:
    assert [signal_number(str(number)) for number in range(1, 65)] == list(range(1, 65))


NONE = ("", "0", "00", "65", "999999999999", "-1", "+9", "1.0", "SIG", "SIGSIGTERM", "TERMS", "FOO", "15 ", "\u0663")
NONE_REAL_TIME = ("RTMIN+", "RTMIN+31", "RTMIN+40", "RTMIN-1", "RTMAX-31", "RTMAX+1", "RTMIN+x", "SIGRTMIN+-1")


@pytest.mark.parametrize("text", [*NONE, *NONE_REAL_TIME])
def test_what_is_no_signal_has_no_number(text: str) -> None:
    assert signal_number(text) is None
