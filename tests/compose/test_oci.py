"""A service and its image become a bundle with Docker's meaning."""

from __future__ import annotations

import pytest
from pycompose.compose import oci
from pycompose.compose.errors import PycomposeError
from pycompose.compose.model import Logging, Project, Resources, Service, Ulimit
from pycompose.runtime.profile import Parts
from pycompose.runtime.spec import Bundle, Capabilities, DeviceRule, FolderRoot, Mount, from_json, to_json

PROFILE = Parts(
    capabilities=Capabilities(bounding=("CAP_CHOWN",)),
    masked=("/proc/kcore",),
    readonly=(),
    mounts=(Mount("/proc", "proc"), Mount("/dev/shm", "tmpfs", "shm", ("nosuid", "size=65536k"))),
    devices=(),
    rules=(),
    seccomp=None,
)
IMAGE = oci.ImageConfig(env=("A=image", "B=image"), cmd=("serve",), entrypoint=("/entry",), working_dir="/srv")


def made(service: Service, **more: object) -> Bundle:
    project = Project("p", "/", ())
    return oci.bundle(project, service, "ab" * 32, FolderRoot("/r"), IMAGE, PROFILE, **more)  # type: ignore[arg-type]


def test_image_gives_what_the_service_leaves_out() -> None:
    bundle = made(Service("s", environment={"A": "service"}))
    assert bundle.spec.process.args == ("/entry", "serve")
    assert bundle.spec.process.cwd == "/srv"
    assert {"A=service", "B=image", "HOSTNAME=abababababab"} <= set(bundle.spec.process.env)
    assert bundle.spec.linux.cgroups_path == "p/" + "ab" * 32
    assert from_json(Bundle, to_json(bundle)) == bundle


@pytest.mark.parametrize(
    ("service", "args"),
    [
        (Service("s", command=("x",)), ("/entry", "x")),
        (Service("s", command=()), ("/entry",)),
        (Service("s", entrypoint=("/e",)), ("/e",)),
        (Service("s", entrypoint=(), command=("x",)), ("x",)),
    ],
)
def test_command_and_entrypoint(service: Service, args: tuple[str, ...]) -> None:
    assert made(service).spec.process.args == args


def test_nothing_to_run_is_an_error() -> None:
    with pytest.raises(PycomposeError, match="no command"):
        made(Service("s", entrypoint=()))


def test_log_limits_and_device_rules() -> None:
    assert oci.log_limits(Logging(options={"max-size": "10m", "max-file": "3"})) == (10 << 20, 3)
    assert oci.log_limits(None) == (0, 1)
    with pytest.raises(PycomposeError, match="max-size"):
        oci.log_limits(Logging(options={"max-size": "ten"}))
    assert oci.device_rule("c 1:* mr") == DeviceRule(True, "c", 1, None, "mr")
    with pytest.raises(PycomposeError, match="device_cgroup_rules"):
        oci.device_rule("c 1 mr")


def test_limits() -> None:
    found = made(Service("s", resources=Resources(cpus=1.5, mem_limit=100), ulimits={"nofile": Ulimit(-1, 5)})).spec
    assert (found.linux.resources.cpu.quota, found.linux.resources.cpu.period) == (150_000, 100_000)
    assert found.linux.resources.memory.swap == 200
    assert (found.process.rlimits[0].type, found.process.rlimits[0].soft) == ("RLIMIT_NOFILE", 2**64 - 1)


def test_own_mount_replaces_the_default_one_and_shm_size_counts() -> None:
    found = made(Service("s", shm_size=7), found=oci.Found(mounts=(Mount("/proc", "bind", "/x"),))).spec.mounts
    assert found == (Mount("/dev/shm", "tmpfs", "shm", ("nosuid", "size=7")), Mount("/proc", "bind", "/x"))


def test_host_namespaces_are_not_listed() -> None:
    service = Service("s", network_mode="host", pid="host")
    assert [item.type for item in made(service).spec.linux.namespaces] == ["mount", "ipc", "uts", "cgroup"]


def test_privileged_lifts_the_masks() -> None:
    found = made(Service("s", privileged=True)).spec
    assert found.linux.masked_paths == ()
