"""pycompose runs a compose file on one Linux host without Docker. The parts are imported when they are asked for."""

from __future__ import annotations

TYPE_CHECKING = False  # as typing has it, whose import is left to `main`: an interrupt meanwhile ends it in order
__version__ = "0.1.0"

if TYPE_CHECKING:
    from .compose.app.api import down as down
    from .compose.app.api import kill as kill
    from .compose.app.api import load as load
    from .compose.app.api import ps as ps
    from .compose.app.api import restart as restart
    from .compose.app.api import scale as scale
    from .compose.app.api import start as start
    from .compose.app.api import stop as stop
    from .compose.app.api import up as up
    from .errors import PycomposeError as PycomposeError
else:
    HOMES = dict.fromkeys(
        ("down", "kill", "load", "ps", "restart", "scale", "start", "stop", "up"), "pycompose.compose.app.api"
    ) | {"PycomposeError": "pycompose.errors"}

    def __getattr__(name: str) -> object:
        if name not in HOMES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from importlib import import_module

        return getattr(import_module(HOMES[name]), name)

    def __dir__() -> list[str]:
        return sorted({*globals(), *HOMES})
