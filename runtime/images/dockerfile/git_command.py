"""Calls of the program `git` on a repository that a stranger may have made.

Rules: of the user's own configuration only what says how to reach a server counts, and nothing of the machine's: no
filter, hook, template or monitor of theirs runs over a stranger's files. A server from which nothing comes for a minute
is given up, and what git has started ends with it.
Source: git-config(1), gitattributes(5), git(1) "Environment Variables".
"""

from __future__ import annotations

import contextlib
import os
import re
import selectors
import signal
import subprocess
import tempfile
import time
from collections.abc import Sequence

from pycompose.plain_text import one_line

from .errors import BuildError

PATIENCE = 60.0  # seconds without a byte
LONGEST = 3600.0  # seconds of one call, however slowly bytes drip
COMPLAINT = 1 << 16  # bytes of what it says of errors that are kept
PROTOCOLS = "https:http:git:ssh"
KEPT = ("GIT_ASKPASS", "GIT_CONFIG_GLOBAL", "GIT_SSH", "GIT_SSH_COMMAND", "GIT_SSL_CAINFO", "GIT_SSL_CAPATH")
REACHING = re.compile(r"(?:credential|url|http|https|ssh)\..*|core\.(?:sshcommand|askpass|gitproxy)", re.DOTALL)
SETTINGS = (
    *("-c", "core.hooksPath=/dev/null"),
    *("-c", "protocol.ext.allow=never"),
    *("-c", "gc.auto=0"),  # it would go on in the background
    *("-c", "maintenance.auto=false"),
    *("-c", "advice.detachedHead=false"),
)


class ServerTooSlow(BuildError):
    """A server from which nothing comes, or less than is worth waiting for."""


def without_password(text: str) -> str:
    """The text with what stands before the host of each address left out."""
    return re.sub(r"(?<=://)[^/@\s]*@", "***@", text)


class GitCommand:
    """git in one folder; `name` is the repository's in what is said of errors. Blocking.

    With `largest` no file that git writes has more bytes; a pack is one file.
    """

    def __init__(self, folder: str, name: str, largest: int = 0) -> None:
        self._folder, self._name = folder, name
        self._bounded = ["sh", "-c", f'ulimit -f {largest >> 9}; exec "$@"', "sh"] if largest else []
        self._environment = _environment()
        self._configure()

    def _configure(self) -> None:
        """Let what the user has configured to reach servers count, without the rest."""
        try:
            listed = self("config", "--global", "--includes", "--list", "-z").split("\0")
        except BuildError:  # there is none
            listed = []
        pairs = [entry.partition("\n") for entry in listed if REACHING.fullmatch(entry.partition("\n")[0])]
        if not any(key == "core.sshcommand" for key, _, _ in pairs):
            self._environment.setdefault("GIT_SSH_COMMAND", "ssh -o BatchMode=yes -o ControlMaster=no")
        self._environment |= {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_COUNT": str(len(pairs))}
        for number, (key, line_end, value) in enumerate(pairs):
            # a key without "=" means true
            self._environment |= {
                f"GIT_CONFIG_KEY_{number}": key,
                f"GIT_CONFIG_VALUE_{number}": value if line_end else "true",
            }

    def __call__(self, *arguments: str, local: bool = False) -> str:
        """What it prints. One that is `local` may be silent while it works. Raises BuildError."""
        patience = LONGEST if local else PATIENCE
        with tempfile.TemporaryFile() as printed:
            process = subprocess.Popen(
                [*self._bounded, "git", *SETTINGS, *arguments],
                cwd=self._folder,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=printed,
                stderr=subprocess.PIPE,
            )
            with process:
                try:
                    complaint = _listen(process, patience)
                    process.wait(patience)
                except (TimeoutError, subprocess.TimeoutExpired) as error:
                    hint = "try again, or see whether its server can be reached"
                    raise ServerTooSlow(f"{self._name}: git {arguments[0]}: {error}", hint) from error
                finally:
                    if process.poll() is None:
                        _kill(process)
            if process.returncode:
                said = [line for line in without_password(complaint).splitlines() if line.strip()]
                raise BuildError(f"{self._name}: git {arguments[0]}: {one_line(said[-1], 300) if said else 'failed'}")
            printed.seek(0)
            return printed.read().decode(errors="replace").strip()


def _environment() -> dict[str, str]:
    environment = {name: value for name, value in os.environ.items() if name in KEPT or not name.startswith("GIT_")}
    return environment | {
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_ATTR_NOSYSTEM": "1",
        "GIT_ALLOW_PROTOCOL": PROTOCOLS,  # of submodules, too: neither ext:: nor this machine's files
        "LC_ALL": "C",
    }


def _listen(process: subprocess.Popen[bytes], patience: float) -> str:
    """What it says of progress and errors, to the end. Raises TimeoutError where it is silent, or goes on for ever."""
    assert process.stderr is not None
    complaint, end = b"", time.monotonic() + LONGEST
    with selectors.DefaultSelector() as selector:
        selector.register(process.stderr, selectors.EVENT_READ)
        while True:
            if not selector.select(min(patience, end - time.monotonic())):
                raise TimeoutError(f"nothing came for {patience:g} s")
            if time.monotonic() > end:
                raise TimeoutError(f"it is not done after {LONGEST:g} s")
            data = os.read(process.stderr.fileno(), COMPLAINT)
            if not data:
                return complaint.decode(errors="replace")
            complaint = (complaint + data)[-COMPLAINT:]


def _kill(process: subprocess.Popen[bytes]) -> None:
    """With what it has started: a helper that waits for a server would not notice that git has gone."""
    for pid in (*_descendants(process.pid), process.pid):
        with contextlib.suppress(OSError):
            os.kill(pid, signal.SIGKILL)
    process.wait()


def _descendants(pid: int) -> Sequence[int]:
    try:
        with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as file:
            children = [int(word) for word in file.read().split()]
    except OSError:
        return ()
    return [one for child in children for one in (*_descendants(child), child)]
