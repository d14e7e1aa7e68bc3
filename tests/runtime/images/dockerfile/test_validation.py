"""Faults that a Dockerfile's text shows are told with their line, before anything runs."""

from __future__ import annotations

import pytest
from pycompose.runtime.images.dockerfile import BuildError
from pycompose.runtime.images.dockerfile.builder import platform_arguments
from pycompose.runtime.images.dockerfile.stages import plan
from pycompose.runtime.images.dockerfile.syntax import parse
from pycompose.runtime.images.dockerfile.validation import validate

IN_EVERY_STAGE = (
    ("COPY --checksum=x a /x", "does not know --checksum"),
    ("COPY --chmod 600 a /x", "--chmod lacks a value"),
    ("COPY a", "a source and a destination"),
    ("ADD --from=x a /x", "does not know --from"),
    ("RUN --chown=1 true", "does not know --chown"),
    ("CMD --doit x", "does not know --doit"),
    ("USER --name x", "does not know --name"),
    ("WORKDIR --name x", "does not know --name"),
    ("ARG =1", "ARG needs a name"),
    ("SHELL /bin/sh -c", "JSON"),
    ("HEALTHCHECK curl x", "HEALTHCHECK"),
    ("HEALTHCHECK --retries=no CMD x", "retries"),
    ("ONBUILD FROM x", "ONBUILD FROM"),
)
WHERE_NEEDED = (
    ("EXPOSE http", "'http' is no port"),
    ("STOPSIGNAL SIGNONE", "SIGNONE"),
    ('VOLUME [""]', "path is empty"),
    ("ENV a=1 b", "'b' lacks a value"),
    ("LABEL a", "needs a name and a value"),
    ("COPY --chmod=rw a /x", "--chmod=rw"),
    ("RUN --network=mine true", "--network=mine"),
    ("RUN --security=insecure true", "--security=insecure"),
    ("RUN --mount=type=disk,target=/x true", "unknown type 'disk'"),
)
UNKNOWN_YET = (
    *("EXPOSE $PORT", "STOPSIGNAL $S", 'VOLUME ["$V"]', "COPY --chmod=$MODE a /x", "WORKDIR $HOME", "ENV a=${B:?}"),
    *("RUN --mount=type=$KIND,target=/x true", "RUN --mount=type=cache true", "HEALTHCHECK CMD $x", "ONBUILD RUN $x"),
)


def validated(text: str) -> None:
    validate(plan(parse(text), "", {}, platform_arguments(), ()))


@pytest.mark.parametrize(("line", "words"), [*IN_EVERY_STAGE, *WHERE_NEEDED])
def test_a_fault_of_the_text_is_told_with_its_line(line: str, words: str) -> None:
    with pytest.raises(BuildError) as error:
        validated(f"FROM scratch\nRUN true\n{line}")
    assert words in error.value.message
    assert error.value.place is not None
    assert error.value.place.line == 3


@pytest.mark.parametrize("line", [line for line, _ in IN_EVERY_STAGE])
def test_what_an_instruction_cannot_be_is_told_of_stages_that_nothing_needs(line: str) -> None:
    with pytest.raises(BuildError):
        validated(f"FROM scratch AS other\n{line}\nFROM scratch")


@pytest.mark.parametrize("line", [line for line, _ in WHERE_NEEDED])
def test_what_is_never_carried_out_may_be_what_cannot_be_done(line: str) -> None:
    validated(f"FROM scratch AS other\n{line}\nFROM scratch")


@pytest.mark.parametrize("line", UNKNOWN_YET)
def test_what_the_base_image_decides_is_no_fault_of_the_text(line: str) -> None:
    validated(f"FROM scratch\n{line}")
