"""Kernel parameters of links: one table, by the kind of link; set before it is up, whatever the defaults are.

    bridge   of a network, on the host: an interface of the host towards containers, who must not steer it
    port     our end of a container's pair, on the host: the bridge takes what comes, the port itself has no address
    inside   an interface of a container, as the defaults of its namespace, which a neighbour must not steer

Without them a container is a router for its host and neighbours (CVE-2020-13401). Names are as in /proc/sys/net
(kernel: networking/ip-sysctl). Pure. What it does not do: set any of them (`bridge`; `runtime`, for `inside`).
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal

Kind = Literal["bridge", "port", "inside"]

_STEERED = {"ipv6/accept_ra": "0", "ipv6/autoconf": "0"}
_REDIRECTED = {"ipv4/accept_redirects": "0", "ipv4/accept_source_route": "0", "ipv6/accept_redirects": "0"}
TABLE: Mapping[Kind, Mapping[str, str]] = MappingProxyType(
    {
        "bridge": {
            **_STEERED,
            **_REDIRECTED,
            "ipv4/rp_filter": "1",  # a source belongs to the link that it comes from
            "ipv4/route_localnet": "1",  # for 127.0.0.1:PORT of the host; the firewall lets no container use it
            "ipv4/arp_ignore": "1",  # the gateway's address alone is answered for
            "ipv4/arp_announce": "2",
            "ipv4/arp_accept": "0",
        },
        "port": _STEERED,
        "inside": {**_STEERED, "ipv4/accept_redirects": "0", "ipv6/accept_redirects": "0"},
    }
)


def of_link(kind: Kind, *, ipv6: bool, host_ipv6: bool = True) -> dict[str, str]:
    """Parameters of a link by name (`ipv4/rp_filter`); `ipv6` says whether it has IPv6, `host_ipv6` the kernel."""
    parameters = {**TABLE[kind], "ipv6/disable_ipv6": "0" if ipv6 else "1"}
    return {name: value for name, value in parameters.items() if host_ipv6 or name.startswith("ipv4/")}


def of_namespace(*, ipv6: bool, host_ipv6: bool = True) -> dict[str, str]:
    """Parameters of a container's network namespace, for the interfaces that come into it, as sysctls with dots."""
    named = of_link("inside", ipv6=ipv6, host_ipv6=host_ipv6)
    sysctls = {f"net.{name.replace('/', '.conf.default.')}": value for name, value in named.items()}
    # where nothing is forwarded, a redirect is taken if either says so, and a new namespace has the host's values
    return {"net.ipv4.conf.all.accept_redirects": "0", **sysctls}
