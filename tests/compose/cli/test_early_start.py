"""Helpers are launched early for a plain `up` alone, and for the project that it is about."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from pycompose.compose.app.choices import Choices
from pycompose.compose.cli import early_start, main
from pycompose.compose.control import session
from pycompose.runtime.places import ProjectPlaces

PLAIN = {
    "up -d": Choices(),
    "-p one up": Choices(project_name="one"),
    "-f a -f b --project-directory c up web": Choices(files=("a", "b"), project_directory="c"),
    "--progress plain --profile x up": Choices(),
    "-p ps up": Choices(project_name="ps"),
}
OTHERS = (
    "",
    "ps",
    "exec web up",
    "-p up ps",
    "up --help",
    "up -h",
    "--dry-run up",
    "up --dry-run",
    "up -d --abort-on-container-exit",
    "up -d --remove-orphans",
    "--env-file x up",
    "-pone up",
    "-f",
)


@pytest.mark.parametrize("words", PLAIN)
def test_the_options_of_a_plain_up_are_read(words: str) -> None:
    assert early_start.plain_up(words.split()) == PLAIN[words]


@pytest.mark.parametrize("words", OTHERS)
def test_nothing_is_launched_for_other_words(words: str) -> None:
    assert early_start.plain_up(words.split()) is None


def test_what_is_launched_is_of_the_files_project_and_ended_with_the_command(
    places: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (places / "compose.yaml").write_text("name: shop\nservices: {web: {image: [host]}}\n")
    calls: list[str] = []

    @contextmanager
    def waking(of: ProjectPlaces) -> Iterator[Callable[[], bool]]:
        calls.append(of.project)
        try:
            yield lambda: False
        finally:
            calls.append("end")

    monkeypatch.setattr(session, "waking", waking)
    assert main(["-f", str(places / "compose.yaml"), "up", "-d"]) == 1
    assert calls == ["shop", "end"]
