"""A loaded project as text, for `config`."""

from __future__ import annotations

import json

from .loader import Loaded


def to_yaml(loaded: Loaded) -> str:
    import yaml

    dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
    return str(
        yaml.dump(_escaped(loaded.tree), Dumper=dumper, sort_keys=False, default_flow_style=False, allow_unicode=True)
    )


def to_json(loaded: Loaded) -> str:
    return json.dumps(_escaped(loaded.tree), indent=2, ensure_ascii=False)


def service_names(loaded: Loaded) -> tuple[str, ...]:
    return tuple(loaded.project.services)


def volume_names(loaded: Loaded) -> tuple[str, ...]:
    return tuple(loaded.project.volumes)


def images(loaded: Loaded) -> tuple[str, ...]:
    return tuple(s.image for s in loaded.project.services.values() if s.image)


def _escaped(value: object) -> object:
    """`$` doubled, so that what is shown can be loaded again."""
    if isinstance(value, str):
        return value.replace("$", "$$")
    if isinstance(value, dict):
        return {k: _escaped(v) for k, v in value.items()}
    if isinstance(value, list):
        return [_escaped(v) for v in value]
    return value
