"""The front door of networks, where no kernel is needed: order of what changes, and what a failure leaves."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from pycompose.network.errors import NetworkError
from pycompose.network.networks import Networks
from pycompose.network.spec import Endpoint, NetworkRecord


@contextmanager
def taken() -> Iterator[None]:
    raise OSError(errno.EIO, "the lock cannot be had")
    yield


def test_names_go_with_the_lease_and_not_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    networks = Networks(str(tmp_path), "p")
    records = networks._records
    records.keep_network(NetworkRecord("n", "p", "br-1", ("10.0.0.0/24",), ("10.0.0.1",), False, 1500, {}, 5.0, "boot"))
    endpoint = Endpoint("n", "owner", "eth0", ("10.0.0.2/24",), "02:42:0a:00:00:02", None, ("web",))
    records.keep_lease(endpoint)
    networks.zone.add_network("n", internal=False)
    networks.zone.add(endpoint)
    with monkeypatch.context() as patched:
        patched.setattr(records, "changing", taken)
        with pytest.raises(OSError, match="the lock cannot be had"):
            networks.detach("owner")
    assert networks.zone.addresses("owner", "web") == ["10.0.0.2"]
    assert records.leases("n") == [endpoint]
    networks.detach("owner")
    assert networks.zone.endpoints_of("owner") == []
    assert records.leases("n") == []
    networks._firewall.socket.close()


def test_an_address_that_could_not_be_given_back_keeps_no_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    networks = Networks(str(tmp_path), "p")
    records = networks._records
    records.keep_network(NetworkRecord("n", "p", "br-1", ("10.0.0.0/24",), ("10.0.0.1",), False, 1500, {}, 5.0, "boot"))
    endpoint = Endpoint("n", "owner", "eth0", ("10.0.0.2/24",), "02:42:0a:00:00:02", None, ("web",))
    records.keep_lease(endpoint)
    networks.zone.add_network("n", internal=False)
    networks.zone.add(endpoint)
    networks._recovered = True
    with monkeypatch.context() as patched:

        def short(_: object) -> None:
            raise OSError(errno.EMFILE, "no descriptor is left")

        patched.setattr(networks._ports, "without", short)
        with pytest.raises(NetworkError, match="no descriptor is left"):
            networks.detach("owner")
    assert records.leases("n") == [endpoint]
    unmade: list[NetworkRecord] = []
    monkeypatch.setattr(networks, "_unmake", unmade.append)
    networks.remove("n")
    assert records.leases("n") == []
    assert [network.name for network in unmade] == ["n"]
    networks._firewall.socket.close()
