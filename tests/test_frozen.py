"""Classes made by `pycompose.frozen.dataclass` behave as the standard library's do."""

from __future__ import annotations

import copy
import dataclasses
import pickle
import subprocess
import sys
from collections.abc import Callable
from dataclasses import FrozenInstanceError, asdict, field, fields, replace
from typing import Any, ClassVar

import pytest
from pycompose.frozen import dataclass


@dataclass(frozen=True, slots=True)
class Ours:
    shared: ClassVar[int] = 3
    first: int
    second: str = "b"
    many: tuple[int, ...] = ()
    made: list[int] = field(default_factory=list, compare=False)
    hidden: int = field(default=7, repr=False)

    def total(self) -> int:
        return self.first + sum(self.many)


@dataclasses.dataclass(frozen=True, slots=True)
class Theirs:
    shared: ClassVar[int] = 3
    first: int
    second: str = "b"
    many: tuple[int, ...] = ()
    made: list[int] = field(default_factory=list, compare=False)
    hidden: int = field(default=7, repr=False)

    def total(self) -> int:
        return self.first + sum(self.many)


@dataclass(slots=True)
class Mutable:
    count: int = 0


@dataclass(frozen=True, slots=True)
class Nothing:
    pass


@dataclass(frozen=True, slots=True)
class Worded:
    value: int

    def __repr__(self) -> str:
        return "worded"

    def __eq__(self, other: object) -> bool:
        return True


def attempt(act: Callable[[], Any]) -> object:
    """What comes of it, with the class's name taken out."""
    try:
        result = act()
    except Exception as error:
        return type(error), str(error).replace("Ours", "").replace("Theirs", "")
    return repr(result).replace("Ours", "").replace("Theirs", "")


ACTS: list[Callable[[Any], Any]] = [
    lambda made: made(1),
    lambda made: made(1, "c", many=(2, 3), made=[4], hidden=5),
    lambda made: made(),
    lambda made: made(1, "b", (), [], 1, 2),
    lambda made: made(1, third=2),
    lambda made: made(1, first=1),
    lambda made: made(1) == made(1),
    lambda made: made(1) == made(2),
    lambda made: made(1, made=[1]) == made(1, made=[2]),
    lambda made: made(1) == 1,
    lambda made: hash(made(1)) == hash(made(1, made=[9])),
    lambda made: hash(made([])),
    lambda made: setattr(made(1), "first", 2),
    lambda made: delattr(made(1), "first"),
    lambda made: replace(made(1, many=(2,)), first=5).total(),
    lambda made: replace(made(1), other=5),
    lambda made: asdict(made(1, made=[2])),
    lambda made: [(f.name, f.default) for f in fields(made)],
    lambda made: made.__match_args__,
    lambda made: (made.shared, made(1).shared),
    lambda made: made.__slots__,
    lambda made: made(1).made is made(1).made,
    lambda made: copy.copy(made(1, made=[2])),
    lambda made: copy.deepcopy(made(1, made=[2])) == made(1),
    lambda made: pickle.loads(pickle.dumps(made(3, "x"))),
]


@pytest.mark.parametrize("act", ACTS)
def test_it_does_what_the_standard_librarys_does(act: Callable[[Any], Any]) -> None:
    assert attempt(lambda: act(Ours)) == attempt(lambda: act(Theirs))
    assert attempt(lambda: act(Ours)) == attempt(lambda: act(Theirs)), "the second object, with what is compiled"


def test_one_that_is_not_frozen_can_be_changed_and_has_no_hash() -> None:
    one = Mutable()
    one.count += 1
    assert one == Mutable(1)
    with pytest.raises(TypeError):
        hash(one)


def test_one_without_fields_equals_its_like() -> None:
    assert Nothing() == Nothing()
    assert hash(Nothing()) == hash(Nothing())


def test_methods_that_the_class_has_of_its_own_stay() -> None:
    assert repr(Worded(1)) == "worded"
    assert Worded(1) == Worded(2)
    with pytest.raises(FrozenInstanceError):
        Worded(1).value = 2  # type: ignore[misc]


def test_patterns_take_it_apart() -> None:
    match Ours(1, "x"):
        case Ours(first, "x"):
            assert first == 1
        case _:
            pytest.fail("it does not match")


def test_importing_the_model_compiles_no_method() -> None:
    program = "import pycompose.compose.model.project as m; print(m.Service.__init__.__code__.co_varnames[:2])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "('self', 'values')"
