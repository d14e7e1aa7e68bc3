"""Networks, endpoints and published ports of a service, in the terms of `network.spec`. Pure, but `host_has_ipv6`."""

from __future__ import annotations

import os
from contextlib import suppress
from ipaddress import ip_address

from pycompose.compose.model.observed import Label, OneOff
from pycompose.compose.model.project import Attachment, Network, Port, Project, Service
from pycompose.compose.state.network_changes import Connection
from pycompose.network import link_parameters
from pycompose.network.spec import MACHINE_BRIDGE, EndpointSpec, NetworkSpec, Pool, Publication


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


def has_network(service: Service) -> bool:
    """Whether its containers are on networks of ours: the file's, or the machine's own bridge."""
    return bool(service.networks) or service.network_mode == MACHINE_BRIDGE


def names(project: Project, service: Service) -> tuple[str, ...]:
    """Real names of the networks that its containers are on."""
    if service.network_mode == MACHINE_BRIDGE:
        return (MACHINE_BRIDGE,)
    return tuple(project.networks[attachment.network].name for attachment in service.networks)


def attachments(project: Project, service: Service) -> tuple[Attachment, ...]:
    """In the order of eth0, eth1, …: by priority, then by name, as docker compose."""
    return tuple(sorted(service.networks, key=lambda a: (-a.priority, a.network)))


def endpoints(
    project: Project, service: Service, container_id: str, name: str, one_off: OneOff | None = None
) -> tuple[EndpointSpec, ...]:
    """One for each network. The default route goes to the highest gw_priority among networks that lead outside.

    A one-off container has its service's names where it was asked for them.
    On the machine's bridge nobody has a name, as with Docker: who is to be found there is linked.
    """
    if service.network_mode == MACHINE_BRIDGE:
        mac = service.mac_address
        speaks = trusted(project, service)
        return (EndpointSpec(MACHINE_BRIDGE, container_id, mac_address=mac, default_route=True, trusted=speaks),)
    places = attachments(project, service)
    outward = [a for a in places if not project.networks[a.network].internal]
    routed = min(outward, key=lambda a: (-a.gw_priority, project.networks[a.network].name), default=None)
    named = one_off is None or one_off.use_aliases
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
            tuple(dict.fromkeys((service.name, name, container_id[:12], *hostname, *a.aliases, *linked)))
            if named
            else (name, container_id[:12], *hostname),
            a.interface_name,
            a.ipv4_address,
            a.ipv6_address,
            a.mac_address or (service.mac_address if a is places[0] else None),
            default_route=a is routed,
            trusted=trusted(project, service),
            avoided=_fixed(project, service, a.network),
        )
        for a in places
    )


def _addresses(attachment: Attachment) -> tuple[str, ...]:
    """The fixed addresses of a place on a network, as everybody spells them; without what is none."""
    plain = []
    for text in (attachment.ipv4_address, attachment.ipv6_address):
        with suppress(ValueError):
            plain += [str(ip_address(text))] if text is not None else []
    return tuple(plain)


def _fixed(project: Project, service: Service, network: str) -> tuple[str, ...]:
    """The addresses that the file gives to other services on a network, whatever their profiles."""
    others = (*project.services.values(), *project.disabled_services.values())
    places = (a for other in others if other.name != service.name for a in other.networks if a.network == network)
    fixed = (a for a in places if a.ipv4_address is not None or a.ipv6_address is not None)
    return tuple(address for place in fixed for address in _addresses(place))


def reservations(project: Project, service: Service) -> tuple[tuple[str, str], ...]:
    """Pairs of network and address that a container keeps for as long as it exists."""
    return tuple((project.networks[a.network].name, address) for a in service.networks for address in _addresses(a))


def trusted(project: Project, service: Service) -> bool:
    """Whether a container that has this service's network may administer it: routers, VPNs, virtual addresses."""
    mode = f"service:{service.name}"
    sharing = [service, *(other for other in project.services.values() if other.network_mode == mode)]
    added = {name.upper().removeprefix("CAP_") for one in sharing for name in one.cap_add}
    return bool(added & {"NET_ADMIN", "ALL"}) or any(one.privileged for one in sharing)


def host_has_ipv6() -> bool:
    """Whether this machine's kernel has IPv6."""
    return os.path.exists("/proc/sys/net/ipv6")


def sysctls(project: Project, service: Service, host_ipv6: bool) -> dict[str, str]:
    """Parameters of the container's network namespace, where it is on networks of ours.

    One that another project made may have IPv6, whatever the file says of it.
    """
    if not has_network(service):
        return {}
    return link_parameters.of_namespace(ipv6=has_ipv6(project, service), host_ipv6=host_ipv6)


def has_ipv6(project: Project, service: Service) -> bool:
    """Whether its containers' namespaces have IPv6."""
    networks = [project.networks[attachment.network] for attachment in service.networks]
    return any(network.enable_ipv6 or network.external for network in networks)


def further(project: Project, service: Service, container_id: str, name: str, connection: Connection) -> EndpointSpec:
    """A place on a network that no file asked for: found by its short id, its name and the aliases."""
    return EndpointSpec(
        connection.network,
        container_id,
        tuple(dict.fromkeys((container_id[:12], name, *connection.aliases))),
        ipv4_address=connection.ipv4_address,
        ipv6_address=connection.ipv6_address,
        trusted=trusted(project, service),
    )


def group(project: str, service: str, container_id: str = "") -> str:
    """What the published ports of a service, or of one of its containers, are known by."""
    return "/".join(filter(None, (project, service, container_id)))


def publications(
    project: Project, service: Service, container_id: str, *, alone: bool = False
) -> tuple[Publication, ...]:
    """The ports that a container publishes: with the others of its service, or a port of its own.

    Of a range, and where the host chooses, each container has one, as with Docker; a single port is led to all of them,
    but for who is `alone`.
    """

    def shares(port: Port) -> bool:
        return not alone and port.published is not None and port.published[0] == port.published[1]

    return tuple(
        Publication(
            group(project.name, service.name, "" if shares(p) else container_id),
            p.host_ip,
            *(p.published or (0, 0)),
            p.protocol,
            p.target,
        )
        for p in service.ports
        if p.protocol != "sctp"  # no plan makes containers with one
    )
