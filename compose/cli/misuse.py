"""The error of wrong usage, which is told as docker compose tells it."""

from __future__ import annotations

import click


class Misuse(click.UsageError):
    """Wrong usage, in docker compose's words; `hint` says what to try."""

    def __init__(self, message: str, hint: str = "", context: click.Context | None = None) -> None:
        super().__init__(message, context)
        self.hint = hint
