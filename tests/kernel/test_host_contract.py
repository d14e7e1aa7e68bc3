"""This machine as a host keeps the obligations of a `Host`, each on a machine of its own."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.contract.obligations import OBLIGATIONS

from .conftest import Machine

PROGRAM = f"""
import sys
sys.path.insert(0, {str(Path(__file__).parents[2])!r})
from tests.contract.linux_stage import main
main()
"""


@pytest.mark.parametrize("name", [obligation.__name__ for obligation in OBLIGATIONS])
def test_the_real_host(host: Machine, name: str) -> None:
    host.python(PROGRAM, name)
