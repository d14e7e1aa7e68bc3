"""Changes of an image's configuration by instructions: ENV, LABEL, CMD, HEALTHCHECK and their like.

Rules: pure. The configuration is the image's own JSON, so that what is not known here is kept as it was.
Source: opencontainers/image-spec config.md; Docker's additions (Healthcheck, OnBuild, Shell).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from pycompose.signal_names import signal_number

from . import words
from .running import flags
from .syntax import Instruction

Tree = dict[str, Any]
SHELL = ("/bin/sh", "-c")
_UNITS = {"ns": 1, "us": 10**3, "µs": 10**3, "ms": 10**6, "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9}
_PORT = re.compile(r"(?P<host>.*:)?(?P<first>\d+)(?:-(?P<last>\d+))?(?:/(?P<protocol>[A-Za-z]+))?")
_NONE: dict[str, bool] = {}


def env(config: Tree) -> dict[str, str]:
    return dict(item.partition("=")[::2] for item in config.get("Env") or ())


def shell(config: Tree) -> tuple[str, ...]:
    return tuple(config.get("Shell") or SHELL)


def pairs(one: Instruction, values: Mapping[str, str], escape: str) -> dict[str, str]:
    """Names and values of ENV or LABEL, in both forms; every value sees what was before the instruction."""
    raw = words.raw_words(one.rest, escape)
    if "=" not in raw[0]:
        if len(raw) < 2:
            raise one.fail(f"{one.word} needs a name and a value", f"{one.word} NAME=value")
        name, rest = one.rest.split(None, 1)
        return {words.expand(name, values, escape): words.expand(rest, values, escape)}
    expanded = {}
    for word in raw:
        name, equals, value = word.partition("=")
        if not equals:
            raise one.fail(f"{word!r} lacks a value", f"{one.word} NAME=value; quote values with blanks")
        name = words.expand(name, values, escape)
        if not name:
            raise one.fail(f"{one.word}: a name is empty")
        expanded[name] = words.expand(value, values, escape)
    return expanded


def change(
    config: Tree, one: Instruction, values: Mapping[str, str], escape: str, set_here: set[str], warnings: list[str]
) -> None:
    """Let an instruction that makes no files change `config`; `set_here` gathers what this Dockerfile has set."""
    word = one.word
    options = flags(one, _NONE if word != "HEALTHCHECK" else dict.fromkeys(_HEALTH, False))
    match word:
        case "ENV":
            config["Env"] = [f"{name}={value}" for name, value in {**env(config), **pairs(one, values, escape)}.items()]
        case "LABEL":
            config["Labels"] = {**(config.get("Labels") or {}), **pairs(one, values, escape)}
        case "CMD" | "ENTRYPOINT":
            key = "Cmd" if word == "CMD" else "Entrypoint"
            listed = one.json()
            config[key] = list(listed) if listed is not None else [*shell(config), one.rest]
            set_here.add(key)
            if key == "Entrypoint" and "Cmd" not in set_here:
                config.pop("Cmd", None)  # it was meant for another entrypoint
        case "USER":
            config["User"] = words.expand(one.rest, values, escape)
        case "VOLUME":
            listed = one.json()
            names = (
                [words.expand(name, values, escape) for name in listed]
                if listed is not None
                else words.split(one.rest, values, escape)
            )
            if not all(names):
                raise one.fail("VOLUME: a path is empty")
            config["Volumes"] = {**(config.get("Volumes") or {}), **{name: {} for name in names}}
        case "EXPOSE":
            ports: Tree = dict(config.get("ExposedPorts") or {})
            for text in words.split(one.rest, values, escape):
                ports |= {port: {} for port in _ports(one, text, warnings)}
            config["ExposedPorts"] = ports
        case "STOPSIGNAL":
            config["StopSignal"] = _signal(one, words.expand(one.rest, values, escape))
        case "SHELL":
            listed = one.json()
            if not listed:
                raise one.fail("SHELL wants a JSON list", 'SHELL ["/bin/bash", "-c"]')
            config["Shell"] = list(listed)
        case "HEALTHCHECK":
            config["Healthcheck"] = _health(one, {name: texts[-1] for name, texts in options.items()}, shell(config))
        case "ONBUILD":
            _trigger(config, one)
        case _:
            raise AssertionError(word)


def _ports(one: Instruction, text: str, warnings: list[str]) -> list[str]:
    match = _PORT.fullmatch(text)
    if match is None or not 0 < int(match["first"]) <= int(match["last"] or match["first"]) < 65536:
        raise one.fail(f"EXPOSE: {text!r} is no port", "80, 53/udp, 8000-8010/tcp")
    if match["host"]:
        warnings.append(
            f"{one.position}: EXPOSE: {match['host']} of {text!r} has no effect: an image names no host port"
        )
    protocol = (match["protocol"] or "tcp").lower()
    if protocol not in ("tcp", "udp", "sctp"):
        raise one.fail(f"EXPOSE: {text!r}: the protocol must be tcp, udp or sctp")
    return [f"{port}/{protocol}" for port in range(int(match["first"]), int(match["last"] or match["first"]) + 1)]


def _signal(one: Instruction, text: str) -> str:
    if signal_number(text) is None:
        raise one.fail(f"STOPSIGNAL: {text!r} is no signal", "SIGTERM, or a number")
    return text


_HEALTH = {
    "interval": "Interval",
    "timeout": "Timeout",
    "start-period": "StartPeriod",
    "start-interval": "StartInterval",
    "retries": "Retries",
}


def _health(one: Instruction, options: Mapping[str, str], usual: tuple[str, ...]) -> Tree:
    word, rest = [*one.rest.split(None, 1), ""][:2]
    if word.upper() == "NONE":
        if rest or options:
            raise one.fail("HEALTHCHECK NONE takes nothing else")
        return {"Test": ["NONE"]}
    if word.upper() != "CMD" or not rest:
        raise one.fail(
            "HEALTHCHECK wants CMD and a command, or NONE", "HEALTHCHECK --interval=30s CMD curl -f localhost"
        )
    check: Tree = {}
    for name, value in options.items():
        if name == "retries":
            if not value.isdecimal():
                raise one.fail(f"HEALTHCHECK --retries={value}: a number is wanted")
            check["Retries"] = int(value)
        else:
            check[_HEALTH[name]] = _duration(one, name, value)
    listed = Instruction("CMD", rest, one.position).json()
    check["Test"] = ["CMD", *listed] if listed is not None else ["CMD-SHELL", rest]
    return check


def _duration(one: Instruction, name: str, text: str) -> int:
    parts = re.findall(r"(\d+\.?\d*|\.\d+)(ns|us|µs|ms|s|m|h)", text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        raise one.fail(f"HEALTHCHECK --{name}={text}: a time like 30s or 1m30s is wanted")
    total = round(sum(float(number) * _UNITS[unit] for number, unit in parts))
    if 0 < total < 10**6:
        raise one.fail(f"HEALTHCHECK --{name}={text}: less than a millisecond")
    return total


def _trigger(config: Tree, one: Instruction) -> None:
    word = one.rest.split(None, 1)[0].upper()
    if word in ("ONBUILD", "FROM", "MAINTAINER"):
        raise one.fail(f"ONBUILD {word} cannot be")
    text = one.rest + "".join(f"\n{here.content}{here.name}" for here in one.heredocs)
    config["OnBuild"] = [*(config.get("OnBuild") or ()), text]
