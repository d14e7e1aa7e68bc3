"""The other kind of machine: boots a Debian 12 guest and runs the smoke tests, or others, inside it.

    python tests/vm/guest.py [PYTEST ARGUMENT…]      (root; without arguments: SMOKE below)

The guest has kernel 6.1, systemd as pid 1, cgroup v2 alone, AppArmor on, and the wheel in a virtual environment.
It is made from Debian packages and emulated in software (no KVM), with two processors, two disks and no network:

    root disk      Debian, and what the wheel and the tests need from PyPI. Kept in .cache/vm under a hash of RECIPE and
                   the requirements; made in about a minute, and only when that hash is new. Never written to.
    project disk   the wheel as pip installs it, tests/ and examples/. Made anew each time, in two seconds.
    first serial   kernel and systemd: .cache/vm/console.log
    second serial  what the tests say, shown as it comes; its last line is MARKER and pytest's exit code

Rules: all that is left behind is below .cache/vm; after the first time no network is used; packages come from where the
machine's own apt and pip take them; whatever happens, the emulator ends with this program.
What it does not do: test another distribution, or speed (software emulation is 10 to 20 times slower than the machine).
"""

from __future__ import annotations

import argparse
import compileall
import fcntl
import hashlib
import os
import selectors
import shlex
import shutil
import subprocess
import sys
import time
import tomllib
from collections.abc import Sequence
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]
CACHE = PROJECT / ".cache" / "vm"
SMOKE = (
    "tests/vm/smoke.py",
    "tests/kernel/test_cgroup.py",
    "tests/kernel/test_profile.py::test_capabilities_are_dockers",
    "tests/kernel/test_profile.py::test_clone3_looks_missing",
)
TOOLS = {
    "mmdebstrap": "mmdebstrap",
    "qemu-system-x86_64": "qemu-system-x86",
    "mke2fs": "e2fsprogs",
    "setpriv": "util-linux",
}
SUITE = "bookworm"
PACKAGES = (
    "apparmor",
    "busybox-static",
    "curl",
    "dbus",
    "iproute2",
    "iputils-ping",
    "kmod",
    "linux-image-cloud-amd64",
    "nftables",
    "procps",
    "python3",
    "systemd-sysv",
    "udev",
    "util-linux",
)
GUEST_PYTHON = "3.11"  # Debian 12's
WHEELS_FOR = ("manylinux_2_34_x86_64", "manylinux_2_28_x86_64", "manylinux_2_17_x86_64", "manylinux2014_x86_64")
VENV = "opt/pycompose"
SITE = f"{VENV}/lib/python{GUEST_PYTHON}/site-packages"
MOUNTED = "/srv/pycompose"  # the project disk
LEFT_OUT = shutil.ignore_patterns("__pycache__", ".*", "*.egg-info")
MEMORY_MIB, PROCESSORS = 3072, 2
MARKER = "pycompose-guest-ends"
SLOWER = 10  # what the kernel tests multiply their time limits by
FILES = {
    "etc/fstab": f"/dev/vda / ext4 rw 0 1\n/dev/vdb {MOUNTED} ext4 rw 0 0\n",
    "etc/hostname": "guest\n",
    "etc/hosts": "127.0.0.1 localhost guest\n",
    f"{VENV}/pyvenv.cfg": f"home = /usr/bin\ninclude-system-site-packages = false\nversion = {GUEST_PYTHON}\n",
    f"{SITE}/project.pth": f"{MOUNTED}/site\n",
    "usr/local/bin/pycompose": f'#!/bin/sh\nexec /{VENV}/bin/python -m pycompose "$@"\n',
    # The tests are a service as any other: not at the root of the cgroup tree, and started when the system is up.
    "etc/systemd/system/tests.service": f"""[Unit]
Description=Tests of pycompose
RequiresMountsFor={MOUNTED}
After=multi-user.target
[Service]
ExecStart=/bin/sh {MOUNTED}/run
ExecStopPost=/bin/systemctl poweroff --force --force
""",
}
LINKS = {
    f"{VENV}/bin/python": "/usr/bin/python3",
    f"{VENV}/bin/python3": "python",
    "etc/systemd/system/multi-user.target.wants/tests.service": "../tests.service",
}
RECIPE = (SUITE, PACKAGES, WHEELS_FOR, sorted(FILES.items()), sorted(LINKS.items()))
RUN = f"""exec >/dev/ttyS1 2>&1 </dev/null
export HOME=/root LANG=C.UTF-8 PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin COLUMNS=150
export CI=true PYCOMPOSE_TESTS_SLOWER={SLOWER}
cd {MOUNTED}/project
set -- -vv -rs --color=no --tb=short -p no:cacheprovider --durations=10 --durations-min=5
eval "/{VENV}/bin/python -m pytest $* $(cat {MOUNTED}/arguments)"
code=$?
sleep 1
echo "{MARKER} $code"
"""


