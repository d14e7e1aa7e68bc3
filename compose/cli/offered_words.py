"""Words that the TAB key offers for options and arguments, by the names of their parameters.

Nothing is imported or read before a shell asks; what cannot be read offers nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import TYPE_CHECKING

import click
from pycompose.compose.app.choices import TEXTS, Choices
from pycompose.errors import PycomposeError

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

Offer = Callable[[click.Context], Iterable[str]]


def choices_of(context: click.Context) -> Choices:
    """What was typed before the command."""
    options = context.find_root().params
    return Choices(**{key: options[key] for key in Choices.__slots__ if options.get(key) and key in TEXTS})


def offered(offer: Offer, context: click.Context, incomplete: str) -> list[CompletionItem]:
    words: list[str] = []
    with suppress(PycomposeError, OSError, ValueError):
        words = [word for word in offer(context) if word.startswith(incomplete)]
    from click.shell_completion import CompletionItem

    return [CompletionItem(word) for word in words]


class OfferedText(click.types.StringParamType):
    """A text, with words that are offered; `or_files`: where none of them fits, file names."""

    def __init__(self, offer: Offer, or_files: bool = False) -> None:
        self._offer, self._or_files = offer, or_files

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        from click.shell_completion import CompletionItem

        items = offered(self._offer, ctx, incomplete)
        return items if items or not self._or_files else [CompletionItem(incomplete, type="file")]


class OfferedNumber(click.types.IntParamType):
    """A number, with those that are offered."""

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        return offered(_indices, ctx, incomplete)


def _services(context: click.Context) -> list[str]:
    from pycompose.compose.app.locate import service_names

    return service_names(choices_of(context))


def _scales(context: click.Context) -> list[str]:
    return [f"{name}=" for name in _services(context)]


def _places(context: click.Context) -> list[str]:
    return [f"{name}:" for name in _services(context)]


def _profiles(context: click.Context) -> list[str]:
    from pycompose.compose.app.locate import profile_names

    return profile_names(choices_of(context))


def _projects(_: click.Context) -> list[str]:
    import os

    from pycompose.runtime.places import Places

    return sorted(os.listdir(Places.default().projects))


def _indices(context: click.Context) -> list[str]:
    from pycompose.compose.app import locate
    from pycompose.compose.state import observe

    service = context.params.get("service")
    containers = observe.containers(locate.named(choices_of(context)).places)
    numbers = {one.number for one in containers if service in (None, one.service) and not one.oneoff}
    return [str(number) for number in sorted(numbers)]


def _names(context: click.Context) -> list[str]:
    """Of what the command, or the group that it is of, is about."""
    from pycompose.compose.app import inspection
    from pycompose.runtime.places import Places
    from pycompose.runtime.state.volumes import Volumes

    roots, about = Places.default(), {context.info_name, context.parent.info_name if context.parent else ""}
    names: list[str] = []
    if "help" in about:
        root = context.find_root()
        return root.command.list_commands(root) if isinstance(root.command, click.Group) else []
    if "inspect" in about and "network" not in about and "volume" not in about and "image" not in about:
        names += [one.container.name for one in inspection.everyone(roots)]
    if about & {"network", "inspect"}:
        names += [one.name for one in inspection.network_records(roots)]
    if about & {"volume", "inspect"}:
        names += [one.name for one in Volumes(roots).list()]
    if about & {"image", "inspect"}:
        names += _images()
    return list(dict.fromkeys(names))


def _images() -> list[str]:
    from pycompose.compose.app.image_store import ask_store

    return [image.name for image in ask_store().ls() if image.name]


_SERVICE = OfferedText(_services)
# By the name of a parameter; those of another type than text keep it.
TEXT_TYPES: dict[str, OfferedText] = {
    **dict.fromkeys(("service", "services", "attached", "detached", "exit_code_from", "hashes"), _SERVICE),
    "scales": OfferedText(_scales),
    "project_name": OfferedText(_projects),
    "profiles": OfferedText(_profiles),
    "names": OfferedText(_names),
    "source": OfferedText(_places, or_files=True),
    "target": OfferedText(_places, or_files=True),
}


def offer_words(parameters: Iterable[click.Parameter]) -> None:
    """Have the TAB key know what these parameters may be."""
    for parameter in parameters:
        if parameter.type is click.STRING and parameter.name in TEXT_TYPES:
            parameter.type = TEXT_TYPES[parameter.name]
        elif parameter.type is click.INT and parameter.name == "index":
            parameter.type = OfferedNumber()
