"""The files that are mounted at /etc/hosts, /etc/hostname and /etc/resolv.conf of a container, and their texts.

Addresses that were given out, and the host's own files, arrive as arguments.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable

from pycompose.compose.model.project import Service
from pycompose.network.spec import DNS_ADDRESS
from pycompose.runtime.spec import Mount

from . import network_spec

FILES = ("hosts", "hostname", "resolv.conf")
HOST_GATEWAY = "host-gateway"
LOCAL_NAMES = (
    "127.0.0.1\tlocalhost",
    "::1\tlocalhost ip6-localhost ip6-loopback",
    "fe00::0\tip6-localnet",
    "ff00::0\tip6-mcastprefix",
    "ff02::1\tip6-allnodes",
    "ff02::2\tip6-allrouters",
)


def hosts_file(
    addresses: Iterable[str],
    hostname: str,
    domainname: str | None,
    extra_hosts: Iterable[tuple[str, str]],
    gateway: str | None,
    host_file: str | None = None,
) -> str:
    """/etc/hosts. `addresses` are the container's; with `host_file` (network_mode: host) the host's text leads."""
    lines = list(LOCAL_NAMES) if host_file is None else host_file.rstrip("\n").split("\n")
    lines += _own(addresses, hostname, domainname)
    for name, address in extra_hosts:
        lines.append(f"{(gateway or '127.0.0.1') if address == HOST_GATEWAY else address}\t{name}")
    return "\n".join(lines) + "\n"


def _own(addresses: Iterable[str], hostname: str, domainname: str | None) -> list[str]:
    names = f"{hostname}.{domainname} {hostname}" if domainname else hostname
    return [f"{address}\t{names}" for address in addresses]


def readdressed(text: str, hostname: str, domainname: str | None, gone: Iterable[str], come: Iterable[str]) -> str:
    """/etc/hosts of a container that has left some of its addresses, and has further ones."""
    without, further = _own(gone, hostname, domainname), _own(come, hostname, domainname)
    return "\n".join([*(line for line in text.splitlines() if line not in (*without, *further)), *further]) + "\n"


def resolver_file(service: Service, host_file: str) -> str:
    """/etc/resolv.conf: our resolver on a network of ours, else the file's own servers, else the host's text.

    Search domains are the service's, else the host's; `ndots:0` makes a bare service name an absolute one first.
    """
    searches = [line.split()[1:] for line in host_file.splitlines() if line.startswith("search ")]
    search = list(service.dns_search) or (searches[-1] if searches else [])
    if network_spec.has_network(service):
        servers, options = [DNS_ADDRESS], ["ndots:0", *service.dns_opt]
    elif not (service.dns or service.dns_search or service.dns_opt):
        return host_file
    else:
        host_servers = [line.split()[1] for line in host_file.splitlines() if line.startswith("nameserver ")]
        servers, options = list(service.dns) or host_servers, list(service.dns_opt)
    lines = [f"nameserver {server}" for server in servers]
    lines += [f"search {' '.join(search)}"] if search and search != ["."] else []
    lines += [f"options {' '.join(options)}"] if options else []
    return "\n".join(lines) + "\n"


def linked(text: str, lines: Iterable[tuple[str, str]]) -> str:
    """/etc/hosts with a line for each (address, names) of a link, in place of the one that the names had."""
    for address, names in lines:
        kept = [line for line in text.splitlines() if line.partition("\t")[2] != names]
        text = "\n".join([*kept, f"{address}\t{names}"]) + "\n"
    return text


def make_empty(folder: str) -> None:
    """Files to mount before their texts are known. Raises OSError."""
    for name in FILES:
        with open(f"{folder}/{name}", "w") as file:
            os.fchmod(file.fileno(), 0o644)


def mounts(folder: str, taken: Collection[str]) -> tuple[Mount, ...]:
    """The mounts of `folder`'s files, but where the container has something of its own: `taken` are its targets."""
    return tuple(
        Mount(f"/etc/{name}", "bind", f"{folder}/{name}", ("rbind", "rw", "rprivate"))
        for name in FILES
        if f"/etc/{name}" not in taken
    )
