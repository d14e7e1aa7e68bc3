"""A compose file whose images come from a real registry: pulled, run, committed, pushed and removed, as typed."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from . import image_tools
from .conftest import Machine

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


@pytest.fixture
def registry(host: Machine, tmp_path: Path) -> Iterator[str]:
    """docker-registry inside the test's own network; its name there."""
    if shutil.which("docker-registry") is None:
        if os.environ.get("CI") == "true":
            pytest.fail("needs docker-registry")
        pytest.skip("needs docker-registry")
    config = {
        "version": 0.1,
        "log": {"level": "info"},
        "storage": {"filesystem": {"rootdirectory": str(tmp_path / "registry")}},
        "http": {"addr": "127.0.0.1:5000"},
    }
    (tmp_path / "registry.yml").write_text(json.dumps(config))
    with open(tmp_path / "registry.log", "w") as log:
        process = subprocess.Popen(
            ["nsenter", f"--target={host.pid}", "--net", "docker-registry", "serve", str(tmp_path / "registry.yml")],
            stdout=log,
            stderr=subprocess.PIPE,
            text=True,
        )
    assert process.stderr is not None
    try:
        for line in process.stderr:
            if "listening on" in line:
                break
        drain = subprocess.Popen(["cat"], stdin=process.stderr, stdout=subprocess.DEVNULL)
        yield "127.0.0.1:5000"
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stderr.close()
        drain.wait()


def images(host: Machine) -> list[str]:
    told = host.pycompose("image", "ls", "--format", "json").stdout
    return sorted(json.loads(line)["Name"] for line in told.splitlines())


def test_the_way_of_an_image_from_a_registry_and_back(host: Machine, registry: str, tmp_path: Path) -> None:
    (tmp_path / "root.tar").write_bytes(image_tools.tar())
    host.pycompose("image", "import", "-c", 'CMD ["sleep", "100"]', f"{registry}/me/app:1", str(tmp_path / "root.tar"))
    pushed = host.pycompose("image", "push", f"{registry}/me/app:1").stderr
    (digest,) = re.findall(r"Pushed  (sha256:[0-9a-f]{64})", pushed)
    host.pycompose("image", "rm", f"{registry}/me/app:1")
    assert images(host) == []
    text = f"services: {{web: {{image: '{registry}/me/app:1', network_mode: none}}}}"
    (tmp_path / "compose.yaml").write_text(text)
    project = ("-f", str(tmp_path / "compose.yaml"), "-p", "pulled")
    try:
        assert f"would pull image {registry}/me/app:1" in host.pycompose(*project, "up", "-d", "--dry-run").stderr
        never = host.pycompose(*project, "up", "-d", "--pull", "never", check=False)
        assert "is not on this machine" in never.stderr
        up = host.pycompose(*project, "up", "-d", "-t", "0")
        assert f"Image {registry}/me/app:1 Pulled  {digest}" in up.stderr
        again = host.pycompose(*project, "up", "-d", "--pull", "always", "--quiet-pull", "-t", "0")
        assert "Pull" not in again.stderr
        assert "Recreat" not in again.stderr, "the same digest is no reason to make a container anew"
        host.pycompose(*project, "exec", "-T", "web", "sh", "-c", "echo changed > /new; rm /etc/passwd")
        host.pycompose(*project, "export", "-o", str(tmp_path / "exported.tar"), "web")
        with tarfile.open(tmp_path / "exported.tar") as archive:
            names = archive.getnames()
        assert "new" in names
        assert "etc/passwd" not in names
        assert not [name for name in names if ".wh." in name or name.startswith(("proc/", "dev/"))]
        host.pycompose(*project, "commit", "-c", "ENV A=b", "web", f"{registry}/me/app:2")
        assert json.loads(host.pycompose(*project, "ps", "--format", "json").stdout)["State"] == "running"
        host.pycompose("image", "push", f"{registry}/me/app:2")
        (tmp_path / "compose.yaml").write_text(text.replace("app:1", "app:2"))
        host.pycompose(*project, "up", "-d", "-t", "0")
        assert host.pycompose(*project, "exec", "-T", "web", "cat", "/new").stdout == "changed\n"
        assert (
            host.pycompose(*project, "exec", "-T", "web", "sh", "-c", "echo $A; ls /etc").stdout.splitlines()[0] == "b"
        )
        assert host.pycompose("image", "fsck").stdout == "all is well\n"
        pull = host.pycompose(*project, "--progress", "json", "pull").stderr
        assert json.loads(pull.splitlines()[-1])["text"] == "Pulled"
    finally:
        down = host.pycompose(*project, "down", "-t", "0", "--rmi", "all")
    assert f"Image {registry}/me/app:2 Removed" in down.stderr
    assert images(host) == [f"{registry}/me/app:1"]
    host.pycompose("image", "prune", "--all", "--force")
    left = host.run("find", f"{host.state}/images", "-mindepth", "2").stdout
    assert left == ""


def test_a_project_is_run_from_a_registry_alone(host: Machine, registry: str, tmp_path: Path) -> None:
    path = tmp_path / "compose.yaml"
    path.write_text("services: {web: {image: host, command: sleep 100, network_mode: none, env_file: a.env}}")
    (tmp_path / "a.env").write_text("FROM_FILE=1\n")
    host.pycompose("-f", str(path), "publish", "-y", "--with-env", f"{registry}/team/app")
    path.unlink()
    project = ("-f", f"oci://{registry}/team/app")
    try:
        host.pycompose(*project, "up", "-d")
        assert host.pycompose("-p", "app", "exec", "-T", "web", "printenv", "FROM_FILE").stdout == "1\n"
        shutil.rmtree(tmp_path / "registry")
        assert "app-web-1" in host.pycompose(*project, "ps").stdout
        assert host.pycompose(*project, "up", "-d", check=False).returncode == 1
    finally:
        host.pycompose(*project, "down", "-t", "0")
    assert "app-web-1" not in host.pycompose("ps", "-a", "--all-projects").stdout
