"""One tree out of the files that make it: each interpolated with its own variables, its includes beneath it, its
services extended, then laid one on the other.

A `Scope` is what a file is read with: where its relative paths start and which variables it sees. Included files have
one of their own. A file that cannot be used is one Problem; the rest is read all the same.
Source: compose specification, "Merge", "Include" and "Extends".
"""

from __future__ import annotations

import os.path
from collections.abc import Mapping

from pycompose.compose.model.errors import FileError
from pycompose.errors import Place
from pycompose.frozen import dataclass

from . import dotenv
from .extends import Extending
from .files import Files
from .interpolate import Interpolation
from .merge import merge, stripped, unique
from .paths import rebased
from .reading import Reading, Section
from .source import Map, Seq, Text, Tree, plain_value, position

INCLUDES = 1000
NESTING = 50
KINDS = ("services", "networks", "volumes", "configs", "secrets", "models")


@dataclass(frozen=True, slots=True)
class Scope:
    directory: str
    variables: Mapping[str, str]


class Composition:
    """The files of one run. Paths of other files stay relative to the folder `kept_in`; None makes them absolute."""

    def __init__(self, files: Files, reading: Reading, *, interpolate: bool = True, kept_in: str | None = None) -> None:
        self.files = files
        self.reading = reading
        self.interpolate = interpolate
        self.kept_in = kept_in
        self.includes = 0

    def whole(self, paths: list[str], scope: Scope, named_at: Place | None = None, above: tuple[str, ...] = ()) -> Tree:
        """Several files, the later ones over the earlier. `above` are the files that include them."""
        merged: Tree = None
        for path in paths:
            try:
                documents = self.files.documents(path, named_at)
            except FileError as error:
                self.reading.unusable(error)
                continue
            for document in documents:
                tree = self.filled(document, scope)
                if not isinstance(tree, Map):
                    self.reading.problem(
                        "a compose file must be a mapping", position(tree), "it begins with services:", "type"
                    )
                    continue
                tree = self._included(tree, scope, (*above, path))
                extending = Extending(self.files, self.reading, lambda t: self.filled(t, scope), self.based)
                tree = extending.tree(tree, path, scope.directory)
                merged = stripped(tree) if merged is None else merge(merged, tree, lax=self.reading.lax)
        return unique(merged) if isinstance(merged, Map) else merged

    def based(self, directory: str, outer: str) -> str:
        """The folder that paths of a file in `directory` are joined to, for a file whose paths are of `outer`."""
        return directory if self.kept_in is None else os.path.relpath(directory, outer)

    def filled(self, tree: Tree, scope: Scope) -> Tree:
        return Interpolation(scope.variables, self.reading).tree(tree) if self.interpolate else tree

    def _included(self, tree: Map, scope: Scope, above: tuple[str, ...]) -> Map:
        if "include" not in tree:
            return tree
        entries = tree["include"]
        whole = tree.without("include")
        if entries is not None and not isinstance(entries, Seq):
            self.reading.problem('"include" must be a list of files', entries.at, "include: [other.yaml]", "type")
            return whole
        for item in entries or ():
            where = position(item) or tree.keys_at.get("include")
            entry = self._entry(item, scope, where)
            if entry is None:
                self.reading.incomplete = True
                continue
            paths, inner = entry
            again = next((path for path in paths if path in above), None)
            if again is not None:
                way = "\n include ".join((*above[above.index(again) :], again))
                self.reading.problem(f"include cycle detected:\n{way}", where, "take one of these away", "cycle")
                self.reading.incomplete = True
                continue
            self.includes += 1
            if len(above) > NESTING or self.includes > INCLUDES:
                limit = f"{NESTING} deep" if len(above) > NESTING else f"{INCLUDES} times"
                self.reading.problem(f"files are included more than {limit}", where, "include fewer", "too-many")
                return whole
            whole = self._beneath(whole, self.whole(paths, inner, where, above), inner, scope)
        return whole

    def _entry(self, item: Tree, scope: Scope, where: Place | None) -> tuple[list[str], Scope] | None:
        """The files of one entry, and their scope. An entry's own env_file gives defaults: what is set here wins."""
        one = Section(self.reading, item, "an include", where) if isinstance(item, Map) else None
        if one is not None:
            one.check_keys(("path", "project_directory", "env_file"))
        named = one.texts("path") if one is not None else (str(item),) if isinstance(item, Text) else ()
        if not named or not all(named):
            self.reading.problem("an include needs a path", where, "include: [{path: other.yaml}]", "include")
            return None
        try:
            paths = [self.files.local(name, scope.directory, where) for name in named]
        except FileError as error:
            self.reading.unusable(error)
            return None
        directory = os.path.dirname(paths[0])
        if one is not None and (folder := one.text("project_directory")):
            directory = os.path.normpath(os.path.join(scope.directory, os.path.expanduser(folder)))
        if one is not None and "env_file" in one:
            env_files = one.texts("env_file")
            files = [os.path.normpath(os.path.join(scope.directory, os.path.expanduser(p))) for p in env_files]
        else:
            files = [p for p in [os.path.join(directory, ".env")] if os.path.isfile(p)]
        variables: dict[str, str] = {}
        for path in files:
            if path == os.devnull:
                continue
            try:
                content = self.files.text(path, where)
                variables.update(dotenv.parse(content, path, scope.variables.get, self.reading.unset, variables))
            except FileError as error:
                if not self.reading.existing:
                    self.reading.unusable(error)
        return paths, Scope(directory, {**variables, **scope.variables} if variables else scope.variables)

    def _beneath(self, tree: Map, part: Tree, inner: Scope, outer: Scope) -> Map:
        """The tree with what an included part defines; what both define must be the same."""
        part = rebased(part, self.based(inner.directory, outer.directory))
        if not isinstance(part, Map):
            return tree
        Section(self.reading, part, "a compose file").check_keys((*KINDS, "name", "version", "include"))
        whole = tree.copy()
        for kind in KINDS:
            theirs = part.get(kind)
            if not isinstance(theirs, Map):
                if theirs is not None:
                    self.reading.problem(f'"{kind}" must be a mapping', theirs.at, f"{kind}: {{NAME: {{…}}}}", "type")
                continue
            ours = whole.get(kind)
            joined = ours.copy() if isinstance(ours, Map) else Map(theirs.at)
            for key, value in theirs.items():
                if key in joined and plain_value(joined[key]) != plain_value(value):
                    self._conflict(kind, key, joined, theirs)
                    continue
                if isinstance(value, Map) and inner.variables is not outer.variables and value.scope is None:
                    value = value.copy()
                    value.scope = inner.variables
                joined.put(key, value, joined.keys_at.get(key) or theirs.keys_at.get(key))
            whole.put(kind, joined, whole.keys_at.get(kind) or part.keys_at.get(kind))
        return whole

    def _conflict(self, kind: str, key: str, ours: Map, theirs: Map) -> None:
        other = theirs.keys_at.get(key)
        message = f'{kind.removesuffix("s")} "{key}" is defined here and in an included file'
        hint = f"the other is at {other}; to change it, include an override file beside it: path: [file, override]"
        self.reading.problem(message, ours.keys_at.get(key), hint, "include")
