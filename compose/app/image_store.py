"""The image store of this machine, as commands use it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from pycompose.errors import SystemRefused

if TYPE_CHECKING:
    from pycompose.runtime.images.store import Store


@contextmanager
def translated_errors() -> Iterator[None]:
    """What the system refuses becomes an error of ours."""
    try:
        yield
    except OSError as error:
        raise SystemRefused(error) from error


def ask_store() -> Store:
    from pycompose.runtime.images.store import Store
    from pycompose.runtime.places import Places

    return Store(Places.default())
