"""Registries of a test's own: Debian's docker-registry on a free port, plain, with TLS, with passwords."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from pycompose.runtime.images import Store
from pycompose.runtime.places import Places

from . import base_image


def need(*programs: str) -> None:
    """Skip the test that calls it, or fail it in CI, unless the programs are installed."""
    lacking = [name for name in programs if shutil.which(name) is None]
    if not lacking:
        return
    said = (
        f"needs {', '.join(lacking)} (Debian: docker-registry, skopeo, umoci, buildah, apache2-utils, busybox-static)"
    )
    if os.environ.get("CI") == "true":
        pytest.fail(said)
    pytest.skip(said)


@dataclass(frozen=True, slots=True)
class Real:
    """A running registry; `name` is host:port."""

    name: str
    folder: Path
    certificate: str = ""
    user: str = ""

    def skopeo(self, *arguments: str) -> str:
        done = subprocess.run(["skopeo", *arguments], capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def put(self, layout: Path, name: str, *more: str) -> None:
        """Copy an image of an OCI layout into the registry with skopeo."""
        self.skopeo("copy", "--all", "--dest-tls-verify=false", *more, f"oci:{layout}", f"docker://{self.name}/{name}")

    def digest(self, name: str, *more: str) -> str:
        told = self.skopeo("inspect", "--raw", "--tls-verify=false", *more, f"docker://{self.name}/{name}")
        return base_image.digest(told.encode())


@contextmanager
def running(folder: Path, *, tls: bool = False, user: str = "") -> Iterator[Real]:
    """`user` is name:password."""
    need("docker-registry", "skopeo")
    folder.mkdir(exist_ok=True)
    http: dict[str, object] = {"addr": "127.0.0.1:0"}
    config: dict[str, object] = {
        "version": 0.1,
        "log": {"level": "info"},
        "storage": {"filesystem": {"rootdirectory": str(folder / "data")}, "delete": {"enabled": True}},
        "http": http,
    }
    certificate = ""
    if tls:
        need("openssl")
        certificate = str(folder / "cert.pem")
        names = "subjectAltName=IP:127.0.0.1,DNS:registry.test"
        subprocess.run(
            f"openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=registry.test -addext {names}"
            f" -keyout {folder}/key.pem -out {certificate}".split(),
            check=True,
            capture_output=True,
        )
        http["tls"] = {"certificate": certificate, "key": f"{folder}/key.pem"}
    if user:
        need("htpasswd")
        name, _, password = user.partition(":")
        made = subprocess.run(["htpasswd", "-Bbn", name, password], check=True, capture_output=True, text=True)
        (folder / "htpasswd").write_text(made.stdout)
        config["auth"] = {"htpasswd": {"realm": "test", "path": f"{folder}/htpasswd"}}
    (folder / "config.yml").write_text(json.dumps(config))  # JSON is YAML
    process = subprocess.Popen(
        ["docker-registry", "serve", str(folder / "config.yml")],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    try:
        for line in process.stderr:
            if found := re.search(r"listening on (127\.0\.0\.1:\d+)", line):
                break
        else:
            raise AssertionError("the registry did not start")
        with open(folder / "log", "w") as log:  # somebody must read what it says
            drain = subprocess.Popen(["cat"], stdin=process.stderr, stdout=log)
        yield Real(found[1], folder, certificate, user)
    finally:
        process.kill()
        process.wait()
        process.stderr.close()
        drain.wait()


@pytest.fixture
def registries(tmp_path: Path) -> Iterator[Callable[..., Real]]:
    with ExitStack() as held:
        count = 0

        def start(**options: object) -> Real:
            nonlocal count
            count += 1
            return held.enter_context(running(tmp_path / f"registry-{count}", **options))  # type: ignore[arg-type]

        yield start


@pytest.fixture
def registry(registries: Callable[..., Real]) -> Real:
    return registries()


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(Places(str(tmp_path / "state"), str(tmp_path / "run")))


@pytest.fixture
def layout(tmp_path: Path) -> Path:
    """An OCI layout with the base image in it, and nothing else."""
    need("busybox")
    base_image.base(str(tmp_path / "base"))
    return tmp_path / "base"


@pytest.fixture(autouse=True)
def nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No credentials and settings of whoever runs the tests."""
    (tmp_path / "docker").mkdir()
    (tmp_path / "docker/config.json").write_text("{}")
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "docker"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "xdg"))
    for name in ("SSL_CERT_FILE", "SSL_CERT_DIR", "PYCOMPOSE_REGISTRIES", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
