"""Run one container of the host's file system, without keeper or network: `inside_one.py STORE JSON`.

JSON: {"process": {...}, "spec": {...}, "add": [...], "init": bool, "mounts": [...]}; the last line is the outcome.
Runs in a mount and network namespace of its own (`unshare -m -n`).
"""

from __future__ import annotations

import json
import os
import socket
import sys
from dataclasses import replace

from pycompose.runtime import profile
from pycompose.runtime.inside import clone, first
from pycompose.runtime.spec import Bundle, HostRoot, Linux, Mount, Namespace, Process, Spec, User

NAMESPACES = ("mount", "pid", "network", "uts", "ipc")


def main() -> None:
    store, text = sys.argv[1:]
    wanted = json.loads(text)
    parts = profile.default_spec_parts(wanted.get("add", ()), wanted.get("drop", ()))
    process = Process(tuple(wanted["args"]), ("PATH=/usr/sbin:/usr/bin:/sbin:/bin",), capabilities=parts.capabilities)
    process = replace(process, cwd=wanted.get("cwd", "/"), user=User(username=wanted.get("user", "")))
    linux = Linux(
        namespaces=tuple(Namespace(kind) for kind in NAMESPACES),
        devices=parts.devices,
        seccomp=parts.seccomp,
        masked_paths=parts.masked,
        readonly_paths=parts.readonly,
        sysctl={**profile.SYSCTLS, **wanted.get("sysctl", {})},
    )
    extra = tuple(Mount(item[0], item[1], item[2], tuple(item[3])) for item in wanted.get("mounts", ()))
    spec = Spec(process, hostname="box", mounts=(*parts.mounts, *extra), linux=linux)
    bundle = Bundle(spec, HostRoot(store, tuple(wanted.get("lower", ())), (store,)), init=wanted.get("init", False))
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    pid, _ = clone.clone_container(NAMESPACES)
    if pid == 0:
        ours.close()
        first.run(bundle, theirs.fileno(), (0, 1, 2), {})
    theirs.close()
    outcome = json.loads(ours.recv(4096))
    if outcome.get("ready"):
        ours.send(b"start")
        answer = ours.recv(4096)
        outcome = json.loads(answer) if answer else {}
    status = os.waitpid(pid, 0)[1]
    print(json.dumps({**outcome, "exit": os.waitstatus_to_exitcode(status)}))


main()
