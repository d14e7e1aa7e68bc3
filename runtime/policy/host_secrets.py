"""Secrets among this machine's files, which the image `host` does not show: what a login or a service keeps to itself.

A container's root reads whatever the machine's root may, so that modes do not hold it back. Hidden are, in this order:
  - what belongs to pycompose itself;
  - `SYSTEM` and `ENGINES` below, by name; what is made there later too;
  - below /etc, files and folders that not everybody may read, and files that are called as private keys are; below
    /var/lib, folders that not everybody may read;
  - the homes of people (/root, /home, and what /etc/passwd names), but that of the project folder's owner, of which
    the names in `HOME` are hidden.
Shown all the same are the project's folder, the folders of the Python that runs this, and what the file asks for
(`x-pycompose: {host: {show: [...]}}`). Of a path that is below several of these, the nearest decides.
It looks at the machine and changes nothing. Hiding is `runtime.init.host_root`'s.
"""

from __future__ import annotations

import os
import re
import stat
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from functools import lru_cache

from pycompose.frozen import dataclass

SYSTEM = (
    *(f"/etc/{name}" for name in ("shadow", "shadow-", "gshadow", "gshadow-", "sudoers", "sudoers.d", "krb5.keytab")),
    *(f"/etc/{name}" for name in ("ssl/private", "pki/tls/private", "letsencrypt", "wireguard", "openvpn", "ipsec.d")),
    *(f"/etc/{name}" for name in ("ipsec.secrets", "swanctl", "ppp/chap-secrets", "ppp/pap-secrets", "netplan")),
    *(f"/etc/{name}" for name in ("NetworkManager/system-connections", "wpa_supplicant", "security/opasswd")),
    *(f"/etc/{name}" for name in ("credstore", "credstore.encrypted", "cryptsetup-keys.d", "luks", "apt/auth.conf")),
    *(f"/etc/{name}" for name in ("apt/auth.conf.d", "kubernetes", "rancher", "vault.d", "cloudflared", "salt/pki")),
    *(f"/etc/ssh/ssh_host_{kind}_key" for kind in ("rsa", "dsa", "ecdsa", "ed25519")),
    *(f"/var/{name}" for name in ("log", "spool", "mail", "backups", "crash", "cache/debconf")),
    *(
        f"/var/lib/{name}"
        for name in ("cloud", "private", "NetworkManager", "bluetooth", "iwd", "sss", "samba/private")
    ),
    *(f"/var/lib/{name}" for name in ("mysql", "postgresql", "mongodb", "redis", "ldap", "vault", "consul", "etcd")),
    *(f"/var/lib/{name}" for name in ("tailscale", "jenkins", "grafana", "rabbitmq", "influxdb", "acme", "tor")),
    *(f"/var/lib/systemd/{name}" for name in ("coredump", "credential.secret", "random-seed", "pstore")),
    "/swapfile",
    "/swap.img",
)
ENGINES = tuple(
    f"/var/lib/{name}"
    for name in (
        "docker",
        "containerd",
        "containers",
        "buildkit",
        "kubelet",
        "rancher",
        "k0s",
        "lxc",
        "lxd",
        "incus",
        "libvirt",
        "machines",
        "portables",
        "nomad",
        "pycompose",
    )
)
# In a home.
HOME = (
    *(".ssh", ".gnupg", ".aws", ".config", ".docker", ".kube", ".netrc", ".npmrc", ".pypirc", ".git-credentials"),
    *(".azure", ".oci", ".s3cfg", ".boto", ".rclone.conf", ".terraform.d", ".terraformrc", ".vault-token", ".helm"),
    *(".pgpass", ".my.cnf", ".mylogin.cnf", ".dbshell", ".password-store", ".pki", ".putty", ".smbcredentials"),
    *(
        ".cargo/credentials",
        ".cargo/credentials.toml",
        ".gem/credentials",
        ".m2/settings.xml",
        ".m2/settings-security.xml",
    ),
    *(".gradle/gradle.properties", ".ivy2", ".sbt", ".nuget", ".composer/auth.json", ".yarnrc", ".yarnrc.yml"),
    *(".local/share/keyrings", ".local/share/containers", ".local/share/docker", ".local/share/pycompose"),
    *(
        ".mozilla",
        ".thunderbird",
        ".bitcoin",
        ".ethereum",
        ".electrum",
        ".kaggle",
        ".huggingface",
        ".cache/huggingface/token",
        ".databrickscfg",
    ),
    *(
        ".snowflake",
        ".fly",
        ".heroku",
        ".minikube",
        ".age",
        ".sops",
        ".wakatime.cfg",
        ".subversion",
        ".mutt",
        ".msmtprc",
    ),
    *(".dockercfg", ".fetchmailrc", ".authinfo", ".authinfo.gpg", ".Xauthority", ".ICEauthority", ".jupyter"),
    *(".bash_history", ".zsh_history", ".sh_history", ".python_history", ".psql_history", ".mysql_history"),
    *(".sqlite_history", ".node_repl_history", ".lesshst", ".viminfo", ".wget-hsts"),
)
PRIVATE_KEYS = re.compile(r".*\.(key|p12|pfx|keytab|jks)|.*[-_]key(\.pem)?|privkey.*\.pem|id_(rsa|dsa|ecdsa|ed25519)")
NO_HOMES = frozenset(["bin", "boot", "dev", "etc", "lib", "lib32", "lib64", "proc", "run", "sbin", "sys", "tmp", "usr"])
LOGINS = range(1000, 65534)  # numbers of people (login.defs), besides root


