"""What holds for every text: the grammars of interpolation, `.env`, ports, durations, sizes and YAML, and the merge."""

from __future__ import annotations

import copy
import os
import re
from contextlib import suppress
from typing import Any

import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pycompose.compose.file import dotenv, emitter, show, source
from pycompose.compose.file.interpolate import InterpolationError, substitute
from pycompose.compose.file.merge import merge, stripped
from pycompose.compose.file.networking import parse_port
from pycompose.compose.file.source import Map, Seq, Tree, parse, plain_value, text
from pycompose.compose.model.errors import FileError
from pycompose.compose.model.project import Port
from pycompose.compose.model.quantities import duration_of, duration_text, size_of

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=60)
NAMES = st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,8}", fullmatch=True)
VARIABLES = st.dictionaries(NAMES, st.text("abc $-:?+{}", max_size=6), max_size=4)
PORTS = st.integers(1, 65535)
# HYPOTHESIS_EXAMPLES=2000 looks longer; each run looks elsewhere, so few are enough for a run of the tests.
settings.register_profile("pycompose", deadline=None, max_examples=int(os.environ.get("HYPOTHESIS_EXAMPLES", "50")))
settings.load_profile("pycompose")


def nothing(_: str) -> None:
    """The value of a variable where none is set."""


@given(TEXT, VARIABLES)
def test_what_is_escaped_comes_out_as_it_was(value: str, variables: dict[str, str]) -> None:
    assert substitute(value.replace("$", "$$"), variables.get) == value


@given(st.text("$${}:-?+AB1 ", max_size=40), VARIABLES)
def test_interpolation_ends_or_says_what_is_wrong(value: str, variables: dict[str, str]) -> None:
    with suppress(InterpolationError):
        substitute(value, variables.get)


@given(NAMES, st.sampled_from([None, "", "set"]), st.sampled_from(["-", ":-", "+", ":+"]), st.text("xyz", max_size=3))
def test_an_operator_asks_whether_a_variable_is_set_or_also_whether_it_is_empty(
    name: str, value: str | None, operator: str, operand: str
) -> None:
    counts = bool(value) if operator[0] == ":" else value is not None
    found = substitute(f"<${{{name}{operator}{operand}}}>", {name: value}.get)
    kept = (value or "") if operator[-1] == "-" else operand
    other = operand if operator[-1] == "-" else ""
    assert found == f"<{kept if counts else other}>"


@given(st.lists(NAMES, max_size=60))
def test_defaults_nest(names: list[str]) -> None:
    value = "end"
    for name in names:
        value = f"${{{name}:-{value}}}"
    if len(names) <= 50:
        assert substitute(value, nothing) == "end"
    else:
        with pytest.raises(InterpolationError, match="nested more than 50 deep"):
            substitute(value, nothing)


def test_lines_that_double_each_other_end() -> None:
    lines = ["A0=xxxxxxxxxxxxxxxx", *(f"A{n}=$A{n - 1}$A{n - 1}" for n in range(1, 60))]
    with pytest.raises(FileError, match="too long"):
        dotenv.parse("\n".join(lines), ".env", nothing)


QUOTED = str.maketrans({"\\": "\\\\", '"': '\\"', "$": "\\$", "\n": "\\n", "\r": "\\r"})


@given(st.dictionaries(NAMES, TEXT.filter(lambda t: "\0" not in t), max_size=4))
def test_what_is_written_into_an_env_file_is_read_from_it(values: dict[str, str]) -> None:
    content = "".join(f'export {name}="{value.translate(QUOTED)}" # why\n' for name, value in values.items())
    assert dotenv.parse(content, ".env", nothing) == values
    plain = {name: value for name, value in values.items() if not re.search(r"['\\\r]", value)}
    content = "\ufeff" + "\r\n".join(f"{name}: '{value}'" for name, value in plain.items())
    assert dotenv.parse(content, ".env", nothing) == {k: v.replace("\r\n", "\n") for k, v in plain.items()}


@given(st.text("ABx =:#'\"\\$\n\r\t0nexport{}", max_size=60))
def test_an_env_file_is_read_or_has_its_line_named(content: str) -> None:
    try:
        found = dotenv.parse(content, ".env", {"A": "a"}.get)
    except FileError as error:
        (problem,) = error.problems
        assert problem.position is not None
        assert 1 <= problem.position.line <= content.count("\n") + 1
    else:
        assert all(isinstance(value, str) for value in found.values())


@given(
    st.sampled_from([None, "127.0.0.1", "::1", "fe80::1:2"]),
    st.one_of(st.none(), st.tuples(PORTS, st.integers(0, 9))),
    st.tuples(PORTS, st.integers(0, 9)),
    st.sampled_from(["tcp", "udp"]),
)
def test_a_port_is_what_it_is_written_from(
    ip: str | None, host: tuple[int, int] | None, container: tuple[int, int], protocol: str
) -> None:
    (first, more) = container
    last = first + more
    if last > 65535 or (host and host[0] + host[1] > 65535) or (ip and host is None):
        return
    spelled = f"{first}-{last}" if more else str(first)
    if host is not None:
        spelled = f"{host[0]}-{host[0] + host[1]}:{spelled}" if host[1] else f"{host[0]}:{spelled}"
    if ip is not None:
        spelled = f"[{ip}]:{spelled}" if ":" in ip else f"{ip}:{spelled}"
    if host is not None and more and host[1] != more:
        with pytest.raises(ValueError, match="Invalid ranges specified"):
            parse_port(f"{spelled}/{protocol}")
        return
    found = parse_port(f"{spelled}/{protocol}")
    assert [port.target for port in found] == list(range(first, last + 1))
    assert {(port.host_ip, port.protocol) for port in found} == {(ip, protocol)}
    if host is not None and more:
        assert [port.published for port in found] == [(host[0] + n, host[0] + n) for n in range(more + 1)]
    elif host is not None:
        assert found[0].published == (host[0], host[0] + host[1])


