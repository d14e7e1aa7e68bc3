"""Networks, endpoints and ports of services, in the terms of the network folder."""

from __future__ import annotations

from dataclasses import replace

from pycompose.compose.linux import network_spec
from pycompose.compose.model.project import Attachment, Network, Port, Project, Service
from pycompose.network.spec import Publication

ID = "0123456789abcdef" * 4
NETWORKS = {
    "back": Network("back", "p_back", internal=True),
    "front": Network("front", "p_front"),
    "other": Network("other", "p_other"),
}


def project(*services: Service) -> Project:
    return Project("p", "/", (), services={service.name: service for service in services}, networks=NETWORKS)


def web(*networks: Attachment, **changes: object) -> Service:
    return Service("web", networks=networks, **changes)  # type: ignore[arg-type]


def test_options_of_the_bridge_driver_are_understood() -> None:
    options = {
        "com.docker.network.driver.mtu": "1400",
        "com.docker.network.bridge.name": "br-mine",
        "com.docker.network.bridge.enable_ip_masquerade": "false",
    }
    spec = network_spec.network_spec("p", Network("n", "p_n", driver_opts=options, labels={"a": "b"}, config_hash="h"))
    assert (spec.name, spec.mtu, spec.bridge, spec.masquerade) == ("p_n", 1400, "br-mine", False)
    assert spec.labels == {
        "a": "b",
        "com.docker.compose.project": "p",
        "com.docker.compose.network": "n",
        "com.docker.compose.config-hash": "h",
    }


def test_an_mtu_that_is_no_number_is_the_uplinks() -> None:
    spec = network_spec.network_spec("p", Network("n", "p_n", driver_opts={"com.docker.network.driver.mtu": "big"}))
    assert (spec.mtu, spec.bridge, spec.masquerade) == (None, None, True)


def test_endpoints_are_ordered_by_priority_then_name() -> None:
    service = web(Attachment("other"), Attachment("back"), Attachment("front", priority=5))
    specs = network_spec.endpoints(project(service), service, ID, "p-web-1")
    assert [spec.network for spec in specs] == ["p_front", "p_back", "p_other"]


def test_the_default_route_goes_outside_by_gateway_priority() -> None:
    service = web(Attachment("back", gw_priority=9), Attachment("front"), Attachment("other", gw_priority=1))
    specs = network_spec.endpoints(project(service), service, ID, "p-web-1")
    assert [spec.network for spec in specs if spec.default_route] == ["p_other"]


def test_without_a_way_outside_there_is_no_default_route() -> None:
    service = web(Attachment("back"))
    (spec,) = network_spec.endpoints(project(service), service, ID, "p-web-1")
    assert not spec.default_route


def test_a_container_has_each_of_its_names_once() -> None:
    service = web(Attachment("front", aliases=("www", "web")), hostname="box")
    linking = Service("proxy", links=(("web", "upstream"), ("web", "web")))
    (spec,) = network_spec.endpoints(project(service, linking), service, ID, "p-web-1")
    assert spec.names == ("web", "p-web-1", ID[:12], "box", "www", "upstream")


def test_a_services_mac_address_is_that_of_its_first_network() -> None:
    service = web(Attachment("front"), Attachment("other"), mac_address="02:00:00:00:00:01")
    specs = network_spec.endpoints(project(service), service, ID, "p-web-1")
    assert [spec.mac_address for spec in specs] == ["02:00:00:00:00:01", None]


def test_a_container_is_trusted_with_addresses_where_it_may_administer_its_network() -> None:
    def trusted(*services: Service) -> bool:
        return network_spec.trusted(project(*services), services[0])

    assert not trusted(web())
    assert not trusted(web(cap_add=("NET_RAW", "SYS_ADMIN")))
    for name in ("NET_ADMIN", "CAP_NET_ADMIN", "net_admin", "ALL"):
        assert trusted(web(cap_add=(name,)))
    assert trusted(web(privileged=True))
    assert trusted(web(), Service("vpn", network_mode="service:web", cap_add=("NET_ADMIN",)))
    assert not trusted(web(), Service("vpn", network_mode="service:other", cap_add=("NET_ADMIN",)))


def test_what_neighbours_may_steer_is_a_matter_of_the_networks() -> None:
    def sysctls(*keys: str, host_ipv6: bool = True) -> dict[str, str]:
        wanted = project()
        networks = {
            **wanted.networks,
            "six": Network("six", "p_six", enable_ipv6=True),
            "foreign": Network("foreign", "x", external=True),
        }
        service = web(*map(Attachment, keys))
        return network_spec.sysctls(replace(wanted, networks=networks), service, host_ipv6)

    disabled, accepted = "net.ipv6.conf.default.disable_ipv6", "net.ipv6.conf.default.accept_ra"
    assert sysctls("front") == {
        "net.ipv4.conf.all.accept_redirects": "0",
        "net.ipv4.conf.default.accept_redirects": "0",
        "net.ipv6.conf.default.accept_redirects": "0",
        accepted: "0",
        "net.ipv6.conf.default.autoconf": "0",
        disabled: "1",
    }
    assert sysctls("front", "six")[disabled] == sysctls("foreign")[disabled] == "0"
    assert all("ipv6" not in name for name in sysctls("front", host_ipv6=False))
    assert sysctls() == {}, "no namespace of its own, or no neighbours"


def test_fixed_addresses_of_others_are_avoided_and_ones_own_are_kept() -> None:
    fixed = Attachment("front", ipv4_address="10.0.0.5", ipv6_address="fd00:0::5")
    service, other = web(Attachment("front"), Attachment("back")), Service("db", networks=(fixed, Attachment("back")))
    asleep = Service("asleep", networks=(Attachment("back", ipv4_address="10.1.0.9", ipv6_address="wrong"),))
    wanted = replace(project(service, other), disabled_services={"asleep": asleep})
    specs = network_spec.endpoints(wanted, service, ID, "p-web-1")
    assert {spec.network: spec.avoided for spec in specs} == {
        "p_front": ("10.0.0.5", "fd00::5"),
        "p_back": ("10.1.0.9",),
    }
    assert network_spec.endpoints(wanted, other, ID, "p-db-1")[1].avoided == (), "its own"
    assert network_spec.reservations(wanted, other) == (("p_front", "10.0.0.5"), ("p_front", "fd00::5"))
    assert network_spec.reservations(wanted, service) == ()


def test_a_single_port_belongs_to_the_service_and_one_of_several_to_a_container() -> None:
    single, several = Port(80, (8080, 8080)), Port(80, (8080, 8090), "127.0.0.1")
    service = web(ports=(single, several, Port(53, protocol="udp"), Port(7, (7, 7), protocol="sctp")))
    assert network_spec.publications(project(service), service, ID) == (
        Publication("p/web", None, 8080, 8080, "tcp", 80),
        Publication(f"p/web/{ID}", "127.0.0.1", 8080, 8090, "tcp", 80),
        Publication(f"p/web/{ID}", None, 0, 0, "udp", 53),
    )
