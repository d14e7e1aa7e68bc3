"""Capabilities by name."""

from __future__ import annotations

import pytest
from pycompose.runtime.linux import capabilities


def test_names_are_the_bits_of_the_kernel() -> None:
    assert capabilities.mask(()) == 0
    assert capabilities.mask(("CAP_CHOWN", "CAP_SYS_ADMIN", "CAP_CHECKPOINT_RESTORE")) == 1 | 1 << 21 | 1 << 40


def test_the_kernel_has_none_that_is_not_named() -> None:
    with open("/proc/sys/kernel/cap_last_cap") as file:
        assert int(file.read()) < len(capabilities.NAMES)


def test_an_unknown_name_is_an_error() -> None:
    with pytest.raises(ValueError, match="not in tuple"):
        capabilities.mask(("CAP_FLY",))
