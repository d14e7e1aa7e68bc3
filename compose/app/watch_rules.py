"""Rules of `develop.watch`: which changed path does what to which service. Pure, but that ignore files are handed in.

A path is a rule's where it is the rule's own or lies below it, `include` (if there is any) has it, and nothing ignores
it: the rule's `ignore`, relative to its path; the build's .dockerignore, relative to the context; what editors and git
keep for themselves. Patterns are .dockerignore's.
Sources: compose-spec, develop.md; docker/compose 5, pkg/compose/watch.go and pkg/watch.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import field

from pycompose.compose.model.develop import Watch, WatchCommand
from pycompose.compose.model.project import BindMount, Project, Service
from pycompose.errors import PycomposeError
from pycompose.frozen import dataclass
from pycompose.runtime.copies.container_sync import SyncedPath
from pycompose.runtime.images.dockerfile import ignore
from pycompose.runtime.images.dockerfile.ignore import NOTHING, Ignore

SYNCED = ("sync", "sync+restart", "sync+exec")
EPHEMERAL = (  # of JetBrains, Emacs, Vim and Kate; git's own
    *("**/*___jb_old___", "**/*___jb_tmp___", "**/.idea"),
    *("**/.#*", "**/#*#"),
    *("**/4913", "**/*~", "**/.*.swp", "**/.*.swx", "**/.*.swo", "**/.*.swn", "**/.*.kate-swp"),
    "**/.git",
)
_EPHEMERAL = ignore.patterns(EPHEMERAL, "watch")
AT_FIRST = (  # what an initial sync leaves out beside: files that describe, and are not part of what runs
    "**/Dockerfile",
    *(f"**/{name}{end}" for name in ("compose", "docker-compose") for end in (".yaml", ".yml")),
    *(f"**/{name}.override{end}" for name in ("compose", "docker-compose") for end in (".yaml", ".yml")),
)


@dataclass(frozen=True, slots=True)
class IgnoreFile:
    """A build's .dockerignore; `folder` is the context, absolute."""

    folder: str
    rules: Ignore


@dataclass(frozen=True, slots=True)
class WatchRule:
    """One entry of `develop.watch`. `path` is absolute, links resolved; `is_file` where it is one (when it began)."""

    service: str
    number: int  # in the service's list
    action: str
    path: str
    target: str = ""
    include: Ignore | None = None
    ignored: tuple[tuple[str, Ignore], ...] = ()  # folder that the patterns are relative to
    hook: WatchCommand | None = None
    initial: bool = False

    @property
    def syncs(self) -> bool:
        return self.action in SYNCED

    def takes(self, path: str) -> bool:
        """Whether a changed path, absolute, is this rule's."""
        below = relative(path, self.path)
        if below is None:
            return False
        if self.include is not None and not self.include.leaves_out(below or "."):
            return False
        return not any(_matches(folder, rules, path) for folder, rules in self.ignored)

    def passes_over(self, folder: str) -> bool:
        """Whether nothing below a folder can be this rule's, so that it need not be watched."""
        if relative(folder, self.path) is None:
            return relative(self.path, folder) is None  # a folder above the path leads to it
        return any(not rules.takes_back and _matches(base, rules, folder) for base, rules in self.ignored)

    def synced(self, path: str, *, anew: bool = False) -> SyncedPath | None:
        """Where a path that this rule takes goes; None for the watched folder itself, which is there or made."""
        below = relative(path, self.path)
        target = self.target if self.target.startswith("/") else f"/{self.target}"
        if below:
            return SyncedPath(self.path, below, target, below, anew)
        if os.path.isdir(path) or not os.path.lexists(path):
            return None
        top, name = os.path.split(self.path)
        place, inside = (target, name) if target.endswith("/") else os.path.split(os.path.normpath(target))
        return SyncedPath(top, name, place or "/", inside)


@dataclass(frozen=True, slots=True)
class WatchActions:
    """What a batch of changed paths leads to, by services."""

    rebuild: tuple[str, ...] = ()
    sync: Mapping[str, tuple[SyncedPath, ...]] = field(default_factory=dict)
    restart: tuple[str, ...] = ()
    hooks: tuple[tuple[str, WatchCommand], ...] = ()  # in the order of the file, each once

    def __bool__(self) -> bool:
        return bool(self.rebuild or self.sync or self.restart or self.hooks)


