"""The rules of the house hold for this tree, and each is seen to fail on a planted breach."""

from __future__ import annotations

import fnmatch
import os
import re
import tomllib
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from . import house
from .house import ROOT, Tree

Rule = Callable[[Tree], Sequence[str]]
HEAD = '"""A module."""\n'


@pytest.fixture(scope="module")
def tree() -> Tree:
    return house.house()


# rule, a breach of it: path -> text. What the planted modules import is planted too.
PLANTED: tuple[tuple[Rule, dict[str, str]], ...] = (
    (
        house.ladder,
        {
            "compose/model/project.py": "from pycompose.compose.plan.steps import Plan",
            "compose/plan/steps.py": "class Plan: ...",
        },
    ),
    (
        house.ladder,
        {
            "runtime/spec.py": "def f():\n    import pycompose.network.networks",
            "network/networks.py": "",
        },
    ),
    (house.ladder, {"frozen.py": "from .network import networks", "network/networks.py": ""}),
    (house.ladder, {"compose/newcomer/a.py": "import pycompose.compose.model.b", "compose/model/b.py": ""}),
    (
        house.circles,
        {"network/a.py": "from .b import B", "network/b.py": "def f():\n    from . import a"},
    ),
    (
        house.circles,
        {
            "network/a.py": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from .b import B",
            "network/b.py": "from .c import C",
            "network/c.py": "from .a import A",
        },
    ),
    (
        house.command_line_imported,
        {"compose/app/a.py": "from pycompose.compose.cli import root", "compose/cli/root.py": ""},
    ),
    (house.doubled_modules, {"compose/plan/steps.py": "", "runtime/images/steps.py": ""}),
    (house.doubled_classes, {"compose/plan/a.py": "class Plan: ...", "runtime/images/b.py": "class Plan: ..."}),
    (house.impure, {"compose/plan/graph.py": "def f():\n    import time"}),
    (house.impure, {"network/nft/rules.py": "from socket import AF_INET"}),
    (house.strangers, {"compose/cli/root.py": "def f():\n    import networkx"}),
    (house.strangers, {"runtime/keeper/main.py": "from ctypes import CDLL"}),
    (house.idle_coroutines, {"network/networks.py": "async def attach():\n    return 1"}),
    (house.process_wide, {"compose/engine/a.py": "import os\ndef f():\n    os.umask(0)"}),
    (house.paths_followed, {"runtime/a.py": "import os\ndef f(path: str):\n    os.chmod(path, 0o700)"}),
    (house.paths_followed, {"runtime/a.py": "import os\ndef f(at: int):\n    os.chmod('name', 0o700, dir_fd=at)"}),
    (house.paths_followed, {"compose/a.py": "import os\ndef f(at: int):\n    os.chown('name', 0, 0, dir_fd=at)"}),
    (house.paths_followed, {"runtime/a.py": "import os\ndef f(path):\n    os.utime(path)"}),
    (house.paths_followed, {"runtime/a.py": "import shutil\ndef f(path):\n    shutil.rmtree(path)"}),
    (house.said_as_it_is, {"compose/cli/commands/a.py": "import click\ndef f(name):\n    click.echo(name)"}),
    (house.meaning_in_words, {"compose/app/a.py": "def f(error):\n    return error.message.startswith('no compose')"}),
    (house.meaning_in_words, {"compose/app/a.py": "def f(step):\n    return step.cause != 'depends_on'"}),
    (house.meaning_in_words, {"compose/app/a.py": "def f(error):\n    return 'in use' in str(error)"}),
    (house.long_files, {"compose/app/a.py": "\n" * (house.LONGEST + 1)}),
    (house.import_style, {"compose/app/a.py": "from ..plan import steps"}),
    (house.import_style, {"compose/app/a.py": "import network"}),
    (house.compiled_data_classes, {"compose/app/a.py": "from dataclasses import dataclass"}),
    (house.heavy_keeper, {"runtime/keeper/main.py": "from pycompose.runtime import a", "runtime/a.py": "import trio"}),
    (house.vague_heads, {"compose/app/a.py": '"""What is done here."""'}),
    (house.vague_heads, {"compose/app/a.py": ""}),
)
RULES = tuple(dict.fromkeys(rule for rule, _ in PLANTED))


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_the_tree_keeps_the_rule(rule: Rule, tree: Tree) -> None:
    assert list(rule(tree)) == []