class GuestError(Exception):
    """What could not be done, in words."""


def say(text: str) -> None:
    print(text, flush=True)


def run(*command: str | Path, environment: dict[str, str] | None = None) -> str:
    """Run a command to its end; its output is shown only if it fails."""
    done = subprocess.run(
        [str(word) for word in command],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, **(environment or {})},
    )
    if done.returncode:
        raise GuestError(f"{Path(str(command[0])).name} ended with {done.returncode}:\n{done.stdout}")
    return done.stdout


def pip(*arguments: str | Path, environment: dict[str, str] | None = None) -> None:
    quiet = {"PIP_ROOT_USER_ACTION": "ignore", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    run(sys.executable, "-m", "pip", "-q", "--no-input", *arguments, environment={**quiet, **(environment or {})})


def install_tools() -> None:
    missing = sorted({package for program, package in TOOLS.items() if not shutil.which(program)})
    if missing and not shutil.which("apt-get"):
        raise GuestError(f"this machine lacks programs: on Debian they are in {' '.join(missing)}")
    if missing:
        say(f"installing {' '.join(missing)}")
        run("apt-get", "update", "-qq")
        quiet = {"DEBIAN_FRONTEND": "noninteractive"}
        run("apt-get", "install", "-y", "-qq", "--no-install-recommends", *missing, environment=quiet)


# --- the root disk -----------------------------------------------------------------------------------------------


def requirements() -> tuple[list[str], list[str]]:
    """What the guest needs from PyPI, and what building the wheel needs here."""
    said = tomllib.loads((PROJECT / "pyproject.toml").read_text())
    extras = said["project"]["optional-dependencies"]
    tests = [item for item in extras["dev"] if item.startswith(("pytest", "hypothesis"))]
    # pip reads "python_version < …" as of the Python it runs on: dask needs this one where the guest is, on 3.11
    wanted = [*said["project"]["dependencies"], *extras["dask"], *tests, "importlib-metadata"]
    return wanted, said["build-system"]["requires"]


def sources() -> list[Path]:
    """The machine's own sources of this Debian; none on another system: mmdebstrap then takes Debian's default."""
    places = [Path("/etc/apt/sources.list"), *sorted(Path("/etc/apt/sources.list.d").glob("*"))]
    return [
        place
        for place in places
        if place.suffix in (".list", ".sources")
        and place.is_file()
        and {SUITE, "main"} <= set(place.read_text().split())
    ]


def proxies() -> list[str]:
    """How the machine's apt reaches its sources, as options of mmdebstrap."""
    said = run("apt-config", "dump", "--no-empty", "--format", '%F "%v"%n', "Acquire").splitlines()
    return [f"--aptopt={line}" for line in said if "::Proxy" in line or "CaInfo" in line or "Verify" in line]


def build_root(made: Path) -> None:
    """Make the folder `made` with root.ext4, vmlinuz and initrd."""
    wanted, builders = requirements()
    half = CACHE / "half"
    tree = half / "tree"
    shutil.rmtree(half, ignore_errors=True)
    half.mkdir(parents=True)
    say(f"making the guest: Debian {SUITE} from {', '.join(map(str, sources())) or 'the default mirror'}")
    lean = [f"--dpkgopt=path-exclude=/usr/share/{name}/*" for name in ("doc", "man", "locale", "info")]
    include = f"--include={','.join(PACKAGES)}"
    run("mmdebstrap", "--variant=minbase", include, *lean, *proxies(), SUITE, tree, *sources())
    for name, text in FILES.items():
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).write_text(text)
    for name, target in LINKS.items():
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).symlink_to(target)
    (tree / "usr/local/bin/pycompose").chmod(0o755)
    (tree / MOUNTED[1:]).mkdir()
    say(f"making the guest: {len(wanted)} requirements from PyPI")
    fitting = ["--only-binary=:all:", "--implementation=cp", f"--python-version={GUEST_PYTHON}"]
    pip("install", "--target", tree / SITE, *fitting, *(f"--platform={tag}" for tag in WHEELS_FOR), *wanted)
    pip("install", "--target", half / "builders", *builders)
    inside = ("unshare", "--mount", "--pid", "--fork", f"--root={tree}", "--mount-proc", f"/{VENV}/bin/python")
    run(*inside, "-m", "compileall", "-q", f"/{SITE}")
    run(*inside, "-c", "import click, distributed, networkx, pyroute2, pytest, pytest_trio, trio, yaml")
    for name in ("vmlinuz", "initrd.img"):
        (kernel,) = (tree / "boot").glob(f"{name}-*")
        shutil.move(kernel, half / name.partition(".")[0])
    run("mke2fs", "-q", "-t", "ext4", "-O", "^has_journal", "-L", "root", "-d", tree, half / "root.ext4", "4G")
    shutil.rmtree(tree)
    half.rename(made)


