"""Links: the bridge of a network, a veth pair for each endpoint, addresses and routes inside. Raises OSError.

The host's side is the namespace of the calling process; a container's side is reached through a netlink socket that
was made in there. Links are not deleted one by one (17 ms each): a pair dies with its namespace.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
from collections.abc import Iterable, Sequence
from ipaddress import ip_network

from . import addresses, link_parameters, netlink, rtnetlink
from .spec import Endpoint, NetworkRecord

FORWARD = "/proc/sys/net/ipv4/ip_forward"
IPV6 = "/proc/sys/net/ipv6"


def host_has_ipv6() -> bool:
    """Whether the kernel has IPv6."""
    return os.path.exists(IPV6)


def set_switch(path: str, value: str) -> None:
    """Set a sysctl by its path in /proc/sys."""
    file = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(file, value.encode())
    finally:
        os.close(file)


def read_switch(path: str) -> str:
    """The value of a sysctl, by its path in /proc/sys."""
    with open(path, encoding="ascii") as file:
        return file.read().strip()


def set_parameters(kind: link_parameters.Kind, link: str, *, ipv6: bool) -> None:
    """Set what belongs to this kind of link of the host, which is down."""
    for name, value in link_parameters.of_link(kind, ipv6=ipv6, host_ipv6=host_has_ipv6()).items():
        family, _, parameter = name.partition("/")
        set_switch(f"/proc/sys/net/{family}/conf/{link}/{parameter}", value)


def index_of(name: str) -> int | None:
    """The index of the host's link with this name; None where there is none."""
    try:
        return socket.if_nametoindex(name)
    except OSError:
        return None


def make(network: NetworkRecord, endpoints: Iterable[Endpoint] = ()) -> None:
    """Make the bridge with its addresses, if it is not there; links of `endpoints` that lost it are put in again."""
    if index_of(network.bridge) is not None:
        return
    with netlink.open_route() as sock:
        netlink.transact(
            sock, [rtnetlink.new_bridge(network.bridge, network.mtu, addresses.mac_of(network.gateways[0]))]
        )
        try:
            index = socket.if_nametoindex(network.bridge)
            messages = [
                rtnetlink.new_address(index, f"{gateway}/{ip_network(subnet).prefixlen}")
                for gateway, subnet in zip(network.gateways, network.subnets, strict=True)
            ]
            set_parameters("bridge", network.bridge, ipv6=len(network.subnets) > 1)
            netlink.transact(sock, [*messages, rtnetlink.link_up(index)])
        except OSError:
            remove(network.bridge)
            raise
        for endpoint in endpoints:
            if endpoint.link and (port := index_of(endpoint.link)) is not None:
                with contextlib.suppress(OSError):
                    netlink.transact(sock, [rtnetlink.set_master(port, index)])


def remove(name: str) -> None:
    """Delete a link of the host, if it is there."""
    with netlink.open_route() as sock:
        try:
            netlink.transact(sock, [rtnetlink.delete_link(name)])
        except OSError as error:
            if error.errno != errno.ENODEV:
                raise


def _filtered() -> bool:
    """Whether br_netfilter shows bridged packets to the rules: what these send back to its sender is then bridged."""
    try:
        return read_switch("/proc/sys/net/bridge/bridge-nf-call-iptables") == "1"
    except FileNotFoundError:
        return False


def join(
    netns_fd: int, inside: socket.socket, endpoints: Sequence[tuple[Endpoint, NetworkRecord]], gateway: Endpoint | None
) -> None:
    """Make a pair for each endpoint, with its addresses; the default route goes through that of `gateway`."""
    messages: list[bytes] = []
    filtered = _filtered()
    with netlink.open_route() as host:
        for endpoint, network in endpoints:
            master = index_of(network.bridge)
            if master is None:
                raise OSError(errno.ENODEV, f'the link "{network.bridge}" of network "{network.name}" is gone')
            mac = endpoint.mac_address
            veth = rtnetlink.new_veth(endpoint.link, master, endpoint.interface, netns_fd, mac, network.mtu)
            netlink.transact(host, [veth])
            set_parameters("port", endpoint.link, ipv6=False)
            up = rtnetlink.link_up(name=endpoint.link)
            netlink.transact(host, [rtnetlink.hairpin(endpoint.link), up] if filtered else [up])
            # the kernel takes a chosen index for the peer only where ours is chosen too: ask what it became
            index = netlink.index(inside, endpoint.interface)
            messages += [rtnetlink.new_address(index, address) for address in endpoint.addresses]
            messages.append(rtnetlink.link_up(index))
            if endpoint is gateway and endpoint.gateway:
                messages.append(rtnetlink.default_route(index, endpoint.gateway))
    if messages:
        netlink.transact(inside, messages)


def route_through(inside: socket.socket, endpoint: Endpoint) -> None:
    """Have the default route go through an endpoint's gateway, if there is no such route.

    A container that administers its network may have removed the link, or taken it down: it has no route then.
    """
    if endpoint.gateway:
        try:
            index = netlink.index(inside, endpoint.interface)
            netlink.transact(inside, [rtnetlink.default_route(index, endpoint.gateway)])
        except OSError as error:
            if error.errno not in (errno.EEXIST, errno.ENODEV, errno.ENETDOWN, errno.ENETUNREACH):
                raise
