"""The client's half of the control socket: one request, its answers. Blocking, no trio, so that commands start fast."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence

from pycompose.interruption import hanging_up
from pycompose.runtime.linux import unix_sockets

from . import protocol
from .protocol import ControlError, Hello, ProviderEnded, Report, Request, RequestDone, RequestFailed

PATIENCE = 15.0  # seconds until a supervisor says hello
TAKING_NOTE = 2.0  # seconds until a keeper has noticed that its supervisor died


Answering = Callable[[ProviderEnded], None]  # raises OSError where the connection is broken


def request(
    path: str,
    message: Request,
    descriptors: Sequence[int] = (),
    connected: Callable[[Answering], None] = lambda answer: None,
) -> Generator[Report, None, None]:
    """Ask the supervisor at `path`; yield its answers up to the last. Closing the iterator cancels the request.

    `connected` gets a function, for any thread, that tells the supervisor more of what it does.
    Raises ControlError, also when nobody answers within PATIENCE seconds: a supervisor may be starting just now.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection, hanging_up(connection):
        try:
            connection.settimeout(PATIENCE)
            _connect(connection, path)
            data = protocol.encode(message)
            sent = socket.send_fds(connection, [data], list(descriptors)) if descriptors else 0
            if sent < len(data):  # an empty send is EPIPE where the work is done already
                connection.sendall(data[sent:])
        except OSError as error:
            raise ControlError(f"cannot reach the supervisor: {error.strerror}", hint=path) from error
        connected(lambda ended: connection.sendall(protocol.encode(ended)))
        with connection.makefile("rb") as lines:
            for line in _lines(lines, connection, path):
                match protocol.decode_answer(line):
                    case None | Hello():
                        continue
                    case RequestDone():
                        return
                    case RequestFailed() as failed:
                        raise ControlError(failed.message, hint=failed.hint, exit_code=failed.exit_code)
                    case report:
                        yield report
        raise ControlError("the supervisor went away before it was done", hint="run the command again: it goes on")


def _connect(connection: socket.socket, path: str) -> None:
    """Raises OSError. Between a supervisor's death and its keeper's taking note nobody listens, for milliseconds."""
    end = time.monotonic() + TAKING_NOTE
    while True:
        try:
            unix_sockets.connect(connection, path)
            return
        except (ConnectionRefusedError, FileNotFoundError):
            if time.monotonic() > end:
                raise
        time.sleep(0.01)  # nothing tells who is no child and no parent of theirs


def _lines(lines: Iterable[bytes], connection: socket.socket, path: str) -> Iterator[bytes]:
    try:
        for line in lines:
            yield line
            connection.settimeout(None)  # it is there; how long its work takes is not for us to say
    except TimeoutError as error:
        log = os.path.join(os.path.dirname(path), "supervisor.log")
        raise ControlError("the supervisor does not come up", hint=f"see {log}") from error
    except OSError as error:
        raise ControlError(f"the supervisor broke off: {error.strerror}") from error
