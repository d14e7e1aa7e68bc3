"""`extends`: a service laid on another one, of this file or of another, which may extend a third.

What another file's service says about paths is relative to that file. What is extended is merged as an earlier file
would be; `depends_on`, `links`, `volumes_from` and shared namespaces come along, and must be there in the end.
"""

from __future__ import annotations

import os.path
from collections.abc import Callable

from pycompose.compose.model.errors import FileError
from pycompose.compose.model.suggest import suggestion
from pycompose.errors import Place

from .files import Files
from .merge import merge
from .paths import rebased_service
from .reading import Reading, Section, one_of
from .source import Map, Text, Tree, position

CHAIN = 150


class Extending:
    """The services of one document. `fill` interpolates another file's tree; its paths are joined to `based`."""

    def __init__(
        self, files: Files, reading: Reading, fill: Callable[[Tree], Tree], based: Callable[[str, str], str]
    ) -> None:
        self.files = files
        self.reading = reading
        self.fill = fill
        self.based = based
        self.known: dict[str, Map] = {}  # path -> its services, not extended
        self.done: dict[tuple[str, str], Tree] = {}

    def tree(self, tree: Map, path: str, directory: str) -> Map:
        services = tree.get("services")
        if not isinstance(services, Map):
            return tree
        if not any(isinstance(service, Map) and "extends" in service for service in services.values()):
            return tree
        self.known[path] = services
        extended, before = services.copy(), len(self.reading.problems)
        for name in services:
            extended[name] = self._service(path, name, directory, ((path, name),))
        self.reading.incomplete = self.reading.incomplete or len(self.reading.problems) > before
        return tree.replaced("services", extended)

    def _service(self, path: str, name: str, directory: str, chain: tuple[tuple[str, str], ...]) -> Tree:
        if (path, name) not in self.done:
            self.done[path, name] = self._extended(path, name, directory, chain)
        return self.done[path, name]

    def _extended(self, path: str, name: str, directory: str, chain: tuple[tuple[str, str], ...]) -> Tree:
        service = self.known[path][name]
        if not isinstance(service, Map) or "extends" not in service:
            return service
        over = service.without("extends")
        at = service.keys_at.get("extends")
        extends = service["extends"]
        target: Tree = extends
        other: Tree = None
        if isinstance(extends, Map):
            Section(self.reading, extends, f"services.{name}.extends").check_keys(("service", "file"))
            target, other = extends.get("service"), extends.get("file")
            if target is None:
                message = f"extends.{name}.service is required"
                self.reading.problem(
                    message, position(extends) or at, "extends: {service: NAME, file: PATH}", "extends"
                )
                return over
        if not isinstance(target, Text) or not (other is None or isinstance(other, Text)):
            message = f'"extends" of service "{name}" must be a service, or a mapping with service and file'
            self.reading.problem(message, position(extends) or at, "extends: {service: NAME, file: PATH}", "extends")
            return over
        base_path, base_directory = path, directory
        if other is not None:
            try:
                base_path = self.files.local(other, directory, position(other) or at)
            except FileError as error:
                self.reading.unusable(error)
                return over
            base_directory = os.path.dirname(base_path)
            if base_path not in self.known and not self._load(base_path, position(other) or at):
                return over
        if target not in self.known[base_path]:
            hint = suggestion(target, self.known[base_path]) or one_of(self.known[base_path])
            where = f" in {other}" if other is not None else ""
            message = f'cannot extend service "{name}" in {path}: service "{target}" not found{where}'
            self.reading.problem(message, target.at, hint, "undefined")
            return over
        step = (base_path, str(target))
        if step in chain:
            way = "\n  extends ".join(f"{n} in {p}" for p, n in (*chain[chain.index(step) :], step))
            self.reading.problem(f"Circular reference:\n  {way}", at, "take one of these away", "cycle")
            return over
        if len(chain) > CHAIN:
            self.reading.problem(
                f"services extend each other more than {CHAIN} deep", at, "shorten the chain", "too-deep"
            )
            return over
        base = self._service(base_path, target, base_directory, (*chain, step))
        if other is not None and base_path != path:
            base = rebased_service(base, self.based(base_directory, directory))
        return merge(base, over, ("services", name))

    def _load(self, path: str, named_at: Place | None) -> bool:
        services = Map()
        try:
            for document in self.files.documents(path, named_at):
                tree = self.fill(document)
                defined = tree.get("services") if isinstance(tree, Map) else None
                if not isinstance(defined, Map):
                    continue
                for name, service in defined.items():
                    # a first definition keeps its tags: they act on what it extends
                    known = services.get(name)
                    whole = merge(known, service, ("services", name)) if name in services else service
                    services.put(name, whole, defined.keys_at.get(name))
        except FileError as error:
            self.reading.unusable(error)
            return False
        self.known[path] = services
        return True
