"""What a container must do without where nobody controls devices."""

from __future__ import annotations

import pytest
from pycompose.runtime.policy import device_control, profile
from pycompose.runtime.spec import Capabilities, DeviceRule, Linux, Process, Resources, Spec


def spec(**wanted: object) -> Spec:
    parts = profile.linux_defaults(**wanted)  # type: ignore[arg-type]
    process = Process(("true",), capabilities=parts.capabilities)
    return Spec(process, linux=Linux(resources=Resources(devices=parts.device_rules)))


def test_only_rules_that_hold_something_back_need_somebody() -> None:
    assert device_control.wanted(profile.device_rules())
    assert device_control.wanted([DeviceRule(True, "c", 1, 3)])
    assert device_control.wanted([DeviceRule(True), DeviceRule(False, "b", 8, 0)])
    assert not device_control.wanted(profile.device_rules(privileged=True))
    assert not device_control.wanted([*profile.device_rules(privileged=True), DeviceRule(True, "c", 10, 229)])
    assert not device_control.wanted([])


def test_no_set_of_a_confined_process_has_mknod() -> None:
    names = ("CAP_MKNOD", "CAP_KILL")
    process = device_control.confined(Process(("true",), capabilities=Capabilities(*[names] * 5)))
    assert process.capabilities == Capabilities(*[("CAP_KILL",)] * 5)


@pytest.mark.parametrize(
    ("wanted", "reason"),
    [
        ({}, ""),
        ({"cap_add": ["NET_ADMIN", "SYS_PTRACE"]}, ""),
        ({"devices": [("/dev/zero", "/dev/zero", "rwm")]}, ""),
        ({"device_cgroup_rules": ["c 10:* rwm"]}, ""),
        ({"devices": [("/dev/zero", "/dev/zero", "r")]}, "the access `r` of the device c 1:5"),
        ({"cap_add": ["SYS_ADMIN"]}, "SYS_ADMIN"),
        ({"cap_add": ["ALL"]}, "SYS_ADMIN"),
    ],
)
def test_what_the_safer_form_cannot_hold_back_is_refused(wanted: dict[str, object], reason: str) -> None:
    if reason:
        assert reason in device_control.refusal(spec(**wanted))
    else:
        assert device_control.refusal(spec(**wanted)) == ""


def test_a_process_with_every_capability_is_refused() -> None:
    assert device_control.refusal(Spec(Process(("true",))))
    assert device_control.process_refusal(Process(("true",)))
