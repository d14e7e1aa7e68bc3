"""A service and its image become a bundle with Docker's meaning."""

from __future__ import annotations

import pytest
from pycompose.compose.linux import oci
from pycompose.compose.model.image_build import Ulimit
from pycompose.compose.model.project import Logging, Project, Service, ServiceLimits
from pycompose.errors import PycomposeError
from pycompose.runtime.policy.profile import linux_defaults
from pycompose.runtime.spec import Bundle, FolderRoot, Mount, from_json, to_json

PROFILE = linux_defaults()
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


def test_a_variable_that_is_unset_takes_the_images_and_docker_s_own_away() -> None:
    names = {entry.partition("=")[0] for entry in made(Service("s", environment={"B": None, "C": ""})).spec.process.env}
    assert "B" not in names
    assert {"C", "PATH"} <= names
    alone = made(Service("s", environment={"PATH": None, "HOSTNAME": None, "NOT_THERE": None})).spec.process.env
    assert not [entry for entry in alone if entry.startswith(("PATH", "HOSTNAME", "NOT_THERE"))]


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


def test_a_logging_driver_that_is_not_there_is_told_of() -> None:
    assert (
        oci.logging_notes(None) == oci.logging_notes(Logging("json-file")) == oci.logging_notes(Logging("local")) == ()
    )
    assert oci.logging_notes(Logging("none")) == ()
    assert 'logging driver "syslog" is not there' in oci.logging_notes(Logging("syslog"))[0]


def test_log_limits() -> None:
    assert oci.log_limits(Logging("none", {"max-size": "1m"})) == (0, 0)
    assert oci.log_limits(Logging(options={"max-size": "10m", "max-file": "3"})) == (10 << 20, 3)
    assert oci.log_limits(None) == (0, 1)
    with pytest.raises(PycomposeError, match="max-size"):
        oci.log_limits(Logging(options={"max-size": "ten"}))


def test_limits() -> None:
    found = made(Service("s", resources=ServiceLimits(cpus=1.5, mem_limit=100), ulimits={"nofile": Ulimit(-1, 5)})).spec
    assert (found.linux.resources.cpu.quota, found.linux.resources.cpu.period) == (150_000, 100_000)
    assert found.linux.resources.memory.swap == 200
    assert (found.process.rlimits[0].type, found.process.rlimits[0].soft) == ("RLIMIT_NOFILE", 2**64 - 1)


def test_own_mount_replaces_the_default_one() -> None:
    found = made(Service("s"), facts=oci.HostFacts(mounts=(Mount("/proc", "bind", "/x"),))).spec.mounts
    assert [mount.source for mount in found if mount.destination == "/proc"] == ["/x"]


def test_host_namespaces_are_told() -> None:
    assert oci.host_namespaces(Service("s", network_mode="host", pid="host", ipc="private")) == ("network", "pid")
