"""Listings: rows of one kind as a table, as JSON, or by a template, as --format or ~/.docker/config.json wants them."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pycompose.compose.cli.misuse import Misuse
from pycompose.frozen import dataclass

from . import terminal
from .tables import table


@dataclass(frozen=True, slots=True)
class Listing:
    """A kind of rows: the titles of its table's columns by their fields, and what else a template may ask for.

    `setting` is the key of ~/.docker/config.json that has the user's own form; `as_array`: JSON is one array.
    """

    columns: Mapping[str, str]
    more: tuple[str, ...] = ()
    setting: str = ""
    as_array: bool = False

    def form(self, wanted: str | None) -> str:
        """What was asked for on the command line, else in the user's configuration, else a table.

        Raises Misuse.
        """
        return checked_form(wanted if wanted is not None else (docker_setting(self.setting) or "table"))

    def show(self, form: str, rows: Sequence[Mapping[str, Any]], cells: Callable[[Any], Any] | None = None) -> None:
        """Print the rows. `cells`: a row as the table's columns have it, where that is not as its fields are."""
        if form == "json" and self.as_array:
            terminal.say(compact([_plain(row) for row in rows]))
        elif form == "json":
            for row in rows:
                terminal.say(compact(_plain(row)))
        elif form == "table":
            lines = [cells(row) if cells else [str(row[field]) for field in self.columns] for row in rows]
            terminal.say(table(tuple(self.columns.values()), lines), end="")
        else:
            from .templates import printed

            terminal.say(printed(form, rows, self.columns, (*self.columns, *self.more)), end="")


def checked_form(form: str) -> str:
    """ "table", "json", or a template. Raises Misuse."""
    form = form.strip()
    if form == "pretty":
        return "table"
    if form == "{{json .}}":
        return "json"
    if form not in ("table", "json") and "{{" not in form:
        raise Misuse(f'format value "{form}" could not be parsed: parsing failed', "table, json, or a template")
    return form


def docker_setting(name: str) -> str:
    """A form in the user's configuration of docker's client; empty where there is none, or it cannot be read."""
    folder = os.environ.get("DOCKER_CONFIG") or os.path.expanduser("~/.docker")
    try:
        with open(f"{folder}/config.json", encoding="utf-8") as file:
            value = json.load(file).get(name, "") if name else ""
    except (OSError, ValueError, AttributeError):
        return ""
    return value if isinstance(value, str) else ""


def compact(value: object) -> str:
    """JSON as docker's programs print it."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def labels_text(labels: Mapping[str, str]) -> str:
    return ",".join(f"{key}={value}" for key, value in sorted(labels.items()))


def label_of(labels: Mapping[str, str]) -> Callable[[str], str]:
    """`.Label "name"` of a template."""
    return lambda name: labels.get(name, "")


def _plain(row: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in row.items() if not callable(value)}
