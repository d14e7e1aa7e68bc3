"""The compose file of a Dask cluster: a scheduler and workers, or what is laid over a file that has them.

Data in, data out; nothing is read or done. Containers of the workers are told which replica they are, and a worker that
is started by us takes its container's name.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any

from pycompose.frozen import dataclass

ROLE = "pycompose.dask"  # the label that says which part of a cluster a service is
PORT, DASHBOARD = 8786, 8787
SECURITY = "dask-security"  # the secret that has certificates and keys
SECURITY_VARIABLE = "PYCOMPOSE_DASK_SECURITY"  # of the file's variables, whose value it is
CONFIGURATION = "/etc/dask/pycompose-security.yaml"  # where Dask looks for configuration by itself
# The name is known inside alone.
NAMED = 'exec "$$0" "$$@" --name "$$PYCOMPOSE_CONTAINER"'

Tree = dict[str, Any]


@dataclass(frozen=True, slots=True)
class WorkerLimits:
    """What one worker may use; None is no limit of its own."""

    memory: int | None = None  # bytes
    cpus: float | None = None
    threads: int | None = None


@dataclass(frozen=True, slots=True)
class ClusterServices:
    """Names of the two services, and what both have."""

    scheduler: str
    worker: str
    image: str | None = None
    environment: Mapping[str, str] | None = None
    encrypted: bool = False
    port: int = PORT

    @property
    def address(self) -> str:
        """Of the scheduler, for workers."""
        return f"{'tls' if self.encrypted else 'tcp'}://{self.scheduler}:{self.port}"


def whole(services: ClusterServices, limits: WorkerLimits, working_dir: str | None) -> Tree:
    """A file of its own."""
    more = {"working_dir": working_dir} if working_dir else {}
    scheduler = {**_part(services, "scheduler"), **more, "command": scheduler_command(services)}
    worker = {**_part(services, "worker"), **more, **_limited(limits), "command": worker_command(services, limits)}
    # A worker ends with 0 where it was retired; all else is an accident, after which it comes back.
    worker["restart"] = "on-failure"
    for part in (scheduler, worker):
        part["image"] = services.image or "host"
        part["stop_grace_period"] = "2s"
    return _file(services, scheduler, worker)


def overlay(services: ClusterServices, limits: WorkerLimits, *, commands: frozenset[str], deployed: bool) -> Tree:
    """What is merged over a file that has both services. `commands`: those parts whose command is to be ours.

    `deployed`: the file limits its workers below `deploy`, so that is where other limits belong.
    """
    scheduler, worker = _part(services, "scheduler"), _part(services, "worker")
    if deployed:
        limited = {"memory": limits.memory, "cpus": limits.cpus}
        if asked := {key: str(value) for key, value in limited.items() if value is not None}:
            worker["deploy"] = {"resources": {"limits": asked}}
    else:
        worker |= _limited(limits)
    if "scheduler" in commands:
        scheduler["command"] = scheduler_command(services)
    if "worker" in commands:
        worker["command"] = worker_command(services, limits)
    return _file(services, scheduler, worker)


def scheduler_command(services: ClusterServices) -> list[str]:
    command = [*_module(services, "dask_scheduler"), "--port", str(services.port)]
    return [*command, "--dashboard-address", f":{DASHBOARD}", *_protocol(services)]


def worker_command(services: ClusterServices, limits: WorkerLimits) -> list[str]:
    """No nanny: the container is what limits a worker's memory, and starts it again."""
    command = ["sh", "-c", NAMED, *_module(services, "dask_worker"), services.address, "--no-nanny"]
    command += ["--nthreads", str(limits.threads or 1), "--no-dashboard", *_protocol(services)]
    return command if limits.memory is None else [*command, "--memory-limit", str(limits.memory)]


def _module(services: ClusterServices, name: str) -> list[str]:
    python = sys.executable if services.image in (None, "host") else "python"
    return [python, "-m", f"distributed.cli.{name}"]


def _protocol(services: ClusterServices) -> list[str]:
    return ["--protocol", "tls"] if services.encrypted else []


def _part(services: ClusterServices, role: str) -> Tree:
    part: Tree = {"labels": {ROLE: role}, "environment": dict(services.environment or {})}
    if services.image is not None:
        part["image"] = services.image
    if role == "worker":
        part["x-pycompose"] = {"replica_identity": True}
    if services.encrypted:
        part["secrets"] = [{"source": SECURITY, "target": CONFIGURATION}]
    return part


def _limited(limits: WorkerLimits) -> Tree:
    limited: Tree = {}
    if limits.memory is not None:  # no swap beyond it: memory that ran out is told, not waited for
        limited |= {"mem_limit": limits.memory, "memswap_limit": limits.memory}
    if limits.cpus is not None:
        limited["cpus"] = limits.cpus
    return limited


def _file(services: ClusterServices, scheduler: Tree, worker: Tree) -> Tree:
    # The values are whole: a dollar sign in one is no variable of the file.
    tree: Tree = {"services": {services.scheduler: _plain(scheduler), services.worker: _plain(worker)}}
    if services.encrypted:
        tree["secrets"] = {SECURITY: {"environment": SECURITY_VARIABLE}}
    return tree


def _plain(part: Tree) -> Tree:
    """With dollar signs of values from outside doubled."""
    for key in ("environment",):
        part[key] = {name: value.replace("$", "$$") for name, value in part[key].items()}
    for key in ("image", "working_dir"):
        if key in part:
            part[key] = part[key].replace("$", "$$")
    return part


def security_text(settings: Mapping[str, Any]) -> str:
    """Dask configuration (YAML, of which JSON is a part) with the certificates and keys of a `Security`."""
    import json

    parts, kinds = ("scheduler", "worker", "client"), ("cert", "key")
    roles = {role: {kind: settings.get(f"tls_{role}_{kind}") for kind in kinds} for role in parts}
    tls = {"ca-file": settings.get("tls_ca_file"), **roles}
    return json.dumps({"distributed": {"comm": {"require-encryption": True, "tls": tls}}})


def environment_of(path: Sequence[str], prefixes: Sequence[str]) -> dict[str, str]:
    """PYTHONPATH of folders that this interpreter imports from and that no other interpreter of its kind would."""
    usual = tuple(prefixes)
    further = [entry for entry in path if not entry.startswith(usual) and not entry.endswith(".zip")]
    return {"PYTHONPATH": ":".join(dict.fromkeys(further))} if further else {}