def root_disk() -> Path:
    """The folder of the root disk, made if this recipe has none."""
    text = repr((RECIPE, requirements()))
    made = CACHE / f"guest-{hashlib.sha256(text.encode()).hexdigest()[:16]}"
    if not made.is_dir():
        start = time.monotonic()
        for old in CACHE.glob("guest-*"):
            shutil.rmtree(old)
        build_root(made)
        say(f"made the guest in {time.monotonic() - start:.0f} s")
    return made


# --- the project disk --------------------------------------------------------------------------------------------


def build_wheel(within: Path, environment: dict[str, str] | None = None) -> Path:
    """The project's wheel, built by what is installed, from a copy: building leaves files beside what it builds."""
    within.mkdir(parents=True)
    for name in ("compose", "runtime", "network", "docs/share"):
        shutil.copytree(PROJECT / name, within / name, ignore=LEFT_OUT)
    beside = ("pyproject.toml", "README.md", "LICENSE", "py.typed")
    for path in (*(PROJECT / name for name in beside), *PROJECT.glob("*.py")):
        shutil.copy(path, within / path.name)
    pip("wheel", "--no-deps", "--no-build-isolation", "-w", within, within, environment=environment)
    (wheel,) = within.glob("*.whl")
    return wheel


def project_disk(made: Path, arguments: Sequence[str]) -> Path:
    tree, source, disk = CACHE / "project", CACHE / "source", CACHE / "project.ext4"
    for folder in (tree, source):
        shutil.rmtree(folder, ignore_errors=True)
    disk.unlink(missing_ok=True)
    wheel = build_wheel(source, {"PYTHONPATH": str(made / "builders")})
    pip("install", "--no-deps", "--no-index", "--no-compile", "--target", tree / "site", wheel)
    if sys.version_info[:2] == (3, 11):  # elsewhere the guest compiles for itself, slowly
        within = str(tree / "site")
        compileall.compile_dir(within, quiet=1, stripdir=within, prependdir=f"{MOUNTED}/site")
    for name in ("tests", "examples"):
        shutil.copytree(PROJECT / name, tree / "project" / name, ignore=LEFT_OUT)
    shutil.copy(PROJECT / "pyproject.toml", tree / "project")
    (tree / "run").write_text(RUN)
    (tree / "arguments").write_text(shlex.join(arguments))
    run("mke2fs", "-q", "-t", "ext4", "-O", "^has_journal", "-L", "project", "-d", tree, disk, "256M")
    return disk


