"""Inspection: records of containers, images, networks and volumes in the words of docker's JSON (`docker inspect`).

Rules: read from records alone, of all projects; nobody is asked and nothing is changed. A field that means nothing here
is left out. Source: Engine API v1.47, schemas ContainerInspectResponse, ImageInspect, Network and Volume.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from pycompose.compose.model.observed import HealthProbe, ObservedContainer, PublishedPort
from pycompose.compose.state import observe
from pycompose.frozen import dataclass
from pycompose.network.records import Records
from pycompose.runtime import spec
from pycompose.runtime.places import Places, ProjectPlaces

if TYPE_CHECKING:
    from pycompose.network.spec import Endpoint, NetworkRecord
    from pycompose.runtime.images.store import Image, Store
    from pycompose.runtime.state.volumes import VolumeRecord

NEVER = "0001-01-01T00:00:00Z"  # Go's zero time
_KINDS_OF_MOUNTS = {"bind": "bind", "tmpfs": "tmpfs"}


@dataclass(frozen=True, slots=True)
class Somewhere:
    """A container with the project that it is of."""

    places: ProjectPlaces
    container: ObservedContainer


def projects(roots: Places) -> list[ProjectPlaces]:
    """All projects of this machine, by name."""
    try:
        return [roots.project(name) for name in sorted(os.listdir(roots.projects))]
    except FileNotFoundError:
        return []


def everyone(roots: Places) -> Iterator[Somewhere]:
    """The containers of all projects."""
    for places in projects(roots):
        for container in observe.containers(places, roots, ports=True, addresses=True):
            yield Somewhere(places, container)


def container_named(roots: Places, name: str) -> Somewhere | None:
    """By its name, its id, or the beginning of one, where that is one's alone."""
    by_id = []
    for one in everyone(roots):
        if one.container.name == name.removeprefix("/"):
            return one
        if one.container.id.startswith(name):
            by_id.append(one)
    return by_id[0] if len(by_id) == 1 else None


def network_records(roots: Places) -> list[NetworkRecord]:
    return Records(roots.networks).networks() if os.path.isdir(roots.networks) else []


def network_named(roots: Places, name: str) -> NetworkRecord | None:
    """By its name or its id, or the beginning of one, where that is one's alone."""
    records = network_records(roots)
    by_id = [record for record in records if network_id(record).startswith(name)]
    return next((record for record in records if record.name == name), by_id[0] if len(by_id) == 1 else None)


def network_id(network: NetworkRecord) -> str:
    """64 hex digits, as docker's: networks have names alone here."""
    return hashlib.sha256(f"{network.name}/{network.created}".encode()).hexdigest()


def leases(roots: Places, network: str) -> list[Endpoint]:
    return Records(roots.networks).leases(network)


def moment(seconds: float | None) -> str:
    """RFC 3339, as Go writes it."""
    if not seconds:
        return NEVER
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


# --- Containers ---


def container_json(roots: Places, one: Somewhere) -> dict[str, Any]:
    container, folder = one.container, one.places.container(one.container.id)
    bundle = _bundle(folder)
    process = bundle.spec.process if bundle else None
    arguments = process.args if process else container.command
    labels = {key: value for key, value in container.labels.items() if key != observe.OWN}
    return {
        "Id": container.id,
        "Created": moment(container.created),
        "Path": arguments[0] if arguments else "",
        "Args": list(arguments[1:]),
        "State": _state(container),
        "Image": container.image_digest,
        "ResolvConfPath": _source(bundle, "/etc/resolv.conf"),
        "HostnamePath": _source(bundle, "/etc/hostname"),
        "HostsPath": _source(bundle, "/etc/hosts"),
        "LogPath": f"{folder}/log",
        "Name": f"/{container.name}",
        "RestartCount": container.supervision.restarts,
        "Driver": "vfs" if isinstance(bundle and bundle.root, spec.FolderRoot) else "overlay2",
        "Platform": "linux",
        "AppArmorProfile": process.apparmor_profile if process else "",
        "ExecIDs": None,
        "HostConfig": _host_config(container, bundle),
        "Mounts": _mounts(roots, container, bundle),
        "Config": _config(container, bundle, labels),
        "NetworkSettings": _network_settings(roots, container),
    }


def _bundle(folder: str) -> spec.Bundle | None:
    try:
        with open(f"{folder}/bundle.json", "rb") as file:
            return spec.from_json(spec.Bundle, file.read())
    except (OSError, ValueError):
        return None


def _state(container: ObservedContainer) -> dict[str, Any]:
    state: dict[str, Any] = {
        "Status": container.status,
        "Running": container.runs,
        "Paused": container.status == "paused",
        "Restarting": container.status == "restarting",
        "OOMKilled": container.oom_killed,
        "Dead": container.status == "dead",
        "Pid": container.pid or 0,
        "ExitCode": container.exit_code or 0,
        "Error": "",
        "StartedAt": moment(container.started),
        "FinishedAt": moment(container.finished),
    }
    if container.healthcheck is not None:
        probes = list(map(_probe, container.supervision.probes))
        streak = container.supervision.failing_streak
        state["Health"] = {"Status": container.supervision.health, "FailingStreak": streak, "Log": probes}
    return state


