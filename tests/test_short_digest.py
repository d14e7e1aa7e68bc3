"""The digest of short texts: SHA-256 as everybody has it, whichever implementation the interpreter brings."""

from __future__ import annotations

import hashlib
import subprocess
import sys

import pytest
from pycompose.short_digest import sha256


@pytest.mark.parametrize("data", [b"", b"abc", bytes(range(256)) * 9])
def test_it_is_sha256(data: bytes) -> None:
    assert sha256(data) == hashlib.sha256(data).hexdigest()


def test_a_generation_is_kept_without_openssl() -> None:
    modules = "pycompose.compose.state.generations, pycompose.compose.file.loader"
    program = f"import sys, {modules}; print('_hashlib' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120)
    assert done.stdout == "False\n", done.stderr