# --- the machine -------------------------------------------------------------------------------------------------


def emulator(made: Path, disk: Path, console: Path) -> list[str]:
    """The command; `setpriv` has the kernel end it when this program dies."""
    options = "root=/dev/vda rw console=ttyS0 panic=-1 mitigations=off"  # which mean nothing here, and are slow
    options += " modprobe.blacklist=kvm,kvm_amd,kvm_intel,powernow_k8"
    command = ["setpriv", "--pdeathsig=KILL", "qemu-system-x86_64", "-nodefaults", "-display", "none", "-no-reboot"]
    command += ["-machine", "q35", "-accel", "tcg,thread=multi", "-cpu", "max", "-nic", "none"]
    command += ["-smp", str(PROCESSORS), "-m", str(MEMORY_MIB)]
    command += ["-kernel", str(made / "vmlinuz"), "-initrd", str(made / "initrd"), "-append", options]
    for file in (made / "root.ext4", disk):
        command += ["-drive", f"file={file},if=virtio,format=raw,snapshot=on,cache=unsafe"]
    return [*command, "-serial", f"file:{console}", "-serial", "stdio"]


def boot(command: Sequence[str], limit: float) -> int | None:
    """Show what the tests say; give pytest's exit code, or None where the guest ended without one."""
    start = time.monotonic()
    code, rest = None, b""
    with (
        subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) as machine,
        selectors.DefaultSelector() as selector,
    ):
        assert machine.stdout is not None
        selector.register(machine.stdout, selectors.EVENT_READ)
        try:
            while True:
                left = start + limit - time.monotonic()
                if left <= 0 or not selector.select(left):
                    raise GuestError(f"the guest has not ended after {limit:.0f} s")
                chunk = os.read(machine.stdout.fileno(), 65536)
                if not chunk:
                    break
                *lines, rest = (rest + chunk).split(b"\n")
                for line in lines:
                    text = line.decode(errors="replace").rstrip("\r")
                    if text.startswith(MARKER):
                        code = int(text.split()[-1])
                    else:
                        say(f"{time.monotonic() - start:5.0f} s  {text}")
        finally:
            machine.kill()
    return code


def main() -> int:
    parser = argparse.ArgumentParser(description="Runs tests in a Debian 12 guest (root).")
    parser.add_argument("--limit", type=float, default=600, metavar="SECONDS", help="give the guest up after this")
    parser.add_argument("--build-only", action="store_true", help="make the guest, boot nothing")
    options, arguments = parser.parse_known_args()
    console = CACHE / "console.log"
    try:
        if os.geteuid() != 0:
            raise GuestError("making the guest needs root")
        CACHE.mkdir(parents=True, exist_ok=True)
        os.environ["TMPDIR"] = str(CACHE)
        with open(CACHE / "lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            install_tools()
            made = root_disk()
            if options.build_only:
                return 0
            disk = project_disk(made, arguments or SMOKE)
            console.write_text("")
            say("booting")
            code = boot(emulator(made, disk, console), options.limit)
            if code is None:
                raise GuestError("the guest ended before its tests did")
    except GuestError as error:
        said = console.read_text(errors="replace").splitlines()[-30:] if console.exists() else []
        print("\n".join([*said, f"test-vm: {error}"]), file=sys.stderr)
        return 2
    say(f"the guest's tests {'passed' if code == 0 else f'failed (pytest ended with {code})'}")
    return code


if __name__ == "__main__":
    sys.exit(main())
