"""Run one container of the host's file system, without keeper or network: `inside_one.py STORE JSON`.

JSON: {"args": [...], "profile": {arguments of linux_defaults}, "user", "group_add", "cwd", "rlimits", "oom_score_adj",
"apparmor", "sysctl", "lower", "mounts", "devices", "readonly", "init"}; the last line is the outcome.
Runs in a mount and network namespace of its own (`unshare -m -n`).
"""

from __future__ import annotations

import json
import os
import socket
import sys

from pycompose.runtime.init import start
from pycompose.runtime.linux import clone
from pycompose.runtime.policy import apparmor, profile
from pycompose.runtime.spec import Bundle, DeviceNode, HostRoot, Linux, Mount, Process, Rlimit, Spec, User


def main() -> None:
    store, text = sys.argv[1:]
    wanted = json.loads(text)
    parts = profile.linux_defaults(**wanted.get("profile", {}))
    apparmor.ensure(parts.apparmor_profile)
    process = Process(
        tuple(wanted["args"]),
        ("PATH=/usr/sbin:/usr/bin:/sbin:/bin",),
        cwd=wanted.get("cwd", "/"),
        user=User(username=wanted.get("user", ""), group_add=tuple(wanted.get("group_add", ()))),
        capabilities=parts.capabilities,
        no_new_privileges=parts.no_new_privileges,
        rlimits=tuple(Rlimit(*item) for item in wanted.get("rlimits", ())),
        oom_score_adj=wanted.get("oom_score_adj"),
        apparmor_profile=wanted.get("apparmor", parts.apparmor_profile),
    )
    linux = Linux(
        namespaces=parts.namespaces,
        devices=(*parts.devices, *(DeviceNode(*item) for item in wanted.get("devices", ()))),
        seccomp=parts.seccomp,
        masked_paths=parts.masked_paths,
        readonly_paths=parts.readonly_paths,
        sysctl={**parts.sysctl, **wanted.get("sysctl", {})},
    )
    extra = tuple(Mount(item[0], item[1], item[2], tuple(item[3])) for item in wanted.get("mounts", ()))
    spec = Spec(process, wanted.get("readonly", False), "box", mounts=(*parts.mounts, *extra), linux=linux)
    bundle = Bundle(spec, HostRoot(store, tuple(wanted.get("lower", ())), (store,)), init=wanted.get("init", False))
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    pid, _ = clone.clone_container([item.type for item in parts.namespaces])
    if pid == 0:
        ours.close()
        start.run(bundle, theirs.fileno(), (0, 1, 2), {})
    theirs.close()
    outcome = json.loads(ours.recv(1 << 14))
    notes = outcome.get("notes")
    if outcome.get("is") == "FirstReady":
        ours.send(b"start")
        answer = ours.recv(1 << 14)
        outcome = json.loads(answer) if answer else {}
    if notes:
        outcome["notes"] = notes
    status = os.waitpid(pid, 0)[1]
    print(json.dumps({**outcome, "exit": os.waitstatus_to_exitcode(status)}))


main()
