"""Lines of a helper's log are stamped, and the log stays small."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from pycompose import log_lines


def test_a_line_has_its_time(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", sys.__stderr__)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "stderr", os.fdopen(os.dup(2), "w"))
        log_lines.note("something")
        sys.stderr.close()
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ something\n", capfd.readouterr().err)


def test_an_exception_is_written_with_its_place_and_a_large_log_begins_anew(tmp_path: Path) -> None:
    script = "from pycompose import log_lines\ntry:\n    1 / 0\nexcept ZeroDivisionError:\n    log_lines.complain()\n"
    log = tmp_path / "log"
    log.write_bytes(b"x" * (log_lines.LARGEST_LOG + 1))
    with open(log, "ab") as file:
        subprocess.run([sys.executable, "-c", script], stderr=file, check=True)
    text = log.read_text()
    assert len(text) < 1000
    assert re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ unexpected:\nTraceback", text)
    assert text.endswith("ZeroDivisionError: division by zero\n")
