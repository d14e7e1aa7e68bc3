"""The page about compose files tells every attribute, and is what the tables say today."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest
from pycompose.compose.file.service import ACTED, KEPT


@pytest.fixture(scope="module")
def reference() -> ModuleType:
    path = Path(__file__).parent / "reference.py"
    spec = importlib.util.spec_from_file_location("reference", path)
    assert spec is not None
    assert spec.loader is not None
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    return made


def test_every_attribute_of_a_service_is_told_once(reference: ModuleType) -> None:
    told = [name for notes in reference.GROUPS.values() for name in notes]
    assert sorted(told) == sorted({*ACTED, *KEPT})


def test_the_page_is_up_to_date(reference: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [str(Path(__file__).parent), *sys.path])
    assert reference.PAGE.read_text() == reference.page(), "run: python tests/compose/file/reference.py"
