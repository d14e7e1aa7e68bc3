"""What a service says, in the words of the network folder; the /etc files that follow from it; its health check. Pure.

`endpoints`, `publications`: for `network`. `hosts_file`, `resolver_file`: the texts of /etc/hosts and /etc/resolv.conf.
What depends on the machine (addresses that were given out, the host's own files) arrives as arguments.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from pycompose.compose.model.observed import Label
from pycompose.compose.model.project import Attachment, Healthcheck, Network, Project, Service
from pycompose.network.spec import EndpointSpec, NetworkSpec, Pool, Publication

DNS_ADDRESS = "127.0.0.11"
HOST_GATEWAY = "host-gateway"
LOCAL_NAMES = (
    "127.0.0.1\tlocalhost",
    "::1\tlocalhost ip6-localhost ip6-loopback",
    "fe00::0\tip6-localnet",
    "ff00::0\tip6-mcastprefix",
    "ff02::1\tip6-allnodes",
    "ff02::2\tip6-allrouters",
)


def network_spec(project: str, network: Network) -> NetworkSpec:
    labels = {
        **network.labels,
        Label.PROJECT: project,
        Label.NETWORK: network.key,
        Label.CONFIG_HASH: network.config_hash,
    }
    options = network.driver_opts
    mtu = options.get("com.docker.network.driver.mtu")
    return NetworkSpec(
        network.name,
        project,
        network.internal,
        ipv4=network.enable_ipv4,
        ipv6=network.enable_ipv6,
        pools=tuple(Pool(p.subnet, p.ip_range, p.gateway, tuple(p.aux_addresses.values())) for p in network.ipam_pools),
        mtu=int(mtu) if mtu and mtu.isdecimal() else None,
        bridge=options.get("com.docker.network.bridge.name"),
        masquerade=options.get("com.docker.network.bridge.enable_ip_masquerade", "true") != "false",
        labels=labels,
    )


def attachments(project: Project, service: Service) -> tuple[Attachment, ...]:
    """In the order of eth0, eth1, …: by priority, then by name, as docker compose."""
    return tuple(sorted(service.networks, key=lambda a: (-a.priority, a.network)))


def endpoints(project: Project, service: Service, container_id: str, name: str) -> tuple[EndpointSpec, ...]:
    """One for each network. The default route goes to the highest gw_priority among networks that lead outside."""
    places = attachments(project, service)
    outward = [a for a in places if not project.networks[a.network].internal]
    routed = min(outward, key=lambda a: (-a.gw_priority, project.networks[a.network].name), default=None)
    linked = tuple(
        alias
        for other in project.services.values()
        for target, alias in other.links
        if target == service.name and alias != target
    )
    hostname = (service.hostname,) if service.hostname else ()
    return tuple(
        EndpointSpec(
            project.networks[a.network].name,
            container_id,
            tuple(dict.fromkeys((service.name, name, container_id[:12], *hostname, *a.aliases, *linked))),
            a.interface_name,
            a.ipv4_address,
            a.ipv6_address,
            a.mac_address or (service.mac_address if a is places[0] else None),
            default_route=a is routed,
        )
        for a in places
    )


def group(project: str, service: str) -> str:
    """What the published ports of a service are known by."""
    return f"{project}/{service}"


def publications(project: Project, service: Service) -> tuple[Publication, ...]:
    return tuple(
        Publication(group(project.name, service.name), p.host_ip, *(p.published or (0, 0)), p.protocol, p.target)
        for p in service.ports
    )


def hosts_file(
    own: Iterable[str],
    hostname: str,
    domainname: str | None,
    extra_hosts: Iterable[tuple[str, str]],
    gateway: str | None,
    host_file: str | None = None,
) -> str:
    """/etc/hosts. `own` are the container's addresses; with `host_file` (network_mode: host) the host's text leads."""
    lines = list(LOCAL_NAMES) if host_file is None else host_file.rstrip("\n").split("\n")
    names = f"{hostname}.{domainname} {hostname}" if domainname else hostname
    lines += [f"{address}\t{names}" for address in own]
    for name, address in extra_hosts:
        lines.append(f"{(gateway or '127.0.0.1') if address == HOST_GATEWAY else address}\t{name}")
    return "\n".join(lines) + "\n"


def resolver_file(service: Service, host_file: str) -> str:
    """/etc/resolv.conf: our resolver on a network of ours, else the file's own servers, else the host's text.

    Search domains are the service's, else the host's; `ndots:0` makes a bare service name an absolute one first.
    """
    searches = [line.split()[1:] for line in host_file.splitlines() if line.startswith("search ")]
    search = list(service.dns_search) or (searches[-1] if searches else [])
    if service.networks:
        servers, options = [DNS_ADDRESS], ["ndots:0", *service.dns_opt]
    elif not (service.dns or service.dns_search or service.dns_opt):
        return host_file
    else:
        found = [line.split()[1] for line in host_file.splitlines() if line.startswith("nameserver ")]
        servers, options = list(service.dns) or found, list(service.dns_opt)
    lines = [f"nameserver {server}" for server in servers]
    lines += [f"search {' '.join(search)}"] if search and search != ["."] else []
    lines += [f"options {' '.join(options)}"] if options else []
    return "\n".join(lines) + "\n"


def image_check(found: Mapping[str, Any] | None) -> Healthcheck | None:
    """The health check of an image's configuration (times in nanoseconds, as OCI images have them from Docker)."""
    if not found or not found.get("Test"):
        return None

    def seconds(key: str) -> float | None:
        return found[key] / 1e9 if found.get(key) else None

    return Healthcheck(
        tuple(found["Test"]),
        seconds("Interval"),
        seconds("Timeout"),
        found.get("Retries") or None,
        seconds("StartPeriod"),
        seconds("StartInterval"),
    )


def merged_check(own: Healthcheck | None, of_image: Healthcheck | None) -> Healthcheck | None:
    """What the service leaves out is the image's."""
    if own is None or of_image is None or own.disable:
        return own or of_image
    names = ("test", "interval", "timeout", "retries", "start_period", "start_interval")
    return replace(own, **{n: getattr(of_image, n) for n in names if getattr(own, n) is None})
