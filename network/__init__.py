"""Networks on one Linux host: bridges, addresses, published ports, DNS. The front door; parts load when asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .dns.resolver import Resolver
    from .errors import AddressError, NetworkError, PortTaken
    from .networks import Networks

_WHERE = {
    "Networks": "networks",
    "Resolver": "dns.resolver",
    "NetworkError": "errors",
    "PortTaken": "errors",
    "AddressError": "errors",
}
__all__ = ["AddressError", "NetworkError", "Networks", "PortTaken", "Resolver"]


def __getattr__(name: str) -> Any:
    from importlib import import_module

    if name in _WHERE:
        return getattr(import_module(f".{_WHERE[name]}", __name__), name)
    raise AttributeError(name)
