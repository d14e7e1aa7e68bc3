"""Filters of listings: `--filter KEY=VALUE`, several, of which those of one key are alternatives, as docker has it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import click

OPTION = click.option("-f", "--filter", "texts", multiple=True, metavar="KEY=VALUE", help="Only those that match.")


def parsed(texts: Sequence[str], keys: Sequence[str]) -> dict[str, list[str]]:
    """Key -> values. Raises click.BadParameter for a key that is none of `keys`."""
    filters: dict[str, list[str]] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals or key not in keys:
            raise click.BadParameter(f"{text!r} is not KEY=VALUE with one of {', '.join(keys)}", param_hint="--filter")
        filters.setdefault(key, []).append(value)
    return filters


def labelled(labels: Mapping[str, str], wanted: Sequence[str]) -> bool:
    """Whether all of `wanted` ("key" or "key=value") are among the labels."""
    pairs = (text.partition("=") for text in wanted)
    return all(key in labels and (not equals or labels[key] == value) for key, equals, value in pairs)


def truth(values: Sequence[str]) -> bool:
    """Of `dangling=…`. Raises click.BadParameter."""
    from .go_arguments import WORDS

    if values[-1] not in WORDS:
        raise click.BadParameter(f"{values[-1]!r} is neither true nor false", param_hint="--filter")
    return WORDS[values[-1]]
