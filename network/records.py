"""Records of networks, leases and published ports: files under one folder, each written whole and renamed.

    <root>/<name>/network.json                          one NetworkRecord
    <root>/<name>/leases/<IPv4 address>                 one Endpoint
    <root>/<name>/reserved/<address>                    whose it is, now or later: owner and project
    <root>/.published/<protocol>-<port>-<host ip>.json  one PortRecord
    <root>/.forward                                     boot id, and what ip_forward was before us
    <root>/.lock                                        held while anything changes: several projects share the folder

What it does not do: know what of this is true; that is for who reads it.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any, TypeVar

from pycompose import durable
from pycompose.dataclass_json import Codec

from .errors import WouldWait
from .spec import BoundPort, Endpoint, NetworkRecord, PortRecord

Record = TypeVar("Record", NetworkRecord, Endpoint, PortRecord)
_CODEC = Codec()


@cache
def boot_id() -> str:
    """What tells one boot of this machine from another (man 5 proc_sys_kernel)."""
    with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
        return file.read().strip()


def _write(path: str, text: str) -> None:
    """On a full disk too if the record does not grow, so that what is there can end. Raises OSError."""
    durable.write(path, text.encode(), flush=False, padded=True)


def _read(path: str) -> dict[str, Any] | None:
    """The object of a JSON file; None when there is none, or it is broken."""
    try:
        with open(path, encoding="utf-8") as file:
            tree = json.load(file)
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return None
    return tree if isinstance(tree, dict) else None


def _record(kind: type[Record], tree: Mapping[str, Any] | None) -> Record | None:
    """A record from its JSON; what this release does not know is left out, what is broken is no record."""
    try:
        return _CODEC.from_plain(kind, tree)
    except ValueError:
        return None


def _text(record: NetworkRecord | Endpoint | PortRecord) -> str:
    return json.dumps(_CODEC.to_plain(record))


def _forget(path: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)


def _names(folder: str) -> list[str]:
    try:
        return sorted(name for name in os.listdir(folder) if not name.startswith("."))
    except (FileNotFoundError, NotADirectoryError):
        return []


class Records:
    """The records in the folder `root`. What is read may be another process's; what is written raises OSError."""

    def __init__(self, root: str) -> None:
        self.root, self._waits = root, True
        self._networks: dict[str, tuple[tuple[int, ...], NetworkRecord | None]] = {}  # as read: each join asks for it
        os.makedirs(f"{root}/.published", 0o700, exist_ok=True)

    @contextlib.contextmanager
    def at_once(self) -> Iterator[None]:
        """In the body `changing` waits for nobody: it raises WouldWait before anything is changed."""
        self._waits = False
        try:
            yield
        finally:
            self._waits = True

    @contextlib.contextmanager
    def changing(self) -> Iterator[None]:
        """Hold the folder's lock. Another process may have it, however long: no thread with tasks calls this, but
        `at_once`."""
        fd = os.open(f"{self.root}/.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if not self._waits:
                    raise WouldWait from None
                fcntl.flock(fd, fcntl.LOCK_EX)
            yield
        finally:
            os.close(fd)

    # networks

    def networks(self) -> list[NetworkRecord]:
        return [n for n in map(self.network, _names(self.root)) if n]

    def network(self, name: str) -> NetworkRecord | None:
        path = f"{self.root}/{name}/network.json"
        try:
            status = os.stat(path)
        except OSError:
            self._networks.pop(name, None)
            return _record(NetworkRecord, _read(path))
        stamp = status.st_ino, status.st_mtime_ns, status.st_ctime_ns, status.st_size
        if name not in self._networks or self._networks[name][0] != stamp:
            self._networks[name] = stamp, _record(NetworkRecord, _read(path))
        return self._networks[name][1]

    def current(self) -> list[NetworkRecord]:
        """The networks that were made, or made again, in this boot."""
        boot = boot_id()
        return [n for n in self.networks() if n.boot_id == boot]

    def keep_network(self, network: NetworkRecord) -> None:
        os.makedirs(f"{self.root}/{network.name}/leases", 0o700, exist_ok=True)
        _write(f"{self.root}/{network.name}/network.json", _text(network))

    def forget_network(self, name: str) -> None:
        folder = f"{self.root}/{name}"
        for path in (f"{folder}/network.json", *(f"{folder}/reserved/{a}" for a in _names(f"{folder}/reserved"))):
            _forget(path)
        for path in (f"{folder}/leases", f"{folder}/reserved", folder):
            with contextlib.suppress(FileNotFoundError):
                os.rmdir(path)

    # leases

    def lease_folder(self, network: str) -> str:
        return f"{self.root}/{network}/leases"

    def leased(self, network: str) -> list[str]:
        """The addresses that are leased, without their records being read."""
        return _names(self.lease_folder(network))

    def lease(self, network: str, address: str) -> Endpoint | None:
        return _record(Endpoint, _read(f"{self.lease_folder(network)}/{address}"))

    def leases(self, network: str) -> list[Endpoint]:
        return [e for a in self.leased(network) if (e := self.lease(network, a))]

    def keep_lease(self, endpoint: Endpoint) -> None:
        _write(f"{self.lease_folder(endpoint.network)}/{endpoint.address}", _text(endpoint))

    def is_free(self, endpoint: Endpoint) -> bool:
        """Whether nobody has the endpoint's address."""
        return not os.path.exists(f"{self.lease_folder(endpoint.network)}/{endpoint.address}")

    def forget_lease(self, network: str, address: str) -> None:
        _forget(f"{self.lease_folder(network)}/{address}")

    # reservations

    def reserved(self, network: str) -> dict[str, tuple[str, str]]:
        """Owners, each with its project, by the address that is kept for them."""
        folder, owners = f"{self.root}/{network}/reserved", {}
        for address in _names(folder):
            with contextlib.suppress(FileNotFoundError), open(f"{folder}/{address}", encoding="utf-8") as file:
                owner, _, project = file.read().strip().partition(" ")
                owners[address] = owner, project
        return owners

    def reserve(self, network: str, address: str, owner: str, project: str) -> None:
        """Keep the address for the owner, in place of an earlier one, who had it by an earlier file."""
        os.makedirs(f"{self.root}/{network}/reserved", 0o700, exist_ok=True)
        _write(f"{self.root}/{network}/reserved/{address}", f"{owner} {project}\n")

    def unreserve(self, network: str, owner: str) -> None:
        for address, (other, _) in self.reserved(network).items():
            if other == owner:
                _forget(f"{self.root}/{network}/reserved/{address}")

    # published ports

    def _port_path(self, published: BoundPort) -> str:
        name = f"{published.publication.protocol}-{published.port}-{published.host_ip}.json"
        return f"{self.root}/.published/{name}"

    def ports(self) -> list[PortRecord]:
        folder = f"{self.root}/.published"
        return [p for name in _names(folder) if (p := _record(PortRecord, _read(f"{folder}/{name}")))]

    def port(self, published: BoundPort) -> PortRecord | None:
        return _record(PortRecord, _read(self._port_path(published)))

    def keep_port(self, port: PortRecord) -> None:
        _write(self._port_path(port.published), _text(port))

    def forget_port(self, published: BoundPort) -> None:
        _forget(self._port_path(published))

    # ip_forward as it was

    def forwarding_before(self) -> str | None:
        """What ip_forward was; None when we have not switched it on in this boot."""
        try:
            with open(f"{self.root}/.forward", encoding="ascii") as file:
                boot, _, value = file.read().strip().rpartition(" ")
        except FileNotFoundError:
            return None
        return value if boot == boot_id() else None

    def keep_forwarding(self, value: str | None) -> None:
        if value is None:
            _forget(f"{self.root}/.forward")
        else:
            _write(f"{self.root}/.forward", f"{boot_id()} {value}\n")
