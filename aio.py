"""`pycompose.aio`: the Python API to be awaited, under trio and under asyncio. See `compose.app.api.coroutines`."""

from __future__ import annotations

from .compose.app.api.coroutines import Container as Container
from .compose.app.api.coroutines import Project as Project
from .compose.app.api.coroutines import Service as Service
from .compose.app.api.coroutines import Stream as Stream
