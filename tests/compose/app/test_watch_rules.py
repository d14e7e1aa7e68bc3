"""Rules of `develop.watch`: which path is whose, and what a batch of them leads to."""

from __future__ import annotations

from pathlib import Path

import pytest
from pycompose.compose.app import watch_rules
from pycompose.compose.app.watch_rules import IgnoreFile, WatchRule
from pycompose.compose.file.loader import Options, load
from pycompose.compose.model.project import Project
from pycompose.errors import PycomposeError
from pycompose.runtime.copies.container_sync import SyncedPath
from pycompose.runtime.images.dockerfile import ignore


def project(folder: Path, services: str) -> Project:
    (folder / "compose.yaml").write_text(f"name: p\nservices:\n{services}")
    return load(Options(files=(str(folder / "compose.yaml"),), environ={})).project


def rules(folder: Path, *watches: str, ignored: str = "") -> tuple[WatchRule, ...]:
    text = f"  web: {{image: x, build: ., develop: {{watch: [{', '.join(watches)}]}}}}\n"
    files = {"web": IgnoreFile(str(folder), ignore.read(ignored))} if ignored else {}
    return watch_rules.rules_of(project(folder, text), ["web"], files)[0]


def taken(folder: Path, *watches: str, paths: str, ignored: str = "") -> str:
    """Those of the paths that the first rule takes."""
    rule = rules(folder, *watches, ignored=ignored)[0]
    return " ".join(path for path in paths.split() if rule.takes(str(folder / path)))


@pytest.mark.parametrize(
    ("watch", "ignored", "paths", "expected"),
    [
        ("path: src", "", "src/a src/b/c other srcs/a", "src/a src/b/c"),
        ("path: src, ignore: [node_modules/]", "", "src/node_modules/x src/a/node_modules/x", "src/a/node_modules/x"),
        ("path: src, ignore: ['**/*.pyc', '!keep.pyc']", "", "src/x.pyc src/a/x.pyc src/keep.pyc", "src/keep.pyc"),
        ("path: src, include: ['*.py', lib]", "", "src/a.py src/a.txt src/lib/x src/d/a.py", "src/a.py src/lib/x"),
        ("path: src, include: '**/*.py', ignore: t", "", "src/t/a.py src/d/a.py", "src/d/a.py"),
        ("path: .", "src/gen\n*.log\n", "src/gen/x src/x a.log", "src/x"),
        ("path: src", "*\n!src\n", "src/x y", "src/x"),
        ("path: .", "", ".git/HEAD a/.git/x a~ .a.swp 4913 .#a a.___jb_tmp___ .idea/x b/#c# ok", "ok"),
        ("path: conf.yml", "", "conf.yml conf.yml.old", "conf.yml"),
    ],
)
def test_a_path_is_a_rules(tmp_path: Path, watch: str, ignored: str, paths: str, expected: str) -> None:
    assert taken(tmp_path, f"{{{watch}, action: rebuild}}", paths=paths, ignored=ignored) == expected


def test_a_folder_is_passed_over_where_nothing_in_it_can_be_taken(tmp_path: Path) -> None:
    (rule,) = rules(tmp_path, "{path: ., action: rebuild, ignore: [node_modules, '**/cache']}", ignored="out\n")
    over = "node_modules .git out a/cache"
    assert [path for path in f"a . {over}".split() if rule.passes_over(str(tmp_path / path))] == over.split()
    (kept,) = rules(tmp_path, "{path: ., action: rebuild, ignore: [gen, '!gen/kept']}")
    assert not kept.passes_over(str(tmp_path / "gen"))


def test_a_batch_leads_to_each_action_once_and_in_order(tmp_path: Path) -> None:
    for name in ("src", "conf", "hooked", "again"):
        (tmp_path / name).mkdir()
    made = rules(
        tmp_path,
        "{path: src, action: sync, target: /app/}",
        "{path: conf, action: sync+restart, target: etc}",
        "{path: hooked, action: sync+exec, target: /h, exec: {command: reload}}",
        "{path: again, action: restart}",
        "{path: Dockerfile, action: rebuild}",
    )
    paths = ["src/a", "src/b", "conf/x", "hooked/y", "hooked/z", "again/w", "Dockerfile", "elsewhere"]
    actions = watch_rules.actions(made, [str(tmp_path / path) for path in paths])
    assert (actions.rebuild, actions.restart) == (("web",), ("web",))
    assert [(service, hook.command) for service, hook in actions.hooks] == [("web", ("reload",))]
    folder = str(tmp_path)
    assert actions.sync == {
        "web": (
            SyncedPath(f"{folder}/src", "a", "/app/", "a"),
            SyncedPath(f"{folder}/src", "b", "/app/", "b"),
            SyncedPath(f"{folder}/conf", "x", "/etc", "x"),
            SyncedPath(f"{folder}/hooked", "y", "/h", "y"),
            SyncedPath(f"{folder}/hooked", "z", "/h", "z"),
        )
    }
    assert actions.sync["web"][2].parts == ("etc", "x")
    assert not watch_rules.actions(made, [f"{folder}/elsewhere"])


@pytest.mark.parametrize(("target", "parts"), [("/etc/app.yml", ("etc", "app.yml")), ("/etc/", ("etc", "conf.yml"))])
def test_a_rule_of_one_file_names_its_place(tmp_path: Path, target: str, parts: tuple[str, ...]) -> None:
    (tmp_path / "conf.yml").write_text("")
    (rule,) = rules(tmp_path, f"{{path: conf.yml, action: sync, target: {target}}}")
    aim = rule.synced(str(tmp_path / "conf.yml"))
    assert aim is not None
    assert (aim.top, aim.below, aim.parts) == (str(tmp_path), "conf.yml", parts)


def test_the_watched_folder_itself_is_never_removed_in_the_container(tmp_path: Path) -> None:
    (rule,) = rules(tmp_path, "{path: src, action: sync, target: /app}")
    assert rule.synced(str(tmp_path / "src")) is None


def test_a_first_sync_leaves_out_what_describes(tmp_path: Path) -> None:
    made = rules(
        tmp_path,
        "{path: ., action: sync+restart, target: /app, initial_sync: true, ignore: [t]}",
        "{path: ., action: sync, target: /other}",
    )
    paths = [str(tmp_path / path) for path in ("a", "t/x", "Dockerfile", "compose.yaml", "d/compose.override.yml")]
    actions = watch_rules.first_sync(made, paths)
    assert [path.parts for path in actions.sync["web"]] == [("app", "a")]
    assert not actions.restart


def test_a_rebuild_without_a_build_is_an_error_and_a_bound_path_is_not_watched(tmp_path: Path) -> None:
    plain = project(tmp_path, "  web: {image: x, develop: {watch: [{path: ., action: rebuild}]}}\n")
    with pytest.raises(PycomposeError, match='can\'t watch service "web" with action rebuild without a build context'):
        watch_rules.rules_of(plain, ["web"], {})
    watch = "[{path: ./src/a, action: sync, target: /a}, {path: ./srcs, action: restart}]"
    bound = project(tmp_path, f"  web: {{image: x, volumes: ['./src:/src'], develop: {{watch: {watch}}}}}\n")
    made, warnings = watch_rules.rules_of(bound, ["web"], {})
    assert [rule.number for rule in made] == [1]
    assert warnings == (f"path '{tmp_path}/src/a' also declared by a bind mount volume, this path won't be monitored!",)