@dataclass(frozen=True, slots=True)
class HostView:
    """Absolute paths without links. Of a path below both, the nearest decides."""

    hidden: tuple[str, ...]
    shown: tuple[str, ...]


def view(ours: tuple[str, ...], project_folder: str = "", show: tuple[str, ...] = ()) -> HostView:
    """What to hide and show; `ours` are pycompose's folders, `show` absolute paths that the file asks for.

    May be called in threads.
    """
    asked = (project_folder, *show) if project_folder else show
    with _LOOKING:  # containers are made at once: one looks, the others take what it saw
        people, unreadable = _SECRETS.seen()
        return _view(ours, asked, _owner(project_folder), people, unreadable)


def look_again() -> None:
    """Something new begins: what was seen of the machine before it is not good enough for it."""
    with _LOOKING:
        _SECRETS.forget()


@lru_cache(maxsize=64)
def _view(
    ours: tuple[str, ...],
    show: tuple[str, ...],
    owner: int,
    people: tuple[tuple[int, str], ...],
    unreadable: tuple[str, ...],
) -> HostView:
    asked = [os.path.realpath(path) for path in show]
    homes = {os.path.realpath(home) for _, home in people} | {"/root", "/home"}
    visible = {os.path.realpath(home) for uid, home in people if uid == owner and uid != 0}
    hidden = {_placed(path) for path in (*SYSTEM, *ENGINES, *ours)}
    hidden |= {*unreadable, *(f"{home}/{name}" for home in homes for name in HOME)}
    hidden |= homes - visible
    return settled(hidden, {*asked, *visible, *python_folders(homes)})


def settled(hidden: Iterable[str], shown: Iterable[str]) -> HostView:
    """Without what decides nothing: hidden below what is hidden, shown where nothing is. What is both is shown."""
    verdicts = dict.fromkeys(hidden, False) | dict.fromkeys(shown, True)
    kept: dict[str, bool] = {}
    for path in sorted(verdicts, key=lambda item: item.count("/")):
        if path != "/" and verdicts[path] != _verdict(path, kept):
            kept[path] = verdicts[path]
    return HostView(*(tuple(sorted(path for path in kept if kept[path] is verdict)) for verdict in (False, True)))


def _verdict(path: str, kept: dict[str, bool]) -> bool:
    """What the nearest path above says; all is shown that nobody speaks of."""
    while path != "/":
        path = os.path.dirname(path)
        if path in kept:
            return kept[path]
    return True


