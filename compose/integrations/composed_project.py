"""A project for tests: waits for its services, tells where they are, and is as new between tests."""

from __future__ import annotations

import re
import socket
import subprocess
import tempfile
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, ClassVar
from urllib.error import HTTPError
from urllib.request import urlopen

from pycompose.compose.app.api.projects import Project
from pycompose.compose.app.api.waiting import WaitTimeout, in_time
from pycompose.errors import PycomposeError
from pycompose.runtime.files.remove import empty
from pycompose.runtime.places import Places
from pycompose.runtime.state.volumes import Volumes

PAUSE = 0.02  # seconds between two tries to reach a server, of which nothing tells that it listens


class ComposedProject(Project):
    """What the fixture `compose` is: a `Project`, and more."""

    living: ClassVar[list[ComposedProject]] = []  # those that a test session has up
    _up_options: Mapping[str, Any] = {}
    _snapshot: tempfile.TemporaryDirectory[str] | None = None

    def up_with(self, options: Mapping[str, Any]) -> None:
        """Up; `reset` goes by the same options."""
        self._up_options = dict(options)
        self.up(**self._up_options)

    def endpoint(self, service: str, port: int) -> tuple[str, int]:
        """Where a port of a service is reached from here: as it is published, or by the container's own address."""
        try:
            return self[service].port(port)
        except PycomposeError:
            return self[service].address, port

    def url(self, service: str, port: int, path: str = "", *, scheme: str = "http") -> str:
        """As `endpoint`: "http://127.0.0.1:32768"."""
        host, number = self.endpoint(service, port)
        host = f"[{host}]" if ":" in host else host
        return f"{scheme}://{host}:{number}{path if path.startswith('/') or not path else '/' + path}"

    def wait_for(
        self,
        service: str,
        *,
        tcp: int | None = None,
        http: int | None = None,
        path: str = "/",
        log: str | None = None,
        healthy: bool = False,
        timeout: float = 60.0,
    ) -> None:
        """Wait until a port takes connections, answers over HTTP (below 500), a line matches, or it is healthy.

        `timeout` is in seconds, for all together. Raises WaitTimeout; PycomposeError where the service has ended.
        """
        end = time.monotonic() + timeout
        if healthy:
            self.start(service, wait=True, wait_timeout=timeout)
        if log is not None:
            with in_time(end - time.monotonic(), f'service "{service}" wrote no line that matches {log!r}'):
                if not any(re.search(log, entry.text) for entry in self.logs(service, follow=True)):
                    raise PycomposeError(f'service "{service}" ended, and no line of it matches {log!r}')
        for port, page, what in ((tcp, None, "takes no connection"), (http, path, "does not answer")):
            while port is not None and not self._answers(service, port, page):
                if time.monotonic() > end:
                    raise WaitTimeout(f'service "{service}" {what} on port {port} after {timeout:g} s')
                time.sleep(PAUSE)

    def _answers(self, service: str, port: int, path: str | None) -> bool:
        """Raises PycomposeError where the service does not run any more."""
        if not any(one.running or one.observed.returning for one in self[service].containers):
            raise PycomposeError(f'service "{service}" has ended', hint="its logs say why")
        try:
            if path is None:
                socket.create_connection(self.endpoint(service, port), 5).close()
            else:
                urlopen(self.url(service, port, path), timeout=5).close()
        except HTTPError as error:
            error.close()
            return error.code < 500
        except (OSError, PycomposeError):
            return False
        return True

    def snapshot(self) -> None:
        """Keep what is in the project's volumes now: `reset` restores it, instead of emptying them."""
        folder = tempfile.TemporaryDirectory(prefix="pycompose-snapshot-")
        with_containers = [one.service for one in self.ps()]
        self.pause(with_containers)
        try:
            for name, path in self._volumes().items():
                _copy(path, f"{folder.name}/{name}")
        finally:
            self.unpause(with_containers)
        if self._snapshot is not None:
            self._snapshot.cleanup()
        self._snapshot = folder

    def reset(self) -> None:
        """Containers as new, by the file; volumes empty, or as in `snapshot`. Milliseconds a container."""
        volumes = self._volumes()
        if volumes:
            self.stop(timeout=0)
            for name, path in volumes.items():
                empty(path)
                if self._snapshot is not None:
                    _copy(f"{self._snapshot.name}/{name}", path)
        options = {**self._up_options, "force_recreate": True, "renew_anonymous_volumes": True, "timeout": 0}
        self.up(**options)

    def down(self, *arguments: Any, **options: Any) -> Any:
        """As of a Project; what `snapshot` kept goes, too."""
        if self._snapshot is not None:
            self._snapshot.cleanup()
            self._snapshot = None
        return super().down(*arguments, **options)

    def _volumes(self) -> dict[str, str]:
        """Name -> folder, of those that are the project's own."""
        wanted = {volume.name for volume in self.description.volumes.values() if not volume.external}
        return {one.name: one.path for one in Volumes(Places.default()).list() if one.name in wanted}


def _copy(source: str, target: str) -> None:
    """The content of a folder, with owners, times and attributes, into another one."""
    subprocess.run(["cp", "-a", "--reflink=auto", "-T", source, target], check=True, capture_output=True)


def written_since(project: Project, since: float, lines: int) -> str:
    """What the containers wrote, for a report; why there is nothing, where that cannot be read."""
    try:
        moment = datetime.fromtimestamp(since, UTC)
        entries = list(project.logs(since=moment))
        states = [f"{one.name}: {one.health or one.status}" for one in project.containers]
    except (PycomposeError, OSError) as error:
        return f"no logs: {error}"
    width = max((len(entry.container) for entry in entries), default=0)
    shown = [f"{entry.container:<{width}} | {entry.text}" for entry in entries[-lines:]]
    return "\n".join([*shown, ", ".join(states)])
