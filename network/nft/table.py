"""The kernel's nft table of one folder of networks: changed in atomic batches, made whole again when it is not there.

A change is a few elements. When the kernel does not know the table (first network, someone flushed the rules, another
release's table), the batch fails as a whole, and the table is built from all that `everything` returns.
Every method raises OSError.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterable, Sequence

from pycompose.network import netlink

from .rules import BridgeRules, Message, PortRules, Table, table_name

Everything = Callable[[], tuple[Iterable[BridgeRules], Iterable[PortRules]]]


class Firewall:
    """The table by its folder's path; `everything` is called when it has to be built whole."""

    def __init__(self, root: str, everything: Everything) -> None:
        self.table = Table(table_name(root))
        self._everything = everything
        self._version = ""
        # one socket for all changes: closing it waits until the kernel has freed what was deleted, 16 ms
        self.socket = netlink.open_netfilter()

    def add_network(self, network: BridgeRules) -> None:
        self._change(self.table.add_network(network))

    def remove_network(self, network: BridgeRules) -> None:
        self._change(self.table.remove_network(network))

    def publish(self, ports: Sequence[PortRules]) -> None:
        """Publish all of them in one batch."""
        self._change([message for port in ports for message in self.table.publish(port)])

    def unpublish(self, port: PortRules) -> None:
        self._change(self.table.unpublish(port))

    def ensure(self) -> None:
        """Build the table when it is missing or another release's."""
        self._version = self._version or self.table.version()
        if not netlink.has_chain(self.socket, self.table.name, self._version, self.table.family):
            self.rebuild()

    def rebuild(self) -> None:
        """Build the table anew, in one batch."""
        networks, ports = self._everything()
        messages = self.table.skeleton()
        for network in networks:
            messages += self.table.add_network(network)
        for port in ports:
            messages += self.table.publish(port)
        self._apply(messages)

    def remove(self) -> None:
        """Delete the table, if it is there."""
        self._apply(self.table.none())

    def _change(self, messages: Sequence[Message]) -> None:
        if not messages:
            return
        try:
            self._apply(messages)
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.EEXIST, errno.EBUSY):
                raise
            self.rebuild()

    def _apply(self, messages: Sequence[Message]) -> None:
        netlink.apply_rules(self.socket, messages, self.table.family)
