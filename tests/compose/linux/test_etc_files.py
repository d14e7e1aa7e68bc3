"""Texts of /etc/hosts and /etc/resolv.conf."""

from __future__ import annotations

from pathlib import Path

import pytest
from pycompose.compose.linux import etc_files
from pycompose.compose.model.project import Attachment, Service

HOST = "# the host's\nnameserver 9.9.9.9\nsearch old.example\nsearch lan.example\noptions edns0\n"
ON_A_NETWORK = (Attachment("default"),)


def resolver(**changes: object) -> list[str]:
    return etc_files.resolver_file(Service("web", **changes), HOST).splitlines()  # type: ignore[arg-type]


def test_a_container_on_a_network_asks_our_resolver_and_searches_as_the_host_does() -> None:
    assert resolver(networks=ON_A_NETWORK) == ["nameserver 127.0.0.11", "search lan.example", "options ndots:0"]


def test_its_own_servers_are_upstreams_of_our_resolver_and_its_options_come_after_ours() -> None:
    lines = resolver(networks=ON_A_NETWORK, dns=("1.1.1.1",), dns_search=("a", "b"), dns_opt=("timeout:1",))
    assert lines == ["nameserver 127.0.0.11", "search a b", "options ndots:0 timeout:1"]


def test_a_single_dot_searches_nowhere() -> None:
    assert resolver(networks=ON_A_NETWORK, dns_search=(".",)) == ["nameserver 127.0.0.11", "options ndots:0"]


def test_without_a_network_the_hosts_text_stays_unless_the_service_says_something() -> None:
    assert resolver() == HOST.splitlines()
    assert resolver(dns=("1.1.1.1",)) == ["nameserver 1.1.1.1", "search lan.example"]
    assert resolver(dns_opt=("timeout:1",)) == ["nameserver 9.9.9.9", "search lan.example", "options timeout:1"]


def test_hosts_names_the_containers_addresses_and_the_gateway() -> None:
    extra = (("db", "10.0.0.9"), ("outside", "host-gateway"))
    lines = etc_files.hosts_file(["10.0.0.2", "fd00::2"], "web", None, extra, "10.0.0.1").splitlines()
    assert lines[: len(etc_files.LOCAL_NAMES)] == list(etc_files.LOCAL_NAMES)
    assert lines[len(etc_files.LOCAL_NAMES) :] == [
        "10.0.0.2\tweb",
        "fd00::2\tweb",
        "10.0.0.9\tdb",
        "10.0.0.1\toutside",
    ]


def test_a_domain_name_comes_before_the_short_one() -> None:
    assert "10.0.0.2\tweb.example web" in etc_files.hosts_file(["10.0.0.2"], "web", "example", (), None)


def test_on_the_hosts_network_its_text_leads_and_the_gateway_is_itself() -> None:
    text = etc_files.hosts_file([], "box", None, (("outside", "host-gateway"),), None, "127.0.0.1 box\n\n")
    assert text == "127.0.0.1 box\n127.0.0.1\toutside\n"


def test_a_file_that_the_service_mounts_itself_is_left_to_it(tmp_path: Path) -> None:
    etc_files.make_empty(str(tmp_path))
    mounts = etc_files.mounts(str(tmp_path), {"/etc/hosts"})
    assert [mount.destination for mount in mounts] == ["/etc/hostname", "/etc/resolv.conf"]
    assert [Path(mount.source).stat().st_mode & 0o777 for mount in mounts] == [0o644, 0o644]


def test_a_folder_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        etc_files.make_empty(f"{tmp_path}/nothing")
