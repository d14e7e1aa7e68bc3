"""A service's `build` as the builder takes it, and what of it has no effect. Pure.

Rules: what a build cannot do is an error or a note here, never silence.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field

from pycompose.compose.model.fields import no_text
from pycompose.compose.model.image_build import Build
from pycompose.errors import PycomposeError
from pycompose.frozen import dataclass
from pycompose.sizes import size_in_bytes

SERVICE = "service:"


@dataclass(frozen=True, slots=True)
class DockerfileSecret:
    source: str
    target: str  # the id in the Dockerfile


@dataclass(frozen=True, slots=True)
class BuildOptions:
    """Of one service. `args` without a value are the caller's environment's."""

    context: str
    dockerfile: str = ""
    inline: str | None = None
    args: Mapping[str, str | None] = field(default_factory=dict)
    target: str = ""
    labels: Mapping[str, str] = field(default_factory=no_text)
    tags: tuple[str, ...] = ()
    platforms: tuple[str, ...] = ()
    network: str = "default"
    cache_from: tuple[str, ...] = ()
    no_cache: bool = False
    no_cache_filter: tuple[str, ...] = ()
    pull: bool = False
    privileged: bool = False
    shm_size: int | None = None
    ulimits: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    extra_hosts: tuple[tuple[str, str], ...] = ()
    contexts: Mapping[str, str] = field(default_factory=no_text)
    secrets: tuple[DockerfileSecret, ...] = ()
    ssh: Mapping[str, str] = field(default_factory=no_text)  # id -> socket, "" for the agent of the environment
    notes: tuple[str, ...] = ()


def needed_images(build: Build) -> tuple[str, ...]:
    """The services whose images it is built from."""
    named = (text for text in build.additional_contexts.values() if text.startswith(SERVICE))
    return tuple(dict.fromkeys(text.removeprefix(SERVICE) for text in named))


def options(service: str, build: Build) -> BuildOptions:
    """Raises PycomposeError."""
    what = f'service "{service}": build'
    if build.context.startswith(SERVICE):
        raise PycomposeError(
            f"{what}.context: the image of a service is no folder",
            hint=f"additional_contexts can name it: base: {build.context}",
        )
    for name in build.entitlements:
        if name != "network.host":
            raise PycomposeError(f"{what}: entitlement {name!r} is not supported", hint="network.host is")
    network = build.network or "default"
    if network not in ("default", "none", "host"):
        hint = "default, none and host can be"
        raise PycomposeError(f"{what}: network {network!r}: a build cannot join it", hint=hint)
    notes = [f"{what}.{key} has no effect" for key in ("cache_to", "isolation") if getattr(build, key)]
    for key in ("provenance", "sbom"):
        if str(getattr(build, key) or "false").lower() not in ("false", "none"):
            notes.append(f"{what}.{key} has no effect: attestations are not made")
    return BuildOptions(
        context=build.context,
        dockerfile=build.dockerfile or "",
        inline=build.dockerfile_inline,
        args=build.args,
        target=build.target or "",
        labels=build.labels,
        tags=build.tags,
        platforms=build.platforms,
        network=network,
        cache_from=tuple(name for text in build.cache_from if (name := _cache(what, text, notes))),
        no_cache=build.no_cache,
        no_cache_filter=build.no_cache_filter,
        pull=build.pull,
        privileged=build.privileged,
        shm_size=build.shm_size,
        ulimits={name: (limit.soft, limit.hard) for name, limit in build.ulimits.items()},
        extra_hosts=tuple(host(text) for text in build.extra_hosts),
        contexts=build.additional_contexts,
        secrets=tuple(DockerfileSecret(one.source, one.target or one.source) for one in build.secrets),
        ssh={name: path or "" for name, path in build.ssh.items()},
        notes=tuple(notes),
    )


def _cache(what: str, text: str, notes: list[str]) -> str:
    """The image that an entry of cache_from means; "" for anything else."""
    entry = text if "=" in text else f"type=registry,ref={text}"
    fields = dict(item.partition("=")[::2] for item in entry.split(","))
    if fields.get("type") != "registry" or not fields.get("ref"):
        notes.append(f"{what}.cache_from {text!r} has no effect: only images are looked at")
        return ""
    return fields["ref"]


def size(what: str, text: str | None) -> int | None:
    """A size like 64m. Raises PycomposeError."""
    if text is None:
        return None
    number = size_in_bytes(text)
    if number is None:
        raise PycomposeError(f"{what}: {text!r} is no size", hint="64m, 1g")
    return number


def host(text: str) -> tuple[str, str]:
    """`name=address`, or `name:address`."""
    name, separator, address = text.partition("=") if "=" in text else text.partition(":")
    if not separator or not name or not address:
        raise PycomposeError(f"{text!r} is no name and address", hint="name=10.0.0.1, or name=host-gateway")
    return name, address.strip("[]")