def relative(path: str, folder: str) -> str | None:
    """The path below the folder, "" for itself; None for one that lies elsewhere."""
    if path == folder:
        return ""
    prefix = folder.rstrip("/") + "/"
    return path[len(prefix) :] if path.startswith(prefix) else None


def _matches(folder: str, rules: Ignore, path: str) -> bool:
    below = relative(path, folder)
    return bool(below) and rules.leaves_out(str(below))


def actions(rules: Iterable[WatchRule], paths: Iterable[str], replaced: Iterable[str] = ()) -> WatchActions:
    """What the changed paths lead to; those `replaced` are folders that others are in the place of."""
    anew = set(replaced)
    rebuild: dict[str, None] = {}
    restart: dict[str, None] = {}
    sync: dict[str, dict[SyncedPath, None]] = {}
    hooks: dict[tuple[str, int], WatchCommand] = {}
    ordered = sorted(set(paths))
    for rule in rules:
        taken = [path for path in ordered if rule.takes(path)]
        if not taken:
            continue
        if rule.action == "rebuild":
            rebuild[rule.service] = None
        if rule.syncs:
            aims = [aim for path in taken if (aim := rule.synced(path, anew=path in anew)) is not None]
            if not aims:
                continue
            sync.setdefault(rule.service, {}).update(dict.fromkeys(aims))
        if rule.action in ("restart", "sync+restart"):
            restart[rule.service] = None
        if rule.action == "sync+exec" and rule.hook is not None:
            hooks[rule.service, rule.number] = rule.hook
    return WatchActions(
        tuple(rebuild),
        {service: tuple(aims) for service, aims in sync.items()},
        tuple(restart),
        tuple((service, hook) for (service, _), hook in hooks.items()),
    )


def first_sync(rules: Iterable[WatchRule], paths: Iterable[str]) -> WatchActions:
    """What is copied before anything has changed, of the rules that want it: no restart, no hook."""
    listed = sorted(set(paths))
    described = ignore.patterns(AT_FIRST, "watch")
    sync: dict[str, dict[SyncedPath, None]] = {}
    for rule in rules:
        if rule.initial and rule.syncs:
            aims = (rule.synced(path) for path in listed if rule.takes(path) and not _matches("/", described, path))
            sync.setdefault(rule.service, {}).update({aim: None for aim in aims if aim is not None})
    return WatchActions(sync={service: tuple(aims) for service, aims in sync.items() if aims})


def rules_of(
    project: Project, services: Iterable[str], ignore_files: Mapping[str, IgnoreFile]
) -> tuple[tuple[WatchRule, ...], tuple[str, ...]]:
    """The rules of these services, and warnings. Raises PycomposeError where a rule cannot be kept.

    `ignore_files`: service -> what its build's context ignores.
    """
    rules: list[WatchRule] = []
    warnings: list[str] = []
    for name in services:
        service = project.services[name]
        for number, watch in enumerate(service.develop.watch if service.develop else ()):
            if watch.action == "rebuild" and service.build is None:
                raise PycomposeError(
                    f'can\'t watch service "{name}" with action rebuild without a build context',
                    hint="give the service a build, or let the action be sync or restart",
                )
            path = os.path.realpath(watch.path)
            if watch.action in SYNCED and _is_bound(service, path):
                warnings.append(f"path '{path}' also declared by a bind mount volume, this path won't be monitored!")
                continue
            rules.append(_rule(name, number, watch, path, ignore_files.get(name)))
    return tuple(rules), tuple(warnings)


def _rule(service: str, number: int, watch: Watch, path: str, ignore_file: IgnoreFile | None) -> WatchRule:
    where = f'develop.watch of service "{service}"'
    ignored = [("/", _EPHEMERAL)]
    if ignore_file is not None and ignore_file.rules is not NOTHING:
        ignored.append((ignore_file.folder, ignore_file.rules))
    if watch.ignore:
        ignored.append((path, ignore.patterns(watch.ignore, where)))
    return WatchRule(
        service,
        number,
        watch.action or "",
        path,
        watch.target or "",
        ignore.patterns(watch.include, where) if watch.include else None,
        tuple(ignored),
        watch.exec,
        watch.initial_sync or watch.extensions.get("x-initialSync") == "true",
    )


def _is_bound(service: Service, path: str) -> bool:
    return any(
        isinstance(mount, BindMount) and relative(path, os.path.realpath(mount.source)) is not None
        for mount in service.mounts
    )
