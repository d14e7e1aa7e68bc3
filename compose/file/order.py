"""The order of keys as docker compose writes them: of attributes (compose-go, package types), and of names. Pure.

Names and extensions are in the natural order of Go's YAML: letters behind other characters, numbers by their value.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any


def words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


TOP = ("name", "services", "networks", "volumes", "secrets", "configs", "models")

SERVICE = words("""
    profiles annotations attach build develop blkio_config cap_add cap_drop cgroup_parent cgroup
    cpu_count cpu_percent cpu_period cpu_quota cpu_rt_period cpu_rt_runtime cpus cpuset cpu_shares
    command configs container_name credential_spec depends_on deploy device_cgroup_rules devices dns dns_opt
    dns_search domainname entrypoint provider environment env_file expose extends external_links extra_hosts group_add
    gpus hostname healthcheck image init ipc isolation labels label_file links logging
    mem_limit mem_reservation memswap_limit mem_swappiness mac_address models network_mode networks
    oom_kill_disable oom_score_adj pid pids_limit platform ports privileged pull_policy pull_refresh_after read_only
    restart runtime scale secrets security_opt shm_size stdin_open stop_grace_period stop_signal storage_opt sysctls
    tmpfs tty ulimits use_api_socket user userns_mode uts volumes volumes_from working_dir
    pre_start post_start pre_stop
""")

NETWORK = words("name driver driver_opts ipam external internal attachable labels enable_ipv4 enable_ipv6")

BUILD = words("""
    context dockerfile dockerfile_inline entitlements args provenance sbom ssh labels cache_from cache_to no_cache
    no_cache_filter additional_contexts pull extra_hosts isolation network target secrets shm_size tags ulimits
    platforms privileged
""")

# what is a mapping with an order of its own inside a service, by the path of keys; "*" is any key or index
INSIDE: dict[str, tuple[str, ...]] = {
    "build": BUILD,
    "build.secrets.*": ("source", "target", "uid", "gid", "mode"),
    "build.ulimits.*": ("soft", "hard"),
    "develop": ("watch",),
    "develop.watch.*": ("path", "action", "target", "exec", "include", "ignore", "initial_sync"),
    "credential_spec": ("config", "file", "registry"),
    "depends_on.*": ("condition", "restart", "required"),
    "deploy": words(
        "mode replicas labels update_config rollback_config resources restart_policy placement endpoint_mode"
    ),
    "deploy.update_config": words("parallelism delay failure_action monitor max_failure_ratio order"),
    "deploy.rollback_config": words("parallelism delay failure_action monitor max_failure_ratio order"),
    "deploy.resources": ("limits", "reservations"),
    "deploy.resources.*": ("cpus", "memory", "pids", "devices", "generic_resources"),
    "deploy.resources.*.devices.*": ("capabilities", "driver", "count", "device_ids", "options"),
    "deploy.restart_policy": ("condition", "delay", "max_attempts", "window"),
    "deploy.placement": ("constraints", "preferences", "max_replicas_per_node"),
    "gpus.*": ("capabilities", "driver", "count", "device_ids", "options"),
    "provider": ("type", "options"),
    "models.*": ("endpoint_var", "model_var"),
}


class Names(dict[str, Any]):
    """A mapping whose keys are the file's own names, in natural order. docker compose's JSON sorts them plainly."""


def named(pairs: Mapping[str, Any]) -> Names:
    return Names((name, pairs[name]) for name in natural(pairs))


def ordered(tree: dict[str, Any], keys: tuple[str, ...]) -> dict[str, Any]:
    """`tree` with `keys` first, in that order, and the others after them by name."""
    if not keys:
        return named(tree)
    mapping = {key: tree[key] for key in keys if key in tree}
    if len(mapping) < len(tree):
        mapping.update((key, tree[key]) for key in natural(tree) if key not in mapping)
    return mapping


def by_name(value: Any) -> Any:
    """Data whose mappings all have names of the file's own as keys."""
    if isinstance(value, dict):
        return Names((key, by_name(value[key])) for key in natural(value))
    return [by_name(item) for item in value] if isinstance(value, list) else value


def natural(names: Iterable[str]) -> list[str]:
    """Names as Go's YAML sorts them."""
    return sorted(names, key=_natural_key)


@lru_cache(4096)  # services share most of their names
def _natural_key(name: str) -> tuple[tuple[int, int, int], ...]:
    """Numbers by their value, and of one value by their length; letters last, but first where a number ends."""
    parts = []
    after_number = False
    for part in _PARTS.findall(name):
        if part.isdecimal():
            parts.append((1, int(part), len(part)))
        elif part.isalpha():
            parts.append((-1 if after_number else 2, ord(part), 0))
        else:
            parts.append((0, ord(part), 0))
        after_number = part.isdecimal()
    return tuple(parts)


_PARTS = re.compile(r"[0-9]+|.", re.DOTALL)


def arranged(value: Any, path: str) -> Any:
    """Data of a service's attribute with every mapping inside it in its order."""
    if isinstance(value, dict):
        rows = {key: arranged(item, _step(path, key)) for key, item in value.items()}
        return ordered(rows, INSIDE.get(path, ()))
    if isinstance(value, list):
        return [arranged(item, f"{path}.*") for item in value]
    return value


def _step(path: str, key: str) -> str:
    """The path of `key` below `path`: named where it has an order of its own, "*" where all keys are alike."""
    named = f"{path}.{key}"
    return named if named in _ON_THE_WAY else f"{path}.*"


# the paths of INSIDE, and those that lead to them
_ON_THE_WAY = frozenset(path[: end.start()] for path in INSIDE for end in re.finditer(r"\.|\Z", path))
