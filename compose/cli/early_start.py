"""The helpers of a plain `up`, launched before click is imported: they take longest to come up.

Rules: only for words that are read in one way; whatever else was typed, `up` launches them itself. What is launched in
vain (for a file that cannot be read) is ended again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pycompose.compose.app.choices import Choices, Launched

# Options before the command: name -> field of Choices, "" for what does not tell which project it is.
VALUED = {
    "-f": "files",
    "--file": "files",
    "-p": "project_name",
    "--project-name": "project_name",
    "--project-directory": "project_directory",
    "--profile": "",
    "--progress": "",
    "--ansi": "",
    "--parallel": "",
}
# Options of `up` that it is plain with: none of them is refused beside another, or beside a variable, as
# --remove-orphans is beside COMPOSE_IGNORE_ORPHANS.
PLAIN = {"-d", "--detach", "--wait", "--build", "--force-recreate"}


@contextmanager
def launched(words: Sequence[str]) -> Iterator[Launched | None]:
    """The helpers come up while the body runs; see `session.waking`. None where that is not the case."""
    choices = plain_up(words)
    if choices is None:
        yield None
        return
    from pycompose.compose.app import locate

    places = locate.likely_places(choices)
    if places is None:
        yield None
        return
    from pycompose.compose.control import session

    with session.waking(places) as awake:
        yield places, awake


def plain_up(words: Sequence[str]) -> Choices | None:
    """The options before `up`, if that is the command and there is nothing unusual about them."""
    if "up" not in words:
        return None
    from pycompose.compose.app.choices import Choices

    values: dict[str, list[str]] = {}
    left = iter(words)
    for word in left:
        if word == "up":
            break
        value = next(left, None)
        if word not in VALUED or value is None:
            return None
        values.setdefault(VALUED[word], []).append(value)
    if any(word.startswith("-") and word not in PLAIN for word in left):
        return None
    names, folders = values.get("project_name"), values.get("project_directory")
    return Choices(
        files=tuple(values.get("files", ())),
        project_name=names[-1] if names else None,
        project_directory=folders[-1] if folders else None,
    )
