"""Images from Dockerfiles. Front door: `builder.build` and `builder.remembered`, `Request`, and the errors."""

from .errors import BuildError, RunFailed
from .request import Happened, Request, Secret, Step
from .running import Job, Limits, Runner

__all__ = [
    "BuildError",
    "Happened",
    "Job",
    "Limits",
    "Request",
    "RunFailed",
    "Runner",
    "Secret",
    "Step",
]
