"""The image `host`: which of this machine's files a container's root reads, and what it may do with them."""

from __future__ import annotations

import os
import pwd
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from pycompose.runtime.policy import host_secrets

from .conftest import Machine
from .service_tools import Described

CANARY = "canary-of-the-host"


@pytest.fixture
def secret() -> Iterator[list[str]]:
    """Files that a login or a service would keep secret, with a canary in them; on the machine's own disk."""
    files = ["/root/{}/.deep/secret", "/root/.{}", "/var/log/{}/app.log", "/var/spool/{}", "/var/lib/docker-{}/x"]
    names = [path.format(f"pycompose-test-{os.getpid()}") for path in files[:4]]
    names += [f"/etc/pycompose-test-{os.getpid()}/tls/server.key", f"/etc/pycompose-test-{os.getpid()}.secret"]
    made: list[str] = []
    for path in names:
        above = os.path.dirname(path)
        while not os.path.exists(above):
            made.insert(0, above)
            above = os.path.dirname(above)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        Path(path).write_text(CANARY)
        if path.endswith(".secret"):
            os.chmod(path, 0o600)
    yield names
    for path in names:
        os.unlink(path)
    for path in sorted(made, key=len, reverse=True):
        os.rmdir(path)


def pythons() -> set[str]:
    """What of root's home is seen for the sake of the Python that runs us."""
    folders = map(Path, host_secrets.python_folders(["/root"]))
    return {folder.parts[2] for folder in folders if folder.is_relative_to("/root")}


def test_what_a_login_or_a_service_keeps_secret_is_not_there(project: Described, secret: list[str]) -> None:
    paths = [*secret, "/etc/shadow", "/etc/gshadow", "/etc/shadow-", "/etc/sudoers", "/root/.ssh", "/root/.npmrc"]
    script = "; ".join(f"cat {path} && echo read {path}" for path in paths)
    project.describe(f"""
services:
  plain:
    image: host
    command: [sh, -c, "({script}) 2>/dev/null; grep -rl {CANARY} /root /etc /var; ls -A /root /home /var/log; id"]
  mighty: {{image: host, privileged: true, command: [sh, -c, "({script}) 2>/dev/null; id"]}}
""")
    said = project.said()
    for name in ("plain", "mighty"):
        lines = [line for line in said[name] if line and line[0] != "/" and line not in pythons()]
        assert len(lines) == 1, said[name]
        assert lines[0].startswith("uid=0")


def test_what_is_hidden_can_be_made_and_stays_in_the_container(project: Described) -> None:
    script = (
        "mkdir /root/.ssh && echo mine >/root/.ssh/key && echo mine >/etc/shadow && mkdir -p /var/lib/docker/x && "
        "echo mine >/var/log/mine && cat /root/.ssh/key /etc/shadow /var/log/mine && useradd -m somebody; "
        "stat -c %a /root /var/log"
    )
    before = Path("/etc/shadow").read_bytes()
    project.describe(f"services: {{one: {{image: host, command: [sh, -c, '{script}']}}}}\n")
    lines = project.said()["one"]
    modes = [f"{os.stat(path).st_mode & 0o7777:o}" for path in ("/root", "/var/log")]
    assert [line for line in lines if not line.startswith("useradd")][:3] == ["mine"] * 3
    assert lines[-2:] == modes
    assert Path("/etc/shadow").read_bytes() == before
    assert not os.path.exists("/var/log/mine")


def test_what_is_made_on_the_host_later_stays_hidden(project: Described, secret: list[str]) -> None:
    project.describe("services: {one: {image: host, command: [sleep, '1000']}}\n")
    project("up", "-d")
    later = Path(f"/root/later-{os.getpid()}")
    later.write_text(CANARY)
    try:
        assert project.inside("one", f"cat {later} 2>&1; true").endswith("No such file or directory")
    finally:
        later.unlink()


def test_what_came_into_a_new_folder_is_hidden_from_the_next_container(project: Described) -> None:
    project.describe("services: {one: {image: host, command: [sleep, '1000']}}\n")
    project("up", "-d")
    later = Path("/etc/salt/pki/canary")
    if later.parent.parent.exists():
        pytest.skip("this machine has that folder")
    later.parent.mkdir(parents=True)
    later.write_text(CANARY)
    try:
        project("up", "-d", "--scale", "one=2")
        seen = project("exec", "--index", "2", "one", "sh", "-c", f"cat {later} || echo hidden").stdout
        assert seen.split() == ["hidden"]
    finally:
        shutil.rmtree(later.parent.parent)


