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

ENDPOINT = Endpoint("n", "owner", "eth0", ("10.0.0.2/24",), "02:42:0a:00:00:02", None, ("web",))


@pytest.fixture
def networks(tmp_path: Path) -> Iterator[Networks]:
    """Of a project with one network, in which one container has an address."""
    networks = Networks(str(tmp_path), "p")
    network = NetworkRecord("n", "p", "br-1", ("10.0.0.0/24",), ("10.0.0.1",), False, 1500, {}, 5.0, "boot")
    networks._records.keep_network(network)
    networks._records.keep_lease(ENDPOINT)
    networks.zone.add_network("n", internal=False)
    networks.zone.add(ENDPOINT)
    yield networks
    networks._firewall.socket.close()


@contextmanager
def taken() -> Iterator[None]:
    raise OSError(errno.EIO, "the lock cannot be had")
    yield


def test_names_go_with_the_lease_and_not_before(networks: Networks, monkeypatch: pytest.MonkeyPatch) -> None:
    records = networks._records
    with monkeypatch.context() as patched:
        patched.setattr(records, "changing", taken)
        with pytest.raises(OSError, match="the lock cannot be had"):
            networks.detach("owner")
    assert networks.zone.addresses("owner", "web") == ["10.0.0.2"]
    assert records.leases("n") == [ENDPOINT]
    networks.detach("owner")
    assert networks.zone.endpoints_of("owner") == []
    assert records.leases("n") == []


def test_an_address_that_could_not_be_given_back_keeps_no_network(
    networks: Networks, monkeypatch: pytest.MonkeyPatch
) -> None:
    records = networks._records
    networks._recovered = True
    with monkeypatch.context() as patched:

        def short(_: object) -> None:
            raise OSError(errno.EMFILE, "no descriptor is left")

        patched.setattr(networks._ports, "without", short)
        with pytest.raises(NetworkError, match="no descriptor is left"):
            networks.detach("owner")
    assert records.leases("n") == [ENDPOINT]
    unmade: list[NetworkRecord] = []
    monkeypatch.setattr(networks, "_unmake", unmade.append)
    networks.remove("n")
    assert records.leases("n") == []
    assert [network.name for network in unmade] == ["n"]
