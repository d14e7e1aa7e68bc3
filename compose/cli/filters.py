"""Filters of listings: `--filter KEY=VALUE`, several, of which those of one key are alternatives, as docker has it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import click

from .misuse import Misuse

OPTION = click.option("-f", "--filter", "texts", multiple=True, metavar="KEY=VALUE", help="Only those that match.")


def filter_pair(text: str) -> tuple[str, str]:
    """`KEY=VALUE`. Raises Misuse."""
    key, equals, value = text.partition("=")
    if not equals:
        raise Misuse("arguments to --filter should be in form KEY=VAL")
    return key, value


def parsed(texts: Sequence[str], keys: Sequence[str]) -> dict[str, list[str]]:
    """Key -> values. Raises Misuse for a key that is none of `keys`."""
    filters: dict[str, list[str]] = {}
    for text in texts:
        key, value = filter_pair(text)
        if key not in keys:
            raise Misuse(f"invalid filter {key!r}", f"one of: {', '.join(keys)}")
        filters.setdefault(key, []).append(value)
    return filters


def labelled(labels: Mapping[str, str], wanted: Sequence[str]) -> bool:
    """Whether all of `wanted` ("key" or "key=value") are among the labels."""
    pairs = (text.partition("=") for text in wanted)
    return all(key in labels and (not equals or labels[key] == value) for key, equals, value in pairs)


def truth(values: Sequence[str]) -> bool:
    """Of `dangling=…`. Raises Misuse."""
    from .go_arguments import WORDS

    if values[-1] not in WORDS:
        raise Misuse(f"invalid filter {values[-1]!r}", "true or false")
    return WORDS[values[-1]]
