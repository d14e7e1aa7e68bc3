"""`nsenter.Namespace(pid, "net")`: a namespace of a process, entered by this thread while a `with` block or call lasts.

The form of the older package nsenter. `pycompose.enter` does the same for containers, by name and for several at once.
"""

from __future__ import annotations

import os
from contextlib import ContextDecorator, ExitStack

from pycompose.runtime.linux import joining
from pycompose.runtime.linux.joining import CannotJoin as CannotJoin

NAMESPACE_NAMES = frozenset(joining.FLAGS)


class Namespace(ContextDecorator):
    """A namespace of a process, or the one that a file stands for (/run/netns/NAME); `ns_type` is its kind.

    Raises ValueError for a kind that is none, OSError where it cannot be opened. `close` lets it go; leaving it does.
    """

    def __init__(self, pid: int | str | os.PathLike[str], ns_type: str, proc: str = "/proc") -> None:
        if ns_type not in NAMESPACE_NAMES:
            raise ValueError(f"no kind of namespaces: {ns_type!r} ({', '.join(sorted(NAMESPACE_NAMES))})")
        self.pid, self.ns_type, self.proc = pid, ns_type, proc
        text = os.fspath(pid) if not isinstance(pid, int) else str(pid)
        self._path = f"{proc}/{text}/ns/{ns_type}" if "/" not in text else text
        self._target = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
        self._held: list[ExitStack] = []

    def __enter__(self) -> Namespace:
        if self._target < 0:
            self._target = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
        with ExitStack() as held:
            held.enter_context(joining.joined(self._target, (self.ns_type,)))
            self._held.append(held.pop_all())
        return self

    def __exit__(self, *_: object) -> None:
        self._held.pop().close()
        if not self._held:
            self.close()

    def close(self) -> None:
        """Let the namespace go, if nobody is in it by this object."""
        if self._target >= 0 and not self._held:
            os.close(self._target)
            self._target = -1
