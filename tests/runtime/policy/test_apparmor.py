"""Which AppArmor profile a container gets, and how the default one is loaded; the kernel's part is tests/vm's."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from pycompose.runtime.errors import ProfileError
from pycompose.runtime.policy import apparmor, profile
from pycompose.runtime.spec import Bundle, FolderRoot, Process, Spec, to_json

PARSER = """#!/bin/sh
cat >{folder}/asked
echo "pycompose-default (enforce)" >>{folder}/profiles
echo called >>{folder}/calls
{ending}
"""
Kernel = Callable[..., Path]


@pytest.fixture
def kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Kernel:
    """A kernel with AppArmor, and a compiler of policies where `ending` says how it ends."""

    def made(ending: str | None, loaded: str = "", enabled: str = "Y") -> Path:
        (tmp_path / "enabled").write_text(f"{enabled}\n")
        (tmp_path / "profiles").write_text(loaded)
        if ending is not None:
            (tmp_path / "apparmor_parser").write_text(PARSER.format(folder=tmp_path, ending=ending))
            (tmp_path / "apparmor_parser").chmod(0o755)
        monkeypatch.setattr(apparmor, "ENABLED", str(tmp_path / "enabled"))
        monkeypatch.setattr(apparmor, "LOADED", str(tmp_path / "profiles"))
        parser = str(tmp_path / "apparmor_parser") if ending is not None else ""
        monkeypatch.setattr(apparmor, "_parser", lambda: parser)
        return tmp_path

    return made


def test_containers_wear_the_default_profile_which_is_loaded_once(kernel: Kernel) -> None:
    folder = kernel("")
    made = profile.linux_defaults()
    assert (made.apparmor_profile, made.notes) == ("pycompose-default", ())
    apparmor.ensure(made.apparmor_profile)
    apparmor.ensure(made.apparmor_profile)
    assert (folder / "calls").read_text() == "called\n"
    assert (folder / "asked").read_text() == apparmor.policy()


def test_what_a_bundle_wears_is_loaded_again_after_a_reboot(kernel: Kernel) -> None:
    folder = kernel("")
    for name, calls in (("own", 0), (apparmor.DEFAULT, 1), (apparmor.DEFAULT, 2)):
        bundle = Bundle(Spec(Process(("true",), apparmor_profile=name)), FolderRoot("/"))
        (folder / "bundle.json").write_text(to_json(bundle))
        (folder / "profiles").write_text("")
        apparmor.ensure_for(str(folder / "bundle.json"))
        called = folder / "calls"
        assert (called.read_text().count("called") if called.exists() else 0) == calls


def test_a_profile_that_is_loaded_needs_no_compiler(kernel: Kernel) -> None:
    kernel(None, loaded="docker-default (enforce)\npycompose-default (enforce)\n")
    assert apparmor.choose("") == ("pycompose-default", "")
    apparmor.ensure("pycompose-default")


def test_without_the_compiler_there_is_no_container_but_one_that_does_without(kernel: Kernel) -> None:
    kernel(None)
    with pytest.raises(ProfileError, match=r"apt-get install apparmor\), or do without by .*apparmor=unconfined"):
        profile.linux_defaults()
    assert profile.linux_defaults(security_opt=["apparmor=unconfined"]).apparmor_profile == ""
    assert profile.linux_defaults(security_opt=["apparmor=mine"]).apparmor_profile == "mine"
    assert profile.linux_defaults(privileged=True).apparmor_profile == ""


def test_a_policy_that_the_kernel_refuses_stops_the_container(kernel: Kernel) -> None:
    folder = kernel("echo Permission denied >&2; exit 1")
    with pytest.raises(ProfileError, match=r"cannot be loaded: Permission denied; .*apparmor=unconfined"):
        apparmor.ensure("pycompose-default")
    (folder / "profiles").write_text("")
    (folder / "apparmor_parser").unlink()
    with pytest.raises(ProfileError, match="No such file or directory"):
        apparmor.ensure("pycompose-default")


@pytest.mark.parametrize(
    ("wanted", "privileged", "given"),
    [
        ("unconfined", False, ""),
        ("", True, ""),
        ("own", False, "own"),
        ("own", True, "own"),
        ("", False, apparmor.DEFAULT),
    ],
)
def test_the_file_may_ask_for_another_profile_or_none(
    kernel: Kernel, wanted: str, privileged: bool, given: str
) -> None:
    folder = kernel("")
    assert apparmor.choose(wanted, privileged) == (given, "")
    if given == "own":
        apparmor.ensure(given)  # its owner loads it
        assert not (folder / "calls").exists()


def test_a_machine_without_apparmor_is_told_of_only_where_a_file_asks(kernel: Kernel) -> None:
    kernel(None, enabled="N")
    assert apparmor.choose("") == ("", "")
    assert apparmor.choose("own") == ("", "apparmor=own has no effect: this machine has no AppArmor")
