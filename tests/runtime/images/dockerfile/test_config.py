"""What instructions do to an image's configuration, and which arguments RUN --mount takes."""

from __future__ import annotations

from typing import Any

import pytest
from pycompose.runtime.images.dockerfile import BuildError
from pycompose.runtime.images.dockerfile.config import change
from pycompose.runtime.images.dockerfile.copying import checked_mode, chmod
from pycompose.runtime.images.dockerfile.running import Wanted, mount
from pycompose.runtime.images.dockerfile.syntax import parse


def configured(text: str, **values: str) -> dict[str, Any]:
    made: dict[str, Any] = {"Env": ["OLD=1"], "Cmd": ["inherited"], "Labels": {"a": "b"}}
    own: set[str] = set()
    for one in parse(text).instructions:
        change(made, one, {"OLD": "1", **values}, "\\", own, [])
    return made


def test_all_values_of_an_env_see_what_was_before_it() -> None:
    assert configured("ENV A=x B=$A C=$OLD", A="before")["Env"] == ["OLD=1", "A=x", "B=before", "C=1"]
    assert configured("ENV NAME a b  c")["Env"] == ["OLD=1", "NAME=a b  c"]
    assert configured('ENV A="x y" B=c\\ d')["Env"][1:] == ["A=x y", "B=c d"]


def test_labels_are_added() -> None:
    assert configured('LABEL c="d e" f=$OLD')["Labels"] == {"a": "b", "c": "d e", "f": "1"}


def test_an_entrypoint_drops_a_command_that_was_inherited() -> None:
    assert "Cmd" not in configured('ENTRYPOINT ["a"]')
    assert configured('CMD ["mine"]\nENTRYPOINT ["a"]')["Cmd"] == ["mine"]


def test_the_shell_form_runs_in_the_shell_that_was_chosen() -> None:
    assert configured("CMD echo $x")["Cmd"] == ["/bin/sh", "-c", "echo $x"]
    assert configured('SHELL ["/bin/bash", "-ec"]\nCMD echo')["Cmd"] == ["/bin/bash", "-ec", "echo"]


def test_ports_and_volumes_are_sets() -> None:
    made = configured('EXPOSE 80 53/UDP 8000-8002\nVOLUME /a /b\nVOLUME ["/c d"]')
    assert list(made["ExposedPorts"]) == ["80/tcp", "53/udp", "8000/tcp", "8001/tcp", "8002/tcp"]
    assert list(made["Volumes"]) == ["/a", "/b", "/c d"]


def test_a_health_check_has_its_times_in_nanoseconds() -> None:
    made = configured("HEALTHCHECK --interval=1m30s --timeout=500ms --retries=2 CMD curl -f x")["Healthcheck"]
    assert made == {"Interval": 90 * 10**9, "Timeout": 5 * 10**8, "Retries": 2, "Test": ["CMD-SHELL", "curl -f x"]}
    assert configured("HEALTHCHECK NONE")["Healthcheck"] == {"Test": ["NONE"]}
    assert configured('HEALTHCHECK CMD ["a"]')["Healthcheck"] == {"Test": ["CMD", "a"]}


def test_a_trigger_is_kept_as_it_is_written() -> None:
    assert configured("ONBUILD COPY $x /y\nONBUILD RUN <<E\na\nE")["OnBuild"] == ["COPY $x /y", "RUN <<E\na\nE"]


@pytest.mark.parametrize(
    "text",
    [
        "ENV A",
        "ENV A=1 B",
        "EXPOSE 0",
        "EXPOSE 80/icmp",
        "EXPOSE 90-80",
        "STOPSIGNAL SIGNOTHING",
        "SHELL bash",
        "HEALTHCHECK curl",
        "HEALTHCHECK --interval=1x CMD a",
        "HEALTHCHECK --often CMD a",
        "ONBUILD FROM x",
        "ONBUILD ONBUILD RUN x",
        "USER --x y",
        'VOLUME [""]',
    ],
)
def test_what_cannot_be_is_an_error_with_its_line(text: str) -> None:
    with pytest.raises(BuildError, match="Dockerfile:1: "):
        configured(text)


def wanted(text: str, **values: str) -> Wanted:
    return mount(text, parse("RUN x").instructions[0], values, "\\", "/work")


def test_mounts_are_read_with_their_other_names_and_defaults() -> None:
    assert wanted("target=a,src=b,rw") == Wanted("bind", "/work/a", "b", rw=True)
    assert wanted("type=cache,dst=/c,sharing=locked,mode=0700,uid=5").mode == 0o700
    assert wanted("type=cache,target=/c,ro").rw is False
    assert wanted("type=bind,target=/c,readonly=false").rw is True
    assert wanted("type=secret,id=x").target == "/run/secrets/x"
    assert wanted("type=secret,id=x,env=X").target == ""
    assert wanted("type=secret,source=a/x").id == "a/x"
    assert wanted("type=Secret,id=a/x").target == "/run/secrets/x"
    assert wanted("type=cache,target=/c,sharing=LOCKED").sharing == "locked"
    assert wanted("type=secret,target=/a/key").id == "key"
    assert wanted("type=ssh").id == "default"
    assert wanted("type=tmpfs,target=/t,size=64m").size == 64 << 20
    assert wanted('type=cache,target=/c,"id=a,b"').id == "a,b"
    assert wanted("type=cache,target=/c,id=$X", X="y").id == "y"


@pytest.mark.parametrize(
    "text",
    [
        "type=disk,target=/a",
        "type=cache,target=/",
        "type=tmpfs,target=/t,size=big",
        "target=/a,odd=1",
        "type=secret,id=x,required=perhaps",
        "type=cache,target=/c,mode=9",
        "type=cache,target=/c,sharing=us",
        "x",
    ],
)
def test_a_mount_that_cannot_be_is_an_error(text: str) -> None:
    with pytest.raises(BuildError, match="mount"):
        wanted(text)


@pytest.mark.parametrize(
    ("change", "before", "after"),
    [
        ("", 0o100640, 0o640),
        ("755", 0o100640, 0o755),
        ("u=rwX,go=rX", 0o100640, 0o644),
        ("u=rwX,go=rX", 0o100740, 0o755),
        ("go=rX", 0o040700, 0o755),
        ("a+x", 0o100644, 0o755),
        ("+x", 0o100644, 0o755),
        ("go-rwx", 0o100755, 0o700),
        ("u+s,+t", 0o100755, 0o5755),
    ],
)
def test_modes_are_octal_or_words(change: str, before: int, after: int) -> None:
    assert chmod(checked_mode(change) if change else "", before) == after


@pytest.mark.parametrize("text", ["9", "u", "u=q", "rwx", "07777777"])
def test_a_mode_that_is_none_is_an_error(text: str) -> None:
    with pytest.raises(BuildError):
        checked_mode(text)
