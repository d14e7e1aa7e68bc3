"""The kernel's nft tables of one folder of networks: changed in atomic batches, made whole again when one is not there.

A change is a few elements. When the kernel does not know the table (first network, someone flushed the rules, another
release's table), the batch fails as a whole, and the table is built from all that `everything` returns.
Every method raises OSError.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable, Sequence
from functools import partial

from pycompose.frozen import dataclass
from pycompose.log_lines import note
from pycompose.network import netlink

from .guard import GuardedPort, GuardTable
from .rules import BridgeRules, Message, PortRules, Table, table_name

Everything = Callable[[], Sequence[Message]]
Change = Callable[[Sequence[GuardedPort]], Sequence[Message]]
USUAL = GuardedPort("\x02" * 15, "a5:a6:a7:a8:a9:aa", ("165.166.164.163",))  # its values are marks of templates
NO_FAMILY = (errno.ENOENT, errno.EOPNOTSUPP, errno.EAFNOSUPPORT)  # of a kernel without CONFIG_NF_TABLES_BRIDGE


class KernelTable:
    """One table; `everything` gives what stands in it beside its skeleton, when it has to be built whole."""

    def __init__(self, table: Table, sock: socket.socket, everything: Everything) -> None:
        self.table, self._socket, self._everything = table, sock, everything
        self._version = ""

    def change(self, messages: Sequence[Message]) -> None:
        """All of the messages, or, where the table is not as they expect it, the whole table anew."""
        self.change_encoded(netlink.encode_rules(messages, self.table.family))

    def change_encoded(self, messages: Sequence[bytes]) -> None:
        """The same, of messages as bytes."""
        if not messages:
            return
        try:
            netlink.apply_rules(self._socket, messages)
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.EEXIST, errno.EBUSY):
                raise
            self.rebuild()

    def ensure(self) -> None:
        """Build the table when it is missing or another release's."""
        self._version = self._version or self.table.version()
        if not netlink.has_chain(self._socket, self.table.name, self._version, self.table.family):
            self.rebuild()

    def rebuild(self) -> None:
        """Build the table anew, in one batch."""
        self._apply([*self.table.skeleton(), *self._everything()])

    def remove(self) -> None:
        """Delete the table, if it is there."""
        self._apply(self.table.none())

    def _apply(self, messages: Sequence[Message]) -> None:
        netlink.apply_rules(self._socket, netlink.encode_rules(messages, self.table.family))


@dataclass(frozen=True, slots=True)
class FirewallState:
    """All that stands in the two tables of a folder."""

    networks: tuple[BridgeRules, ...]
    ports: tuple[PortRules, ...]
    places: tuple[GuardedPort, ...]
    closed: bool  # IPv4 is forwarded for our bridges alone


class Firewall:
    """Both tables by their folder's path; `everything` is called when one has to be built whole."""

    def __init__(self, root: str, everything: Callable[[], FirewallState]) -> None:
        # one socket for all changes: closing it waits until the kernel has freed what was deleted, 16 ms
        self.socket = netlink.open_netfilter()
        self._everything = everything
        self._rules, self._guarded = Table(table_name(root)), GuardTable(table_name(root))
        self._table = KernelTable(self._rules, self.socket, self._all_rules)
        self._guard = KernelTable(self._guarded, self.socket, lambda: self._guarded.add(everything().places))
        self._guards = True  # the kernel can
        self._templates: tuple[netlink.Template, netlink.Template] | None = None  # of a usual port: added, gone

    def _all_rules(self) -> list[Message]:
        whole = self._everything()
        messages = [m for network in whole.networks for m in self._rules.add_network(network)]
        messages += [m for port in whole.ports for m in self._rules.publish(port)]
        return [*messages, *self._rules.close(closed=whole.closed)]

    def add_network(self, network: BridgeRules, gateway: GuardedPort, *, closed: bool) -> None:
        """`closed` says whether IPv4 is forwarded for our bridges alone."""
        self._table.change([*self._rules.add_network(network), *self._rules.close(closed=closed)])
        self.change_places([gateway], [])

    def remove_network(self, network: BridgeRules, gateway: GuardedPort, places: Sequence[GuardedPort]) -> None:
        """`places` are those of its containers, which have gone."""
        self._table.change(self._rules.remove_network(network))
        self.change_places([], [gateway, *places])

    def change_places(self, added: Sequence[GuardedPort], gone: Sequence[GuardedPort]) -> None:
        """The ports of `added` may speak for their addresses from now on, and for nothing else."""
        admit, dismiss = self.warm()
        messages = [m for port in gone for m in self._encoded(port, self._guarded.remove, dismiss)]
        messages += [m for port in added for m in self._encoded(port, self._guarded.add, admit)]
        self._guarding(partial(self._guard.change_encoded, messages))

    def _encoded(self, port: GuardedPort, change: Change, template: netlink.Template) -> list[bytes]:
        if port.trusted or len(port.addresses) > 1 or len(port.link) != len(USUAL.link):
            return netlink.encode_rules(change([port]), self._guarded.family)
        return template.filled(self._guarded.keys(port))

    def warm(self) -> tuple[netlink.Template, netlink.Template]:
        """Encode what every container's start needs before there is one."""
        if self._templates is None:
            marks, family = self._guarded.keys(USUAL), self._guarded.family
            added, gone = self._guarded.add([USUAL]), self._guarded.remove([USUAL])
            self._templates = netlink.Template(added, family, marks), netlink.Template(gone, family, marks)
        return self._templates

    def publish(self, ports: Sequence[PortRules]) -> None:
        """Publish all of them in one batch."""
        self._table.change([message for port in ports for message in self._rules.publish(port)])

    def unpublish(self, port: PortRules) -> None:
        self._table.change(self._rules.unpublish(port))

    def ensure(self) -> None:
        """Build what is missing or another release's."""
        self._table.ensure()
        self._guarding(self._guard.ensure)

    def remove(self) -> None:
        """Delete the tables, if they are there."""
        self._table.remove()
        self._guarding(self._guard.remove)

    def _guarding(self, work: Callable[[], None]) -> None:
        """Change the table of bridges, where the kernel has such tables."""
        if not self._guards:
            return
        try:
            work()
        except OSError as error:
            if error.errno not in NO_FAMILY:
                raise
            self._guards = False
            note("this kernel has no nftables for bridges: containers of one network can pretend to be each other")
