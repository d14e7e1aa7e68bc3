"""Allocation for a new network: subnets that nobody has, gateways, the uplink's MTU, the name of its link.

`surveyed` asks the host what there is (routes, links) and changes nothing; `allocated` decides from that, and is pure.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from pycompose.frozen import dataclass

from . import addresses, bridge, netlink
from .errors import NetworkError
from .records import boot_id
from .spec import NetworkRecord, NetworkSpec, Pool


@dataclass(frozen=True, slots=True)
class HostState:
    """What the host has before a network is made."""

    taken: tuple[tuple[str, str], ...]  # subnets, each with words for whose it is
    mtu: int  # of the uplink, in bytes
    ipv6: bool
    boot_id: str


def lay_out(spec: NetworkSpec, root: str, others: Sequence[NetworkRecord]) -> NetworkRecord:
    """The network that is to be made beside `others`. Raises NetworkError, OSError."""
    if spec.bridge and bridge.index_of(spec.bridge) is not None:
        raise NetworkError(f'network "{spec.name}": the host already has a link "{spec.bridge}"')
    return allocated(spec, root, surveyed(others), time.time())


def surveyed(others: Sequence[NetworkRecord]) -> HostState:
    """The host as it is now, with the networks `others` on it. Raises OSError."""
    bridges = {n.bridge for n in others}
    taken = [(subnet, f'network "{n.name}"') for n in others for subnet in n.subnets]
    with netlink.open_route() as sock:
        for route, index in netlink.routes(sock):
            through = netlink.link(sock, index=index) if index else None
            if through is None or through.name not in bridges:
                where = f" through {through.name}" if through else ""
                taken.append((route, f"a route of this host{where}"))
        mtu = netlink.uplink_mtu(sock)
    return HostState(tuple(taken), mtu, bridge.host_has_ipv6(), boot_id())


def allocated(spec: NetworkSpec, root: str, host: HostState, created: float) -> NetworkRecord:
    """What a network gets. `created` is in seconds since 1970. Raises NetworkError."""
    four = next((p for p in spec.pools if not p.subnet or ":" not in p.subnet), Pool())
    six = next((p for p in spec.pools if p.subnet and ":" in p.subnet), Pool())
    if four.subnet:
        subnet = addresses.checked_subnet(four.subnet, spec.name, host.taken)
    else:
        subnet = addresses.choose_subnet(subnet for subnet, _ in host.taken)
    subnets, gateways = [subnet], [addresses.gateway_of(four, subnet)]
    if spec.ipv6:
        if not host.ipv6:
            raise NetworkError(f'network "{spec.name}": this host has no IPv6', hint="leave enable_ipv6 out")
        if six.subnet:
            subnets.append(addresses.checked_subnet(six.subnet, spec.name, host.taken))
        else:
            subnets.append(addresses.private_subnet6(root, spec.name))
        gateways.append(addresses.gateway_of(six, subnets[1]))
    return NetworkRecord(
        spec.name,
        spec.project,
        spec.bridge or addresses.link_name("br-", root, spec.name),
        tuple(subnets),
        tuple(gateways),
        spec.internal,
        spec.mtu or host.mtu,
        dict(spec.labels),
        created,
        host.boot_id,
        spec.masquerade,
        tuple(four.reserved),
        four.ip_range,
    )