def _probe(probe: HealthProbe) -> dict[str, Any]:
    return {
        "Start": moment(probe.started),
        "End": moment(probe.ended),
        "ExitCode": probe.exit_code,
        "Output": probe.output,
    }


def _source(bundle: spec.Bundle | None, destination: str) -> str:
    mounts = bundle.spec.mounts if bundle else ()
    return next((mount.source for mount in mounts if mount.destination == destination), "")


def _host_config(container: ObservedContainer, bundle: spec.Bundle | None) -> dict[str, Any]:
    config: dict[str, Any] = {
        "NetworkMode": container.networks[0] if container.networks else "none",
        "PortBindings": {port: hosts for port, hosts in _ports(container).items() if hosts},
        "RestartPolicy": {
            "Name": container.restart.condition,
            "MaximumRetryCount": container.restart.max_attempts or 0,
        },
        "AutoRemove": False,
        "VolumesFrom": list(container.volume_donors) or None,
        "LogConfig": {"Type": "none" if container.unlogged else "json-file", "Config": {}},
    }
    if bundle is None:
        return config
    linux, resources = bundle.spec.linux, bundle.spec.linux.resources
    quota, period = resources.cpu.quota or 0, resources.cpu.period or 100_000
    return config | {
        "Binds": [
            f"{mount.source}:{mount.destination}:{'ro' if _is_read_only(mount) else 'rw'}"
            for mount in bundle.spec.mounts
            if mount.type == "bind" and mount.destination not in container.volumes
        ],
        "ReadonlyRootfs": bundle.spec.root_readonly,
        "Init": bundle.init,
        "Memory": resources.memory.limit or 0,
        "MemoryReservation": resources.memory.reservation or 0,
        "MemorySwap": resources.memory.swap or 0,
        "NanoCpus": quota * 1_000_000_000 // period if quota > 0 else 0,
        "CpuShares": resources.cpu.shares or 0,
        "CpuQuota": quota,
        "CpuPeriod": resources.cpu.period or 0,
        "CpusetCpus": resources.cpu.cpus,
        "PidsLimit": resources.pids_limit,
        "OomScoreAdj": bundle.spec.process.oom_score_adj or 0,
        "Ulimits": [
            {"Name": limit.type.removeprefix("RLIMIT_").lower(), "Soft": limit.soft, "Hard": limit.hard}
            for limit in bundle.spec.process.rlimits
        ],
        "Sysctls": dict(linux.sysctl),
        "MaskedPaths": list(linux.masked_paths),
        "ReadonlyPaths": list(linux.readonly_paths),
        "CgroupParent": "",
    }


def _is_read_only(mount: spec.Mount) -> bool:
    return bool({"ro", "rro"} & set(mount.options))


def _mounts(roots: Places, container: ObservedContainer, bundle: spec.Bundle | None) -> list[dict[str, Any]]:
    rows = []
    for mount in bundle.spec.mounts if bundle else ():
        volume = container.volumes.get(mount.destination)
        kind = "volume" if volume else _KINDS_OF_MOUNTS.get(mount.type)
        if kind is None or mount.source.startswith(roots.run) or mount.destination in ("/dev", "/dev/shm"):
            continue
        propagation = next((option for option in mount.options if option.lstrip("r") in ("private", "slave")), "")
        row: dict[str, Any] = {"Type": kind}
        if volume:
            row |= {"Name": volume, "Driver": "local"}
        row |= {
            "Source": "" if kind == "tmpfs" else mount.source,
            "Destination": mount.destination,
            "Mode": "ro" if _is_read_only(mount) else "rw",
            "RW": not _is_read_only(mount),
            "Propagation": propagation if kind == "bind" else "",
        }
        rows.append(row)
    return rows


def _config(container: ObservedContainer, bundle: spec.Bundle | None, labels: Mapping[str, str]) -> dict[str, Any]:
    process = bundle.spec.process if bundle else None
    user = process.user if process else spec.User()
    numbers = f"{user.uid}:{user.gid}" if user.uid or user.gid else ""
    config: dict[str, Any] = {
        "Hostname": bundle.spec.hostname if bundle else "",
        "Domainname": bundle.spec.domainname if bundle else "",
        "User": user.username or numbers,
        "Tty": process.terminal if process else False,
        "OpenStdin": bundle.stdin_open if bundle else False,
        "Env": list(process.env) if process else [],
        "Cmd": list(process.args) if process else list(container.command),
        "Image": container.image,
        "WorkingDir": process.cwd if process else "",
        "Entrypoint": None,
        "Labels": dict(sorted(labels.items())),
    }
    if ports := _ports(container):
        config["ExposedPorts"] = {port: {} for port in ports}
    if container.stop_signal:
        config["StopSignal"] = container.stop_signal
    if container.stop_grace_period is not None:
        config["StopTimeout"] = int(container.stop_grace_period)
    if (check := container.healthcheck) is not None and check.test:
        config["Healthcheck"] = {"Test": list(check.test)}
    return config


