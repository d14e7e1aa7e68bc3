"""The import rules of the house, read from the source: who may import whom, and which modules touch nothing."""

from __future__ import annotations

import ast
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = ("compose", "runtime", "network")
OWNERS = {
    "yaml": {"compose/file/source.py"},
    "networkx": {"compose/plan/graph.py"},
    "pyroute2": {"network/netlink.py"},
    "ctypes": {"runtime/linux/syscalls.py"},
}
PURE = (
    "compose/model/project.py",
    "compose/plan/graph.py",
    "compose/model/observed.py",
    "compose/plan/steps.py",
    "compose/plan/reconcile.py",
    "compose/plan/lifecycle.py",
    "compose/diagram/__init__.py",
    "compose/diagram/canvas.py",
    "compose/diagram/formats.py",
    "compose/diagram/layout.py",
    "compose/file/interpolate.py",
    "compose/file/merge.py",
    "compose/file/paths.py",
    "compose/file/addressing.py",
    "compose/file/consistency.py",
    "compose/file/dotenv.py",
    "compose/file/mounting.py",
    "compose/file/networking.py",
    "compose/file/declarations.py",
    "compose/file/resources.py",
    "compose/file/service.py",
    "compose/model/deployment.py",
    "compose/file/canonical.py",
    "compose/file/emitter.py",
    "compose/file/order.py",
    "compose/file/outline.py",
    "compose/file/show.py",
    "compose/file/variables.py",
    "compose/file/build_section.py",
    "runtime/spec.py",
    "network/spec.py",
    "network/addresses.py",
    "network/nft/expressions.py",
    "network/nft/rules.py",
    "network/dns/zone.py",
)
TOUCHING = {"trio", "socket", "subprocess", "ctypes", "time", "random", "secrets", "uuid"}


def sources() -> list[Path]:
    return [ROOT / "frozen.py", *(path for folder in FOLDERS for path in sorted((ROOT / folder).rglob("*.py")))]


def module_of(path: Path) -> str:
    """`pycompose.runtime.spec` of `runtime/spec.py`."""
    parts = ("pycompose", *path.relative_to(ROOT).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(path: Path) -> Iterator[str]:
    """Absolute names of what a file imports, wherever in the file; `from a import b` gives both `a` and `a.b`."""
    module = module_of(path)
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    for node in ast.walk(ast.parse(path.read_text(), str(path))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                above = package.split(".")
                base = ".".join([*above[: len(above) - node.level + 1], *([base] if base else [])])
            yield base
            yield from (f"{base}.{alias.name}" for alias in node.names)


def within(name: str, package: str) -> bool:
    return name == package or name.startswith(package + ".")


def offences(paths: list[Path], forbidden: set[str]) -> list[str]:
    return [
        f"{path.relative_to(ROOT)} imports {name}"
        for path in paths
        for name in imports(path)
        if any(within(name, package) for package in forbidden)
    ]


@pytest.mark.parametrize(
    ("folder", "others"), [("runtime", ("compose", "network")), ("network", ("compose", "runtime"))]
)
def test_runtime_and_network_import_neither_each_other_nor_compose(folder: str, others: tuple[str, ...]) -> None:
    paths = [path for path in sources() if path.relative_to(ROOT).parts[0] == folder]
    assert offences(paths, {f"pycompose.{other}" for other in others}) == []


def test_nothing_imports_a_folder_by_its_bare_name() -> None:
    assert offences(sources(), set(FOLDERS)) == []


@pytest.mark.parametrize("library", OWNERS)
def test_a_library_with_an_owner_is_imported_by_it_alone(library: str) -> None:
    others = [path for path in sources() if path.relative_to(ROOT).as_posix() not in OWNERS[library]]
    assert offences(others, {library}) == []


def test_pure_modules_touch_nothing() -> None:
    assert offences([ROOT / name for name in PURE if (ROOT / name).exists()], TOUCHING) == []


def test_data_classes_are_those_that_cost_nothing_to_import() -> None:
    others = [path for path in sources() if path.name != "frozen.py"]
    assert offences(others, {"dataclasses.dataclass"}) == [], "from pycompose.frozen import dataclass"


def test_the_keeper_and_what_it_imports_need_the_standard_library_alone() -> None:
    known = {module_of(path): path for path in sources()}
    waiting = [
        name for name in known if within(name, "pycompose.runtime.keeper") or within(name, "pycompose.runtime.init")
    ]
    seen: set[str] = set()
    wrong = []
    while waiting:
        module = waiting.pop()
        if module in seen:
            continue
        seen.add(module)
        for name in imports(known[module]):
            if name in known:
                waiting.append(name)
            elif not within(name, "pycompose") and name.partition(".")[0] not in sys.stdlib_module_names:
                wrong.append(f"{module} imports {name}")
    assert wrong == []


def test_the_wheel_holds_every_folder() -> None:
    listed = set(tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"])
    folders = {module_of(path) for path in sources() if path.name == "__init__.py"}
    bare = {
        path.parent.relative_to(ROOT).as_posix() for path in sources() if not (path.parent / "__init__.py").exists()
    }
    assert listed == folders | {"pycompose"}
    assert bare == set(), "a folder without __init__.py is no package"
