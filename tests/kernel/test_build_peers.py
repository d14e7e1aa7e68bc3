"""Other people's builder makes the same of a Dockerfile: the same files, and the same configuration."""

from __future__ import annotations

import io
import json
import os
import shutil
import tarfile
from typing import Any

import pytest

from .build_tools import Builds, build

__all__ = ["build"]  # the fixture

pytestmark = pytest.mark.skipif(not shutil.which("buildah"), reason="buildah is not installed: apt-get install buildah")

TREE = """
import hashlib, json, os, stat, sys
top, found = sys.argv[1], {}
for folder, folders, files in os.walk(top):
    for name in folders + files:
        path = os.path.join(folder, name)
        told = os.lstat(path)
        what = ""
        if stat.S_ISREG(told.st_mode):
            what = hashlib.sha256(open(path, "rb").read()).hexdigest()
        elif stat.S_ISLNK(told.st_mode):
            what = os.readlink(path)
        found[os.path.relpath(path, top)] = [oct(told.st_mode), told.st_uid, told.st_gid, what]
print(json.dumps(found))
"""
MERGE = """
import sys
from pycompose.runtime.images.store import Store
from pycompose.runtime.files.union import merge
from pycompose.runtime.places import Places
merge(Store(Places.default()).resolve("built").layers, sys.argv[1])
"""
KEYS = (
    "Env",
    "Cmd",
    "Entrypoint",
    "User",
    "WorkingDir",
    "Labels",
    "ExposedPorts",
    "Volumes",
    "StopSignal",
    "OnBuild",
    "Healthcheck",
)
# What a peer mounts or makes while it runs steps, and leaves as empty places.
PLACES = ("run", "v", "etc/hosts", "etc/resolv.conf", "etc/hostname", "etc/mtab", "proc", "sys", "dev")


class Buildah:
    def __init__(self, build: Builds) -> None:
        self.build = build
        folder = build.folder / "buildah"
        self.command = ["buildah", "--root", str(folder / "root"), "--runroot", str(folder / "run")]
        self.command += ["--storage-driver", "vfs"]
        self.environment = ("env", "-C", str(build.folder), "BUILDAH_ISOLATION=chroot", f"HOME={folder}")
        self("from", "--name", "base", "scratch")
        self("add", "base", str(build.folder / "base.tar"), "/")
        self("commit", "-q", "base", "localhost/base")

    def __call__(self, *arguments: str) -> str:
        return self.build.machine.run(*self.environment, *self.command, *arguments, timeout=120).stdout.strip()

    def tree(self) -> dict[str, Any]:
        self("from", "--pull-never", "--name", "look", "localhost/built")
        place = self("mount", "look")
        found = json.loads(self.build.machine.python(TREE, place).stdout)
        self("umount", "look")
        return dict(found)

    def config(self) -> dict[str, Any]:
        told = json.loads(self("inspect", "--type", "image", "localhost/built"))
        return dict(told["Docker"]["config"])


def compared(build: Builds, dockerfile: str, *arguments: str) -> None:
    peer = Buildah(build)
    top = build.write({"Dockerfile": dockerfile})
    build(dockerfile, "--build-context", "localhost/base=docker-image://base", *arguments)
    peer("bud", "-q", "--format", "docker", "--pull-never", "-t", "localhost/built", *arguments, str(top))
    flat = build.folder / "flat"
    flat.mkdir()
    build.machine.python(MERGE, str(flat))
    ours = json.loads(build.machine.python(TREE, str(flat)).stdout)
    theirs = peer.tree()
    for place in PLACES:
        for found in (ours, theirs):
            for path in [path for path in found if path == place or path.startswith(f"{place}/")]:
                del found[path]
    assert ours == theirs
    own, other = build.image()["Config"], peer.config()
    for key in KEYS:
        mine, his = own.get(key) or None, other.get(key) or None
        if key == "Env":
            mine, his = ([one for one in env or () if not one.startswith("PATH=")] for env in (mine, his))
        if key == "Labels":
            his = {name: value for name, value in (his or {}).items() if "buildah" not in name} or None
        assert mine == his, key


def test_files_are_copied_to_the_same_places(build: Builds) -> None:
    top = build.write(
        {"a": "a", "b.txt": "b", "dir/x": "x", "dir/sub/y": "y", "left.log": "", ".dockerignore": "*.log\n"}
    )
    (top / "dir" / "inner").symlink_to("x")
    (top / "dir" / "away").symlink_to("/etc/passwd")
    os.chmod(top / "dir" / "sub", 0o750)
    os.chmod(top / "a", 0o711)
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w:gz") as tar:
        entry = tarfile.TarInfo("deep/in/tar")
        entry.size, entry.uid, entry.mode = 1, 42, 0o600
        tar.addfile(entry, io.BytesIO(b"x"))
    build.write({"t.tar.gz": data.getvalue()})
    compared(
        build,
        "FROM localhost/base AS first\nRUN mkdir -p /out/d && echo x > /out/d/f && chmod 711 /out/d\n"
        "FROM localhost/base\nCOPY a /file\nCOPY a b.txt /folder/\nCOPY dir /whole\nCOPY *.txt /star/\n"
        "COPY --chown=1:2 dir /owned\nCOPY --chmod=640 b.txt /moded\nADD t.tar.gz /un\nCOPY t.tar.gz /kept\n"
        "COPY --from=first /out /out\nWORKDIR /w/x\nCOPY b.txt .\nCOPY . /everything\nRUN rm -r /whole/sub /file\n",
    )


def test_the_configuration_comes_out_the_same(build: Builds) -> None:
    compared(
        build,
        "ARG WHICH=base\nFROM localhost/$WHICH\nARG V=1\n"
        "ENV A=$V B=${A:-unset} C='q $V' D=\"r ${V}\"\nENV A=2\n"
        "LABEL a=b \"c d\"='e f'\nEXPOSE 80 53/udp\nVOLUME /v\nUSER app:1234\nWORKDIR sub\nWORKDIR deeper\n"
        "STOPSIGNAL SIGINT\nHEALTHCHECK --interval=5s CMD true\n"
        'ENTRYPOINT ["/bin/sh", "-c"]\nCMD echo $A\nONBUILD RUN echo later\n'
        "USER root\nRUN echo $A $B $C $D $V > /values\n",
        "--build-arg",
        "V=7",
    )


def test_an_image_of_ours_is_read_by_others(build: Builds) -> None:
    build('FROM base\nRUN rm /bin/wc && mkdir -m 700 /d && echo x > /d/f\nCMD ["sh"]\n')
    archive = build.folder / "built.tar"
    build.run("image", "tag", "built", "localhost/built")
    build.run("image", "save", "-o", str(archive), "localhost/built")
    peer = Buildah(build)
    peer("pull", "-q", f"docker-archive:{archive}")
    tree = peer.tree()
    assert "bin/wc" not in tree
    assert tree["d"][0] == oct(0o040700)
    assert peer.config()["Cmd"] == ["sh"]
