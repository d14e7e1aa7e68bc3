"""The rules of the house, read from the source: each takes a tree of modules and returns its breaches, in words.

A tree is a mapping of a path ("compose/plan/graph.py") to its text, so that a rule can be tried on a planted breach.
Imports count wherever they stand: at the top, inside a function, under TYPE_CHECKING. It runs and imports nothing.
"""

from __future__ import annotations

import ast
import re
import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

Tree = Mapping[str, str]

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = ("compose", "runtime", "network")

# Who stands on whom inside compose/: a package imports those of lower levels, and itself.
LEVELS = (
    ("model",),
    ("file", "plan", "state", "diagram"),
    ("control", "engine"),
    ("linux",),
    ("builds",),
    ("app",),
    ("cli", "supervisor", "integrations"),
)
OWNERS = {
    "yaml": "compose/file/source.py",
    "networkx": "compose/plan/graph.py",
    "pyroute2": "network/netlink.py",
    "ctypes": "runtime/linux/syscalls.py",
}
PURE = (
    "dataclass_json.py",
    "errors.py",
    "frozen.py",
    "plain_text.py",
    "short_digest.py",
    "signal_names.py",
    "sizes.py",
    "compose/model/",
    "compose/plan/",
    "compose/diagram/",
    "compose/file/",
    "runtime/spec.py",
    "runtime/errors.py",
    "network/spec.py",
    "network/errors.py",
    "network/addresses.py",
    "network/rtnetlink.py",
    "network/nft/",
    "network/dns/zone.py",
    "network/dns/message.py",
)
NOT_PURE = {  # the loader's effects: it reads files
    "compose/file/loader.py",
    "compose/file/source.py",
    "compose/file/files.py",
    "network/nft/table.py",
}
TOUCHING = {"trio", "socket", "subprocess", "ctypes", "time", "random", "secrets", "uuid", "threading", "select"}
TWICE = {"__init__.py", "errors.py", "spec.py", "config.py"}  # basenames that each folder may have
API, SPOKEN = (
    ("compose/app/api/", "nsenter.py"),
    {"Project", "Service", "Container", "Namespace"},
)  # names of classes that users of the API write
LONGEST = 600  # lines of a file
PROCESS_WIDE = {"setns", "unshare", "chroot", "chdir", "fchdir", "umask"}  # calls that change a whole process
FOLLOWING = {f"os.{name}" for name in ("chmod", "chown", "utime", "setxattr", "removexattr")}
TREE_WALKS = {"os.lchown", "os.lchmod", "os.walk"} | {  # by path, and as deep as the tree
    f"shutil.{name}" for name in ("rmtree", "copytree", "copystat", "copymode", "copy", "copy2", "chown", "move")
}
OPENERS = {"open", "dup", "openat2", "open_at", "open_regular", "make_folder", "opened", "walk"}  # give a descriptor
WALKERS = {  # where paths are the kernel's (cgroupfs, /dev), or are the one place that opens first
    "runtime/files/descent.py",
    "runtime/policy/cgroup.py",
    "runtime/policy/profile.py",
}
LOCKS = ("flock", "lockf", "interruption.lock")
FRONTS = {"__main__.py", "aio.py", "nsenter.py"}  # what users run and import: they stand on all
SAYING = {"print", "click.echo", "sys.stdout.write", "sys.stderr.write", "click.secho"}
AS_IT_IS = {  # logs, a file of the user's own, a picture that steers the terminal itself and escapes what is in it
    "compose/cli/commands/completion.py",
    "compose/cli/commands/config.py",
    "compose/cli/commands/graph.py",
    "compose/cli/commands/help.py",
    "compose/cli/commands/stats.py",
    "compose/cli/output/byte_count.py",
    "compose/cli/output/live.py",
    "compose/cli/output/log_printer.py",
    "compose/cli/output/terminal.py",
    "compose/cli/root.py",
}
WORDS = {"message", "cause", "hint", "text", "note", "words"}  # what is for people alone


def house() -> dict[str, str]:
    """The project's own modules."""
    paths = [ROOT / "frozen.py", *ROOT.glob("[a-z]*.py"), *(p for f in FOLDERS for p in (ROOT / f).rglob("*.py"))]
    return {path.relative_to(ROOT).as_posix(): path.read_text() for path in sorted(set(paths))}


