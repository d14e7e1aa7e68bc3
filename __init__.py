"""pycompose runs a compose file on one Linux host without Docker. The parts are imported when they are asked for."""

from __future__ import annotations

TYPE_CHECKING = False  # as typing has it, whose import is left to `main`: an interrupt meanwhile ends it in order
__version__ = "0.1.0"

if TYPE_CHECKING:
    from . import aio as aio
    from . import nsenter as nsenter
    from .compose.app.api.captured import CommandFailed as CommandFailed
    from .compose.app.api.captured import CommandTimeout as CommandTimeout
    from .compose.app.api.captured import Completed as Completed
    from .compose.app.api.dask_cluster import ComposeCluster as ComposeCluster
    from .compose.app.api.entering import call as call
    from .compose.app.api.entering import enter as enter
    from .compose.app.api.functions import down as down
    from .compose.app.api.functions import kill as kill
    from .compose.app.api.functions import load as load
    from .compose.app.api.functions import ps as ps
    from .compose.app.api.functions import restart as restart
    from .compose.app.api.functions import scale as scale
    from .compose.app.api.functions import start as start
    from .compose.app.api.functions import stop as stop
    from .compose.app.api.functions import up as up
    from .compose.app.api.project_files import ContainerStats as ContainerStats
    from .compose.app.api.project_files import ServiceImage as ServiceImage
    from .compose.app.api.projects import Project as Project
    from .compose.app.api.scope import ContainerGone as ContainerGone
    from .compose.app.api.scope import NoSuchProject as NoSuchProject
    from .compose.app.api.service_objects import Container as Container
    from .compose.app.api.service_objects import Service as Service
    from .compose.app.api.waiting import WaitTimeout as WaitTimeout
    from .compose.app.image_operations import FetchFailed as FetchFailed
    from .compose.app.log_entries import LogEntry as LogEntry
    from .compose.integrations.notebook import load_ipython_extension as load_ipython_extension
    from .compose.model.errors import ConditionFailed as ConditionFailed
    from .compose.model.errors import FileError as FileError
    from .compose.model.errors import NoSuchService as NoSuchService
    from .compose.plan.steps import Plan as Plan
    from .compose.state.event_record import ContainerEvent as ContainerEvent
    from .errors import PycomposeError as PycomposeError
    from .runtime.linux.joining import CallFailed as CallFailed
    from .runtime.linux.joining import CannotJoin as CannotJoin
else:
    HOMES = {
        name: f"pycompose.{home}"
        for home, names in (
            ("errors", "PycomposeError"),
            ("compose.model.errors", "ConditionFailed FileError NoSuchService"),
            ("compose.plan.steps", "Plan"),
            ("compose.state.event_record", "ContainerEvent"),
            ("compose.app.image_operations", "FetchFailed"),
            ("compose.app.log_entries", "LogEntry"),
            ("compose.app.api.captured", "CommandFailed CommandTimeout Completed"),
            ("compose.app.api.dask_cluster", "ComposeCluster"),
            ("compose.app.api.entering", "call enter"),
            ("compose.app.api.functions", "down kill load ps restart scale start stop up"),
            ("compose.integrations.notebook", "load_ipython_extension"),
            ("compose.app.api.project_files", "ContainerStats ServiceImage"),
            ("compose.app.api.projects", "Project"),
            ("compose.app.api.scope", "ContainerGone NoSuchProject"),
            ("compose.app.api.service_objects", "Container Service"),
            ("compose.app.api.waiting", "WaitTimeout"),
            ("runtime.linux.joining", "CallFailed CannotJoin"),
        )
        for name in names.split()
    }

    MODULES = ("aio", "nsenter")

    def __getattr__(name: str) -> object:
        if name in MODULES:
            from importlib import import_module

            return import_module(f"pycompose.{name}")
        if name not in HOMES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from importlib import import_module

        value = globals()[name] = getattr(import_module(HOMES[name]), name)
        return value

    def __dir__() -> list[str]:
        return sorted({*globals(), *HOMES, *MODULES})
