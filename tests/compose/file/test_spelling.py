"""Numbers and booleans where text is wanted: what docker compose 2.40 makes of them, seen with its `config`."""

from __future__ import annotations

from pathlib import Path

import pytest
from pycompose.compose.file.loader import Options, load
from pycompose.compose.file.order import natural

SPELLED = {
    "True": "true",
    "FALSE": "false",
    "yes": "yes",
    '"True"': "True",
    "1.10": "1.1",
    '"1.10"': "1.10",
    "${X}": "1.10",
    "${X}0": "1.100",
    "1.0": "1",
    "-0": "0",
    "-0.0": "-0",
    "+5": "5",
    "08": "8",
    "010": "8",
    "09.5": "9.5",
    "0x10": "16",
    "-0x10": "-16",
    "0b11": "3",
    "0o17": "15",
    "1_000": "1000",
    "1_0.5": "10.5",
    "1e3": "1000",
    "1.e5": "100000",
    "3e6": "3e+06",
    "1234567.0": "1.234567e+06",
    "123456.0": "123456",
    "0.0001": "0.0001",
    "0.00009": "9e-05",
    "100000000000000000000000.0": "1e+23",
    "12345678901234567890": "12345678901234567890",
    "-7.312715117751976e-05": "-7.312715117751976e-05",
    "7866340851152702.0": "7.866340851152702e+15",
    ".inf": "+Inf",
    "-.inf": "-Inf",
    ".nan": "NaN",
    "1:30": "1:30",
}


@pytest.mark.parametrize("written", SPELLED)
def test_a_value_is_spelled_as_docker_compose_does(written: str, tmp_path: Path) -> None:
    file = tmp_path / "compose.yaml"
    both = f"    environment:\n      A: {written}\n    labels:\n      b: {written}\n"
    file.write_text(f"services:\n  a:\n    image: x\n{both}")
    service = load(Options(files=(str(file),), environ={"X": "1.10"})).project.services["a"]
    assert service.environment == {"A": SPELLED[written]}
    assert service.labels == {"b": SPELLED[written]}


def test_a_list_of_name_and_value_is_text_already(tmp_path: Path) -> None:
    file = tmp_path / "compose.yaml"
    file.write_text("services: {a: {image: x, environment: [A=True, B=1.10]}}\n")
    assert load(Options(files=(str(file),))).project.services["a"].environment == {"A": "True", "B": "1.10"}


def test_names_are_in_the_natural_order_of_gos_yaml() -> None:
    ordered = ["", "_x", "1", "01", "2", "10", "A", "A1", "A2", "A10", "A10b", "A10_b", "a", "a-b", "a.b", "a1", "ab"]
    assert natural(reversed(ordered)) == ordered
