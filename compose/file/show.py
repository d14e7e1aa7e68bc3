"""A canonical tree as `config` prints it: what nobody uses left out, some services alone, YAML or JSON. Pure.

JSON is docker compose's down to its habits: top-level keys by name, and null or empty mappings where YAML says nothing.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping
from typing import Any

from . import emitter
from .order import INSIDE, NETWORK, SERVICE, TOP, Names, ordered

Plain = dict[str, Any]
KINDS = ("services", "networks", "volumes", "configs", "secrets", "models")
_UNLIKE_YAML = re.compile("[\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff]")


def to_yaml(tree: Any, *, escape: bool = True) -> str:
    """With `escape`, `$` of values is doubled, so that what is shown can be loaded again."""
    text = emitter.to_yaml(tree)
    return _text(emitter.to_yaml(_escaped(tree)) if escape and "$" in text else text)


def to_json(tree: Plain, *, escape: bool = True) -> str:
    text = _safe(_text(json.dumps(_json_view(tree), indent=2, ensure_ascii=False) + "\n"))
    return to_json(_escaped(tree), escape=False) if escape and "$" in text else text


def plain_json(tree: Any) -> str:
    """Data as JSON, names in order of their bytes."""
    return _safe(_text(json.dumps(tree, indent=2, ensure_ascii=False, sort_keys=True) + "\n"))


def _safe(text: str) -> str:
    """What JSON allows as it is, but YAML does not, or takes for the end of a line, is escaped."""
    return _UNLIKE_YAML.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def _text(shown: str) -> str:
    """Bytes that are no UTF-8 (of a variable from outside) cannot be shown: U+FFFD is in their place."""
    return shown if shown.isascii() else re.sub("[\ud800-\udfff]", "\ufffd", shown)


def _escaped(value: Any) -> Any:
    """Keys are not interpolated, and stay."""
    if isinstance(value, str):
        return value.replace("$", "$$")
    if isinstance(value, dict):
        return type(value)((key, _escaped(item)) for key, item in value.items())
    return [_escaped(item) for item in value] if isinstance(value, list) else value


def _json_view(tree: Plain) -> Plain:
    view = {key: _plainly(Names(one) if key in KINDS and one else one) for key, one in sorted(tree.items())}
    services = view.get("services")
    if isinstance(services, dict):
        view["services"] = {name: _json_service(service) for name, service in services.items()}
    networks = view.get("networks")
    if isinstance(networks, dict):
        view["networks"] = {
            key: ordered({"ipam": {}, **one}, NETWORK) if isinstance(one, dict) else one
            for key, one in networks.items()
        }
    return view


def _plainly(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plainly(value[key]) for key in (sorted(value) if isinstance(value, Names) else value)}
    return [_plainly(item) for item in value] if isinstance(value, list) else value


def _json_service(service: Any) -> Any:
    if not isinstance(service, dict):
        return service
    view = {"command": None, "entrypoint": None, **service}
    if isinstance(deploy := service.get("deploy"), dict):
        view["deploy"] = ordered({"resources": {}, "placement": {}, **deploy}, INSIDE["deploy"])
    return ordered(view, SERVICE)


def used(tree: Plain) -> Plain:
    """Without the networks, volumes, configs, secrets and models that no service has to do with."""
    wanted: dict[str, set[str]] = {key: set() for key in ("networks", "volumes", "configs", "secrets", "models")}
    for service in tree.get("services", {}).values():
        for kind in ("networks", "models"):
            wanted[kind].update(service.get(kind) or ())
        for kind in ("configs", "secrets"):
            wanted[kind].update(use["source"] for use in service.get(kind, ()))
        build = service.get("build") or {}
        for secret in build.get("secrets", ()):
            wanted["secrets"].add(secret["source"] if isinstance(secret, dict) else secret)
        wanted["volumes"].update(
            v["source"]
            for v in service.get("volumes", ())
            if isinstance(v, dict) and v["type"] == "volume" and "source" in v
        )
    view = dict(tree)
    for kind, names in wanted.items():
        left = {name: one for name, one in tree.get(kind, {}).items() if name in names}
        view.pop(kind, None)
        if left:
            view[kind] = left
    return ordered(view, TOP)


def only(tree: Plain, services: Collection[str]) -> Plain:
    """The tree without the other services."""
    return {**tree, "services": {name: one for name, one in tree.get("services", {}).items() if name in services}}


def pinned(tree: Plain, digests: Mapping[str, str]) -> Plain:
    """`tree` with images as `digests` (image -> image@digest) has them."""

    def pin(service: Plain) -> Plain:
        changed = (
            {**service, "image": digests.get(service["image"], service["image"])} if "image" in service else service
        )
        if any(_is_image(volume) for volume in changed.get("volumes", ())):
            volumes = [
                {**v, "source": digests.get(v["source"], v["source"])} if _is_image(v) else v
                for v in changed["volumes"]
            ]
            changed = {**changed, "volumes": volumes}
        return changed

    return {**tree, "services": {name: pin(service) for name, service in tree.get("services", {}).items()}}


def _is_image(volume: Any) -> bool:
    """Whether a mount is of an image; in a file as it is written, mounts may be text."""
    return isinstance(volume, dict) and volume.get("type") == "image"


def as_version_5(tree: Plain) -> Plain:
    """`tree` as docker compose 5 prints it: that the source of a bind is made is not said, for so it is anyway."""

    def implied(volume: Any) -> Any:
        bind = volume.get("bind") if isinstance(volume, dict) else None
        if not isinstance(bind, dict) or bind.get("create_host_path") is not True:
            return volume
        return {**volume, "bind": {key: value for key, value in bind.items() if key != "create_host_path"}}

    def changed(service: Any) -> Any:
        if not isinstance(service, dict) or not isinstance(volumes := service.get("volumes"), list):
            return service
        return type(service)(service | {"volumes": [implied(volume) for volume in volumes]})

    return {**tree, "services": {name: changed(service) for name, service in (tree.get("services") or {}).items()}}


def images_only(tree: Plain) -> Plain:
    """The override file that pins images: each service's image, and the images that it mounts."""

    def only(service: Plain) -> Plain:
        image = {"image": service["image"]} if "image" in service else {}
        mounted = [volume for volume in service.get("volumes", ()) if _is_image(volume)]
        return {**image, "volumes": mounted} if mounted else image

    return {"services": {name: only(service) for name, service in tree.get("services", {}).items()}}
