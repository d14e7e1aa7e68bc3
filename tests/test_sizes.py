"""A size is read in one way, and each field that holds one takes what Docker takes there."""

from __future__ import annotations

import pytest
from pycompose.compose.builds import options
from pycompose.compose.linux.oci import log_limits
from pycompose.compose.model.project import Logging
from pycompose.compose.model.quantities import size_of
from pycompose.errors import PycomposeError
from pycompose.runtime.images.dockerfile import BuildError, running, syntax
from pycompose.sizes import size_in_bytes

SIZES = {
    "0": 0,
    "32": 32,
    "32b": 32,
    "32B": 32,
    "32k": 32 << 10,
    "32K": 32 << 10,
    "32kb": 32 << 10,
    "32Kb": 32 << 10,
    "32KiB": 32 << 10,
    "32 kib": 32 << 10,
    "32m": 32 << 20,
    "1.5g": 3 << 29,
    "2GiB": 2 << 30,
    "32TB": 32 << 40,
    "1P": 1 << 50,
    " 10m ": 10 << 20,
    "32.3": 32,
}
NONE = (
    "",
    "hello",
    "-32",
    "32 q",
    "32bm",
    "b",
    "k",
    ".5g",
    "1.g",
    "1,5g",
    "0x10",
    "1e3",
    "m10",
    "1 0",
    chr(0x661),
    "9999999P",
)


@pytest.mark.parametrize("text", SIZES)
def test_a_size_is_a_number_and_a_unit_of_1024(text: str) -> None:
    assert size_in_bytes(text) == SIZES[text]


@pytest.mark.parametrize("text", NONE)
def test_what_is_no_size_is_none(text: str) -> None:
    assert size_in_bytes(text) is None


@pytest.mark.parametrize("text", SIZES)
def test_every_kind_of_field_takes_the_same_sizes(text: str) -> None:
    size = SIZES[text]
    assert size_of(text) == size  # mem_limit, shm_size, tmpfs of a file
    assert options.size("--shm-size", text) == size
    assert log_limits(Logging("json-file", {"max-size": text}))[0] == size
    assert mounted(text) == size


def mounted(size: str) -> int:
    run = syntax.parse("FROM scratch\nRUN true", "Dockerfile").instructions[1]
    return running.mount(f"type=tmpfs,target=/t,size={size}", run, {}, "\\", "/").size


def test_only_a_files_field_takes_minus_one_for_no_limit() -> None:
    assert size_of("-1") == -1
    with pytest.raises(PycomposeError):
        options.size("--shm-size", "-1")
    with pytest.raises(PycomposeError):
        log_limits(Logging("json-file", {"max-size": "-1"}))
    with pytest.raises(BuildError, match="no size"):
        mounted("-1")


def test_nothing_is_no_limit_where_a_field_may_be_left_out() -> None:
    assert options.size("--shm-size", None) is None
    assert log_limits(None) == log_limits(Logging("json-file", {})) == (0, 1)
    assert mounted("") == 0
    assert size_of("") is None
