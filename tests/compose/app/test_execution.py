"""What `exec` says of a process that cannot be started, and its exit codes."""

from __future__ import annotations

from pathlib import Path

import pytest
from pycompose.compose.app import execution
from pycompose.errors import PycomposeError
from pycompose.runtime.client import process
from pycompose.runtime.errors import KeeperGone, RuntimeFailure, StartFailed
from pycompose.runtime.places import Places
from pycompose.runtime.spec import Bundle, FolderRoot, Process, Spec, to_json

CONTAINER = "c" * 64
BUNDLE = Bundle(Spec(Process(("true",))), FolderRoot("/"))


@pytest.mark.parametrize(
    ("failure", "text", "code"),
    [
        (
            StartFailed(CONTAINER, "exec", "tru: not found in PATH (/bin)", 2, 127),
            "tru: not found in PATH (/bin)",
            127,
        ),
        (StartFailed(CONTAINER, "user", "no user", 0, 126), "cannot be started: user: no user", 126),
        (KeeperGone("the keeper died"), "the keeper died", 125),
    ],
)
def test_what_cannot_be_started_is_told_in_its_own_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failure: RuntimeFailure, text: str, code: int
) -> None:
    places = Places(str(tmp_path), str(tmp_path / "run")).project("p")
    folder = Path(places.container(CONTAINER))
    folder.mkdir(parents=True)
    (folder / "bundle.json").write_text(to_json(BUNDLE))

    def fail(*_: object, **__: object) -> int:
        raise failure

    monkeypatch.setattr(process, "exec_interactive", fail)
    with pytest.raises(PycomposeError) as told:
        execution.execute(places, CONTAINER, ("tru",), execution.ExecOptions())
    assert (str(told.value), told.value.exit_code) == (text, code)