def python_folders(homes: Iterable[str]) -> list[str]:
    """Where the Python that runs this is, and the packages that it finds."""
    folders = [sys.prefix, sys.base_prefix, os.path.dirname(os.path.dirname(os.path.realpath(sys.executable)))]
    folders += [path for path in sys.path[1:] if os.path.isdir(path)]
    roomy = {"/", *homes, *(os.path.dirname(home) for home in homes)}
    result = []
    for folder in map(os.path.realpath, folders):
        if folder in roomy:  # a virtual environment made of a home as a whole
            result += [f"{folder}/{name}" for name in ("bin", "include", "lib", "lib64", "share", "pyvenv.cfg")]
        else:
            result.append(folder)
    return [folder for folder in dict.fromkeys(result) if os.path.exists(folder)]


def _people() -> Iterator[tuple[int, str]]:
    """(number, home) of root and of those who log in."""
    with suppress(OSError), open("/etc/passwd", encoding="utf-8", errors="surrogateescape") as file:
        for line in file:
            row = line.split(":")
            if len(row) < 6 or not row[2].isdecimal() or not row[5].startswith("/"):
                continue
            uid, home = int(row[2]), os.path.normpath(row[5])
            if (uid == 0 or uid in LOGINS) and _is_home(home):
                yield uid, home


def _is_home(path: str) -> bool:
    """Whether a folder that /etc/passwd names may be hidden: without a system's own, a container has no programs."""
    _, *parts = path.split("/")
    return path == "/root" or (len(parts) > 1 and parts[0] not in NO_HOMES and parts[:2] != ["var", "lib"])


def _owner(folder: str) -> int:
    try:
        return os.stat(folder).st_uid if folder else 0
    except OSError:
        return 0


def _placed(path: str) -> str:
    """The path without links above it."""
    folder, name = os.path.split(path)
    return os.path.join(os.path.realpath(folder), name)


class _Secrets:
    """Homes; what not everybody may read below /etc and in /var/lib, and private keys: looked for again when a folder
    changes.

    That a mode was changed and nothing else is not noticed. A look is good for the containers that are made with it.
    """

    def __init__(self) -> None:
        self._looked = -FRESH
        self._people: tuple[tuple[int, str], ...] = ()
        self._folders: dict[str, int] = {}  # time of change
        self._paths: tuple[str, ...] = ()

    def forget(self) -> None:
        self._looked = -FRESH

    def seen(self) -> tuple[tuple[tuple[int, str], ...], tuple[str, ...]]:
        """People, and paths that not everybody may read."""
        if self._folders and time.monotonic() - self._looked < FRESH:
            return self._people, self._paths
        self._looked, self._people = time.monotonic(), tuple(_people())
        if not self._folders or any(_changed(folder) != changed for folder, changed in self._folders.items()):
            folders: dict[str, int] = {}
            paths = (*_unreadable("/etc", True, folders), *_unreadable("/var/lib", False, folders))
            self._folders, self._paths = folders, paths
        return self._people, self._paths


FRESH = 2.0  # seconds: some 140 folders to ask the kernel about
_SECRETS = _Secrets()
_LOOKING = threading.Lock()


def _changed(folder: str) -> int:
    try:
        return os.stat(folder).st_mtime_ns
    except OSError:
        return 0


def _unreadable(folder: str, deep: bool, folders: dict[str, int]) -> Iterator[str]:
    folders[folder] = _changed(folder)
    try:
        entries = list(os.scandir(folder))
    except OSError:
        return
    for entry in entries:
        try:
            mode = entry.stat(follow_symlinks=False).st_mode
        except OSError:
            continue
        if stat.S_ISDIR(mode):
            if mode & 0o5 != 0o5:
                yield entry.path
            elif deep:
                yield from _unreadable(entry.path, deep, folders)
        elif deep and stat.S_ISREG(mode) and (not mode & 0o4 or PRIVATE_KEYS.fullmatch(entry.name)):
            yield entry.path
