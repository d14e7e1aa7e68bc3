"""The codec of dataclasses: what hints and a codec's own rules make of values."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import field

import pytest
from pycompose.dataclass_json import Codec, class_name
from pycompose.frozen import dataclass


@dataclass(frozen=True, slots=True)
class Leaf:
    some_name: float = 0.0


@dataclass(frozen=True, slots=True)
class Branch:
    leaves: tuple[Leaf, ...]
    child: Branch | None = None
    either: Leaf | Branch | tuple[str, ...] | str | None = None
    pair: tuple[str, Leaf] = ("", Leaf())
    by_name: Mapping[str, Leaf] = field(default_factory=dict)


PLAIN, TAGGED = Codec(), Codec(key_of=str.upper, tag="is", tag_of=class_name)
TREE = Branch((Leaf(1.5),), Branch(()), Leaf(2.0), ("a", Leaf(3.0)), {"x": Leaf(4.0)})


@pytest.mark.parametrize("either", [None, "a", ("a", "b"), Leaf(1.0), Branch((), either="b")])
def test_what_was_written_is_read_as_an_equal_value(either: Leaf | Branch | tuple[str, ...] | str | None) -> None:
    tree = Branch(TREE.leaves, TREE.child, either, TREE.pair, TREE.by_name)
    assert TAGGED.from_json(Branch, TAGGED.to_json(tree)) == tree


def test_keys_and_tags_are_the_codecs() -> None:
    assert TAGGED.to_json(Leaf(1.0)) == '{"is":"Leaf","SOME_NAME":1.0}'
    assert PLAIN.to_json(Leaf(1.0)) == '{"some_name":1.0}'


def test_unknown_keys_are_left_out_and_missing_ones_take_their_default() -> None:
    assert PLAIN.from_json(Branch, '{"leaves": [{}], "of_tomorrow": 1, "kind": 2}') == Branch((Leaf(),))


def test_a_number_without_a_fraction_is_read_as_the_float_that_it_is() -> None:
    assert type(PLAIN.from_json(Leaf, '{"some_name": 1}').some_name) is float


@pytest.mark.parametrize(
    "text",
    [
        "{}",
        "[]",
        "1",
        "null",
        '"leaves"',
        '{"leaves": {}}',
        '{"leaves": "ab"}',
        '{"leaves": ["some_name"]}',
        '{"leaves": [], "pair": ["a"]}',
        '{"leaves": [], "by_name": []}',
        '{"leaves": [], "by_name": "ab"}',
        "{",
    ],
)
def test_what_does_not_fit_is_a_value_error(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        PLAIN.from_json(Branch, text)


def test_a_tag_that_no_member_of_a_union_has_is_a_value_error() -> None:
    with pytest.raises(ValueError, match="Twig"):
        TAGGED.from_json(Branch, '{"LEAVES": [], "EITHER": {"is": "Twig"}}')


def test_what_is_no_data_cannot_be_written() -> None:
    with pytest.raises(TypeError, match="set"):
        PLAIN.to_json({1, 2})


@pytest.mark.parametrize("reading", [False, True])
def test_threads_that_use_a_codec_for_the_first_time_at_once_get_the_same(reading: bool) -> None:
    """The supervisor makes containers side by side."""
    results: list[object] = []

    def use() -> None:
        results.append(codec.from_json(Branch, text) == TREE if reading else codec.to_json(TREE) == text)

    def slow(name: str) -> str:
        if not others:
            others.append(threading.Thread(target=use))
            others[0].start()
            others[0].join(5)  # it comes in while this one works out what to do for the class
        return name

    others: list[threading.Thread] = []
    codec, text = Codec(key_of=slow), PLAIN.to_json(TREE)
    use()
    assert results == [True, True]


def test_of_a_steady_class_the_last_object_is_neither_written_nor_read_again() -> None:
    codec = Codec(steady=frozenset([Leaf]))
    leaf = Leaf(1.0)
    assert codec.to_plain(leaf) is codec.to_plain(leaf)
    assert codec.to_plain(Leaf(2.0)) == {"some_name": 2.0}
    first = codec.from_json(Leaf, '{"some_name": 1.0}')
    assert codec.from_json(Leaf, '{"some_name": 1.0}') is first
    assert codec.from_json(Leaf, '{"some_name": 2.0}') == Leaf(2.0)
