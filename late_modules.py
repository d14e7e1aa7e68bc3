"""Modules of the standard library that are imported for what is seldom done with them: here, when it is done.

`inspect` (with ast, dis and tokenize) and `uuid` (with platform) are a fifth of what `ps` takes; `dataclasses` and
click import them. Rules: for processes of ours alone, before anything else is imported. Standard library only, for the
keeper begins with it.
"""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType


class LateModule(ModuleType):
    """What `import name` gets, with the content that needs no more; the real one takes its place when it is used."""

    def __getattr__(self, name: str) -> object:
        if name == "__path__":  # `from name import` asks whether it is a package
            raise AttributeError(name)
        return getattr(self.real(), name)

    def real(self) -> ModuleType:
        if sys.modules.get(self.__name__) is self:
            del sys.modules[self.__name__]
        return import_module(self.__name__)


def put_off(name: str, **content: object) -> LateModule:
    """Have `import name` import nothing yet, unless it has been imported."""
    late = LateModule(name)
    late.__dict__.update(content)
    if name not in sys.modules:
        sys.modules[name] = late
        package, _, module = name.rpartition(".")
        if package:
            setattr(import_module(package), module, late)
    return late
