"""Entering containers with this process: one thread for a while (`enter`), or one function in a child (`call`).

Both run code of this machine with this process's rights, files and limits; only the namespaces that are named are the
container's. It is no sandbox: what is to be confined as the container is, is run by `Container.exec`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any, TypeVar

from pycompose.errors import PycomposeError
from pycompose.runtime.linux import joining

from .inside_names import resolved
from .service_objects import Container, Service

Target = Container | Service | int  # an int is the id of a process of this machine
T = TypeVar("T")


@contextmanager
def enter(
    target: Target,
    *,
    net: bool = True,
    mnt: bool = False,
    ipc: bool = False,
    uts: bool = False,
    cgroup: bool = False,
    pid: bool = False,
    user: bool = False,
) -> Iterator[None]:
    """This thread in namespaces of a container, and back in its own at the end, also after an error.

        with pycompose.enter(project["web"]):
            requests.get("http://db:8000")

    Other threads stay where they are; so do tasks of an event loop only if nothing is awaited inside. With `net`, names
    are those of the container's resolver, for whatever asks by Python's `socket.getaddrinfo`. `mnt` is for processes of
    one thread; `pid` and `user` are for `call`: raises CannotJoin, which says why. Raises PycomposeError where the
    container does not run, or this process may not.
    """
    kinds = _kinds(net=net, mnt=mnt, ipc=ipc, uts=uts, cgroup=cgroup, pid=pid, user=user)
    with ExitStack() as held:
        descriptor = _process(target, held)
        held.enter_context(joining.joined(descriptor, kinds))
        if net and not isinstance(target, int):
            held.enter_context(resolved())
        yield


def call(
    target: Target,
    function: Callable[..., T],
    *args: Any,
    net: bool = True,
    mnt: bool = True,
    ipc: bool = True,
    uts: bool = True,
    cgroup: bool = True,
    pid: bool = True,
    user: bool = False,
    **kwargs: Any,
) -> T:
    """What `function(*args, **kwargs)` returns in a forked child that is in a container's namespaces.

        pycompose.call(project["web"], os.listdir, "/etc")

    What it returns or raises is pickled on its way back; modules that it imports inside are the container's. Raises
    CannotJoin, CallFailed, PycomposeError, and what the function raises.
    """
    kinds = _kinds(net=net, mnt=mnt, ipc=ipc, uts=uts, cgroup=cgroup, pid=pid, user=user)
    with ExitStack() as held:
        return joining.call(_process(target, held), kinds, partial(function, *args, **kwargs))


def _kinds(**wanted: bool) -> tuple[str, ...]:
    return tuple(kind for kind, on in wanted.items() if on)


def _process(target: Target, held: ExitStack) -> int:
    """A pidfd of the target's first process. Raises PycomposeError where it does not run."""
    container = target.container() if isinstance(target, Service) else target
    number = container if isinstance(container, int) else container.refresh().pid
    name = f"process {number}" if isinstance(container, int) else f"container {container.name}"
    try:
        descriptor = os.pidfd_open(number or 0)
    except (OSError, ValueError) as error:
        raise PycomposeError(f"{name} does not run") from error
    held.callback(os.close, descriptor)
    if isinstance(container, Container) and container.refresh().pid != number:  # it ended, and its number is another's
        raise PycomposeError(f"{name} does not run")
    return descriptor
