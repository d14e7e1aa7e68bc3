"""Measures a pull: `python tests/bench/pull.py [--runs N]`, beside `skopeo copy` to an OCI layout and `umoci unpack`.

An image of 5 layers and about 300 MB, made of this machine's own files, from a registry on this machine; each run on an
empty store, ours and theirs in turn. Needs docker-registry, skopeo and umoci, and root for umoci. Leaves nothing.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

LAYERS, SIZE = 5, 60 << 20  # bytes of files in each
OCI = "application/vnd.oci.image"
PEERS = ("docker-registry", "skopeo", "umoci")


def files() -> Iterator[str]:
    """Programs, libraries and many small files, the same each time on the same machine."""
    for top in ("/usr/lib", "/usr/share", "/usr/bin"):
        for folder, folders, names in os.walk(top):
            folders.sort()
            yield from (f"{folder}/{name}" for name in sorted(names))


def layers() -> Iterator[bytes]:
    rest = files()
    for _ in range(LAYERS):
        out, size = io.BytesIO(), 0
        with tarfile.open(fileobj=out, mode="w") as archive:
            for path in rest:
                told = os.lstat(path)
                if not os.path.isfile(path) or os.path.islink(path) or told.st_size > SIZE // 4:
                    continue
                entry = tarfile.TarInfo(path.lstrip("/"))
                entry.size, entry.mode = told.st_size, told.st_mode & 0o777
                with open(path, "rb") as file:
                    archive.addfile(entry, file)
                size += told.st_size
                if size > SIZE:
                    break
        yield out.getvalue()


def layout(folder: str) -> tuple[int, int]:
    """Make the image; its bytes, unpacked and packed."""
    os.makedirs(f"{folder}/blobs/sha256")
    diff_ids, told, plain = [], [], 0

    def blob(data: bytes, kind: str) -> dict[str, object]:
        digest = hashlib.sha256(data).hexdigest()
        Path(folder, "blobs/sha256", digest).write_bytes(data)
        return {"mediaType": f"{OCI}.{kind}", "digest": f"sha256:{digest}", "size": len(data)}

    for data in layers():
        plain += len(data)
        diff_ids.append("sha256:" + hashlib.sha256(data).hexdigest())
        packed = subprocess.run(["gzip", "-6"], input=data, stdout=subprocess.PIPE, check=True).stdout
        told.append(blob(packed, "layer.v1.tar+gzip"))
    machine = {"x86_64": "amd64", "aarch64": "arm64"}.get(os.uname().machine, os.uname().machine)
    config = {"architecture": machine, "os": "linux", "rootfs": {"type": "layers", "diff_ids": diff_ids}}
    tree = {
        "schemaVersion": 2,
        "mediaType": f"{OCI}.manifest.v1+json",
        "config": blob(json.dumps(config).encode(), "config.v1+json"),
        "layers": told,
    }
    manifest = blob(json.dumps(tree).encode(), "manifest.v1+json")
    named = {**manifest, "annotations": {"org.opencontainers.image.ref.name": "latest"}}
    Path(folder, "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [named]}))
    Path(folder, "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    return plain, sum(int(str(one["size"])) for one in told)


@contextmanager
def registry(folder: str) -> Iterator[str]:
    config = {
        "version": 0.1,
        "log": {"level": "info", "accesslog": {"disabled": True}},
        "storage": {"filesystem": {"rootdirectory": f"{folder}/registry"}},
        "http": {"addr": "127.0.0.1:0"},
    }
    Path(folder, "registry.yml").write_text(json.dumps(config))
    process = subprocess.Popen(
        ["docker-registry", "serve", f"{folder}/registry.yml"], stderr=subprocess.PIPE, stdout=subprocess.DEVNULL
    )
    assert process.stderr is not None
    try:
        for line in process.stderr:
            if found := re.search(rb"listening on (127\.0\.0\.1:\d+)", line):
                break
        drain = subprocess.Popen(["cat"], stdin=process.stderr, stdout=subprocess.DEVNULL)
        yield found[1].decode() if found else ""
    finally:
        process.kill()
        process.wait()
        process.stderr.close()
        drain.wait()


def timed(command: list[str], environment: dict[str, str]) -> tuple[float, float, float]:
    """(seconds, seconds of the processors, MB at most) of a command and what it starts."""
    os.sync()
    begun = time.monotonic()
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    assert process.stderr is not None
    said = process.stderr.read()
    process.stderr.close()
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{' '.join(command)}: {said.decode(errors='replace')}")
    return time.monotonic() - begun, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024


def main() -> None:
    parser = argparse.ArgumentParser(prog="pull", description="Measures a pull beside skopeo and umoci.")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--layout", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.layout:
        plain, packed = layout(chosen.layout)
        print(f"an image of {LAYERS} layers, {plain / 1e6:.0f} MB, {packed / 1e6:.0f} MB compressed")
        return
    if lacking := [name for name in PEERS if shutil.which(name) is None]:
        print(f"a pull is not measured: {', '.join(lacking)} is not installed")
        return
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory(prefix="pycompose-bench-", dir="/var/tmp") as folder:
        # In a process of its own: the kernel counts what a parent had in memory as its children's.
        subprocess.run([sys.executable, __file__, "--layout", f"{folder}/layout"], check=True)
        with registry(folder) as name:
            plainly = ["--src-tls-verify=false", "--dest-tls-verify=false"]
            copy = ["skopeo", "copy", "-q", *plainly]
            subprocess.run([*copy, f"oci:{folder}/layout:latest", f"docker://{name}/bench"], check=True)
            theirs = (
                f"skopeo copy -q {plainly[0]} docker://{name}/bench oci:{folder}/copied:latest"
                f" && umoci unpack --image {folder}/copied:latest {folder}/unpacked"
            )
            ours = [sys.executable, "-m", "pycompose", "image", "pull", "-q", f"{name}/bench"]
            environment = {**os.environ, "PYCOMPOSE_STATE": f"{folder}/state", "PYCOMPOSE_RUN": f"{folder}/run"}
            results: dict[str, list[tuple[float, float, float]]] = {"pycompose": [], "skopeo + umoci": []}
            for _ in range(chosen.runs):
                for who, command in (("pycompose", ours), ("skopeo + umoci", ["sh", "-c", theirs])):
                    results[who].append(timed(command, environment))
                    for left in ("state", "copied", "unpacked"):
                        shutil.rmtree(f"{folder}/{left}", ignore_errors=True)
    for who, values in results.items():
        seconds, used, memory = (statistics.median(column) for column in zip(*values, strict=True))
        fastest = min(value[0] for value in values)
        print(f"{who:<15} {seconds:6.2f} s (best {fastest:.2f})   processors {used:.2f} s   memory {memory:.0f} MB")
    if load > (os.cpu_count() or 1) / 2:
        print(f"The machine was busy (load {load:.1f} at the start): the figures are worse than they would be.")


if __name__ == "__main__":
    main()
