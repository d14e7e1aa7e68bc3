"""YAML as compose files have it: what scalars are, what is an error and where, and that the work is bounded."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
import yaml
from pycompose.compose.file import source
from pycompose.compose.file.source import Map, Text, decode, parse, plain_value, whole
from pycompose.compose.model.errors import FileError, Problem

HERE = Path(__file__).parent


def one(content: str) -> object:
    (tree,) = parse(content, "f")
    return plain_value(tree)


def problem(content: str | bytes) -> Problem:
    with pytest.raises(FileError) as caught:
        parse(decode(content if isinstance(content, bytes) else content.encode(), "f"), "f")
    return caught.value.problems[0]


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("22:22", "22:22"),
        ("1:30:00", "1:30:00"),
        ("yes", "yes"),
        ("off", "off"),
        ("true", True),
        ("False", False),
        ("~", None),
        ("Null", None),
        ("nULL", "nULL"),
        ("0x1F", 31),
        ("0o17", 15),
        ("017", 15),
        ("0b11", 3),
        ("08", 8),
        ("1_000", 1000),
        ("-12", -12),
        ("1.5e3", 1500.0),
        ("'12'", "12"),
        ("!!str 12", "12"),
        ("!!int '12'", 12),
        ("!!binary aGk=", "hi"),
        ("2001-01-01", "2001-01-01"),
        ("1" * 5000, "1" * 5000),
    ],
)
def test_scalars_are_what_compose_takes_them_for(written: str, meant: object) -> None:
    assert one(f"a: {written}") == {"a": meant}


def test_a_whole_number_has_digits() -> None:
    assert whole("0x_") is None


def test_what_stands_behind_a_quote_is_no_null() -> None:
    assert one("{a: '', b: , c: \"null\"}") == {"a": "", "b": None, "c": "null"}


def test_merge_keys_give_what_is_not_said_and_the_first_of_a_list_wins() -> None:
    content = "x: &x {a: 1, b: 1}\ny: &y {b: 2, c: 2, d: !reset 1}\nz:\n  <<: [*x, *y]\n  a: 0\n  c:\n"
    tree = parse(content, "f")[0]
    assert isinstance(tree, Map)
    assert plain_value(tree["z"]) == {"a": 0, "c": None, "b": 1, "d": 1}
    assert isinstance(tree["z"], Map)
    assert tree["z"].tags == {"d": "reset"}


def test_positions_count_from_one_in_characters() -> None:
    tree = parse('a:\n  "ä": [ü, "🐳", x]\n', "f")[0]
    assert isinstance(tree, Map)
    inner = tree["a"]
    assert isinstance(inner, Map)
    assert str(inner.keys_at["ä"]) == "f:2:3"
    items = inner["ä"]
    assert [str(item.at) for item in items or () if isinstance(item, Text)] == ["f:2:9", "f:2:12", "f:2:17"]


@pytest.mark.parametrize(
    ("content", "said", "hint"),
    [
        ("a: 1\nb: 2\na: 3\n", 'f:3:1: mapping key "a" already defined at line 1', "take one of the two away"),
        (
            "a:\n\t- b\n",
            "f:2:1: not valid YAML: found character that cannot start any token: a tab cannot indent",
            "spaces",
        ),
        ("a: @b\n", 'f:1:4: not valid YAML: "@" cannot begin a value', "quotes"),
        ('a: "b\nc: d\n', "f:1:4: not valid YAML: a quote is not closed", "one of its kind"),
        ("a: b: c\n", "f:1:5: not valid YAML", "quotes"),
        ("a: *b\n", "f:1:4: unknown anchor 'b' referenced", "&b"),
        ("xy: &xyz 1\na: *xyy\n", "f:2:4: unknown anchor 'xyy' referenced", '"xyz"'),
        ("a: &a [*a]\n", 'f:1:8: anchor "a" contains itself', ""),
        ("a: {<<: 3}\n", "f:1:5: '<<' needs a mapping", ""),
        ("[1]: 2\n", "f:1:1: a key must be text", ""),
        ("a: \x07\n", "f:1:4: the character U+0007 is not allowed in YAML", "escape"),
        (b"a: \xff\n", "f:1:4: the file is not UTF-8 text: byte 0xff", "UTF-8"),
        (b"\x7fELF\x02\0\0\xff", "f:1:1: the file is binary", ""),
        (b"a\0b", "f:1:1: the file is binary", ""),
        ("a: {" * 10_000, "nested more than 100 deep", ""),
        ("- " * 10_000, "nested more than 100 deep", ""),
    ],
)
def test_what_cannot_be_read_is_told_with_its_place(content: str | bytes, said: str, hint: str) -> None:
    found = problem(content)
    assert said in str(found)
    assert hint in found.hint


def test_aliases_that_multiply_are_stopped() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 10)]
    begin = time.perf_counter()
    assert "more than 1,000,000 values" in problem("\n".join(lines)).message
    assert time.perf_counter() - begin < 1


def test_a_file_that_is_too_large_is_not_read(tmp_path: Path) -> None:
    from pycompose.compose.file.files import Files

    path = tmp_path / "compose.yaml"
    with path.open("wb") as file:
        file.truncate(100 << 20)
    with pytest.raises(FileError, match="larger than 16 MiB"):
        Files().documents(str(path))


@pytest.mark.parametrize("codec", ["utf-8", "utf-8-sig", "utf-16"])
def test_byte_order_marks_are_no_text(codec: str) -> None:
    assert decode("a: ä\n".encode(codec), "f") == "a: ä\n"


def test_unknown_tags_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    warnings: list[Problem] = []
    parse("a: !Ref b\n", "f", warnings)
    assert [str(w) for w in warnings] == ["f:1:4: the tag !Ref has no meaning here"]


@pytest.mark.parametrize(
    "path", sorted(HERE.glob("files/*.yaml")) + sorted((HERE.parents[2] / "examples").rglob("*.yaml"))
)
def test_the_pure_parser_gives_the_same_tree(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = decode(path.read_bytes(), "f")
    fast = described(parse(content, "f"))
    monkeypatch.setattr(source, "Loader", yaml.SafeLoader)
    assert described(parse(content, "f")) == fast


def described(tree: object) -> object:
    """A tree with all that it knows."""
    if isinstance(tree, Map):
        keys = {key: str(at) for key, at in tree.keys_at.items()}
        return ("map", str(tree.at), keys, tree.tags, {key: described(value) for key, value in tree.items()})
    if isinstance(tree, list):
        return [described(item) for item in tree]
    return (str(tree), str(tree.at), tree.plain) if isinstance(tree, Text) else None
