"""What a network to be gets: subnets that nobody has, gateways, the uplink's MTU, the name of its link.

It asks the host what there is (routes, links), and makes nothing.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence

from . import addresses, bridge, netlink
from .errors import NetworkError
from .records import boot_id
from .spec import NetworkRecord, NetworkSpec, Pool


def lay_out(spec: NetworkSpec, root: str, others: Sequence[NetworkRecord]) -> NetworkRecord:
    """The network that is to be made beside `others`. Raises NetworkError, OSError."""
    four = next((p for p in spec.pools if not p.subnet or ":" not in p.subnet), Pool())
    six = next((p for p in spec.pools if p.subnet and ":" in p.subnet), None)
    with netlink.open_route() as sock:
        own = {n.bridge for n in others}
        taken = [(subnet, f'network "{n.name}"') for n in others for subnet in n.subnets]
        for route, index in netlink.routes(sock):
            through = netlink.link(sock, index=index) if index else None
            if through is None or through.name not in own:
                where = f" through {through.name}" if through else ""
                taken.append((route, f"a route of this host{where}"))
        mtu = spec.mtu or netlink.uplink_mtu(sock)
    if four.subnet:
        subnet = addresses.checked_subnet(four.subnet, spec.name, taken)
    else:
        subnet = addresses.choose_subnet(t for t, _ in taken)
    subnets, gateways = [subnet], [addresses.gateway_of(four, subnet)]
    if spec.ipv6:
        if not os.path.exists("/proc/sys/net/ipv6"):
            raise NetworkError(f'network "{spec.name}": this host has no IPv6', hint="leave enable_ipv6 out")
        wanted = six.subnet if six else None
        subnets.append(
            addresses.checked_subnet(wanted, spec.name, taken) if wanted else addresses.private_subnet6(root, spec.name)
        )
        gateways.append(addresses.gateway_of(six or Pool(), subnets[1]))
    if spec.bridge and bridge.index_of(spec.bridge) is not None:
        raise NetworkError(f'network "{spec.name}": the host already has a link "{spec.bridge}"')
    return NetworkRecord(
        spec.name,
        spec.project,
        spec.bridge or addresses.link_name("br-", root, spec.name),
        tuple(subnets),
        tuple(gateways),
        spec.internal,
        mtu,
        dict(spec.labels),
        time.time(),
        boot_id(),
        spec.masquerade,
        tuple(four.reserved),
        four.ip_range,
    )
