"""AppArmor: which profile a container wears on this machine, and the default one, which allows what Docker's does.

`choose` looks and decides; `ensure` loads the default profile where the kernel does not have it (yet, or since a boot).
Rules: where the kernel has AppArmor, a container without a profile is one whose file says so (`apparmor=unconfined`, or
privileged). A default profile that cannot be had is an error: for want of apparmor_parser (man 8; it compiles
policies), or because the kernel refuses it.
What it does not do: load anyone else's profiles; unload ours, because who wears it would then go unconfined.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import threading
from functools import cache

from pycompose.runtime.errors import ProfileError

DEFAULT = "pycompose-default"
LOADED = "/sys/kernel/security/apparmor/profiles"
ENABLED = "/sys/module/apparmor/parameters/enabled"
ABI = "abi/3.0"  # below /etc/apparmor.d: what the rules speak of. By a later one user namespaces would be denied too
WITHOUT = "security_opt: [apparmor=unconfined]"
_LOADING = threading.Lock()


def enabled() -> bool:
    return _read(ENABLED).startswith("Y")


def choose(wanted: str, privileged: bool = False) -> tuple[str, str]:
    """(profile or "", note): what `security_opt: apparmor=WANTED` comes to; the default profile without a wish.

    Raises ProfileError where the default profile is neither loaded nor to be loaded.
    """
    if wanted == "unconfined" or (privileged and not wanted):
        return "", ""
    if not enabled():
        return "", f"apparmor={wanted} has no effect: this machine has no AppArmor" if wanted else ""
    if wanted:
        return wanted, ""
    if _loaded(DEFAULT) or _parser():
        return DEFAULT, ""
    raise ProfileError(
        "apparmor",
        f"this machine has AppArmor, but not apparmor_parser to load the profile {DEFAULT}: install it (on Debian and "
        f"Ubuntu: apt-get install apparmor), or do without by {WITHOUT}",
    )


def ensure(name: str) -> None:
    """Have the default profile loaded, if `name` is it: some 20 ms, once after a boot. Raises ProfileError."""
    if name != DEFAULT:
        return
    with _LOADING:  # replicas are made side by side, by threads
        if _loaded(DEFAULT):
            return
        reason = _load()
    if reason:
        words = " ".join(reason.split())
        raise ProfileError("apparmor", f"the profile {DEFAULT} cannot be loaded: {words}; {WITHOUT} does without")


def ensure_for(bundle: str) -> None:
    """`ensure` what the process of a bundle's file wears. Raises ProfileError, OSError."""
    with open(bundle, "rb") as file:
        ensure(json.load(file)["spec"]["process"]["apparmorProfile"])


def _load() -> str:
    """Why it could not be, or ""."""
    command = [_parser(), "--replace", "--skip-cache"]
    try:
        done = subprocess.run(command, input=policy(), capture_output=True, text=True, check=False)
    except OSError as error:
        return error.strerror or str(error)
    return (done.stderr.strip() or f"it ended with {done.returncode}") if done.returncode else ""


def policy(name: str = DEFAULT) -> str:
    """The profile's text (man 5 apparmor.d)."""
    # This process sends the signals of `stop`.
    label = _read("/proc/thread-self/attr/current").partition(" (")[0] or "unconfined"
    senders = sorted({"unconfined", label, name})
    abi = f"abi <{ABI}>,\n" if os.path.exists(f"/etc/apparmor.d/{ABI}") else ""  # 2.13 has no such rule
    signals = "\n".join(f'  signal receive peer="{sender}",' for sender in senders)
    return f"""\
{abi}profile {name} flags=(attach_disconnected, mediate_deleted) {{
  capability,
  network,
  unix,
  file,
  umount,
{signals}
  signal send peer="{name}",
  ptrace peer="{name}",

  deny mount,
  deny network alg,

  # /proc: processes' own files may be written, of the rest sys/kernel/shm* alone
  deny /proc/* w,
  deny /proc/{{[^0-9s],s[^y],sy[^s],sys[^/]}}*/** w,
  deny /proc/sys/{{[^k],k[^e]}}** w,
  deny /proc/sys/kernel/{{[^s],s[^h],sh[^m]}}** w,
  deny /proc/{{kcore,sysrq-trigger}} rwklx,

  # /sys: of what may be written, fs/cgroup alone
  deny /sys/{{[^f],f[^s],fs/[^c],fs/c[^g],fs/cg[^r]}}** wklx,
  deny /sys/{{firmware,devices/virtual/powercap,kernel/security}}/** rwklx,
}}
"""


def _loaded(name: str) -> bool:
    return any(line.startswith(f"{name} (") for line in _read(LOADED).splitlines())


@cache
def _parser() -> str:
    """Where the compiler of policies is; "" where it is not."""
    return shutil.which("apparmor_parser", path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin") or ""


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8") as file:
            return file.read().strip()
    except OSError:
        return ""