def test_containers_that_share_what_hides_do_not_share_what_they_make(project: Described) -> None:
    project.describe("services: {one: {image: host, scale: 3, command: [sleep, '1000']}}\n")
    project("up", "-d")
    script = "echo mine >/etc/shadow && mkdir /root/.ssh && echo mine >/root/.ssh/key && echo mine >/etc/hostname"
    project("exec", "--index", "1", "one", "sh", "-c", script)
    for index in ("2", "3"):
        look = "ls -A /etc/shadow /root/.ssh 2>/dev/null; cat /etc/hostname /proc/1/mountinfo | grep -c mine"
        assert project("exec", "--index", index, "one", "sh", "-c", f"{look}; true").stdout.split() == ["0"]


def test_python_and_the_project_are_seen_below_roots_home(host: Machine) -> None:
    folder = Path(tempfile.mkdtemp(prefix="pycompose-test-", dir="/root"))
    try:
        (folder / "code").mkdir()
        (folder / "code" / "file").write_text("of the project")
        (folder / "compose.yaml").write_text(f"""
services:
  one:
    image: host
    command: ["{sys.executable}", -c, "import sys, json; print(open('{folder}/code/file').read(), sys.prefix)"]
  two:
    image: host
    command: [sh, -c, "echo changed >{folder}/code/file; ls -A /root; cat {folder}/code/file"]
""")
        project = Described(host, folder / "compose.yaml")
        said = project.said()
        assert said["one"] == [f"of the project {sys.prefix}"]
        assert set(said["two"][:-1]) <= {folder.name, *pythons()}
        assert said["two"][-1] == "changed"
        assert (folder / "code" / "file").read_text() == "of the project"
        project("down", "-t", "0")
    finally:
        shutil.rmtree(folder)


def test_what_a_file_asks_for_is_shown(project: Described, secret: list[str]) -> None:
    folder = os.path.dirname(os.path.dirname(secret[0]))
    project.describe(f"""
x-pycompose: {{host: {{show: [/etc/shadow, /root/is-not-there, /root/.nor/is/this]}}}}
services:
  one:
    image: host
    command: [sh, -c, "cat {secret[0]}; echo; head -c 4 /etc/shadow; echo; cat {secret[1]} || echo hidden"]
    x-pycompose: {{host: {{show: ["{folder}"]}}}}
  two: {{image: host, command: [sh, -c, "cat {secret[0]} || echo hidden"]}}
""")
    said = project.said()
    assert [line for line in said["one"] if not line.startswith("cat:")] == [CANARY, "root", "hidden"]
    assert [line for line in said["two"] if not line.startswith("cat:")] == ["hidden"]


def test_the_home_of_the_projects_owner_is_seen_without_its_secrets(host: Machine, tmp_path: Path) -> None:
    person = next((item for item in pwd.getpwall() if item.pw_uid >= 1000 and os.path.isdir(item.pw_dir)), None)
    if person is None or not person.pw_dir.startswith("/home/"):
        pytest.skip("nobody has a home here")
    home = Path(person.pw_dir)
    folder = Path(tempfile.mkdtemp(prefix="pycompose-test-", dir=home))
    key = home / ".netrc"
    if key.exists():
        pytest.skip("there is a real one")
    try:
        key.write_text(CANARY)
        (folder / "data").write_text("data")
        (folder / "project").mkdir()
        os.chown(folder / "project", person.pw_uid, person.pw_gid)
        file = folder / "project" / "compose.yaml"
        command = f"cat {folder}/data; echo; cat {key} || echo hidden"
        file.write_text(f'services: {{one: {{image: host, command: [sh, -c, "{command}"]}}}}')
        project = Described(host, file)
        assert [line for line in project.said()["one"] if not line.startswith("cat:")] == ["data", "hidden"]
        project("down", "-t", "0")
    finally:
        key.unlink(missing_ok=True)
        shutil.rmtree(folder)


def test_a_build_from_the_host_sees_no_more(project: Described, secret: list[str]) -> None:
    (project.file.parent / "Dockerfile").write_text(f"""
FROM host
RUN cat {secret[0]} /etc/shadow >/srv/stolen 2>/dev/null; grep -c {CANARY} /srv/stolen >/srv/count; true
RUN cat /root/.bashrc /etc/gshadow >/srv/more 2>/dev/null; true
""")
    project.describe("""
services:
  one: {build: ., command: [sh, -c, "cat /srv/count /srv/stolen /srv/more; cat /etc/shadow 2>/dev/null; ls -A /root"]}
""")
    project("build")
    lines = project.said()["one"]
    assert lines[0] == "0"
    assert not [line for line in lines if ":" in line or CANARY in line]
    (project.file.parent / "Dockerfile").write_text("FROM host\nCOPY --from=host /etc/shadow /srv/stolen\n")
    done = project("build", check=False)
    assert done.returncode != 0
    assert "/etc/shadow" in done.stderr
