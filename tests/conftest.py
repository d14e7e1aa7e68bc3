"""What all tests share: a test that needs root says so, and where CI=true it fails instead of being skipped."""

from __future__ import annotations

import os

import pytest


def need_root() -> None:
    """Skip the test that calls it, or fail it in CI, unless it runs as root."""
    if os.geteuid() == 0:
        return
    if os.environ.get("CI") == "true":
        pytest.fail("needs root: namespaces, cgroups and nftables are the kernel's, and CI must not skip them")
    pytest.skip("needs root: namespaces, cgroups and nftables are the kernel's")


@pytest.fixture
def root() -> None:
    need_root()
