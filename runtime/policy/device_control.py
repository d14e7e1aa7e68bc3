"""Containers where no cgroup controls devices: what they must do without, so that no disk of the host is reached.

The safer form: no CAP_MKNOD, every mount `nodev`, and the nodes of /dev bound read-only (`init.mounts`). So no node is
to be opened but those that its spec names. What that form cannot hold back is refused.
Pure: a spec in, a spec or the reason out.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from pycompose.runtime.spec import Capabilities, DeviceRule, Process, Spec

MKNOD, SYS_ADMIN = "CAP_MKNOD", "CAP_SYS_ADMIN"
WAY_OUT = (
    "let this machine's cgroups be used (a cgroup v1 `devices` hierarchy, or cgroup v2 and bpf(2)), "
    "or say `privileged: true`, which reaches every device"
)


def wanted(rules: Iterable[DeviceRule]) -> bool:
    """Whether rules hold anything back: those of a privileged container do not."""
    listed = tuple(rules)
    everything = any(rule.allow and rule.type == "a" for rule in listed)
    return bool(listed) and (not everything or not all(rule.allow for rule in listed))


def refusal(spec: Spec) -> str:
    """Why a container with this spec cannot be confined without control of devices; "" if it can."""
    if spec.process.capabilities is None:
        return "it keeps every capability"
    if reason := process_refusal(spec.process):
        return reason
    for rule in spec.linux.resources.devices:
        if rule.allow and rule.major is not None and rule.minor is not None and not {"r", "w"} <= set(rule.access):
            number = f"{rule.type} {rule.major}:{rule.minor}"
            return f"nothing holds it to the access `{rule.access}` of the device {number}"
    return ""


def process_refusal(process: Process) -> str:
    """Why a process, the first or a further one, cannot be confined so; "" if it can."""
    held = process.capabilities
    if held is None or SYS_ADMIN in (*held.bounding, *held.permitted):
        return "with SYS_ADMIN it could mount devtmpfs and open the host's disks"
    return ""


def confined(process: Process) -> Process:
    """The process without CAP_MKNOD, in every set."""
    held = process.capabilities
    return process if held is None else replace(process, capabilities=_without_mknod(held))


def _without_mknod(held: Capabilities) -> Capabilities:
    def rest(names: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(name for name in names if name != MKNOD)

    return Capabilities(*map(rest, (held.bounding, held.effective, held.permitted, held.inheritable, held.ambient)))
