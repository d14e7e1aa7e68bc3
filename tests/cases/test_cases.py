"""Situations that users of compose tools reported: each folder is a compose file and a check.sh.

check.sh ends with 0 where all is right; its last line says what was seen. `run NAME...` beside this file plays some by
hand. Each case has mount and network namespaces, empty state and a tree of cgroups of its own; several go on at once.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.conftest import lacks
from tests.kernel.conftest import SLOWER, cgroups, clear

CASES = Path(__file__).parent
NAMES = sorted(path.parent.name for path in CASES.glob("*/check.sh"))
AT_ONCE = max(2, os.cpu_count() or 2)  # most of a case is waiting
SECONDS = 120.0
MACHINE = """
mount --make-rprivate / && mkdir -p "$PYCOMPOSE_STATE" "$PYCOMPOSE_RUN" &&
mount -t tmpfs -o mode=0755 state "$PYCOMPOSE_STATE" && mount -t tmpfs -o mode=0700 run "$PYCOMPOSE_RUN" &&
ip link set lo up && exec bash "$0"
"""
# Not mended yet: strict, so that whoever mends one takes it off.
FAILING: Mapping[str, str] = {}
CAP_SYS_RESOURCE = 24  # <linux/capability.h>
# Right only where that capability is there: hard limits that a shell lowered cannot be raised again without.
RAISING_LIMITS = {"inherit-limits"}


def capable(capability: int) -> bool:
    """Whether this process has a capability, as proc_pid_status(5) has it."""
    effective = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("CapEff:"))
    return bool(int(effective.split()[1], 16) >> capability & 1)


def expectation(name: str) -> pytest.MarkDecorator | tuple[()]:
    """The mark of a case that is expected to fail here."""
    if name in RAISING_LIMITS and not capable(CAP_SYS_RESOURCE):
        return pytest.mark.xfail(reason="needs CAP_SYS_RESOURCE", strict=True)
    return pytest.mark.xfail(reason=FAILING[name], strict=True) if name in FAILING else ()


def played(name: str, folder: Path) -> tuple[int, list[str]]:
    """Exit code and last lines of a case; -1 where it was not done in time, or left cgroups behind."""
    state, tree = str(folder / name / "state"), f"pycompose-case-{os.getpid()}-{name}"
    temporary = folder / name / "tmp"
    temporary.mkdir(parents=True)
    environment = {
        **{key: value for key, value in os.environ.items() if not key.startswith(("COMPOSE_", "PYCOMPOSE_"))},
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "TMPDIR": str(temporary),
        "PYCOMPOSE_STATE": state,
        "PYCOMPOSE_RUN": str(folder / name / "run"),
        "PYCOMPOSE_CGROUP": tree,
    }
    command = ["unshare", "--mount", "--net", "bash", "-c", MACHINE, str(CASES / name / "check.sh")]
    case = subprocess.Popen(
        command, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    try:
        said, code = case.communicate(timeout=SECONDS * SLOWER)[0], case.returncode
        left = sorted(cgroups(tree))
        lines = said.splitlines() + [f"left behind: {path}" for path in left]
        return (-1 if left else code), lines[-12:]
    except subprocess.TimeoutExpired:
        return -1, [f"not done after {SECONDS * SLOWER:g} s"]
    finally:
        case.kill()
        clear(state, tree, case.pid)
        case.wait()


@pytest.fixture(scope="session")
def results(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Future[tuple[int, list[str]]]]]:
    """Every case that is asked for, played several at a time."""
    if os.geteuid() != 0:
        lacks("needs root: namespaces, cgroups and nftables are the kernel's")
    if missing := [program for program in ("bash", "ip", "busybox") if not shutil.which(program)]:
        lacks(f"needs {', '.join(missing)}")
    folder = tmp_path_factory.mktemp("cases")
    names = [item.callspec.params["name"] for item in request.session.items if item.path == Path(__file__)]  # type: ignore[attr-defined]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        yield {name: pool.submit(played, name, folder) for name in names}
        pool.shutdown(cancel_futures=True)


@pytest.mark.parametrize("name", [pytest.param(name, marks=expectation(name)) for name in NAMES])
def test_a_reported_situation_is_right(name: str, results: Mapping[str, Future[tuple[int, list[str]]]]) -> None:
    code, lines = results[name].result()
    assert code == 0, "\n".join(lines)
