"""Whole plans as printed, each in a file of `plans/`: a compose file, what exists, a command, and the plan of it.

A line of `exists` is `SERVICE NUMBER STATUS [key=value …]`, `network KEY …` or `volume KEY …`; containers are as the
file makes them unless a key says otherwise: `shared=network:db1` whose namespace it has, `volumes-of=db1` whose
volumes, `volumes=/data:p_data` what is mounted, `hook=pre_start` that it is a hook's. With PYCOMPOSE_WRITE_PLANS set
the plans are written, not compared.
"""

from __future__ import annotations

import os
import shlex
from pathlib import Path
from typing import Any, cast

import pytest
from pycompose.compose.file.loader import Options, load
from pycompose.compose.model.observed import (
    ContainerStatus,
    Observed,
    ObservedContainer,
    ObservedNetwork,
    ObservedVolume,
    OneOff,
)
from pycompose.compose.model.project import Project
from pycompose.compose.plan import commands, reconcile
from pycompose.compose.plan.commands import DownOptions
from pycompose.compose.plan.reconcile import UpOptions
from pycompose.compose.plan.steps import Plan, render
from pycompose.errors import PycomposeError

FOLDER = Path(__file__).with_name("plans")
GOLDENS = sorted(FOLDER.glob("*.txt"))
SECTIONS = ("file", "exists", "command", "plan")


def sections(text: str) -> dict[str, str]:
    parts: dict[str, str] = {}
    name = ""
    for line in text.splitlines(keepends=True):
        if line.startswith("== "):
            name = line[3:].strip()
            assert name in SECTIONS, line
            parts[name] = ""
        elif name:
            parts[name] += line
    return parts


def existing(text: str, project: Project) -> Observed:
    containers: list[ObservedContainer] = []
    networks: list[ObservedNetwork] = []
    volumes: list[ObservedVolume] = []
    for line in text.splitlines():
        words = shlex.split(line)
        if not words:
            continue
        keys = dict(word.split("=", 1) for word in words if "=" in word)
        if words[0] == "network":
            network = project.networks.get(words[1])
            config_hash = keys.get("hash", network.config_hash if network else "")
            users = tuple(keys["used"].split(",")) if "used" in keys else ()
            name = network.name if network else f"p_{words[1]}"
            networks.append(ObservedNetwork(name, words[1], config_hash, in_use=users))
        elif words[0] == "volume":
            volume = project.volumes.get(words[1])
            config_hash = keys.get("hash", volume.config_hash if volume else "")
            volumes.append(ObservedVolume(volume.name if volume else f"p_{words[1]}", words[1], config_hash))
        else:
            containers.append(container(project, words[0], int(words[1]), words[2], keys))
    lost = frozenset(donor for c in containers for donor in c.shared.values() if "/" in donor and "gone" in donor)
    return Observed("p", tuple(containers), tuple(networks), tuple(volumes), lost)


def id_of(word: str) -> str:
    """`db1` is the first container of db; any other word is one that is not there any more."""
    return word.encode().hex().ljust(64, "0")


def container(project: Project, name: str, number: int, status: str, keys: dict[str, str]) -> ObservedContainer:
    service = project.services.get(name)
    on = [project.networks[a.network].name for a in service.networks] if service else ["p_default"]
    needs = [(d.service, d.condition, d.restart) for d in service.depends_on] if service else []
    if "needs" in keys:
        needs = [(need.removesuffix("!"), "service_started", need.endswith("!")) for need in keys["needs"].split(",")]
    volumes = dict(pair.split(":") for pair in keys["volumes"].split(",")) if "volumes" in keys else {}
    anonymous = tuple(volume for volume in volumes.values() if volume.startswith("anonymous"))
    shared = dict(pair.split(":") for pair in keys["shared"].split(",")) if "shared" in keys else {}
    return ObservedContainer(
        id=id_of(f"{name}{number}"),
        volumes=volumes,
        anonymous_volumes=anonymous,
        mounted_images=dict(pair.split(":") for pair in keys["images"].split(",")) if "images" in keys else {},
        shared={kind: other if "/" in other else id_of(other) for kind, other in shared.items()},
        volume_donors=tuple(map(id_of, keys["volumes-of"].split(","))) if "volumes-of" in keys else (),
        name=keys.get("name", (service and service.container_name) or f"p-{name}-{number}"),
        service=name,
        number=number,
        status=cast("ContainerStatus", status),
        oneoff="oneoff" in keys or "hook" in keys,
        hook=keys.get("hook", ""),
        auto_remove="auto-remove" in keys,
        started=None if status == "created" else 1.0,
        image_digest=keys.get("image", ""),
        config_hash=keys.get("hash", service.config_hash if service else ""),
        hash_parts={**service.hash_parts, keys["changed"]: "old"} if service and "changed" in keys else {},
        networks=tuple(keys["networks"].split(",")) if "networks" in keys else tuple(on),
        depends_on=tuple(needs),
        stop_grace_period=float(keys["grace"]) if "grace" in keys else None,
        stop_signal=keys.get("signal"),
    )


