"""The built-in image `host`."""

from __future__ import annotations

import sys

from pycompose.runtime.images import host_image
from pycompose.runtime.images.store import Store
from pycompose.runtime.places import Places


def test_programs_installed_beside_pycompose_come_first() -> None:
    assert host_image.path("/home/me/.venv/bin/python") == f"PATH=/home/me/.venv/bin:{host_image.USUAL}"


def test_a_python_of_the_system_adds_nothing() -> None:
    assert host_image.path("/usr/bin/python3") == host_image.path("") == f"PATH={host_image.USUAL}"


def test_the_store_gives_it_that_path() -> None:
    assert Store(Places("/nowhere", "/nowhere")).resolve("host").env == (host_image.path(sys.executable),)
