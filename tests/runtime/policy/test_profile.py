"""The profile as a compose file changes it. What the kernel makes of it is tests/kernel's business."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from pycompose.runtime.errors import ProfileError
from pycompose.runtime.linux import seccomp
from pycompose.runtime.policy import profile
from pycompose.runtime.spec import Seccomp, SeccompArg, SeccompRule


def rule(made: Seccomp | None, name: str) -> list[SeccompRule]:
    assert made is not None
    return [item for item in made.syscalls if name in item.names]


def test_nothing_asked_is_dockers_profile() -> None:
    made = profile.linux_defaults()
    assert made.capabilities.bounding == profile.capabilities().bounding
    assert len(made.capabilities.bounding) == 14
    assert not made.no_new_privileges
    assert [item.type for item in made.namespaces][:6] == ["mount", "network", "pid", "ipc", "uts", "cgroup"]
    assert made.sysctl["net.ipv4.ip_unprivileged_port_start"] == "0"
    assert "/proc/kcore" in made.masked_paths
    assert "/proc/sys" in made.readonly_paths
    assert made.notes == ()


def test_privileged_is_all_of_it() -> None:
    made = profile.linux_defaults(privileged=True)
    assert made.capabilities.bounding == profile.NAMES
    assert (made.seccomp, made.masked_paths, made.readonly_paths) == (None, (), ())
    assert next(item for item in made.mounts if item.destination == "/sys").options[-1] == "rw"
    assert made.device_rules[0].allow
    assert len(made.devices) >= len(profile.DEVICES)


@pytest.mark.parametrize(
    ("add", "drop", "held", "missing"),
    [
        (["sys_admin"], [], "CAP_SYS_ADMIN", "CAP_SYS_TIME"),
        (["ALL"], ["NET_RAW"], "CAP_SYS_TIME", "CAP_NET_RAW"),
        (["CAP_CHOWN"], ["all"], "CAP_CHOWN", "CAP_KILL"),
        ([], ["kill"], "CAP_CHOWN", "CAP_KILL"),
    ],
)
def test_capabilities_are_added_and_dropped(add: list[str], drop: list[str], held: str, missing: str) -> None:
    bounding = profile.linux_defaults(cap_add=add, cap_drop=drop).capabilities.bounding
    assert held in bounding
    assert missing not in bounding


def test_the_filter_follows_the_capabilities() -> None:
    assert rule(profile.linux_defaults().seccomp, "mount") == []
    assert rule(profile.linux_defaults(cap_add=["SYS_ADMIN"]).seccomp, "mount")


def test_mounts_may_be_listed_as_in_mobys_profile() -> None:
    """moby/profiles, seccomp/default_linux.go: always allowed; mounting itself is not."""
    for name in ("statmount", "listmount"):
        assert [item.args for item in rule(profile.linux_defaults().seccomp, name)] == [()]
    for name in ("mount_setattr", "open_tree", "lsm_list_modules"):
        assert rule(profile.linux_defaults().seccomp, name) == []


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ({"cap_add": ["NO_SUCH"]}, 'cap_add, cap_drop: unknown capability "NO_SUCH"'),
        ({"security_opt": ["no-such:x"]}, 'security_opt: "no-such:x" is not known'),
        ({"security_opt": ["seccomp=/no/such"]}, "No such file"),
        ({"sysctls": {"kernel.core_pattern": "|x"}}, "would change the host"),
        ({"sysctls": {"kernel.shmmax": "1"}, "host": ["ipc"]}, "no ipc namespace of its own"),
        ({"sysctls": {"net.core.somaxconn": "1"}, "host": ["network"]}, "no network namespace of its own"),
        ({"sysctls": {"net.core.somaxconn": "1"}, "shared": ["network"]}, "no network namespace of its own"),
        ({"sysctls": {"net/../kernel": "1"}}, "not the name of a kernel parameter"),
        ({"devices": [("/etc/passwd", "/dev/x", "rwm")]}, '"/etc/passwd" is not a device'),
        ({"devices": [("/dev/no-such", "/dev/x", "rwm")]}, '"/dev/no-such": No such file'),
        ({"device_cgroup_rules": ["z 1:1 r"]}, 'wanted is something like "c 10:229 rwm"'),
    ],
)
def test_what_cannot_be_had_names_the_option(wanted: dict[str, object], message: str) -> None:
    with pytest.raises(ProfileError) as told:
        profile.linux_defaults(**wanted)  # type: ignore[arg-type]
    assert message in str(told.value)


def test_namespaces_of_the_host_and_of_others_are_not_made() -> None:
    made = profile.linux_defaults(host=["pid", "ipc"], shared=["network"])
    assert {"pid", "ipc", "network"}.isdisjoint(item.type for item in made.namespaces)
    assert made.sysctl == {}
    shm = next(item for item in made.mounts if item.destination == "/dev/shm")
    assert (shm.type, shm.source) == ("bind", "/dev/shm")


def test_options_of_security_take_parts_away() -> None:
    made = profile.linux_defaults(security_opt=["seccomp:unconfined", "systempaths=unconfined", "no-new-privileges"])
    assert (made.seccomp, made.masked_paths, made.readonly_paths, made.no_new_privileges) == (None, (), (), True)
    assert profile.linux_defaults(security_opt=["label:disable"]).notes == ()


def test_a_device_brings_its_node_and_its_rule() -> None:
    made = profile.linux_defaults(devices=[("/dev/null", "/dev/hole", "r")], device_cgroup_rules=["c 10:* rw"])
    node = next(item for item in made.devices if item.path == "/dev/hole")
    assert (node.type, node.major, node.minor) == ("c", 1, 3)
    assert [(item.major, item.minor, item.access) for item in made.device_rules[-2:]] == [(1, 3, "r"), (10, None, "rw")]


def test_a_seccomp_file_is_read_as_docker_reads_it(tmp_path: Path) -> None:
    tree = {
        "defaultAction": "SCMP_ACT_ERRNO",
        "defaultErrnoRet": 38,
        "archMap": [{"architecture": "SCMP_ARCH_X86_64", "subArchitectures": ["SCMP_ARCH_X86"]}],
        "syscalls": [
            {"names": ["read", "write"], "action": "SCMP_ACT_ALLOW"},
            {"names": ["mount"], "action": "SCMP_ACT_ALLOW", "includes": {"caps": ["CAP_SYS_ADMIN"]}},
            {"names": ["ptrace"], "action": "SCMP_ACT_ALLOW", "includes": {"minKernel": "4.8"}},
            {"names": ["futex"], "action": "SCMP_ACT_ALLOW", "includes": {"minKernel": "99.1"}},
            {"names": ["chroot"], "action": "SCMP_ACT_ALLOW", "excludes": {"caps": ["CAP_CHOWN"]}},
            {"names": ["arch_prctl"], "action": "SCMP_ACT_ALLOW", "includes": {"arches": ["s390"]}},
            {
                "names": ["personality"],
                "action": "SCMP_ACT_ALLOW",
                "args": [{"index": 0, "value": 8, "op": "SCMP_CMP_EQ"}],
            },
        ],
    }
    (tmp_path / "own.json").write_text(json.dumps(tree))
    made = profile.linux_defaults(security_opt=["seccomp=own.json"], folder=str(tmp_path)).seccomp
    assert made is not None
    assert made.default_errno_ret == 38
    assert [item.names for item in made.syscalls] == [("read", "write"), ("ptrace",), ("personality",)]
    assert made.syscalls[-1].args == (SeccompArg(0, 8, "SCMP_CMP_EQ"),)
    assert seccomp.compile(made)


@pytest.mark.parametrize(
    "text", ["{", "[]", '{"defaultAction": "SCMP_ACT_NONE"}', '{"syscalls": [{"names": ["read"]}]}']
)
def test_a_bad_seccomp_file_is_told(tmp_path: Path, text: str) -> None:
    (tmp_path / "own.json").write_text(text)
    with pytest.raises(ProfileError, match=r"own\.json"):
        profile.linux_defaults(security_opt=["seccomp=own.json"], folder=str(tmp_path))


@pytest.mark.parametrize("kind", ["fifo", "zero", "folder", "large", "deep"])
def test_a_seccomp_file_that_never_ends_is_told(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "own.json"
    match kind:
        case "fifo":
            os.mkfifo(path)
        case "zero":
            path.symlink_to("/dev/zero")
        case "folder":
            path.mkdir()
        case "large":
            path.write_text("{" + " " * (1 << 20))
        case "deep":
            path.write_text("[" * 100_000)
    with pytest.raises(ProfileError, match=r"own\.json"):
        profile.linux_defaults(security_opt=["seccomp=own.json"], folder=str(tmp_path))


def test_a_filter_is_compiled_once() -> None:
    made = profile.linux_defaults().seccomp
    assert made is not None
    assert seccomp.compile(made) is seccomp.compile(made)
