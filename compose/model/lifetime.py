"""Health checks and restart policies: the part of a service that a container remembers for as long as it lives.

Apart from the rest of the model, so that what only looks at containers imports no more than this.
"""

from __future__ import annotations

from typing import Literal

from pycompose.frozen import dataclass

EXTENSIONS = ""  # x- keys of a mapping, as one canonical JSON object; empty is none

RestartCondition = Literal["no", "always", "on-failure", "unless-stopped"]


@dataclass(frozen=True, slots=True)
class Healthcheck:
    """`test` is ("CMD", …), ("CMD-SHELL", text) or ("NONE",); None inherits the image's. Times in seconds."""

    test: tuple[str, ...] | None = None
    interval: float | None = None  # 30
    timeout: float | None = None  # 30
    retries: int | None = None  # 3
    start_period: float | None = None  # 0
    start_interval: float | None = None  # 5
    disable: bool = False
    extensions: str = EXTENSIONS


@dataclass(frozen=True, slots=True)
class RestartPolicy:
    """Times in seconds. A run as long as `window` is a success: attempts before it do not count any more."""

    condition: RestartCondition = "no"
    max_attempts: int | None = None  # None is without limit
    delay: float | None = None  # before each start; None is a back-off that doubles
    window: float | None = None  # None: every attempt counts
    unhealthy: bool = False  # one that becomes unhealthy is stopped, and started again as if it had failed
