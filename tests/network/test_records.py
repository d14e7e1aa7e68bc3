"""Records of networks, leases and published ports: files that are read whole, or not at all."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import pytest
from pycompose.network.errors import WouldWait
from pycompose.network.records import Records, boot_id
from pycompose.network.spec import Backend, BoundPort, Endpoint, NetworkRecord, PortRecord, Publication

FRONT = NetworkRecord(
    "p_front", "p", "br-1", ("10.0.0.0/24", "fd00::/64"), ("10.0.0.1", "fd00::1"), False, 1500, {"a": "b"}, 5.0, "boot"
)
LEASE = Endpoint("p_front", "owner", "eth0", ("10.0.0.2/24", "fd00::2/64"), "02:42:0a:00:00:02", "10.0.0.1", ("web",))
WEB = BoundPort(Publication("p/web", None, 8080, 8080, "tcp", 80), "0.0.0.0", 8080)
PORT = PortRecord(WEB, "p", "boot", (Backend("owner", "10.0.0.2"),))


@pytest.fixture
def kept(tmp_path: Path) -> Records:
    return Records(str(tmp_path))


def test_what_was_written_is_read_again_by_another_process(kept: Records) -> None:
    kept.keep_network(FRONT)
    kept.keep_lease(LEASE)
    kept.keep_port(PORT)
    again = Records(kept.root)
    assert again.networks() == [FRONT]
    assert again.leases("p_front") == [LEASE]
    assert again.ports() == [PORT]
    assert again.port(WEB) == PORT


def test_what_was_forgotten_is_not_there_and_may_be_forgotten_twice(kept: Records) -> None:
    kept.keep_network(FRONT)
    kept.keep_lease(LEASE)
    kept.keep_port(PORT)
    for _ in range(2):
        kept.forget_port(WEB)
        kept.forget_lease("p_front", "10.0.0.2")
        kept.forget_network("p_front")
    assert (kept.networks(), kept.leases("p_front"), kept.ports()) == ([], [], [])
    assert kept.port(WEB) is None
    assert kept.network("p_front") is None
    assert sorted(os.listdir(kept.root)) == [".published"]


def test_the_same_port_of_two_addresses_and_protocols_is_three_records(kept: Records) -> None:
    wanted: tuple[tuple[str | None, Literal["tcp", "udp"]], ...] = ((None, "tcp"), (None, "udp"), ("127.0.0.1", "tcp"))
    ports = [
        BoundPort(Publication("p/web", host, 80, 80, protocol, 80), host or "0.0.0.0", 80) for host, protocol in wanted
    ]
    for port in ports:
        kept.keep_port(PortRecord(port, "p", "boot"))
    kept.forget_port(ports[0])
    assert {record.published for record in kept.ports()} == set(ports[1:])


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '"x"', "{}", '{"name": "n"}', '{"published": 3}'])
def test_a_file_that_is_broken_is_no_record(kept: Records, text: str) -> None:
    kept.keep_network(FRONT)
    kept.keep_lease(LEASE)
    kept.keep_port(PORT)
    for path in ("p_front/network.json", "p_front/leases/10.0.0.2", ".published/tcp-8080-0.0.0.0.json"):
        Path(kept.root, path).write_text(text)
    assert (kept.networks(), kept.leases("p_front"), kept.ports()) == ([], [], [])


def test_fields_of_another_release_are_left_out(kept: Records) -> None:
    kept.keep_network(FRONT)
    path = Path(kept.root, "p_front/network.json")
    path.write_text(path.read_text().replace("{", '{"invented": [1], ', 1))
    assert kept.network("p_front") == FRONT


def test_a_file_that_is_being_written_is_no_record(kept: Records) -> None:
    kept.keep_network(FRONT)
    kept.keep_lease(LEASE)
    Path(kept.root, "p_front/leases/.10.0.0.3.7~").write_text("{")
    assert kept.leased("p_front") == ["10.0.0.2"]


def test_networks_of_an_earlier_boot_are_records_but_not_current(kept: Records) -> None:
    kept.keep_network(FRONT)
    assert kept.networks() == [FRONT]
    assert kept.current() == []


def test_a_record_that_shrinks_is_written_on_a_full_disk_and_one_that_grows_is_an_error(
    kept: Records, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept.keep_port(PORT)

    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "rename", full)
    without = PortRecord(WEB, "p", "boot")
    kept.keep_port(without)
    assert kept.port(WEB) == without
    larger = PortRecord(WEB, "p", "boot", (*PORT.backends, Backend("another", "10.0.0.3")))
    with pytest.raises(OSError, match="No space left"):
        kept.keep_port(larger)
    assert kept.port(WEB) == without
    assert os.listdir(f"{kept.root}/.published") == ["tcp-8080-0.0.0.0.json"], "nothing half written is left"


def test_forwarding_as_it_was_is_known_within_its_boot_alone(kept: Records) -> None:
    assert kept.forwarding_before() is None
    kept.keep_forwarding("0")
    assert kept.forwarding_before() == "0"
    path = Path(kept.root, ".forward")
    path.write_text(path.read_text().replace(boot_id(), "another-boot"))
    assert kept.forwarding_before() is None
    kept.keep_forwarding(None)
    assert not path.exists()


def test_changes_of_two_processes_exclude_each_other(kept: Records) -> None:
    attempt = (
        "import fcntl, sys\n"
        "file = open(sys.argv[1] + '/.lock')\n"
        "try:\n    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)\n"
        "except BlockingIOError:\n    print('held')\n"
    )

    def other() -> str:
        return subprocess.run(
            [sys.executable, "-I", "-S", "-c", attempt, kept.root], capture_output=True, text=True, check=True
        ).stdout

    with kept.changing():
        assert other() == "held\n"
    assert other() == ""


def test_at_once_nobody_is_waited_for(kept: Records) -> None:
    other = Records(kept.root)
    with kept.changing(), other.at_once(), pytest.raises(WouldWait), other.changing():
        pass
    with other.at_once(), other.changing():
        pass


def test_a_network_that_another_process_changes_is_read_again(kept: Records) -> None:
    kept.keep_network(FRONT)
    assert kept.network("p_front") == FRONT
    changed = replace(FRONT, mtu=1400)
    Records(kept.root).keep_network(changed)
    assert kept.network("p_front") == changed
