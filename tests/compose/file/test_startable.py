"""Values that only a start would refuse are problems of the file, each at its place and with a hint."""

from __future__ import annotations

from pathlib import Path

import pytest
from pycompose.compose.file.loader import Options, load
from pycompose.compose.model.errors import FileError

HEAD = "services:\n  a:\n    image: x\n    "


@pytest.mark.parametrize(
    ("attribute", "message", "column"),
    [
        ("dns: [1.1.1.1, none]", '"none" in "dns"', 20),
        ("dns: 1.1.1", '"1.1.1" in "dns"', 10),
        ("extra_hosts: {db: nowhere}", '"nowhere", the address of "db"', 19),
        ("extra_hosts: ['db:10.0.0.300']", '"10.0.0.300", the address of "db"', 19),
        ("extra_hosts: ['db2:10.0.0.3', 'db=x']", '"x", the address of "db"', 35),
        ("stop_signal: SIGTREM", "is no signal", 18),
        ("stop_signal: '65'", "is no signal", 18),
        ("cap_add: [NET_ADMIN, NET_ADMN]", '"NET_ADMN" in "cap_add"', 26),
        ("cap_drop: [CAP_FOO]", '"CAP_FOO" in "cap_drop"', 16),
        ("cpuset: 3-1", "is no list of processors", 13),
        ("cpuset: a", "is no list of processors", 13),
        ("cpus: -1", "cannot have -1 processors", 11),
        ("deploy: {resources: {limits: {cpus: '-1'}}}", "cannot have -1 processors", 41),
        ("ulimits: {nofile: {soft: 2, hard: 1}}", 'the soft limit "nofile"', 15),
        ("ulimits: {nofile: {soft: -1, hard: 1}}", 'the soft limit "nofile"', 15),
        ("ulimits: {nofiles: 1}", '"nofiles" in "ulimits"', 15),
        ("tmpfs: ['/t:size=1m,noexek']", '"noexek" is no option of a tmpfs', 13),
        ("mem_swappiness: 101", "a whole number from -1 to 100", 21),
        ("mem_swappiness: '-2'", "a whole number from -1 to 100", 21),
        ("tmpfs: /t:siz=1m", '"siz=1m" is no option of a tmpfs', 12),
    ],
)
def test_what_a_start_would_refuse_is_told_at_its_place(
    tmp_path: Path, attribute: str, message: str, column: int
) -> None:
    (tmp_path / "compose.yaml").write_text(HEAD + attribute)
    with pytest.raises(FileError) as caught:
        load(Options(files=(str(tmp_path / "compose.yaml"),)))
    (problem,) = caught.value.problems
    assert message in problem.message
    assert problem.hint
    assert problem.position is not None
    assert (problem.position.line, problem.position.column) == (4, column)


@pytest.mark.parametrize(
    "attribute",
    [
        "dns: [1.1.1.1, '::1', 'fe80::1%eth0']",
        "extra_hosts: {db: [10.0.0.1, '::1'], host: host-gateway}",
        "stop_signal: SIGRTMIN+3",
        "cap_add: [ALL, cap_net_admin, Chown]",
        "cpuset: '0-3,5,7'",
        "ulimits: {nofile: {soft: 1, hard: -1}, nproc: -1, core: {soft: 1, hard: 1}}",
        "tmpfs: ['/t:size=1m,mode=1777,uid=3,noexec,rw', '/u:nr_inodes=5']",
        "mem_swappiness: -1",
        "cpus: 0.5",
    ],
)
def test_what_a_start_takes_is_taken(tmp_path: Path, attribute: str) -> None:
    (tmp_path / "compose.yaml").write_text(HEAD + attribute)
    assert load(Options(files=(str(tmp_path / "compose.yaml"),))).project.services["a"]
