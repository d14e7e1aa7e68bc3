"""The errors of this folder. `NetworkError` says what cannot be done and names the thing; `hint` says what to try."""

from __future__ import annotations


class NetworkError(Exception):
    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class PortTaken(NetworkError):
    """No port of the range is free on the host."""


class AddressError(NetworkError):
    """An address or a subnet cannot be given out."""
