"""click, imported without what it imports for nothing here: `inspect`, `uuid` and `gettext` are a quarter of `ps`."""

from __future__ import annotations

from pycompose.late_modules import put_off


def put_off_inspect() -> None:
    """Before anything else is imported: click is not the only one that does."""
    inspect = put_off("inspect")

    def cleandoc(text: str) -> str:
        """As `inspect.cleandoc`, which click calls for the help of every option."""
        return str(inspect.real().cleandoc(text)) if "\n" in text or "\t" in text else text.lstrip()

    inspect.__dict__["cleandoc"] = cleandoc


def import_click() -> None:
    """Import click. Nothing is put off that this process has imported already."""

    def ngettext(singular: str, plural: str, count: int) -> str:
        return singular if count == 1 else plural

    uuid = put_off("uuid", UUID=object)  # of which click makes a type of parameter
    gettext = put_off("gettext", gettext=str, ngettext=ngettext)  # there are no translations to look for

    import click as click

    del uuid.UUID, gettext.gettext, gettext.ngettext
