"""Filters of `image ls`."""

from __future__ import annotations

import pytest
from pycompose.compose.cli.commands.image import _is_like


@pytest.mark.parametrize(
    ("pattern", "matches"),
    [
        ("app", True),
        ("app:1", True),
        ("app:2", False),
        ("a*", True),
        ("*:1", True),
        ("*/app", False),
        ("other", False),
    ],
)
def test_a_reference_is_of_a_name_with_its_tag_or_without(pattern: str, matches: bool) -> None:
    assert _is_like("docker.io/library/app:1", pattern) is matches


def test_a_star_does_not_match_a_slash() -> None:
    assert not _is_like("me/app:1", "*")
    assert _is_like("me/app:1", "*/app")
    assert _is_like("registry:5000/me/app:1", "registry:5000/*/app:1")
