"""Networks, endpoints and published ports: what is asked for, and what there is, as frozen data.

Nothing here knows of services or containers: an endpoint belongs to an `owner` (any text, unique on the machine) and
lives in a network namespace that arrives as descriptors. Addresses are text; ports numbers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from types import MappingProxyType
from typing import Literal

from pycompose.frozen import dataclass

DNS_ADDRESS = "127.0.0.11"  # whom containers ask, inside their own namespaces
MACHINE_BRIDGE = "bridge"  # the network of whoever names none: all projects' alike, there while anybody is on it
NO_TEXT: Mapping[str, str] = MappingProxyType({})


def no_text() -> Mapping[str, str]:
    """The empty mapping, as a field's default."""
    return NO_TEXT


@dataclass(frozen=True, slots=True)
class Pool:
    """Where a network's addresses come from: `ipam.config` of the compose specification."""

    subnet: str | None = None
    ip_range: str | None = None
    gateway: str | None = None
    reserved: tuple[str, ...] = ()  # never given out (aux_addresses)


@dataclass(frozen=True, slots=True)
class NetworkSpec:
    """A network that is asked for.

    Without pools, a subnet is taken from the machine's pool that overlaps no route of the host.

    With `ipv6` the endpoints have IPv6 addresses too, and names lead to them, inside the network: nothing is routed out
    over IPv6. Without `ipv4` a network cannot be made.
    """

    name: str
    project: str
    internal: bool = False
    ipv4: bool = True
    ipv6: bool = False
    pools: tuple[Pool, ...] = ()
    mtu: int | None = None  # in bytes; None: the uplink's
    bridge: str | None = None  # a name for the link (com.docker.network.bridge.name)
    masquerade: bool = True
    labels: Mapping[str, str] = field(default_factory=no_text)


@dataclass(frozen=True, slots=True)
class NetworkRecord:
    """A network that exists; persisted as `<networks>/<name>/network.json`. The first subnet is the IPv4 one."""

    name: str
    project: str
    bridge: str
    subnets: tuple[str, ...]
    gateways: tuple[str, ...]
    internal: bool
    mtu: int
    labels: Mapping[str, str]
    created: float  # seconds since 1970
    boot_id: str
    masquerade: bool = True
    reserved: tuple[str, ...] = ()
    ip_range: str | None = None


@dataclass(frozen=True, slots=True)
class EndpointSpec:
    """One owner's place on one network, that is asked for. DNS answers `names` with its address on this network."""

    network: str
    owner: str  # container id
    names: tuple[str, ...] = ()  # service, container name, aliases, short id
    interface: str | None = None  # inside; eth0, eth1, … by default
    ipv4_address: str | None = None
    ipv6_address: str | None = None
    mac_address: str | None = None
    default_route: bool = False
    trusted: bool = False  # may administer its network: speaks for addresses that are nobody's, too
    avoided: tuple[str, ...] = ()  # addresses that are for others who will ask for them


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One owner's place on one network; persisted as the lease `<networks>/<network>/leases/<address>`."""

    network: str
    owner: str
    interface: str
    addresses: tuple[str, ...]  # with prefix length
    mac_address: str
    gateway: str | None
    names: tuple[str, ...]
    project: str = ""
    link: str = ""  # our end of the pair, in the bridge
    trusted: bool = False

    @property
    def plain(self) -> tuple[str, ...]:
        """The addresses without prefix length."""
        return tuple(address.partition("/")[0] for address in self.addresses)

    @property
    def address(self) -> str:
        """The first of them, an IPv4 one, by which its lease is known."""
        return self.plain[0]


@dataclass(frozen=True, slots=True)
class Publication:
    """A port of the host that leads to a group of backends; the group is named so that it outlives its members."""

    group: str  # project/service
    host_ip: str | None  # None: every address of the host, IPv4 and IPv6
    first: int  # with `last`: take the first free port of the range; 0, 0: an ephemeral one
    last: int
    protocol: Literal["tcp", "udp"]
    target: int


@dataclass(frozen=True, slots=True)
class BoundPort:
    """A publication with the port of the host that it got."""

    publication: Publication
    host_ip: str
    port: int


@dataclass(frozen=True, slots=True)
class Backend:
    """An owner that the connections to a published port may go to."""

    owner: str
    address: str  # IPv4, without prefix


@dataclass(frozen=True, slots=True)
class PortRecord:
    """A published port with where it leads; persisted as `<networks>/.published/<protocol>-<port>-<host ip>.json`."""

    published: BoundPort
    project: str
    boot_id: str
    backends: tuple[Backend, ...] = ()
