"""Builds of services as a file for docker's `buildx bake`, as docker compose's `build --print` writes it. Pure.

Source: docs.docker.com/build/bake/reference; docker compose, pkg/compose/build_bake.go.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pycompose.compose.model.image_build import Build
from pycompose.compose.model.observed import Label

from .options import SERVICE, host

if TYPE_CHECKING:
    from pycompose.compose.model.project import Project

    from .service_builds import Overrides, Target


def bake(
    project: Project,
    targets: Sequence[Target],
    asked: Iterable[str],
    overrides: Overrides,
    environ: Mapping[str, str],
    labels: Mapping[str, str],
    *,
    push: bool = False,
    check: bool = False,
) -> dict[str, Any]:
    """The file as plain data; of `asked` services and those whose images they are built from. `labels` are of all."""
    described = {**project.disabled_services, **project.services}
    last: dict[str, Any] = {"call": "lint"} if check else {"output": ["type=registry" if push else "type=docker"]}
    entries = {}
    for target in sorted(targets, key=lambda target: target.name):
        service = described[target.name]
        assert service.build is not None
        identity = {Label.PROJECT: project.name, Label.SERVICE: target.name, **labels}  # whatever the file says
        entry = {
            **_source(service.build),
            "args": _filled({**service.build.args, **overrides.args}, environ),
            "labels": dict(sorted({**service.build.labels, **identity}.items())),
            "tags": [*target.tags[1:], target.tags[0]],
            **_options(project, service.build, overrides),
        }
        platforms = service.build.platforms or ((service.platform,) if service.platform else ())
        entry["platforms"] = list(platforms)
        entries[target.name] = {key: entry[key] for key in ORDER if entry.get(key)} | last
    return {"group": {"default": {"targets": sorted({*asked} & {*entries})}}, "target": entries}


ORDER = (
    "context",
    "contexts",
    "dockerfile",
    "dockerfile-inline",
    "args",
    "labels",
    "tags",
    "cache-from",
    "cache-to",
    "target",
    "secret",
    "ssh",
    "platforms",
    "pull",
    "no-cache",
    "network",
    "no-cache-filter",
    "shm-size",
    "ulimits",
    "entitlements",
    "extra-hosts",
    "attest",
)


def _source(build: Build) -> dict[str, Any]:
    inner = build.additional_contexts.items()
    contexts = {name: f"target:{text[8:]}" if text.startswith(SERVICE) else text for name, text in inner}
    if build.dockerfile_inline is not None:
        return {"context": build.context, "contexts": contexts, "dockerfile-inline": build.dockerfile_inline}
    name = build.dockerfile or "Dockerfile"
    path = os.path.join(build.context, name) if os.path.isabs(build.context) else name
    return {"context": build.context, "contexts": contexts, "dockerfile": path}


def _filled(args: Mapping[str, str | None], environ: Mapping[str, str]) -> dict[str, str]:
    pairs = ((name, environ.get(name) if value is None else value) for name, value in sorted(args.items()))
    return {name: value for name, value in pairs if value is not None}


def _options(project: Project, build: Build, overrides: Overrides) -> dict[str, Any]:
    agents = {**build.ssh, **(overrides.ssh or {})}
    entitlements = [*build.entitlements, *(("security.insecure",) if build.privileged else ())]
    return {
        "cache-from": list(build.cache_from),
        "cache-to": list(build.cache_to),
        "target": build.target,
        "secret": [_secret(project, one.source, one.target or one.source) for one in build.secrets],
        "ssh": [f"{name}={path or ''}" for name, path in agents.items()],
        "pull": build.pull or overrides.pull,
        "no-cache": build.no_cache or overrides.no_cache,
        "network": build.network,
        "no-cache-filter": list(build.no_cache_filter),
        "shm-size": None if build.shm_size is None else str(build.shm_size),
        "ulimits": [
            f"{name}={limit.soft}" + (f":{limit.hard}" if limit.hard != limit.soft else "")
            for name, limit in build.ulimits.items()
        ],
        "entitlements": list(dict.fromkeys(entitlements)),
        "extra-hosts": _hosts(build.extra_hosts),
        "attest": [*_attested("provenance", build.provenance), *_attested("sbom", build.sbom)],
    }


def _hosts(texts: Iterable[str]) -> dict[str, str]:
    addresses: dict[str, list[str]] = {}
    for name, address in map(host, texts):
        addresses.setdefault(name, []).append(address)
    return {name: ",".join(every) for name, every in addresses.items()}


def _attested(kind: str, value: str | None) -> list[str]:
    if not value or value.lower() in ("false", "none"):
        return []
    return [f"type={kind}" if value.lower() == "true" else f"type={kind},{value}"]


def _secret(project: Project, source: str, target: str) -> str:
    secret = project.secrets.get(source)
    if secret is not None and secret.environment:
        return f"id={target},type=env,env={secret.environment}"
    return f"id={target},type=file,src={secret.file if secret is not None else source}"
