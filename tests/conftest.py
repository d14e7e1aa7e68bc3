"""What tests share: one that lacks root or a program says so and is skipped; where CI=true it fails instead."""

from __future__ import annotations

import os
import shutil

import pytest


def lacks(what: str) -> None:
    """Skip the test that calls it, or fail it in CI."""
    if os.environ.get("CI") == "true":
        pytest.fail(f"{what}, and CI must not skip")
    pytest.skip(what)


@pytest.fixture
def root() -> None:
    if os.geteuid() != 0:
        lacks("needs root: namespaces, cgroups and nftables are the kernel's")


@pytest.fixture
def ip_and_nft() -> None:
    """What the kernel holds is looked at with other programs than ours."""
    if missing := [name for name in ("ip", "nft") if not shutil.which(name)]:
        lacks(f"needs {' and '.join(missing)}")
