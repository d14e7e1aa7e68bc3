"""Images from Dockerfiles. Front door: `builder.build` and `builder.remembered`, `Request`, and the errors."""

from .errors import BuildError, RunFailed
from .request import BuildStep, Happened, Request, Secret
from .running import Job, RunLimits, Runner

__all__ = [
    "BuildError",
    "BuildStep",
    "Happened",
    "Job",
    "Request",
    "RunFailed",
    "RunLimits",
    "Runner",
    "Secret",
]