@given(st.text("0123456789:-/[]tcpud.a", max_size=30))
def test_a_port_is_read_or_refused(value: str) -> None:
    with suppress(ValueError):
        found = parse_port(value)
        assert found
        assert all(isinstance(port, Port) and 0 <= port.target <= 65535 for port in found)


@given(st.integers(0, 10**15))
def test_a_duration_is_written_as_it_is_read(microseconds: int) -> None:
    seconds = microseconds / 1_000_000
    found = duration_of(duration_text(seconds))
    assert found is not None
    assert found == pytest.approx(seconds, rel=1e-12, abs=1e-9)


@given(st.text("0123456789.-smhdwuµn e+", max_size=20))
def test_durations_and_sizes_are_read_or_are_none(value: str) -> None:
    duration = duration_of(value)
    assert duration is None or 0 <= duration < 2**63
    size = size_of(value)
    assert size is None or -1 <= size < 1 << 63


@given(st.integers(0, 10**6), st.sampled_from(["", "k", "m", "g"]), st.sampled_from(["", "b", "B", "ib", " ", " kb"]))
def test_a_size_is_its_number_times_its_unit(number: int, unit: str, end: str) -> None:
    if end == " kb" and unit:
        return
    power = " kmg".index((unit or " ") if end != " kb" else "k")
    assert size_of(f"{number}{unit}{end}") == number * 1024**power


PLAIN = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-(2**62), 2**62), TEXT),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(TEXT, inner, max_size=4)),
    max_leaves=12,
)


@given(st.dictionaries(NAMES, PLAIN, max_size=4))
@example({"x": {"\u2028": "\x7f\x85\ufeff"}})
def test_data_is_what_it_was_after_a_file(data: dict[str, Any]) -> None:
    for content in (emitter.to_yaml(data), show.to_json(data, escape=False)):
        (tree,) = parse(content, "f")
        assert plain_value(tree) == data


@given(st.text("ab:-[]{},'\"#&*!|>?%\n \t$~0", max_size=40))
def test_both_parsers_read_a_text_as_the_same_or_refuse_it(content: str) -> None:
    """But for a few oddities: `?` in brackets, `{a:}`, and tabs where the pure parser wants blanks."""
    found = []
    for loader in (yaml.SafeLoader, source.Loader):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(source, "Loader", loader)
            try:
                found.append([plain_value(tree) for tree in parse(content, "f")])
            except FileError:
                return
    assert found[0] == found[1]


def tree_of(data: Any) -> Tree:
    if isinstance(data, dict):
        made = Map()
        for key, value in data.items():
            made.put(key, tree_of(value))
        return made
    if isinstance(data, list):
        return Seq(tree_of(item) for item in data)
    return None if data is None else text(str(data))


KEYS = st.sampled_from(
    ["services", "a", "b", "image", "environment", "labels", "command", "ports", "build", "x-a", "volumes"]
)
LEAVES = st.one_of(st.none(), st.sampled_from(["v", "w", "A=1", "80:80"]))
TREES = st.recursive(
    LEAVES,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(KEYS, inner, max_size=3)),
    max_leaves=15,
).map(lambda data: tree_of({"services": {"a": data}}))


@given(TREES, TREES)
def test_a_merge_changes_neither_side_and_takes_any_tree(base: Tree, over: Tree) -> None:
    before = copy.deepcopy((plain_value(base), plain_value(over)))
    merge(base, over)
    assert (plain_value(base), plain_value(over)) == before


@given(TREES)
def test_nothing_is_a_neutral_file(tree: Tree) -> None:
    assert plain_value(merge(None, tree)) == plain_value(tree)
    assert plain_value(merge(tree, Map())) == plain_value(tree)
    assert stripped(tree) is tree


VALUES = st.dictionaries(st.sampled_from(["p", "q"]), st.sampled_from(["1", "2", "3"]))
SCALARS = st.builds(  # a key is text in all of them, or a mapping in all of them
    lambda own, inner: tree_of({**own, **inner}), VALUES, st.dictionaries(st.sampled_from(["m", "n"]), VALUES)
)


@given(SCALARS, SCALARS, SCALARS)
def test_the_order_of_merging_does_not_matter_for_plain_mappings(one: Tree, two: Tree, three: Tree) -> None:
    left = merge(merge(one, two), three)
    right = merge(one, merge(two, three))
    assert plain_value(left) == plain_value(right)


@given(SCALARS)
def test_a_file_over_itself_is_itself(tree: Tree) -> None:
    assert plain_value(merge(tree, tree)) == plain_value(tree)