@pytest.mark.parametrize(("rule", "planted"), PLANTED, ids=lambda one: getattr(one, "__name__", ""))
def test_a_planted_breach_is_told(rule: Rule, planted: dict[str, str]) -> None:
    assert list(rule(planted)) != []


# Rule 3. The list may only shrink: what compose needs of the other folders goes through these modules.
REACH: tuple[str, ...] = (
    "network/errors.py",
    "network/link_parameters.py",
    "network/networks.py",
    "network/records.py",
    "network/spec.py",
    "runtime/client/blocking.py",
    "runtime/client/process.py",
    "runtime/client/sandboxes.py",
    "runtime/client/worker.py",
    "runtime/copies/container_files.py",
    "runtime/copies/container_root.py",
    "runtime/copies/container_sync.py",
    "runtime/copies/copy_errors.py",
    "runtime/errors.py",
    "runtime/files/descent.py",
    "runtime/files/ordered_walk.py",
    "runtime/files/remove.py",
    "runtime/files/union.py",
    "runtime/images/cache.py",
    "runtime/images/commit.py",
    "runtime/images/dockerfile/__init__.py",
    "runtime/images/dockerfile/builder.py",
    "runtime/images/dockerfile/context.py",
    "runtime/images/dockerfile/errors.py",
    "runtime/images/dockerfile/ignore.py",
    "runtime/images/dockerfile/fetched.py",
    "runtime/images/dockerfile/request.py",
    "runtime/images/dockerfile/run_instruction.py",
    "runtime/images/dockerfile/running.py",
    "runtime/images/dockerfile/trees.py",
    "runtime/images/errors.py",
    "runtime/images/gc.py",
    "runtime/images/host_image.py",
    "runtime/images/load.py",
    "runtime/images/manifest.py",
    "runtime/images/pack.py",
    "runtime/images/reference.py",
    "runtime/images/registry/artifact.py",
    "runtime/images/registry/credentials.py",
    "runtime/images/registry/login.py",
    "runtime/images/registry/progress.py",
    "runtime/images/registry/pull.py",
    "runtime/images/registry/push.py",
    "runtime/images/roots.py",
    "runtime/images/save.py",
    "runtime/images/store.py",
    "runtime/images/verify.py",
    "runtime/keeper/inheritance.py",
    "runtime/keeper/launch.py",
    "runtime/linux/joining.py",
    "runtime/linux/seccomp.py",
    "runtime/linux/unix_sockets.py",
    "runtime/places.py",
    "runtime/policy/cgroup.py",
    "runtime/policy/host_secrets.py",
    "runtime/policy/profile.py",
    "runtime/spec.py",
    "runtime/state/container_names.py",
    "runtime/state/container_record.py",
    "runtime/state/line_follower.py",
    "runtime/state/logs.py",
    "runtime/state/usage.py",
    "runtime/state/volumes.py",
)


def test_compose_reaches_into_the_other_folders_through_the_listed_modules(tree: Tree) -> None:
    used = house.reach(tree)
    assert used - set(REACH) == set(), "compose reaches further than is written down"
    assert set(REACH) - used == set(), "the list can shrink"


def test_a_further_reach_is_told() -> None:
    planted = {"compose/app/a.py": "from pycompose.runtime import secret", "runtime/secret.py": ""}
    assert house.reach(planted) == {"runtime/secret.py"}


# Rule 6. Where a lock of a file is waited for: in commands, in a thread that may wait, by a keeper that comes or goes.
WAITING: set[str] = {
    "compose/builds/step_runner.py:_claimed",
    "compose/control/session.py:locked",
    "network/records.py:changing",
    "runtime/images/blobs.py:lock",
    "runtime/images/dockerfile/run_instruction.py:_cache",
    "runtime/images/dockerfile/run_instruction.py:_fill_once",
    "runtime/images/registry/credentials.py:_changing",
    "runtime/images/store_folders.py:locked",
    "runtime/images/store_folders.py:working",
    "runtime/keeper/launch.py:_alone",
    "runtime/keeper/main.py:_end",
    "runtime/state/container_names.py:claim",
    "runtime/state/volumes.py:_locked",
}


