"""The question before a project whose compose file is elsewhere: which variables its file asks for, and their values.

Source: docker compose, `up -f oci://…`.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from pycompose.compose.app.choices import Choices
from pycompose.errors import PycomposeError

from .output import terminal

if TYPE_CHECKING:
    from pycompose.compose.file.variables import Variable

HEAD = ("VARIABLE", "VALUE", "SOURCE", "REQUIRED", "DEFAULT")
QUESTION = "\nDo you want to proceed with these variables?"


def confirm(choices: Choices, *, yes: bool, typed: Sequence[str] = ()) -> None:
    """Ask, where the first file is elsewhere, unless `yes`. `typed` are the variables of `run -e`.

    Raises PycomposeError where the answer is no, and FileError.
    """
    from pycompose.compose.file.paths import is_fetchable, shown

    if not choices.files or not is_fetchable(choices.files[0]):
        return
    from pycompose.compose.app.locate import options_of
    from pycompose.compose.file.loader import merged
    from pycompose.compose.file.variables import variables
    from pycompose.compose.model.own_variables import switched_on

    from .output.tables import table

    files = merged(replace(options_of(choices), interpolate=False))
    terminal.note(f'Your compose stack "{shown(choices.files[0])}" is stored in "{files.working_dir}"')
    asked = variables(files.tree)
    if not asked or yes or switched_on(os.environ.get("PYCOMPOSE_REMOTE")):
        return
    rows = list(_rows(asked.values(), dict(pair.split("=", 1) for pair in typed if "=" in pair), files.variables))
    listed = f"\nFound the following variables in configuration:\n{table(HEAD, sorted(rows))}"
    if not terminal.confirmed(listed + QUESTION, usual=True):
        hint = "-y says yes, as does PYCOMPOSE_REMOTE=1"
        raise PycomposeError("operation cancelled by user", hint=hint)


def _rows(asked: Iterable[Variable], typed: Mapping[str, str], values: Mapping[str, str]) -> Iterator[tuple[str, ...]]:
    for variable in asked:
        if variable.name in typed:
            value, source = typed[variable.name], "command-line"
        elif variable.name in values:
            value, source = values[variable.name], "environment"
        elif variable.default:
            value, source = variable.default, "compose file"
        else:
            value, source = "<unset>", "none"
        yield variable.name, value, source, "yes" if variable.required else "no", variable.default
