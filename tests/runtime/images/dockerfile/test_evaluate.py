"""Builds of instructions that write no files: which arguments are known where, and what the image says in the end."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pycompose.runtime.images import Store
from pycompose.runtime.images.dockerfile import BuildError, Happened, Request, builder
from pycompose.runtime.images.dockerfile.trees import FOLDER, Tree
from pycompose.runtime.places import Places

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class Evaluated:
    """Evaluates Dockerfiles whose every step is remembered, for they have none that writes."""

    def __init__(self, store: Store, context: Tree) -> None:
        self.store, self.context = store, context
        self.told: list[Happened] = []
        self.warnings: tuple[str, ...] = ()

    def image(self, text: str, target: str = "", **args: str) -> dict[str, Any]:
        request = Request(self.context, text, target=target, args=args, epoch=0)
        built = builder.remembered(self.store, request, self.told.append)
        assert built is not None
        self.warnings = built.warnings
        return json.loads(self.store.config_of(built.image.digest))  # type: ignore[no-any-return]

    def env(self, text: str, target: str = "", **args: str) -> dict[str, str]:
        """Without the PATH that every image has."""
        env = dict(one.split("=", 1) for one in self.image(text, target, **args)["config"]["Env"])
        return {name: value for name, value in env.items() if (name, value) != ("PATH", PATH)}


@pytest.fixture
def evaluated(tmp_path: Path) -> Iterator[Evaluated]:
    fd = os.open(tmp_path, FOLDER)
    yield Evaluated(Store(Places(str(tmp_path / "state"), str(tmp_path / "run"))), Tree(fd, "the build context"))
    os.close(fd)


def test_an_argument_is_known_from_its_line_on(evaluated: Evaluated) -> None:
    env = evaluated.env("FROM scratch\nENV before=$x\nARG x=one\nENV after=$x\n")
    assert env == {"before": "", "after": "one"}


def test_a_given_argument_takes_the_place_of_a_default(evaluated: Evaluated) -> None:
    assert evaluated.env("FROM scratch\nARG x=one\nENV e=$x", x="two") == {"e": "two"}
    assert evaluated.env("FROM scratch\nARG x\nENV e=$x", x="two") == {"e": "two"}
    assert evaluated.env("FROM scratch\nARG x\nENV e=${x-none}") == {"e": "none"}


def test_a_given_argument_that_nobody_asks_for_is_not_known_and_is_warned_of(evaluated: Evaluated) -> None:
    assert evaluated.env("FROM scratch\nENV e=${x-none}", x="two") == {"e": "none"}
    assert evaluated.warnings == ("no ARG asks for the build arguments x",)


def test_an_argument_before_the_first_from_is_for_froms_alone_until_a_stage_asks_for_it(evaluated: Evaluated) -> None:
    text = "ARG base=scratch\nFROM $base\nENV unasked=${base-none}\nARG base\nENV asked=$base\n"
    assert evaluated.env(text) == {"unasked": "none", "asked": "scratch"}


def test_an_argument_ends_with_its_stage_and_those_based_on_it(evaluated: Evaluated) -> None:
    text = "FROM scratch AS one\nARG x=1\nFROM scratch\nENV e=1\nENV f=${x-none}\n"
    assert evaluated.env(text) == {"e": "1", "f": "none"}


def test_env_goes_before_arg(evaluated: Evaluated) -> None:
    text = "FROM scratch\nENV x=env\nARG x=arg\nENV e=$x\n"
    assert evaluated.env(text, x="given") == {"x": "env", "e": "env"}


def test_one_argument_may_be_made_of_another(evaluated: Evaluated) -> None:
    assert evaluated.env("FROM scratch\nARG a=1\nARG b=${a}2\nENV e=$b", a="x") == {"e": "x2"}


def test_a_line_of_env_sees_what_was_there_before_it(evaluated: Evaluated) -> None:
    assert evaluated.env("FROM scratch\nENV abc=hello\nENV abc=bye def=$abc\nENV ghi=$abc") == {
        "abc": "bye",
        "def": "hello",
        "ghi": "bye",
    }


def test_the_platform_is_known_where_it_is_asked_for(evaluated: Evaluated) -> None:
    text = "FROM scratch\nENV unasked=${TARGETOS-none}\nARG TARGETOS\nENV asked=$TARGETOS\n"
    assert evaluated.env(text) == {"unasked": "none", "asked": "linux"}


def test_a_stage_on_a_stage_goes_on_from_its_configuration(evaluated: Evaluated) -> None:
    image = evaluated.image(
        'FROM scratch AS one\nUSER me\nLABEL a=1 b=1\nCMD ["x"]\nFROM one\nLABEL b=2\nENTRYPOINT ["e"]\n'
    )
    assert image["config"] == {
        "Env": [f"PATH={PATH}"],
        "User": "me",
        "Labels": {"a": "1", "b": "2"},
        "Entrypoint": ["e"],
    }


def test_only_stages_that_the_target_needs_are_evaluated(evaluated: Evaluated) -> None:
    text = "FROM scratch AS one\nENV e=1\nFROM missing/image AS two\nFROM one AS three\nENV e=3\n"
    assert evaluated.env(text, "three") == {"e": "3"}
    assert evaluated.env(text, "one") == {"e": "1"}


def test_history_has_every_instruction_with_its_values(evaluated: Evaluated) -> None:
    image = evaluated.image('FROM scratch\nARG x=1\nENV e=$x\nCMD ["a"]\n')
    assert [one["created_by"] for one in image["history"]] == ["ARG x=1", "ENV e=1", 'CMD ["a"]']
    assert all(one["empty_layer"] for one in image["history"])
    assert image["rootfs"]["diff_ids"] == []


def test_the_same_build_gives_the_same_image(evaluated: Evaluated) -> None:
    assert evaluated.image("FROM scratch\nENV a=1") == evaluated.image("FROM scratch\nENV a=1")


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("FROM scratch\nENV a=${", 2),
        ("FROM scratch\nENV a=1\nSTOPSIGNAL NOTHING", 3),
        ("FROM scratch\nWORKDIR $nothing", 2),
        ("FROM scratch\nCOPY a", 2),
        ("FROM scratch\nCOPY --from=scratch a b", 2),
        ("FROM scratch\nADD --link=maybe a b", 2),
        ("FROM scratch\nRUN --device=gpu x", 2),
        ("FROM scratch\nRUN --network=other x", 2),
        ("FROM scratch\nCOPY missing /", 2),
        ("FROM scratch\nCOPY ../up /", 2),
    ],
)
def test_an_error_has_the_line_that_is_to_blame(evaluated: Evaluated, text: str, line: int) -> None:
    with pytest.raises(BuildError) as error:
        evaluated.image(text)
    assert error.value.place is not None
    assert error.value.place.line == line


def test_a_step_that_is_not_remembered_leaves_the_whole_build_to_be_done(evaluated: Evaluated) -> None:
    request = Request(evaluated.context, "FROM scratch\nENV a=1\nWORKDIR /new")
    assert builder.remembered(evaluated.store, request, evaluated.told.append) is None
    assert evaluated.told == []


@pytest.mark.parametrize("name", ["SIGTERM", "sigquit", "TERM", "9", "64", "SIGRTMIN", "RTMIN+3", "SIGRTMAX-1"])
def test_a_stop_signal_is_a_name_or_a_number_and_is_kept_as_it_is_written(evaluated: Evaluated, name: str) -> None:
    assert evaluated.image(f"FROM scratch\nSTOPSIGNAL {name}")["config"]["StopSignal"] == name


@pytest.mark.parametrize("name", ["", "0", "65", "SIG", "SIGTERMS", "SIGSIGTERM", "RTMIN+"])
def test_what_is_no_signal_is_refused(evaluated: Evaluated, name: str) -> None:
    with pytest.raises(BuildError):
        evaluated.image(f"FROM scratch\nSTOPSIGNAL {name}")


def test_a_stage_knows_the_arguments_of_the_stage_that_it_is_based_on(evaluated: Evaluated) -> None:
    text = "FROM scratch AS a\nARG x=one\nARG y\nFROM a AS b\nARG z=$x-z\nFROM b\nENV e=$x/$y/$z\n"
    assert evaluated.env(text)["e"] == "one//one-z"
    assert evaluated.env(text, x="two", y="2")["e"] == "two/2/two-z"
    assert evaluated.env("FROM scratch AS a\nARG x=one\nFROM a\nARG x=two\nENV e=$x")["e"] == "two"
    assert evaluated.env("FROM scratch AS a\nARG x=one\nFROM scratch\nENV e=${x-none}")["e"] == "none"


def test_an_image_has_a_path_whatever_its_base_says(evaluated: Evaluated) -> None:
    assert evaluated.image("FROM scratch\nLABEL a=b")["config"]["Env"] == [f"PATH={PATH}"]
    assert evaluated.env("FROM scratch\nENV PATH=/opt/bin:$PATH") == {"PATH": f"/opt/bin:{PATH}"}
    assert evaluated.env("FROM scratch AS a\nENV PATH=/a\nFROM a\nENV PATH=$PATH:/b") == {"PATH": "/a:/b"}
