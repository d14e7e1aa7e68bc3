"""OCI image configuration, read strictly: what an image says of its containers; and Docker's `--change`.

Rules: pure. A configuration is someone else's text: every field is checked, and a wrong one is an ImageError.
Source: opencontainers/image-spec config.md; `Healthcheck` is Docker's addition, its times are nanoseconds.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import field
from typing import Any

from pycompose.frozen import dataclass

from . import host_image as host
from .errors import ImageError
from .reference import digest_hex


@dataclass(frozen=True, slots=True)
class Config:
    diff_ids: tuple[str, ...]  # the lowest layer first
    env: tuple[str, ...] = ()
    cmd: tuple[str, ...] = ()
    entrypoint: tuple[str, ...] = ()
    user: str = ""
    workdir: str = ""
    volumes: tuple[str, ...] = ()
    exposed: tuple[str, ...] = ()
    stop_signal: str = ""
    healthcheck: Mapping[str, Any] | None = None  # Test, Interval, …: as it is written, times in nanoseconds
    labels: Mapping[str, str] = field(default_factory=dict)
    created: str = ""
    host: bool = False  # the layers lie on top of the host's own files (FROM host)


def _bad(what: str) -> ImageError:
    return ImageError(f"the image's configuration is not valid: {what}")


def _text(tree: Mapping[str, Any], key: str) -> str:
    value = tree.get(key)
    if value is None:
        return ""
    if not isinstance(value, str) or "\0" in value:
        raise _bad(key)
    return value


def _texts(tree: Mapping[str, Any], key: str) -> tuple[str, ...]:
    value = tree.get(key)
    if value is None:
        return ()
    if not isinstance(value, list | dict) or not all(isinstance(item, str) and "\0" not in item for item in value):
        raise _bad(key)
    return tuple(value)


def _number(tree: Mapping[str, Any], key: str) -> int:
    value = tree.get(key) or 0
    if not isinstance(value, int) or value < 0:
        raise _bad(key)
    return value


def read(data: bytes) -> Config:
    """Raises ImageError."""
    try:
        tree = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise _bad(str(error)) from error
    if not isinstance(tree, dict):
        raise _bad("it is no object")
    config = tree.get("config") or {}
    rootfs = tree.get("rootfs") or {}
    if not isinstance(config, dict) or not isinstance(rootfs, dict):
        raise _bad("config or rootfs")
    diff_ids = _texts(rootfs, "diff_ids")
    for digest in diff_ids:
        digest_hex(digest)
    labels = config.get("Labels") or {}
    if not isinstance(labels, dict) or not all(isinstance(value, str) for value in labels.values()):
        raise _bad("Labels")
    env = _texts(config, "Env")
    if any(not item.partition("=")[0] for item in env):
        raise _bad("Env")
    volumes = _texts(config, "Volumes")
    return Config(
        diff_ids=diff_ids,
        env=env,
        cmd=_texts(config, "Cmd"),
        entrypoint=_texts(config, "Entrypoint"),
        user=_text(config, "User"),
        workdir=_text(config, "WorkingDir"),
        volumes=tuple(v if v.startswith("/") else f"/{v}" for v in volumes if v.strip("/")),
        exposed=_texts(config, "ExposedPorts"),
        stop_signal=_text(config, "StopSignal"),
        healthcheck=_check(config.get("Healthcheck")),
        labels=labels,
        created=_text(tree, "created"),
        host=tree.get(host.KEY) == host.NAME,
    )


def _check(tree: Any) -> dict[str, Any] | None:
    if not tree:
        return None
    if not isinstance(tree, dict):
        raise _bad("Healthcheck")
    numbers = ("Interval", "Timeout", "Retries", "StartPeriod", "StartInterval")
    return {"Test": list(_texts(tree, "Test")), **{name: _number(tree, name) for name in numbers if tree.get(name)}}


def changed(changes: Sequence[str]) -> dict[str, Any]:
    """The `config` object that Dockerfile instructions make (`CMD ["a"]`, `ENV A=b`, …). Raises ImageError."""
    config: dict[str, Any] = {}
    for line in changes:
        word, _, rest = line.strip().partition(" ")
        rest = rest.strip()
        try:
            _change(config, word.upper(), rest)
        except (ValueError, TypeError, KeyError) as error:
            raise ImageError(f"a change that cannot be read: {line[:100]!r}") from error
    return config


def _change(config: dict[str, Any], word: str, rest: str) -> None:
    if not rest:
        raise ValueError(word)
    match word:
        case "CMD" | "ENTRYPOINT":
            config["Cmd" if word == "CMD" else "Entrypoint"] = _command(rest)
        case "ENV":
            variables = dict(item.partition("=")[::2] for item in config.get("Env", ()))
            config["Env"] = [f"{k}={v}" for k, v in {**variables, **_pairs(rest)}.items()]
        case "LABEL":
            config["Labels"] = {**config.get("Labels", {}), **_pairs(rest)}
        case "USER" | "WORKDIR" | "STOPSIGNAL":
            config[{"USER": "User", "WORKDIR": "WorkingDir", "STOPSIGNAL": "StopSignal"}[word]] = rest
        case "VOLUME":
            names = json.loads(rest) if rest.startswith("[") else shlex.split(rest)
            config["Volumes"] = {**config.get("Volumes", {}), **{str(name): {} for name in names}}
        case "EXPOSE":
            ports: dict[str, Any] = {port if "/" in port else f"{port}/tcp": {} for port in rest.split()}
            config["ExposedPorts"] = {**config.get("ExposedPorts", {}), **ports}
        case "HEALTHCHECK":
            config["Healthcheck"] = _health(rest)
        case _:
            raise ValueError(word)


def _command(rest: str) -> list[str]:
    if rest.startswith("["):
        return [str(item) for item in json.loads(rest)]
    return ["/bin/sh", "-c", rest]


def _pairs(rest: str) -> dict[str, str]:
    first = rest.split(maxsplit=1)
    if "=" not in first[0]:
        return {first[0]: first[1]}  # the old form: ENV name value
    return dict((item.partition("=")[0], item.partition("=")[2]) for item in shlex.split(rest))


def _health(rest: str) -> dict[str, Any]:
    names = {
        "--interval": "Interval",
        "--timeout": "Timeout",
        "--retries": "Retries",
        "--start-period": "StartPeriod",
        "--start-interval": "StartInterval",
    }
    check: dict[str, Any] = {}
    while rest.startswith("--"):
        option, _, rest = rest.partition(" ")
        name, _, value = option.partition("=")
        check[names[name]] = int(value) if name == "--retries" else _nanoseconds(value)
        rest = rest.strip()
    word, _, command = rest.partition(" ")
    if word.upper() == "NONE":
        return {"Test": ["NONE"]}
    if word.upper() != "CMD" or not command:
        raise ValueError(rest)
    command = command.strip()
    check["Test"] = ["CMD", *json.loads(command)] if command.startswith("[") else ["CMD-SHELL", command]
    return check


def _nanoseconds(value: str) -> int:
    for unit, factor in (("ms", 1_000_000), ("s", 1_000_000_000), ("m", 60_000_000_000), ("h", 3_600_000_000_000)):
        if value.endswith(unit):
            return int(float(value.removesuffix(unit)) * factor)
    raise ValueError(value)