def plan_of(line: str, project: Project, observed: Observed) -> Plan:
    command, *words = shlex.split(line)
    flags = {word.lstrip("-").partition("=")[0]: word.partition("=")[2] for word in words if word.startswith("--")}
    names = tuple(word for word in words if not word.startswith("--"))
    timeout = float(flags["timeout"]) if "timeout" in flags else None
    of = None if "no-file" in flags else project
    pairs = dict(name.split("=") for name in names if "=" in name)
    if command in ("up", "scale"):
        choices: dict[str, Any] = {
            flag.replace("-", "_"): True
            for flag in flags
            if flag not in ("timeout", "scale", "image", "wait-timeout", "profile", "remake", "mounted")
        }
        choices |= {"timeout": timeout, "services": names}
        if "wait-timeout" in flags:
            choices["wait_timeout"] = float(flags["wait-timeout"])
        if "scale" in flags:
            service, _, count = flags["scale"].partition(":")
            choices["scale"] = {service: int(count)}
        if "remake" in flags:
            choices["remake_volumes"] = frozenset(flags["remake"].split(","))
        if "mounted" in flags:
            choices["mounted_images"] = dict([flags["mounted"].split(":")])
        if "image" in flags:
            service, _, digest = flags["image"].partition(":")
            choices["images"] = {service: digest}
        if command == "up":
            return reconcile.up(project, observed, UpOptions(**choices))
        del choices["services"]
        return reconcile.scale(project, observed, {n: int(c) for n, c in pairs.items()}, UpOptions(**choices))
    match command:
        case "down":
            return commands.down(
                of, observed, DownOptions(names, "volumes" in flags, "remove-orphans" in flags, timeout)
            )
        case "stop":
            return commands.stop(of, observed, names, timeout, flags.get("providers", "").split(","))
        case "start":
            return commands.start(of, observed, names, wait="wait" in flags)
        case "restart":
            return commands.restart(of, observed, names, timeout, "no-deps" in flags)
        case "kill":
            signal, remove = flags.get("signal", "SIGKILL"), "remove-orphans" in flags
            return commands.kill(of, observed, names, signal, remove_orphans=remove)
        case "run":
            options = UpOptions(no_deps="no-deps" in flags, remove_orphans="remove-orphans" in flags)
            name, one_off = f"p-{names[0]}-run-1", OneOff("1" * 64)
            return reconcile.run(project, observed, options, service=names[0], name=name, one_off=one_off)
        case "pause":
            return commands.pause(of, observed, names)
        case "unpause":
            return commands.unpause(of, observed, names)
        case "rm":
            return commands.rm(of, observed, names, stop="stop" in flags, volumes="volumes" in flags)
    raise AssertionError(f"no such command: {command}")


@pytest.mark.parametrize("path", GOLDENS, ids=lambda path: path.stem)
def test_a_plan_is_as_printed(path: Path, tmp_path: Path) -> None:
    parts = sections(path.read_text())
    file = tmp_path / "compose.yaml"
    file.write_text(parts["file"])
    profiles = tuple(flag.partition("=")[2] for flag in parts["command"].split() if flag.startswith("--profile="))
    project = load(Options(files=(str(file),), project_name="p", profiles=profiles)).project
    try:
        text = render(plan_of(parts["command"], project, existing(parts["exists"], project)))
    except PycomposeError as error:
        text = f"error: {error}\n" + (f"hint: {error.hint}\n" if error.hint else "")
    text = text.replace(f"{tmp_path}/", "") or "nothing to do\n"
    if os.environ.get("PYCOMPOSE_WRITE_PLANS"):
        parts["plan"] = text
        path.write_text("".join(f"== {name}\n{parts[name].strip(chr(10))}\n" for name in SECTIONS))
    assert text.strip() == parts["plan"].strip()


def test_there_are_forty_plans() -> None:
    assert len(GOLDENS) >= 40
