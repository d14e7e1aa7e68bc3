"""Stages, what they need of each other, and the scope of ARG."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from pycompose.runtime.images.dockerfile import BuildError
from pycompose.runtime.images.dockerfile.builder import platform_arguments
from pycompose.runtime.images.dockerfile.run_instruction import _command
from pycompose.runtime.images.dockerfile.stage_state import StageState
from pycompose.runtime.images.dockerfile.stages import BuildPlan, plan
from pycompose.runtime.images.dockerfile.syntax import parse
from pycompose.runtime.images.errors import ImageError


def planned(text: str, target: str = "", contexts: tuple[str, ...] = (), **given: str) -> BuildPlan:
    return plan(parse(text), target, given, platform_arguments(), contexts)


def test_only_what_the_target_needs_is_built_in_an_order_that_works() -> None:
    made = planned(
        "FROM a AS one\nFROM b AS unused\nFROM c AS two\nRUN --mount=from=one,target=/x true\n"
        "FROM d\nCOPY --from=two /a /a\nCOPY --from=0 /b /b"
    )
    assert made.order == (0, 2, 3)


def test_a_target_is_a_name_or_a_number() -> None:
    text = "FROM a AS One\nFROM one AS two\nFROM two"
    assert planned(text, "TWO").order == (0, 1)
    assert planned(text, "0").order == (0,)
    with pytest.raises(BuildError, match="no stage 'three'") as error:
        planned(text, "three")
    assert error.value.hint == "stages are one, two"


def test_a_later_stage_of_the_same_name_is_the_one_that_is_meant() -> None:
    assert planned("FROM x AS a\nFROM y AS a\nFROM a").stages[2].base_stage == 1


def test_an_image_of_another_name_is_an_image() -> None:
    made = planned("FROM x AS a\nCOPY --from=busybox /a /a")
    assert made.stages[0].needs == ()


def test_a_context_goes_before_a_stage_of_its_name() -> None:
    assert planned("FROM x AS a\nFROM a\nCOPY --from=a /x /x", contexts=("a",)).order == (1,)


def test_stages_that_need_each_other_are_an_error() -> None:
    with pytest.raises(BuildError, match=r"stages need each other: .*a -> b|b -> a"):
        planned("FROM x AS a\nCOPY --from=b / /\nFROM y AS b\nCOPY --from=a / /")


def test_arguments_before_the_first_stage_are_for_from() -> None:
    text = "ARG TAG=1\nARG BASE=img:$TAG\nFROM ${BASE}-slim AS x"
    assert planned(text).stages[0].base == "img:1-slim"
    assert planned(text, TAG="2").stages[0].base == "img:2-slim"


@pytest.mark.parametrize(
    ("said", "here"),
    [
        *((text, "linux/amd64") for text in ("amd64", "linux/x86_64", "Linux/AMD64", "linux", "linux/amd64/v1")),
        *((text, "linux/arm64") for text in ("aarch64", "linux/arm64/v8", "linux/arm64/8", "arm64")),
        *((text, "linux/arm/v7") for text in ("arm", "armhf", "linux/arm", "linux/arm/7")),
    ],
)
def test_a_platform_has_several_spellings(said: str, here: str) -> None:
    platform = {**platform_arguments(), "TARGETPLATFORM": here, "BUILDPLATFORM": here}
    assert not plan(parse(f"FROM --platform={said} a"), "", {}, platform, ()).stages[0].foreign


@pytest.mark.parametrize("said", ["linux/amd64/v3", "linux/arm64", "windows/amd64", "windows", "linux/amd64/v1/x"])
def test_another_platform_is_an_error_where_it_is_needed(said: str) -> None:
    platform = {**platform_arguments(), "TARGETPLATFORM": "linux/amd64", "BUILDPLATFORM": "linux/amd64"}
    text = f"FROM a\nFROM --platform={said} b AS other\nFROM c"
    assert plan(parse(text), "", {}, platform, ()).order == (2,)
    with pytest.raises(BuildError, match="only images of this machine") as error:
        plan(parse(text), "other", {}, platform, ())
    assert error.value.place is not None
    assert error.value.place.line == 2


def test_the_platform_is_known_to_from() -> None:
    made = planned("FROM --platform=$BUILDPLATFORM img-$TARGETARCH")
    assert made.stages[0].base == f"img-{platform_arguments()['TARGETARCH']}"


def test_a_platform_of_this_machine_may_be_called_by_its_processor() -> None:
    machine = platform_arguments()["TARGETARCH"]
    other = {"amd64": "linux/x86_64", "arm64": "aarch64"}[machine]
    for name in (machine, f"linux/{machine}", other, "linux"):
        assert planned(f"FROM --platform={name} a").stages[0].base == "a"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("RUN a\nFROM b", "Dockerfile:1: RUN before FROM"),
        ("ARG a=b", "there is no FROM"),
        ("FROM $x", "is empty"),
        ("FROM a b", "FROM wants"),
        ("FROM a AS 1x", "cannot be the name"),
        ("FROM --platform=plan9/mips a", "only images of this machine"),
        ("FROM --unknown=1 a", "does not know --unknown"),
        ("FROM a\nCOPY --from=$b / /", "variables cannot be used here"),
        ("FROM a AS b\nCOPY --from=b / /", "copies from itself"),
    ],
)
def test_what_cannot_be_is_told_with_its_line(text: str, message: str) -> None:
    with pytest.raises(BuildError, match=message) as error:
        planned(text)
    assert error.value.place is not None


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("FROM $BASE", "the image $BASE is empty", "ARG BASE has no value before FROM"),
        ("ARG BASE\nFROM ${BASE}", "the image ${BASE} is empty", "--build-arg BASE="),
        ("ARG BASE=\nFROM ${BASE}", "the image ${BASE} is empty", "ARG BASE is empty"),
        ("ARG TAG\nFROM debian:${TAG}", "the image debian:${TAG} becomes debian:", "ARG TAG has no value"),
        ("ARG REG\nFROM $REG/debian", "becomes /debian", "ARG REG"),
        ("FROM --platform=$PLAT debian", "--platform=$PLAT is empty", "ARG PLAT"),
        ("FROM --platform= debian", "--platform= is empty", ""),
    ],
)
def test_what_is_empty_names_the_argument(text: str, message: str, hint: str) -> None:
    with pytest.raises(BuildError) as caught:
        planned(text)
    assert message in caught.value.message
    assert hint in caught.value.hint


def test_a_target_that_is_misspelt_is_told_the_nearest() -> None:
    with pytest.raises(BuildError) as caught:
        planned("FROM scratch AS builder\nFROM scratch", target="buidler")
    assert caught.value.hint == "did you mean the stage builder?"


def test_a_stage_that_is_misspelt_in_from_is_told_the_nearest() -> None:
    build = planned("FROM scratch AS builder\nFROM scratch\nCOPY --from=0 /a /b")
    stage = SimpleNamespace(
        request=SimpleNamespace(contexts={}, pull=False),
        shared=SimpleNamespace(plan=build),
    )
    asking = StageState.origin(stage, "buidler", build.stages[1].instructions[0])  # type: ignore[arg-type]
    next(asking)
    with pytest.raises(BuildError, match="buidler is neither a stage nor an image: no such image") as caught:
        asking.throw(ImageError("no such image"))
    assert caught.value.hint == "did you mean the stage builder?"


@pytest.mark.parametrize(
    ("text", "script"),
    [
        ("RUN <<EOF\necho a\nEOF", "echo a\n"),
        ("RUN <<EOF cat > /x\nbody\nEOF", "<<EOF cat > /x\nbody\nEOF"),
        ("RUN cat <<EOF > /x\nbody\nEOF", "cat <<EOF > /x\nbody\nEOF"),
        ("RUN cat <<A <<B\na\nA\nb\nB", "cat <<A <<B\na\nA\nb\nB"),
    ],
)
def test_only_a_bare_here_document_is_a_script(text: str, script: str) -> None:
    (one,) = parse(f"FROM scratch\n{text}\n").instructions[1:]
    arguments, file, _ = _command(SimpleNamespace(config={}, escape="\\"), one)  # type: ignore[arg-type]
    assert (arguments[-1], file) == (script, None)