def _ports(container: ObservedContainer) -> dict[str, list[dict[str, str]] | None]:
    """Published ports by "80/tcp", and None for those that are only exposed."""
    ports: dict[str, list[dict[str, str]] | None] = {}
    for port in container.ports:
        hosts = ports.setdefault(f"{port.target}/{port.protocol}", [])
        assert hosts is not None
        hosts.append(_host_port(port))
    return ports | {f"{port.target}/{port.protocol}": None for port in container.unpublished}


def _host_port(port: PublishedPort) -> dict[str, str]:
    return {"HostIp": port.host_ip, "HostPort": str(port.published)}


def _network_settings(roots: Places, container: ObservedContainer) -> dict[str, Any]:
    networks = {}
    for name in container.networks:
        record = network_named(roots, name)
        place = next((lease for lease in leases(roots, name) if lease.owner == container.id), None) if record else None
        networks[name] = _network_place(record, place)
    first: Mapping[str, Any] = next(iter(networks.values()), {})
    return {
        "Ports": _ports(container),
        **{key: first.get(key, "") for key in ("Gateway", "IPAddress", "MacAddress")},
        "IPPrefixLen": first.get("IPPrefixLen", 0),
        "Networks": networks,
    }


def _network_place(network: NetworkRecord | None, place: Endpoint | None) -> dict[str, Any]:
    four, six = (*(place.addresses if place else ()), "", "")[:2]
    address, _, length = four.partition("/")
    six_address, _, six_length = six.partition("/")
    return {
        "Aliases": list(place.names) if place else None,
        "NetworkID": network_id(network) if network else "",
        "EndpointID": _endpoint_id(place) if place else "",
        "Gateway": (place.gateway if place else None) or "",
        "IPAddress": address,
        "IPPrefixLen": int(length or 0),
        "GlobalIPv6Address": six_address,
        "GlobalIPv6PrefixLen": int(six_length or 0),
        "MacAddress": place.mac_address if place else "",
        "DNSNames": list(place.names) if place else None,
    }


def _endpoint_id(place: Endpoint) -> str:
    return hashlib.sha256(f"{place.network}/{place.owner}".encode()).hexdigest()


# --- Images, networks, volumes ---


def image_json(store: Store, image: Image) -> dict[str, Any]:
    config = {} if image.is_host else json.loads(store.config(image.digest))
    return {
        "Id": image.digest,
        "RepoTags": list(store.names_of(image.digest)),
        "RepoDigests": list(store.pins_of(image.digest)),
        "Comment": next((line.get("comment", "") for line in reversed(config.get("history") or [])), ""),
        "Created": image.created,
        "Author": config.get("author", ""),
        "Config": config.get("config") or {},
        "Architecture": config.get("architecture", ""),
        "Os": config.get("os", "linux"),
        "Size": image.size,
        "Layers": list(reversed(image.layers)),
        "RootFS": {"Type": "layers", "Layers": (config.get("rootfs") or {}).get("diff_ids") or []},
    }


def network_json(roots: Places, network: NetworkRecord) -> dict[str, Any]:
    pools: list[dict[str, str]] = []
    for subnet, gateway in zip(network.subnets, network.gateways, strict=False):
        four = ":" not in subnet
        extra = {"IPRange": network.ip_range} if four and network.ip_range else {}
        pools.append({"Subnet": subnet, **extra, "Gateway": gateway})
    return {
        "Name": network.name,
        "Id": network_id(network),
        "Created": moment(network.created),
        "Scope": "local",
        "Driver": "bridge",
        "EnableIPv4": True,
        "EnableIPv6": len(network.subnets) > 1,
        "IPAM": {"Driver": "default", "Options": None, "Config": pools},
        "Internal": network.internal,
        "Attachable": False,
        "Ingress": False,
        "Containers": {place.owner: _member(place) for place in leases(roots, network.name)},
        "Options": {
            "com.docker.network.bridge.name": network.bridge,
            "com.docker.network.driver.mtu": str(network.mtu),
        },
        "Labels": dict(network.labels),
    }


def _member(place: Endpoint) -> dict[str, str]:
    four, six = (*place.addresses, "", "")[:2]
    return {
        "Name": place.names[1] if len(place.names) > 1 else place.owner[:12],
        "EndpointID": _endpoint_id(place),
        "MacAddress": place.mac_address,
        "IPv4Address": four,
        "IPv6Address": six,
    }


def volume_json(volume: VolumeRecord) -> dict[str, Any]:
    return {
        "CreatedAt": moment(_made(volume.path)),
        "Driver": volume.driver,
        "Labels": dict(volume.labels),
        "Mountpoint": volume.path,
        "Name": volume.name,
        "Options": dict(volume.options),
        "Scope": "local",
    }


def _made(path: str) -> float:
    """When a volume's folder was made, as near as is known."""
    try:
        return os.stat(f"{os.path.dirname(path)}/volume.json").st_mtime
    except OSError:
        return 0.0
