"""The user's file about registries: mirrors in their order, and TLS for all that it does not excuse."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pycompose.runtime.images.errors import ImageError
from pycompose.runtime.images.registry.config import RegistryEndpoint, endpoints, is_loopback


@pytest.fixture
def listed(tmp_path: Path) -> Any:
    """The endpoints of a registry, with that file."""

    def endpoints_with(text: str, registry: str = "docker.io", **options: bool) -> tuple[RegistryEndpoint, ...]:
        (tmp_path / "r.toml").write_text(text)
        return endpoints(registry, environ={"PYCOMPOSE_REGISTRIES": str(tmp_path / "r.toml")}, **options)

    return endpoints_with


@pytest.mark.parametrize(
    "host", ["localhost", "localhost:5000", "a.localhost", "127.0.0.1:5000", "127.9.9.9", "[::1]:5000"]
)
def test_this_machine_is_trusted(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize("host", ["localhost.example", "example.org", "10.0.0.1", "128.0.0.1:80", "[::2]:5000"])
def test_other_machines_are_not(host: str) -> None:
    assert not is_loopback(host)


def test_a_registry_of_which_nothing_is_said_is_itself_with_tls(listed: Any) -> None:
    (one,) = listed("", "ghcr.io")
    assert (one.base, one.insecure, one.registry) == ("https://ghcr.io", False, "ghcr.io")
    (hub,) = listed("")
    assert (hub.base, hub.registry) == ("https://registry-1.docker.io", "docker.io")


def test_mirrors_come_first_in_their_order_and_only_for_pulls(listed: Any) -> None:
    text = '["docker.io"]\nmirrors = ["one.example", "http://two.example/hub/", "localhost:5000"]'
    assert [(one.base, one.insecure) for one in listed(text)] == [
        ("https://one.example", False),
        ("http://two.example/hub", True),  # who writes http has said so
        ("https://localhost:5000", True),
        ("https://registry-1.docker.io", False),
    ]
    assert [one.host for one in listed(text, pull=False)] == ["registry-1.docker.io"]


def test_what_is_said_of_a_mirror_holds_for_it_and_not_for_its_original(listed: Any) -> None:
    mirror, own = listed('["docker.io"]\nmirrors = ["m.lan"]\n["m.lan"]\ninsecure = true\nca = "/ca.pem"')
    assert (mirror.insecure, mirror.ca) == (True, "/ca.pem")
    assert (own.insecure, own.ca) == (False, "")


def test_a_mirror_gets_the_credentials_of_its_own_name(listed: Any) -> None:
    assert [one.registry for one in listed('["docker.io"]\nmirrors = ["m.lan/x"]')] == ["m.lan", "docker.io"]


@pytest.mark.parametrize(
    "text",
    [
        "[",
        '["docker.io"]\nmirror = []',
        "docker = 1",
        '["docker.io"]\nmirrors = "m.lan"',
        '["docker.io"]\nmirrors = [1]',
        '["docker.io"]\ninsecure = "yes"',
        '["docker.io"]\nca = 5',
        '["docker.io"]\nmirrors = ["ftp://m.lan"]',
        '["docker.io"]\nmirrors = ["https://me@m.lan"]',
        '["docker.io"]\nmirrors = [""]',
    ],
)
def test_a_mistake_is_an_error_that_names_the_file(listed: Any, text: str) -> None:
    with pytest.raises(ImageError, match=r"r\.toml"):
        listed(text)


def test_a_file_that_is_named_must_be_there(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="no such file"):
        endpoints("a.b", environ={"PYCOMPOSE_REGISTRIES": str(tmp_path / "missing")})
