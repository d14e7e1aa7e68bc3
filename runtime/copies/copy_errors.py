"""Errors of copying."""

from __future__ import annotations

from pycompose.runtime.errors import RuntimeFailure


class CopyFailed(RuntimeFailure):
    """What cannot be copied, in docker's words where it has some."""