def test_locks_are_waited_for_where_nobody_else_waits(tree: Tree) -> None:
    assert house.waits_for_locks(tree) == WAITING


def test_a_lock_that_is_waited_for_is_told() -> None:
    planted = {"network/a.py": "import fcntl\ndef f(fd):\n    fcntl.flock(fd, fcntl.LOCK_EX)"}
    assert house.waits_for_locks(planted) == {"network/a.py:f"}


# Locals and parameters are named for what they hold. The list may only shrink.
VAGUELY_NAMED: set[str] = set()


def test_locals_and_parameters_are_named_for_what_they_hold(tree: Tree) -> None:
    named = set(house.vague_names(tree))
    assert named - VAGUELY_NAMED == set(), house.vague_names(tree)
    assert VAGUELY_NAMED - named == set(), "the list can shrink"


@pytest.mark.parametrize(
    "text",
    [
        "def f():\n    found = 1",
        "def f(*, own=1): ...",
        "def f(rows):\n    return [made for made in rows]",
        "def f(x):\n    if (got := x): ...",
        "def f(x):\n    match x:\n        case [given, *seen]: ...",
        "f = lambda told: 1",
    ],
)
def test_a_vague_name_is_told(text: str) -> None:
    assert house.vague_names({"network/a.py": text}) != {}
    assert house.vague_names({"network/a.py": "def f():\n    lease = x.found"}) == {}


# Rule 7


def collected(names: set[str], ini: Callable[[str], list[str]]) -> set[str]:
    """Those of these paths below tests/ that pytest enters and takes for tests."""
    skipped, patterns = ini("norecursedirs"), ini("python_files")
    return {
        name
        for name in names
        if not any(fnmatch.fnmatch(part, pattern) for part in name.split("/")[:-1] for pattern in skipped)
        and any(fnmatch.fnmatch(name.rpartition("/")[2], pattern) for pattern in patterns)
    }


def test_every_test_file_is_collected(pytestconfig: pytest.Config) -> None:
    top = ROOT / "tests"
    names = {path.relative_to(top).as_posix() for path in top.rglob("test_*.py")}
    assert names == collected(names, pytestconfig.getini)
    assert pytestconfig.getini("testpaths") == ["tests"]


def test_a_test_file_in_a_folder_that_pytest_leaves_out_is_told(pytestconfig: pytest.Config) -> None:
    def ini(name: str) -> list[str]:
        return [*pytestconfig.getini(name), *(["build"] if name == "norecursedirs" else [])]

    assert collected({"build/test_a.py", "test_b.py"}, ini) == {"test_b.py"}


def test_no_module_tests_outside_the_collected_names() -> None:
    strays = [
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "tests").rglob("*.py")
        if not path.name.startswith("test_")
        and path.parent.name != "vm"  # run by name, inside the guest
        and re.search(r"^(async )?def test_", path.read_text(), re.MULTILINE)
    ]
    assert strays == []


def packages() -> set[str]:
    return set(tomllib.loads(Path(ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"])


def test_the_wheel_holds_every_module(tree: Tree) -> None:
    assert house.unlisted_packages(tree, packages()) == []


def test_a_module_outside_the_wheel_is_told(tree: Tree) -> None:
    assert house.unlisted_packages({**tree, "compose/new/__init__.py": HEAD}, packages()) != []
    assert house.unlisted_packages({**tree, "compose/new/a.py": HEAD}, packages()) != []


def test_the_list_of_modules_is_the_tree(tree: Tree) -> None:
    """PYCOMPOSE_WRITE_MODULES=1 writes it anew."""
    page = ROOT / "docs" / "modules.md"
    if os.environ.get("PYCOMPOSE_WRITE_MODULES"):
        page.write_text(house.module_list(tree))
    assert page.read_text() == house.module_list(tree)


def test_a_module_that_is_not_listed_is_told(tree: Tree) -> None:
    assert house.module_list({**tree, "compose/new.py": HEAD}) != house.module_list(tree)