@cache
def parsed(text: str) -> ast.Module:
    return ast.parse(text)


def module_of(path: str) -> str:
    """`pycompose.runtime.spec` of `runtime/spec.py`."""
    parts = ["pycompose", *path.removesuffix(".py").split("/")]
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(path: str, text: str) -> Iterator[tuple[str, bool]]:
    """(absolute name, whether it was written relatively); `from a import b` gives `a` and `a.b`."""
    module = module_of(path)
    package = module if path.endswith("__init__.py") else module.rpartition(".")[0]
    for node in ast.walk(parsed(text)):
        if isinstance(node, ast.Import):
            yield from ((alias.name, False) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                above = package.split(".")
                base = ".".join([*above[: len(above) - node.level + 1], *([base] if base else [])])
            yield base, bool(node.level)
            yield from ((f"{base}.{alias.name}", bool(node.level)) for alias in node.names)


def within(name: str, package: str) -> bool:
    return name == package or name.startswith(package + ".")


def arrows(tree: Tree) -> dict[str, set[str]]:
    """Path -> paths of the modules that it imports."""
    known = {module_of(path): path for path in tree}
    graph: dict[str, set[str]] = {}
    for path, text in tree.items():
        targets: set[str] = set()
        for node in ast.walk(parsed(text)):
            if isinstance(node, ast.Import | ast.ImportFrom):
                targets |= _targets(path, node, known)
        graph[path] = targets - {path}
    return graph


def _targets(path: str, node: ast.Import | ast.ImportFrom, known: Mapping[str, str]) -> set[str]:
    if isinstance(node, ast.Import):
        return {known[alias.name] for alias in node.names if alias.name in known}
    line = ast.unparse(node)
    names = [name for name, _ in imports(path, line)]
    base, members = names[0], names[1:]
    inner = {known[name] for name in members if name in known}
    plain = any(name not in known for name in members) and base in known
    return inner | ({known[base]} if plain else set())


def _level(package: str) -> int | None:
    return next((index for index, names in enumerate(LEVELS) if package in names), None)


def _package(path: str) -> str:
    """`plan` of `compose/plan/graph.py`, `supervisor` of `compose/supervisor.py`."""
    return path.split("/")[1].removesuffix(".py")


def ladder(tree: Tree) -> list[str]:
    """Rule 1: folders import downwards only; runtime and network import neither each other nor compose."""
    breaches = []
    for path, targets in arrows(tree).items():
        for target in sorted(targets):
            one, other = path.split("/")[0], target.split("/")[0]
            if one in FOLDERS and other in FOLDERS and one != other and one != "compose":
                breaches.append(f"{path} imports {target}")
            if one == other == "compose" and _package(path) != _package(target) and target.count("/") > 1:
                mine, its = _level(_package(path)), _level(_package(target))
                if mine is None or its is None or its >= mine:
                    breaches.append(f"{path} imports {target}")
            if one not in FOLDERS and other in FOLDERS and path not in FRONTS:
                breaches.append(f"{path} imports {target}")
    return breaches


def circles(tree: Tree) -> list[str]:
    """Rule 2: no circle of imports, those inside functions and under TYPE_CHECKING included."""
    graph = arrows(tree)
    order: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    breaches: list[str] = []

    def visit(path: str) -> None:  # Tarjan's strongly connected components
        order[path] = low[path] = len(order)
        stack.append(path)
        for target in sorted(graph[path]):
            if target not in order:
                visit(target)
                low[path] = min(low[path], low[target])
            elif target in stack:
                low[path] = min(low[path], order[target])
        if low[path] == order[path]:
            index = stack.index(path)
            members = stack[index:]
            del stack[index:]
            if len(members) > 1:
                breaches.append(" <-> ".join(sorted(members)))

    for path in graph:
        if path not in order:
            visit(path)
    return sorted(breaches)


def reach(tree: Tree) -> set[str]:
    """Rule 3: the modules of runtime and network that compose imports."""
    return {
        target
        for path, targets in arrows(tree).items()
        if path.startswith("compose/")
        for target in targets
        if target.split("/")[0] in ("runtime", "network")
    }


def command_line_imported(tree: Tree) -> list[str]:
    """Rule 4: nothing but the program's entry imports the command line."""
    return [
        f"{path} imports {target}"
        for path, targets in arrows(tree).items()
        if not path.startswith("compose/cli/") and path != "__main__.py"
        for target in sorted(targets)
        if target.startswith("compose/cli/")
    ]


def doubled_modules(tree: Tree) -> list[str]:
    """Rule 4: a module's name stands once; one under cli/commands bears its command's name."""
    places = defaultdict(list)
    for path in tree:
        if not path.startswith("compose/cli/commands/"):
            places[path.rpartition("/")[2]].append(path)
    return [f"{name}: {', '.join(paths)}" for name, paths in places.items() if len(paths) > 1 and name not in TWICE]


def doubled_classes(tree: Tree) -> list[str]:
    """Rule 4: a class's name stands once; the Python API calls things as its users do, for each manner of calls."""
    places = defaultdict(list)
    for path, text in tree.items():
        for node in ast.walk(parsed(text)):
            if isinstance(node, ast.ClassDef) and not (path.startswith(API) and node.name in SPOKEN):
                places[node.name].append(path)
    return [f"{name}: {', '.join(paths)}" for name, paths in sorted(places.items()) if len(set(paths)) > 1]


def impure(tree: Tree) -> list[str]:
    """Rule 5: pure modules take time, chance and bytes as arguments."""
    return [
        f"{path} imports {name}"
        for path, text in tree.items()
        if path.startswith(PURE) and path not in NOT_PURE
        for name, _ in imports(path, text)
        if name.partition(".")[0] in TOUCHING
    ]


def strangers(tree: Tree) -> list[str]:
    """Rule 6: a library that has an owner is imported by that module alone."""
    return [
        f"{path} imports {name}"
        for path, text in tree.items()
        for name, _ in imports(path, text)
        for library, owner in OWNERS.items()
        if within(name, library) and path != owner
    ]


def idle_coroutines(tree: Tree) -> list[str]:
    """Rule 6: an `async def` can wait, or is a `def`. A protocol's declaration has no body to wait in."""
    breaches = []
    for path, text in tree.items():
        for node in ast.walk(parsed(text)):
            if isinstance(node, ast.AsyncFunctionDef) and not _declared_only(node):
                waits = (ast.Await, ast.AsyncFor, ast.AsyncWith)
                yields = (ast.Yield, ast.YieldFrom)  # an asynchronous generator or context manager
                if not any(isinstance(inner, waits + yields) for inner in ast.walk(node)):
                    breaches.append(f"{path}:{node.lineno}: async def {node.name} never waits")
    return breaches


def _declared_only(node: ast.AsyncFunctionDef) -> bool:
    return all(isinstance(one, ast.Expr) and isinstance(one.value, ast.Constant) for one in node.body)


def process_wide(tree: Tree) -> list[str]:
    """Rule 6: what runs beside trio changes nothing of its whole process."""
    breaches = []
    for path, text in tree.items():
        if path.startswith(("compose/", "network/")):
            for node in ast.walk(parsed(text)):
                if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
                    continue
                if node.func.attr in PROCESS_WIDE and ast.unparse(node.func.value) in ("os", "syscalls"):
                    breaches.append(f"{path}:{node.lineno}: {ast.unparse(node.func)}")
    return breaches


def waits_for_locks(tree: Tree) -> set[str]:
    """Rule 6: functions that take a lock of a file and wait for it."""
    waiting = set()
    for path, text in tree.items():
        if path.startswith(FOLDERS):
            for node in ast.walk(parsed(text)):
                if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                    for call in ast.walk(node):
                        if isinstance(call, ast.Call) and ast.unparse(call.func).endswith(LOCKS):
                            words = " ".join(ast.unparse(argument) for argument in call.args)
                            if "LOCK_NB" not in words and "LOCK_UN" not in words:
                                waiting.add(f"{path}:{node.name}")
    return waiting


def paths_followed(tree: Tree) -> list[str]:
    """Rule 9: what changes a file's owner, mode, times or attributes acts on a descriptor, or on a name in an open
    folder that is not followed; trees are walked by `runtime.files`. By its path a file may be another one by then."""
    breaches = []
    for path, text in tree.items():
        if not path.startswith(FOLDERS) or path in WALKERS:
            continue
        scopes: dict[ast.Call, ast.AST] = {}  # the innermost function around a call: it comes last
        for scope in (parsed(text), *(n for n in ast.walk(parsed(text)) if isinstance(n, _FUNCTIONS))):
            scopes |= {node: scope for node in ast.walk(scope) if isinstance(node, ast.Call) and _named(node)}
        for call, around in scopes.items():
            if _follows(call, _descriptors(around) if isinstance(around, _FUNCTIONS) else set()):
                breaches.append(f"{path}:{call.lineno}: {_named(call)}")
    return breaches


_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


def _named(call: ast.Call) -> str:
    """`os.chmod`, if it is one of those that are looked at."""
    where = call.func.value if isinstance(call.func, ast.Attribute) else None
    name = (
        f"{where.id}.{call.func.attr}" if isinstance(where, ast.Name) and isinstance(call.func, ast.Attribute) else ""
    )
    return name if name in FOLLOWING | TREE_WALKS else ""


def _follows(call: ast.Call, descriptors: set[str]) -> bool:
    name = _named(call)
    if name in TREE_WALKS:
        return True
    keywords = {one.arg: ast.unparse(one.value) for one in call.keywords}
    if name in ("os.chown", "os.utime") and {"dir_fd", "follow_symlinks"} <= set(keywords):
        return keywords["follow_symlinks"] != "False"
    first = ast.unparse(call.args[0])
    return not (first.endswith(".fileno()") or first in descriptors)


def _descriptors(scope: ast.FunctionDef | ast.AsyncFunctionDef) -> set[str]:
    """Names that hold a descriptor in a function: parameters that are an int, and what an opener gives."""
    names = set()
    for argument in (*scope.args.posonlyargs, *scope.args.args, *scope.args.kwonlyargs):
        if argument.annotation is not None and ast.unparse(argument.annotation) in ("int", "int | None"):
            names.add(argument.arg)
    for node in ast.walk(scope):
        pairs = [(t, node.value) for t in node.targets] if isinstance(node, ast.Assign) else []
        pairs += [(one.optional_vars, one.context_expr) for one in getattr(node, "items", []) if one.optional_vars]
        for target, value in pairs:
            if isinstance(target, ast.Name) and isinstance(value, ast.IfExp):
                value = value.body
            opener = ast.unparse(value.func).rpartition(".")[2].lstrip("_") if isinstance(value, ast.Call) else ""
            if isinstance(target, ast.Name) and opener in OPENERS:
                names.add(target.id)
    return names


def said_as_it_is(tree: Tree) -> list[str]:
    """Rule 10: what a person is shown goes through `output.terminal`, which spells control characters out."""
    return [
        f"{path}:{node.lineno}: {name}"
        for path, text in tree.items()
        if path.startswith("compose/") and path not in AS_IT_IS
        for node in ast.walk(parsed(text))
        if isinstance(node, ast.Call) and (name := ast.unparse(node.func)) in SAYING
    ]


def unlisted_packages(tree: Tree, listed: set[str]) -> list[str]:
    """Rule 7: every module is in the wheel."""
    packages = {module_of(path) for path in tree if path.endswith("__init__.py")}
    bare = {path for path in tree if "/" in path and path.rpartition("/")[0] + "/__init__.py" not in tree}
    return sorted(listed ^ (packages | {"pycompose"})) + sorted(
        f"{path}: its folder has no __init__.py" for path in bare
    )


def meaning_in_words(tree: Tree) -> list[str]:
    """Rule 8: code decides on fields and codes, never on what is written for people."""
    breaches = []
    for path, text in tree.items():
        for node in ast.walk(parsed(text)):
            if isinstance(node, ast.Compare):
                sides = [node.left, *node.comparators]
                literal = any(isinstance(s, ast.Constant) and isinstance(s.value, str) and s.value for s in sides)
                if literal and any(_for_people(side) for side in sides):
                    breaches.append(f"{path}:{node.lineno}: {ast.unparse(node)}")
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.args:
                asks = node.func.attr in ("startswith", "endswith", "find", "index", "partition")
                if asks and isinstance(node.args[0], ast.Constant) and _for_people(node.func.value):
                    breaches.append(f"{path}:{node.lineno}: {ast.unparse(node)}")
    return breaches


def _for_people(node: ast.expr) -> bool:
    """Whether an expression is a sentence for people: an error's text, a step's cause, a problem's message."""
    if isinstance(node, ast.Call):
        of_error = ast.unparse(node.func) == "str" and bool(node.args)
        return of_error and ast.unparse(node.args[0]) in ("error", "failure", "exception", "problem")
    return isinstance(node, ast.Attribute) and node.attr in WORDS - {"text", "words", "note", "hint"}


def long_files(tree: Tree) -> list[str]:
    """A file is one idea."""
    return [f"{path}: {text.count(chr(10))} lines" for path, text in tree.items() if text.count("\n") > LONGEST]


def import_style(tree: Tree) -> list[str]:
    """Relative inside a package, absolute across packages; no folder by its bare name."""
    breaches = []
    for path, text in tree.items():
        module = module_of(path)
        package = module if path.endswith("__init__.py") else module.rpartition(".")[0]
        for name, relative in imports(path, text):
            if name.partition(".")[0] in FOLDERS:
                breaches.append(f"{path} imports {name} by a bare name")
            if relative and not within(name, package):
                breaches.append(f"{path} imports {name} relatively from another package")
    return breaches


def compiled_data_classes(tree: Tree) -> list[str]:
    """Data classes are those that cost nothing to import."""
    return [
        f"{path} imports dataclasses.dataclass: from pycompose.frozen import dataclass"
        for path, text in tree.items()
        if path != "frozen.py" and "dataclasses.dataclass" in {name for name, _ in imports(path, text)}
    ]


def heavy_keeper(tree: Tree) -> list[str]:
    """The keeper, a container's first process and all that they import need the standard library alone."""
    known = {module_of(path): path for path in tree}
    waiting = [path for path in tree if path.startswith(("runtime/keeper/", "runtime/init/"))]
    done: set[str] = set()
    breaches = []
    while waiting:
        path = waiting.pop()
        if path in done:
            continue
        done.add(path)
        for name, _ in imports(path, tree[path]):
            if name in known:
                waiting.append(known[name])
            elif not within(name, "pycompose") and name.partition(".")[0] not in sys.stdlib_module_names:
                breaches.append(f"{path} imports {name}")
    return breaches


def vague_heads(tree: Tree) -> list[str]:
    """A module's first words name the thing."""
    vague = ("what ", "whether ", "how ", "which ", "where ", "who ", "when ")
    breaches = []
    for path, text in tree.items():
        head = ast.get_docstring(parsed(text)) or ""
        if not head:
            breaches.append(f"{path}: no head comment")
        elif head.lower().startswith(vague):
            breaches.append(f"{path}: {head.splitlines()[0]}")
    return breaches


VAGUE_NAMES = frozenset({"found", "made", "told", "own", "seen", "given", "got"})


def vague_names(tree: Tree) -> dict[str, list[str]]:
    """By path, the locals and parameters whose name says where a value comes from, not what it is."""
    breaches: dict[str, list[str]] = {}
    for path, text in tree.items():
        if path.startswith(FOLDERS) and (names := sorted(set(_bound(parsed(text))) & VAGUE_NAMES)):
            breaches[path] = names
    return breaches


def _bound(module: ast.Module) -> Iterator[str]:
    for node in ast.walk(module):
        match node:
            case ast.Name(id=name, ctx=ast.Store()) | ast.arg(arg=name):
                yield name
            case ast.MatchAs(name=str(name)) | ast.MatchStar(name=str(name)) | ast.ExceptHandler(name=str(name)):
                yield name


def module_list(tree: Tree) -> str:
    """docs/modules.md: every module by folder, with the first sentence of its head comment."""
    folders = defaultdict(list)
    for path in sorted(tree):
        folder, _, name = path.rpartition("/")
        head = " ".join((ast.get_docstring(parsed(tree[path])) or "").split("\n\n")[0].split())
        sentence = re.split(r"(?<=[.:])\s(?=[A-Z`])", head, maxsplit=1)[0].rstrip(":.")
        folders[folder].append(f"- `{name}`: {sentence}.")
    sections = [
        f"## {folder + '/' if folder else 'pycompose'}\n\n" + "\n".join(rows) for folder, rows in folders.items()
    ]
    lead = (
        "Each module with the first sentence of its own docstring. What stands on what: [architecture](architecture.md)"
    )
    return "\n\n".join(["# Modules", lead + ".", *sections]) + "\n"
